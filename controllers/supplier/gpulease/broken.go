// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
)

// Breaks are bounded one by one by lostAllowance, and together by the longer of these two.
const (
	brokenAllowance = 30 * time.Minute
	brokenShare     = 5 // one part in so many of the time since the lease was made
)

// isBroken says whether the workers are seen not to be ready, after they were.
func isBroken(lease *boursev1.GPULease) bool {
	running := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseRunning)
	return running != nil && running.Status == metav1.ConditionUnknown && running.Reason == boursev1.ReasonWorkersNotReady
}

// brokenOff is how long the break that is under way has lasted until a moment: the workers are seen not to be ready. It is nothing
// while they are, and while nobody can see them. Longer than a single break may last it never is, so that an absence of ours counts little.
func brokenOff(lease *boursev1.GPULease, until time.Time) time.Duration {
	if !isBroken(lease) {
		return 0
	}
	running := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseRunning)
	return min(max(0, until.Sub(running.LastTransitionTime.Time)), lostAllowance)
}

// mended adds a break that is over to what the lease has lost.
func mended(lease *boursev1.GPULease, at time.Time) {
	lease.Status.NotReadySeconds += int64(brokenOff(lease, at) / time.Second)
}

// broken is how long the workers were not ready in all, and how long they may be.
func (r *Reconciler) broken(lease *boursev1.GPULease) (lost, most time.Duration) {
	lost = time.Duration(lease.Status.NotReadySeconds)*time.Second + brokenOff(lease, r.Now())
	return lost, max(brokenAllowance, r.Now().Sub(lease.CreationTimestamp.Time)/brokenShare)
}

// endBroken ends a lease whose workers were not ready for too much of the time: the GPUs are held, and the meter stands still. It names
// a party only where the cluster itself says who it was.
func (r *Reconciler) endBroken(lease *boursev1.GPULease, state ray.State) {
	party, who := boursev1.PartyNetwork, "and nobody knows why"
	switch {
	case state.Failing && !state.OutOfMemory:
		party, who = boursev1.PartySupplier, "because a node failed or took them back"
	case state.OutOfMemory && !state.Failing:
		party, who = boursev1.PartyBuyer, "because the program used more memory than it asked for"
	}
	r.end(lease, boursev1.EndInterrupted, party, r.Now(), "The workers were not ready for too much of the time, "+who)
}
