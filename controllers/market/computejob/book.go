// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// sync brings the book up to date with the caches: at first with all of them, later with what the feed says has changed. Whoever calls it owns
// the book, as with all here that changes it.
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
		if job := &jobs.Items[i]; job.Status.Lease != nil && !kube.IsTrue(job, boursev1.JobMatched) && !listing.Ended(job) {
			r.promise(job, listing.Parts(job))
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

// listed is what an offer says to the book, with what the market holds of its supplier.
func (r *Reconciler) listed(ctx context.Context, offer *boursev1.GPUOffer) (book.Offer, error) {
	member, err := r.member(ctx, offer.Namespace)
	if err != nil {
		return book.Offer{}, err
	}
	market, err := r.market(ctx)
	if err != nil {
		return book.Offer{}, err
	}
	var stake *boursev1.StakePosition
	if market != nil && market.Spec.Stake != nil {
		if stake, err = r.stake(ctx, offer.Namespace); err != nil {
			return book.Offer{}, err
		}
	}
	return listing.Offer(offer, listing.SupplierOf(member, stake, market))
}

// enter puts an offer into the book; one that cannot be read has no place there.
func (r *Reconciler) enter(ctx context.Context, offer *boursev1.GPUOffer) {
	entry, err := r.listed(ctx, offer)
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
	if !listing.Open(lease) {
		r.book.Release(key)
		return
	}
	promises, until := listing.Held(lease)
	r.book.Promise(key, promises, until)
}

// promise keeps what was chosen for a job until the caches show its leases.
func (r *Reconciler) promise(job *boursev1.ComputeJob, parts []boursev1.JobPart) {
	for i := range parts {
		r.book.Promise(nameOf(keyOf(&parts[i].Lease)), listing.Chosen(job, &parts[i]), r.Now().Add(listing.AcceptWithin))
	}
}

// remembered returns what was chosen for the job on this very version of it. What was chosen on an older one and never written is given back.
func (r *Reconciler) remembered(job *boursev1.ComputeJob) (c chosen, stands bool) {
	r.owner.Lock()
	defer r.owner.Unlock()
	c, stands, known := r.assumed.decided(job)
	if known && !stands {
		r.letGo(c.parts)
	}
	return c, stands
}

// assume remembers what was chosen for a job on these versions of it.
func (r *Reconciler) assume(job *boursev1.ComputeJob, versions []string, c *chosen) {
	r.owner.Lock()
	defer r.owner.Unlock()
	r.assumed.assume(job, versions, *c, r.Now())
}

// unpromise forgets what was chosen for a job that will not get it.
func (r *Reconciler) unpromise(job *boursev1.ComputeJob) {
	r.owner.Lock()
	defer r.owner.Unlock()
	r.assumed.drop(job)
	r.letGo(listing.Parts(job))
}

// giveBack gives back what is kept for leases that will not be made.
func (r *Reconciler) giveBack(parts []boursev1.JobPart) {
	r.owner.Lock()
	defer r.owner.Unlock()
	r.letGo(parts)
}

// letGo takes out of the book what is kept for leases that were not made. A lease that has its name nevertheless keeps what it holds: it is
// read again.
func (r *Reconciler) letGo(parts []boursev1.JobPart) {
	for i := range parts {
		lease := keyOf(&parts[i].Lease)
		if r.book != nil {
			r.book.Release(nameOf(lease))
		}
		r.feed.lease(lease)
	}
}

// counts says whether jobs may be matched to the offer now.
func counts(offer *boursev1.GPUOffer, now time.Time) bool {
	return listing.Stands(offer) && offer.Spec.ValidUntil.After(now)
}

func nameOf(key types.NamespacedName) string { return key.Namespace + "/" + key.Name }
