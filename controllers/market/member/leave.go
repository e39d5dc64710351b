// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

const (
	// quiet is how long after it was told to leave a member is removed at the earliest: what was matched to it at that moment is seen by then.
	quiet = time.Minute
	// pollLeases is how often the leases of a member that leaves are looked at, beside the watches.
	pollLeases = 5 * time.Minute
)

// open are the leases that keep a member.
type open struct {
	supplied, bought int32
	until            time.Time // when the last of them is given up
	next             time.Time // when the first of them is
	earned           bool      // some lease of its GPUs may be named by Settlements
}

// leave ends what a member that leaves wants to end, waits until its leases are settled, and lets it go. Whoever stays has nothing of it.
func (r *Reconciler) leave(ctx context.Context, member *boursev1.Member) (reconcile.Result, error) {
	if member.Spec.Leave == nil {
		member.Status.Leaving = nil
		meta.RemoveStatusCondition(&member.Status.Conditions, boursev1.MemberSettled)
		return reconcile.Result{}, nil
	}
	if member.Spec.Leave.Mode == boursev1.LeaveAtOnce {
		if err := r.endAll(ctx, member); err != nil {
			return reconcile.Result{}, err
		}
	}
	found, err := r.open(ctx, r.Hub, member)
	if err != nil {
		return reconcile.Result{}, err
	}
	member.Status.Leaving = &boursev1.MemberLeaving{Supplied: &found.supplied, Bought: &found.bought}
	if found.supplied+found.bought > 0 {
		member.Status.Leaving.Until = new(metav1.NewTime(found.until))
		kube.Waiting(member, boursev1.MemberSettled, boursev1.ReasonLeasesOpen, "Leases are not settled yet, as status.leaving counts")
		return reconcile.Result{RequeueAfter: min(pollLeases, max(time.Second, found.next.Sub(r.Now())))}, nil
	}
	left := member.Spec.Leave.Since.Add(quiet).Sub(r.Now())
	if member.Spec.Leave.Mode == boursev1.LeaveUnseen { // after the market was away it may still come back
		left = max(left, r.seen.settlesIn(r.Now()))
	}
	if left > 0 {
		kube.Waiting(member, boursev1.MemberSettled, boursev1.ReasonLeasesOpen, "What was matched a moment ago is waited for")
		return reconcile.Result{RequeueAfter: left}, nil
	}
	return r.remove(ctx, member)
}

// remove lets a member go of which nothing is open. One that is suspended stays what it is, or leaving would undo that; and so does one that
// an admin made, who may remove it.
func (r *Reconciler) remove(ctx context.Context, member *boursev1.Member) (reconcile.Result, error) {
	found, err := r.open(ctx, r.Live, member) // the last look, since what is removed is gone
	if err != nil {
		return reconcile.Result{}, err
	}
	if found.supplied+found.bought > 0 {
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	if back, err := r.back(ctx, member); err != nil || back {
		return reconcile.Result{RequeueAfter: time.Second}, err
	}
	if member.Spec.State == boursev1.MemberSuspended || r.Access == nil {
		return r.keep(ctx, member)
	}
	if !kube.IsTrue(member, boursev1.MemberSettled) { // told before there is nobody to tell it of
		kube.True(member, boursev1.MemberSettled, boursev1.ReasonNothingOpen, "Nothing is open, and the member is being removed")
		return reconcile.Result{RequeueAfter: time.Second}, nil
	}
	if found.earned { // audits and reputations are made of such leases, so they stay, and with them their namespace
		if err := r.sweep(ctx, member, &boursev1.GPUOfferList{}, &boursev1.ComputeJobList{}, &boursev1.VoucherList{},
			&boursev1.StakePositionList{}, &boursev1.LeaseProgramList{}); err != nil {
			return reconcile.Result{}, err
		}
	}
	removed, err := r.Access.Remove(ctx, member, found.earned)
	if err != nil || removed {
		return reconcile.Result{}, err
	}
	return r.keep(ctx, member)
}

// back says whether the member stays after all, which the cache does not show yet: then nothing of it is deleted.
func (r *Reconciler) back(ctx context.Context, member *boursev1.Member) (bool, error) {
	now := &boursev1.Member{}
	err := r.Live.Get(ctx, client.ObjectKeyFromObject(member), now)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("get member: %w", err)
	}
	return err == nil && now.Spec.Leave == nil, nil
}

// keep leaves nothing of the member in the market but itself.
func (r *Reconciler) keep(ctx context.Context, member *boursev1.Member) (reconcile.Result, error) {
	if err := r.sweep(ctx, member, &boursev1.GPUOfferList{}); err != nil {
		return reconcile.Result{}, err
	}
	kube.True(member, boursev1.MemberSettled, boursev1.ReasonKept, "Nothing is open; the market's admin may remove the member")
	return reconcile.Result{}, nil
}

// sweep deletes what the member has of some kinds, not all of which are kept in memory.
func (r *Reconciler) sweep(ctx context.Context, member *boursev1.Member, kinds ...client.ObjectList) error {
	for _, list := range kinds {
		if err := r.Live.List(ctx, list, client.InNamespace(member.Namespace)); err != nil {
			return fmt.Errorf("list what is left: %w", err)
		}
		err := meta.EachListItem(list, func(item runtime.Object) error {
			object, ok := item.(client.Object)
			if !ok || !object.GetDeletionTimestamp().IsZero() {
				return nil
			}
			return client.IgnoreNotFound(r.Hub.Delete(ctx, object))
		})
		if err != nil {
			return fmt.Errorf("delete what is left: %w", err)
		}
	}
	return nil
}

// endAll deletes the member's jobs, whose leases then end as the buyer's own wish, and ends the leases of its GPUs as its own fault.
func (r *Reconciler) endAll(ctx context.Context, member *boursev1.Member) error {
	var jobs boursev1.ComputeJobList
	if err := r.Hub.List(ctx, &jobs, client.InNamespace(member.Namespace)); err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	for i := range jobs.Items {
		job := &jobs.Items[i]
		if !job.DeletionTimestamp.IsZero() || listing.Ended(job) {
			continue
		}
		if err := r.Hub.Delete(ctx, job); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("delete job: %w", err)
		}
	}
	var leases boursev1.GPULeaseList
	if err := r.Hub.List(ctx, &leases, client.InNamespace(member.Namespace)); err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	for i := range leases.Items {
		if lease := &leases.Items[i]; listing.Open(lease) {
			if err := r.end(ctx, lease); err != nil {
				return err
			}
		}
	}
	return nil
}

// end tells the supplier to release the lease. A conflict is no error: what changed in the lease brings its member back.
func (r *Reconciler) end(ctx context.Context, lease *boursev1.GPULease) error {
	next := lease.DeepCopy()
	next.Spec.State, next.Spec.EndReason = boursev1.LeaseEnded, boursev1.EndSupplierLeft
	err := r.Hub.Patch(ctx, next, client.MergeFromWithOptions(lease, client.MergeFromWithOptimisticLock{}))
	if err != nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
		return fmt.Errorf("end lease: %w", err)
	}
	return nil
}

// open counts the leases that keep the member: those of its GPUs and those of its jobs that are not settled.
func (r *Reconciler) open(ctx context.Context, from client.Reader, member *boursev1.Member) (open, error) {
	var supplied, bought boursev1.GPULeaseList
	if err := from.List(ctx, &supplied, client.InNamespace(member.Namespace)); err != nil {
		return open{}, fmt.Errorf("list leases: %w", err)
	}
	if err := from.List(ctx, &bought, client.MatchingFields{byBuyer: string(member.Spec.Wallet)}); err != nil {
		return open{}, fmt.Errorf("list leases of buyer: %w", err)
	}
	count, closed := open{}, map[string]map[string]bool{}
	for _, side := range []struct {
		leases []boursev1.GPULease
		into   *int32
		own    func(lease *boursev1.GPULease) bool
	}{
		{supplied.Items, &count.supplied, func(*boursev1.GPULease) bool { return true }},
		{bought.Items, &count.bought, func(lease *boursev1.GPULease) bool {
			return lease.Spec.Job.Namespace == member.Namespace && lease.Namespace != member.Namespace
		}},
	} {
		for i := range side.leases {
			lease := &side.leases[i]
			if !side.own(lease) {
				continue
			}
			if closed[lease.Namespace] == nil {
				var err error
				if closed[lease.Namespace], err = r.closedIn(ctx, lease.Namespace); err != nil {
					return open{}, err
				}
			}
			if side.into == &count.supplied && !listing.Worthless(lease) {
				count.earned = true
			}
			if !listing.Settled(lease, closed[lease.Namespace][lease.Name], r.Now()) {
				*side.into++
				count.add(listing.GivenUp(lease))
			}
		}
	}
	return count, nil
}

// add takes in when one lease is given up.
func (o *open) add(at time.Time) {
	if at.After(o.until) {
		o.until = at
	}
	if o.next.IsZero() || at.Before(o.next) {
		o.next = at
	}
}

// closedIn names the leases of a supplier that a Settlement closed.
func (r *Reconciler) closedIn(ctx context.Context, namespace string) (map[string]bool, error) {
	var refunds boursev1.SettlementList
	if err := r.Hub.List(ctx, &refunds, client.InNamespace(boursev1.PublicNamespace),
		client.MatchingFields{byClosed: namespace}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list settlements: %w", err)
	}
	closed := make(map[string]bool, len(refunds.Items))
	for i := range refunds.Items {
		closed[refunds.Items[i].Spec.Lease.Name] = true
	}
	return closed, nil
}

// leaver is the member whose job it is about, if that one leaves.
func (r *Reconciler) leaver(ctx context.Context, obj client.Object) []reconcile.Request {
	namespace := ""
	switch of := obj.(type) {
	case *boursev1.GPULease:
		namespace = of.Spec.Job.Namespace
	case *boursev1.Settlement:
		namespace = of.Spec.Job.Namespace
	}
	var member boursev1.Member
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: boursev1.MemberName}, &member)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not find the member whose lease it is")
		return nil
	}
	if member.Spec.Leave == nil {
		return nil
	}
	return memberOf(namespace)
}

func buyerOf(obj client.Object) []string {
	lease, ok := obj.(*boursev1.GPULease)
	if !ok {
		return nil
	}
	return []string{string(lease.Spec.Buyer)}
}
