// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// releaseWithin is how long a deleted job waits for its lease to end: pods, last voucher, last claim and refund. A supplier that
// takes longer, or is gone, does not keep the job; the lease ends without it.
const releaseWithin = 20 * time.Minute

// release ends a deleted job's leases before the job may go.
func (r *Reconciler) release(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(job, Finalizer) {
		return reconcile.Result{}, nil
	}
	over, err := r.releaseLeases(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	if left := job.DeletionTimestamp.Add(releaseWithin).Sub(r.Now()); !over && left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	r.unpromise(job)
	return reconcile.Result{}, kube.Free(ctx, r.Hub, job, Finalizer)
}

// releaseLeases tells the suppliers to end the job's leases, and says whether that is over.
func (r *Reconciler) releaseLeases(ctx context.Context, job *boursev1.ComputeJob) (over bool, err error) {
	over = true
	var fates []fate
	for i, part := range listing.Parts(job) {
		lease, err := r.lease(ctx, &part.Lease)
		if err != nil {
			return false, err
		}
		if lease == nil || lease.Spec.Job.UID != string(job.UID) || listing.Refused(lease) {
			continue
		}
		fates = append(fates, fate{at: i, lease: lease, voucher: &boursev1.Voucher{}})
		if isOver(lease) {
			continue
		}
		over = false
		if lease.Spec.State != boursev1.LeaseEnded {
			if _, err := r.end(ctx, lease, boursev1.EndJobDeleted); err != nil {
				return false, err
			}
		}
	}
	if !over {
		waiting(job, boursev1.ReasonSettling, "The job was deleted and its lease is being ended")
		return false, mirrorUsage(job, leasesOf(fates)...)
	}
	return true, mirrorOver(job, fates)
}

// mirrorOver tells a deleted job how its leases ended.
func mirrorOver(job *boursev1.ComputeJob, fates []fate) error {
	switch {
	case len(fates) == 0:
		return nil
	case len(job.Status.Parts) > 0:
		return mirrorParts(job, fates)
	default:
		return mirror(job, fates[0].lease, fates[0].voucher)
	}
}

// isOver says whether the lease has ended for good.
func isOver(lease *boursev1.GPULease) bool {
	return kube.IsTrue(lease, boursev1.Succeeded) || kube.IsFalse(lease, boursev1.Succeeded)
}
