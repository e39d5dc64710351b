// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/kube"
)

// republished is how long after a lease's acceptance its GPUs still count against the offer: by then the supplier has published
// the offer without them. If it has not, the next lease on them is refused and tried again, and nothing is sold twice.
const republished = 10 * time.Second

// sync brings the book up to date with the caches: at first with all of them, later with what the feed says has changed.
func (r *Reconciler) sync(ctx context.Context) error {
	if r.book == nil {
		return r.rebuild(ctx)
	}
	offers, leases := r.feed.take()
	for i, key := range offers {
		if err := r.syncOffer(ctx, key); err != nil {
			r.again(offers[i:], leases)
			return err
		}
	}
	for i, key := range leases {
		if err := r.syncLease(ctx, key); err != nil {
			r.again(nil, leases[i:])
			return err
		}
	}
	return nil
}

// again leaves what could not be read to the next pass.
func (r *Reconciler) again(offers, leases []types.NamespacedName) {
	for _, key := range offers {
		r.feed.offer(key)
	}
	for _, key := range leases {
		r.feed.lease(key)
	}
}

// rebuild makes the book anew: offers, what leases hold of them, and what was chosen for jobs whose lease is not made yet.
func (r *Reconciler) rebuild(ctx context.Context) error {
	r.feed.take() // what changed until now is in the caches
	var offers boursev1.GPUOfferList
	if err := r.Hub.List(ctx, &offers); err != nil {
		return fmt.Errorf("list offers: %w", err)
	}
	var jobs boursev1.ComputeJobList
	if err := r.Hub.List(ctx, &jobs); err != nil {
		return fmt.Errorf("list jobs: %w", err)
	}
	var leases boursev1.GPULeaseList
	if err := r.Hub.List(ctx, &leases, client.MatchingFields{byOpen: picked}); err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	r.book = book.New()
	for i := range offers.Items {
		r.enter(ctx, &offers.Items[i])
	}
	for i := range jobs.Items {
		if job := &jobs.Items[i]; job.Status.Lease != nil && !kube.IsTrue(job, boursev1.JobMatched) && !ended(job) {
			r.promise(job, choiceOf(job))
		}
	}
	for i := range leases.Items {
		r.hold(&leases.Items[i])
	}
	return nil
}

func (r *Reconciler) syncOffer(ctx context.Context, key types.NamespacedName) error {
	var offer boursev1.GPUOffer
	err := r.Hub.Get(ctx, key, &offer)
	if apierrors.IsNotFound(err) {
		r.book.Remove(nameOf(key))
		return nil
	}
	if err != nil {
		return fmt.Errorf("get offer: %w", err)
	}
	r.enter(ctx, &offer)
	return nil
}

// enter puts an offer into the book; one that cannot be read has no place there.
func (r *Reconciler) enter(ctx context.Context, offer *boursev1.GPUOffer) {
	entry, err := bookOffer(offer)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Left an offer out of the book", "offer", offer.Namespace+"/"+offer.Name)
		r.book.Remove(offer.Namespace + "/" + offer.Name)
		return
	}
	r.book.Upsert(entry)
}

func (r *Reconciler) syncLease(ctx context.Context, key types.NamespacedName) error {
	var lease boursev1.GPULease
	err := r.Hub.Get(ctx, key, &lease)
	if apierrors.IsNotFound(err) {
		r.book.Release(nameOf(key))
		return nil
	}
	if err != nil {
		return fmt.Errorf("get lease: %w", err)
	}
	r.hold(&lease)
	return nil
}

// hold keeps for a lease what may still be in its offer's published numbers: until it is accepted, and a moment longer.
func (r *Reconciler) hold(lease *boursev1.GPULease) {
	key := nameOf(client.ObjectKeyFromObject(lease))
	if !open(lease) {
		r.book.Release(key)
		return
	}
	var until time.Time // none, before it is accepted
	if accepted := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseAccepted); kube.IsTrue(lease, boursev1.LeaseAccepted) {
		until = accepted.LastTransitionTime.Add(republished)
	}
	r.book.Promise(key, []book.Promise{{
		Offer: lease.Namespace + "/" + lease.Spec.Offer,
		Gang:  book.Gang{Workers: int(lease.Spec.Workers), PerWorker: int(lease.Spec.PerWorker)},
	}}, until)
}

// promise keeps what was chosen for a job until the caches show its lease.
func (r *Reconciler) promise(job *boursev1.ComputeJob, c chosen) {
	r.book.Promise(nameOf(keyOf(&c.lease)), []book.Promise{{
		Offer: c.lease.Namespace + "/" + c.offer,
		Gang:  book.Gang{Workers: int(job.Spec.GPUs.Workers), PerWorker: int(job.Spec.GPUs.PerWorker)},
	}}, r.Now().Add(acceptWithin))
}

// unpromise forgets what was chosen for a job that will not get it.
func (r *Reconciler) unpromise(job *boursev1.ComputeJob) {
	r.assumed.drop(job)
	if job.Status.Lease != nil {
		r.giveBack(keyOf(job.Status.Lease))
	}
}

// giveBack gives back what is kept for a lease that was not made. A lease that has its name nevertheless keeps what it holds: it is read
// again.
func (r *Reconciler) giveBack(lease types.NamespacedName) {
	if r.book != nil {
		r.book.Release(nameOf(lease))
	}
	r.feed.lease(lease)
}

// counts says whether jobs may be matched to the offer now.
func counts(offer *boursev1.GPUOffer, now time.Time) bool {
	return stands(offer) && offer.Spec.ValidUntil.After(now)
}

// stands says whether jobs may be matched to the offer while it is valid.
func stands(offer *boursev1.GPUOffer) bool {
	return kube.IsTrue(offer, boursev1.Ready) && offer.DeletionTimestamp.IsZero()
}

func nameOf(key types.NamespacedName) string { return key.Namespace + "/" + key.Name }
