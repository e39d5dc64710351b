// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// leastGrace is what a pod whose notice has run out has to end.
const leastGrace = time.Second

// warn tells the buyer when its GPUs are taken away: pods that are being removed say so themselves, and what the pool's admin has decided
// is told its notice before. Until then it may be withdrawn.
func (r *Reconciler) warn(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if lease.Status.End != nil || !kube.IsTrue(lease, boursev1.LeaseFunded) {
		return reconcile.Result{}, nil
	}
	state, err := r.state(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	was := lease.Status.Notice
	if lease.Status.Notice, err = r.notice(ctx, lease, state); err != nil {
		return reconcile.Result{}, err
	}
	switch notice := lease.Status.Notice; {
	case notice != nil:
		kube.Waiting(lease, boursev1.Succeeded, boursev1.ReasonTakingBack,
			fmt.Sprintf("%s; the GPUs can be used until %s", notice.Message, moment(notice.Until.Time)))
	case was != nil:
		kube.Waiting(lease, boursev1.Succeeded, boursev1.ReasonRunning, "The lease runs")
	}
	return reconcile.Result{}, nil
}

// notice is what the buyer is to know now, or nil.
func (r *Reconciler) notice(ctx context.Context, lease *boursev1.GPULease, state ray.State) (*boursev1.LeaseNotice, error) {
	was := lease.Status.Notice
	switch {
	case state.Removed != nil:
		return told(was, state.Removed), nil
	case was != nil && ofPod(was):
		if state.Stands(was.Pod, was.Since.Time) || state.Whole(lease.Spec.Workers) {
			return nil, nil //nolint:nilnil // whoever told it thought otherwise, or others have taken the pod's place
		}
		return was, nil
	case was != nil && !r.Now().Before(was.Until.Time):
		return was, nil
	}
	return r.due(ctx, lease)
}

// due is the announced notice that has begun, or nil.
func (r *Reconciler) due(ctx context.Context, lease *boursev1.GPULease) (*boursev1.LeaseNotice, error) {
	next, err := r.announced(ctx, lease)
	switch was := lease.Status.Notice; {
	case err != nil:
		return nil, err
	case next == nil || next.Since.After(r.Now()):
		return nil, nil //nolint:nilnil // nothing is to be told yet, or not any more
	case was != nil:
		return was, nil
	default:
		return next, nil
	}
}

// told takes in that pods are being removed. What was told first stays, unless it was less: the notice began with it.
func told(was *boursev1.LeaseNotice, removal *ray.Removal) *boursev1.LeaseNotice {
	next := &boursev1.LeaseNotice{
		Cause: removal.Cause, Party: boursev1.PartySupplier, Pod: removal.Pod,
		Since: metav1.NewTime(removal.Since), Until: metav1.NewTime(removal.Until), Message: removalMessage(removal),
	}
	if was == nil {
		return next
	}
	if ofPod(was) && (was.Cause != boursev1.NoticeDeleted || removal.Cause == boursev1.NoticeDeleted) {
		next.Cause, next.Pod, next.Message = was.Cause, was.Pod, was.Message
	}
	next.Since = was.Since
	if was.Until.Before(&next.Until) {
		next.Until = was.Until
	}
	return next
}

func removalMessage(removal *ray.Removal) string {
	switch removal.Cause {
	case boursev1.NoticePreempted:
		return "The supplier's scheduler gives the place of pod " + removal.Pod + " to the supplier's own work"
	case boursev1.NoticeEvicted:
		return "The supplier evicts pod " + removal.Pod + " from its node"
	case boursev1.NoticeTainted:
		return "The supplier put a taint on the node of pod " + removal.Pod
	default:
		return "Pod " + removal.Pod + " was deleted in the supplier's cluster"
	}
}

// ofPod says whether the notice is of a pod that is being removed, and not of what an admin has announced.
func ofPod(notice *boursev1.LeaseNotice) bool {
	return notice.Cause != boursev1.NoticeDrain && notice.Cause != boursev1.NoticeMaintenance
}

// announced is the next notice that the pool's admin has decided on, now or later; nil if there is none. A firm lease has none.
func (r *Reconciler) announced(ctx context.Context, lease *boursev1.GPULease) (*boursev1.LeaseNotice, error) {
	if firm(lease) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	var pool boursev1.GPUPool
	err := r.Local.Get(ctx, client.ObjectKey{Name: lease.Spec.Pool}, &pool)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // leases outlive their pool
	}
	if err != nil {
		return nil, fmt.Errorf("get pool: %w", err)
	}
	return announcement(&pool, time.Duration(lease.Spec.Terms.NoticeSeconds)*time.Second, r.Now()), nil
}

// announcement is the first notice that the pool has to give, of at least that length.
func announcement(pool *boursev1.GPUPool, length time.Duration, now time.Time) *boursev1.LeaseNotice {
	now = now.Add(time.Second - 1).Truncate(time.Second) // a notice is never shorter for being kept in whole seconds
	if pool.Spec.Mode == boursev1.PoolDrain {
		return &boursev1.LeaseNotice{
			Cause: boursev1.NoticeDrain, Party: boursev1.PartySupplier, Since: metav1.NewTime(now), Until: metav1.NewTime(now.Add(length)),
			Message: "The supplier drains pool " + pool.Name,
		}
	}
	var first *boursev1.LeaseNotice
	for _, window := range pool.Spec.Maintenance {
		since := window.Start.Add(-length)
		if since.Before(now) {
			since = now
		}
		if !now.Before(closes(window)) || first != nil && !since.Before(first.Since.Time) {
			continue
		}
		first = &boursev1.LeaseNotice{
			Cause: boursev1.NoticeMaintenance, Party: boursev1.PartySupplier,
			Since: metav1.NewTime(since), Until: metav1.NewTime(since.Add(length)),
			Message: fmt.Sprintf("Pool %s has maintenance from %s", pool.Name, moment(window.Start.Time)),
		}
	}
	return first
}

// closes is when a maintenance window ends.
func closes(window boursev1.MaintenanceWindow) time.Time {
	return window.Start.Add(time.Duration(window.DurationSeconds) * time.Second)
}

// noticeOver says whether the GPUs are gone, and since when. That a pod was deleted ends nothing by itself, since another one takes its
// place.
func (r *Reconciler) noticeOver(lease *boursev1.GPULease, state ray.State) (time.Time, bool) {
	notice := lease.Status.Notice
	if notice == nil || notice.Cause == boursev1.NoticeDeleted {
		return time.Time{}, false
	}
	ranOut := !r.Now().Before(notice.Until.Time)
	switch removal := state.Removed; {
	case !ofPod(notice):
		return notice.Until.Time, ranOut
	case removal == nil:
		return state.Since, true
	case !removal.Stopped.IsZero():
		return removal.Stopped, true
	default:
		return notice.Until.Time, ranOut && removal.Going
	}
}

// felled says whether a program failed because its pods were taken away.
func felled(lease *boursev1.GPULease, outcome ray.Outcome) bool {
	notice := lease.Status.Notice
	return notice != nil && ofPod(notice) && !outcome.Well && (outcome.At.IsZero() || !outcome.At.Before(notice.Since.Time))
}

// taken is how a lease ends whose GPUs the supplier takes.
func taken(lease *boursev1.GPULease) string {
	if firm(lease) {
		return boursev1.EndBreached
	}
	return boursev1.EndTakenBack
}

// endTaken ends a lease whose GPUs were taken at a moment, as far as that is known, with the notice that was given.
func (r *Reconciler) endTaken(lease *boursev1.GPULease, at time.Time) {
	notice := lease.Status.Notice
	until := notice.Until.Time
	if now := r.Now(); now.Before(until) {
		until = now
	}
	if at.IsZero() || at.After(until) {
		at = until
	}
	if at.Before(notice.Since.Time) {
		at = notice.Since.Time
	}
	given := int32(min(max(0, notice.Until.Sub(notice.Since.Time)), time.Hour) / time.Second)
	message := fmt.Sprintf("%s, after %d seconds of notice", notice.Message, given)
	if agreed := lease.Spec.Terms.NoticeSeconds; given < agreed {
		message += fmt.Sprintf(" instead of %d", agreed)
	}
	if firm(lease) {
		message += "; the lease is firm, so this is a breach"
	}
	r.end(lease, taken(lease), boursev1.PartySupplier, at, message)
	lease.Status.End.NoticeSeconds = &given
}

// notices brings a moment forward to when a notice begins or runs out.
func (r *Reconciler) notices(ctx context.Context, lease *boursev1.GPULease, next time.Time) (time.Time, error) {
	at := time.Time{}
	switch notice := lease.Status.Notice; {
	case notice != nil:
		at = notice.Until.Time
	case kube.IsTrue(lease, boursev1.LeaseFunded):
		coming, err := r.announced(ctx, lease)
		if err != nil {
			return time.Time{}, err
		}
		if coming != nil {
			at = coming.Since.Time
		}
	}
	if at.After(r.Now()) && at.Before(next) {
		return at, nil
	}
	return next, nil
}

// hurry lets no pod of a lease whose GPUs were taken stay for longer than the notice: each had it, and is not owed it again.
func (r *Reconciler) hurry(ctx context.Context, lease *boursev1.GPULease, state ray.State) error {
	notice, reason := lease.Status.Notice, lease.Status.End.Reason
	if notice == nil || reason != boursev1.EndTakenBack && reason != boursev1.EndBreached {
		return nil
	}
	left := max(leastGrace, notice.Until.Sub(r.Now()).Truncate(time.Second))
	for i := range state.Rays {
		pod := &state.Rays[i]
		if !pod.DeletionTimestamp.IsZero() && !pod.DeletionTimestamp.After(r.Now().Add(left+time.Second)) {
			continue
		}
		err := r.Local.Delete(ctx, pod, client.GracePeriodSeconds(left/time.Second), client.Preconditions{UID: &pod.UID})
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return fmt.Errorf("delete pod: %w", err)
		}
	}
	return nil
}

// moment is how messages name a time.
func moment(at time.Time) string { return at.UTC().Format(time.RFC3339) }
