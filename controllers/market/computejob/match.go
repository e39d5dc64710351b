// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/kube"
)

const (
	// rematchEvery is how often a job without an offer is tried again when no offer changes: capacity that was held for others
	// comes free without a sign.
	rematchEvery = 15 * time.Second
	// journalled is when a pass whose write is the news is run again; the watch brings it sooner.
	journalled = time.Second
	// Between two leases of one job that was refused, from first to most.
	firstBackoff = 5 * time.Second
	mostBackoff  = 5 * time.Minute
	doublings    = 6
)

// match decides which offer the job gets, and only writes that down: the lease is made in the next pass, so that a decision is
// never taken twice. A job that has a lease keeps it.
func (r *Reconciler) match(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if job.Status.Lease != nil || !kube.IsTrue(job, boursev1.JobAdmitted) {
		return reconcile.Result{}, nil
	}
	if assumed, ok := r.assumed.decided(job); ok {
		r.choose(job, assumed)
		return reconcile.Result{RequeueAfter: journalled}, nil
	}
	refused, err := r.lastRefusal(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	if wait := refused.until.Sub(r.Now()); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	offers, err := r.snapshot(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	wanted, err := demand(job, refused.offer)
	if err != nil {
		return reconcile.Result{}, err
	}
	decision := book.Match(&wanted, offers.book)
	if decision.Won == nil {
		noOffer(job, decision)
		return reconcile.Result{RequeueAfter: rematchEvery}, nil
	}
	before := job.ResourceVersion
	if err := kube.Hold(ctx, r.Hub, job, Finalizer); err != nil {
		return reconcile.Result{}, err
	}
	chosen := choice(job, offers.byName[decision.Won.Name], decision.Why)
	r.assumed.assume(job, []string{before, job.ResourceVersion}, chosen, r.Now().Add(acceptWithin))
	r.choose(job, chosen)
	return reconcile.Result{RequeueAfter: journalled}, nil
}

// chosen is a decision as the job's status holds it.
type chosen struct {
	lease   boursev1.ObjectReference
	offer   string
	model   boursev1.GPUModel
	price   boursev1.USDPrice
	attempt int32
	why     string
}

func choice(job *boursev1.ComputeJob, offer *boursev1.GPUOffer, why string) chosen {
	attempt := job.Status.Attempts + 1
	return chosen{
		lease:   boursev1.ObjectReference{Namespace: offer.Namespace, Name: leaseName(job, attempt)},
		offer:   offer.Name,
		model:   offer.Spec.Model,
		price:   offer.Spec.PriceUSD,
		attempt: attempt,
		why:     fmt.Sprintf("Offer %s of %s is %s", offer.Name, offer.Namespace, why),
	}
}

func (r *Reconciler) choose(job *boursev1.ComputeJob, c chosen) {
	job.Status.Lease = &c.lease
	job.Status.Offer = c.offer
	job.Status.Model = c.model
	job.Status.PriceUSD = c.price
	job.Status.Attempts = c.attempt
	kube.Waiting(job, boursev1.JobMatched, boursev1.ReasonLeasing, c.why)
	waiting(job, boursev1.ReasonAwaitingSupplier, awaitingSupplier)
}

// forget undoes a choice whose lease was never written or did not come about, so that the job is matched again.
func forget(job *boursev1.ComputeJob, message string) {
	job.Status.Lease = nil
	job.Status.Offer = ""
	job.Status.Model = ""
	job.Status.PriceUSD = ""
	kube.Waiting(job, boursev1.JobMatched, boursev1.ReasonRematching, message)
	waiting(job, boursev1.ReasonMatching, message)
}

func noOffer(job *boursev1.ComputeJob, decision book.Decision) {
	reason := boursev1.ReasonNoOfferFits
	if decision.Offers == 0 {
		reason = boursev1.ReasonNoOffers
	}
	kube.Waiting(job, boursev1.JobMatched, reason, decision.Explain())
	waiting(job, boursev1.ReasonMatching, decision.Explain())
}

// leaseName is the name of a job's n-th lease: at most 50 characters, fit for a namespace's name, and the same at each retry.
func leaseName(job *boursev1.ComputeJob, attempt int32) string {
	const most, digest = 41, 4
	stem := strings.ReplaceAll(job.Name, ".", "-")
	stem = strings.TrimRight(stem[:min(len(stem), most)], "-")
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", job.UID, attempt))
	return stem + "-" + hex.EncodeToString(sum[:digest])
}

// refusal is the job's newest lease that its supplier did not accept.
type refusal struct {
	offer string    // as the book names it; empty when there was none
	until time.Time // when the job may be matched again
}

func (r *Reconciler) lastRefusal(ctx context.Context, job *boursev1.ComputeJob) (refusal, error) {
	if job.Status.Attempts == 0 {
		return refusal{}, nil
	}
	leases, err := r.leasesOf(ctx, job)
	if err != nil {
		return refusal{}, err
	}
	var last refusal
	newest := leaseName(job, job.Status.Attempts)
	for i := range leases {
		if lease := &leases[i]; lease.Name == newest && refusedBySupplier(lease) {
			last = refusal{offer: lease.Namespace + "/" + lease.Spec.Offer, until: refusedAt(lease).Add(backoff(job.Status.Attempts))}
		}
	}
	return last, nil
}

func backoff(attempts int32) time.Duration {
	if attempts > doublings {
		return mostBackoff
	}
	return min(firstBackoff<<(attempts-1), mostBackoff)
}

func refusedAt(lease *boursev1.GPULease) time.Time {
	if lease.Status.End != nil {
		return lease.Status.End.At.Time
	}
	return lease.Spec.AcceptBy.Time
}

// logMatch tells the administrator of a match.
func logMatch(ctx context.Context, job *boursev1.ComputeJob) {
	ctrl.LoggerFrom(ctx).Info("Leased GPUs", "lease", job.Status.Lease.Namespace+"/"+job.Status.Lease.Name,
		"offer", job.Status.Offer, "model", job.Status.Model, "gpus", job.Status.GPUs, "priceUSD", job.Status.PriceUSD)
}
