// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

const (
	// rematchEvery is how often a job without an offer is tried again when no offer changes that can serve it: what was held for others
	// comes free without a sign, and what the job is told of the offers that do not fit is kept true.
	rematchEvery = 15 * time.Second
	// journalled is when a pass whose write is the news is run again; the watch brings it sooner.
	journalled = time.Second
	// Between two leases of one job that was refused, from first to most.
	firstBackoff = 5 * time.Second
	mostBackoff  = 5 * time.Minute
	doublings    = 6
)

// match decides which offers the job gets, and only writes that down: the leases are made in the next pass, so that a decision is
// never taken twice. A job that has a lease keeps it.
func (r *Reconciler) match(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if job.Status.Lease != nil || !kube.IsTrue(job, boursev1.JobAdmitted) {
		return reconcile.Result{}, nil
	}
	if assumed, stands := r.remembered(job); stands {
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
	wanted, err := r.demand(ctx, job, refused.offers)
	if err != nil {
		return reconcile.Result{}, err
	}
	found, wait, err := r.decide(ctx, job, &wanted)
	if err != nil {
		return reconcile.Result{}, err
	}
	if found == nil {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	return r.take(ctx, job, found)
}

// demand is what the job asks of the book now.
func (r *Reconciler) demand(ctx context.Context, job *boursev1.ComputeJob, refused []string) (book.Demand, error) {
	buyer, err := r.member(ctx, job.Namespace)
	if err != nil {
		return book.Demand{}, err
	}
	if buyer == nil { // it was admitted, and is not any more: only offers for anybody fit, and none is placed
		buyer = &boursev1.Member{}
	}
	return listing.Demand(job, buyer.Spec.Wallet, refused, listing.RoundUp(r.Now()))
}

// decide finds the job its offers, and keeps their GPUs before another job is decided on; or it says when the job is tried again.
func (r *Reconciler) decide(ctx context.Context, job *boursev1.ComputeJob, wanted *book.Demand) (*chosen, time.Duration, error) {
	r.owner.Lock()
	defer r.owner.Unlock()
	if err := r.sync(ctx); err != nil {
		return nil, 0, err
	}
	r.fills = r.book.Match(wanted, r.fills)
	if len(r.fills) == 0 {
		return nil, r.keepWaiting(job, wanted), nil
	}
	r.feed.leave(client.ObjectKeyFromObject(job))
	decision := r.book.Judge(wanted)
	if !slices.Equal(decision.Fills, r.fills) {
		return nil, 0, fmt.Errorf("match job: the book finds %s and judges otherwise: %s", r.fills[0].Offer.Name, decision.Explain())
	}
	record := decision.Record(r.book.Digest())
	offers := make([]boursev1.GPUOffer, len(r.fills))
	for i := range r.fills {
		current, err := r.standing(ctx, r.fills[i].Offer, &offers[i])
		if err != nil {
			return nil, 0, err
		}
		if !current {
			return nil, journalled, nil
		}
	}
	found := choice(job, offers, &decision, &record)
	r.promise(job, found.parts)
	return &found, 0, nil
}

// keepWaiting tells a job why no offer fits, and says when it is tried again. While neither the book nor its bid has changed, the answer has
// not either.
func (r *Reconciler) keepWaiting(job *boursev1.ComputeJob, wanted *book.Demand) time.Duration {
	key, version := client.ObjectKeyFromObject(job), r.book.Version()
	if !r.feed.tried(key, wanted, version) || !told(job) {
		decision := r.book.Judge(wanted)
		noOffer(job, &decision)
	}
	wait := r.feed.wait(key, wanted, version)
	if next, rises := listing.NextRise(job, wanted.At); rises {
		wait = min(wait, next)
	}
	return wait
}

// told says whether the job as it is now was told why no offer fits.
func told(job *boursev1.ComputeJob) bool {
	matched := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMatched)
	return matched != nil && matched.ObservedGeneration == job.Generation &&
		(matched.Reason == boursev1.ReasonNoOfferFits || matched.Reason == boursev1.ReasonNoOffers)
}

// take writes down what was found for the job. What cannot be written is given back.
func (r *Reconciler) take(ctx context.Context, job *boursev1.ComputeJob, found *chosen) (reconcile.Result, error) {
	before := job.ResourceVersion
	if err := kube.Hold(ctx, r.Hub, job, Finalizer); err != nil {
		r.giveBack(found.parts)
		return reconcile.Result{}, err
	}
	r.assume(job, []string{before, job.ResourceVersion}, found)
	r.choose(job, *found)
	return reconcile.Result{RequeueAfter: journalled}, nil
}

// standing reads an offer that the book gives, and says whether it asks what the book holds of it. If it does not, the book is about to hear
// of it.
func (r *Reconciler) standing(ctx context.Context, won *book.Offer, offer *boursev1.GPUOffer) (bool, error) {
	namespace, name, _ := strings.Cut(won.Name, "/")
	if err := r.Hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, offer); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("get offer: %w", err)
	}
	if entry, err := r.listed(ctx, offer); err != nil || entry.Price != won.Price {
		r.feed.offer(client.ObjectKey{Namespace: namespace, Name: name})
		return false, nil //nolint:nilerr // the book logs what it leaves out
	}
	return true, nil
}

// chosen is a decision as the job's status holds it.
type chosen struct {
	parts    []boursev1.JobPart // one, unless the job is split
	model    boursev1.GPUModel
	attempt  int32
	salt     boursev1.Salt
	decision *boursev1.JobDecision
	why      string
}

// choice is the decision on a job, whose offers are those of the decision's fills.
func choice(job *boursev1.ComputeJob, offers []boursev1.GPUOffer, decision *book.Decision, record *book.Record) chosen {
	first := &offers[0]
	c := chosen{
		model:    first.Spec.Model,
		attempt:  job.Status.Attempts + 1,
		salt:     boursev1.Salt(rand.Text()),
		decision: listing.Decision(record),
		why:      fmt.Sprintf("Offer %s of %s is %s", first.Name, first.Namespace, decision.Explain()),
	}
	for i := range offers {
		c.parts = append(c.parts, boursev1.JobPart{
			Lease:    boursev1.ObjectReference{Namespace: offers[i].Namespace, Name: listing.LeaseName(job, c.attempt, i)},
			Offer:    offers[i].Name,
			Workers:  int32(decision.Fills[i].Workers), //nolint:gosec // at most the job's
			PriceUSD: offers[i].Spec.PriceUSD,
			Score:    record.Winners[i].Score.String(),
		})
	}
	return c
}

func (r *Reconciler) choose(job *boursev1.ComputeJob, c chosen) {
	first := c.parts[0]
	job.Status.Lease = &first.Lease
	job.Status.Offer = first.Offer
	job.Status.Model = c.model
	job.Status.PriceUSD = first.PriceUSD
	if len(c.parts) > 1 {
		job.Status.Parts = slices.Clone(c.parts)
	}
	job.Status.Attempts = c.attempt
	job.Status.ProgramSalt = c.salt
	job.Status.Decision = c.decision
	kube.Waiting(job, boursev1.JobMatched, boursev1.ReasonLeasing, c.why)
	waiting(job, boursev1.ReasonAwaitingSupplier, awaitingSupplier)
}

// forget undoes a choice whose leases were not all written or did not come about, so that the job is matched again.
func forget(job *boursev1.ComputeJob, message string) {
	job.Status.Lease = nil
	job.Status.Parts = nil
	job.Status.Offer = ""
	job.Status.Model = ""
	job.Status.PriceUSD = ""
	job.Status.ProgramSalt = ""
	job.Status.Decision = nil
	kube.Waiting(job, boursev1.JobMatched, boursev1.ReasonRematching, message)
	waiting(job, boursev1.ReasonMatching, message)
}

func noOffer(job *boursev1.ComputeJob, decision *book.Decision) {
	reason := boursev1.ReasonNoOfferFits
	if decision.Empty() {
		reason = boursev1.ReasonNoOffers
	}
	kube.Waiting(job, boursev1.JobMatched, reason, decision.Explain())
	waiting(job, boursev1.ReasonMatching, decision.Explain())
}

// refusal is who did not accept in the job's newest attempt.
type refusal struct {
	offers []string  // as the book names them; none when nobody refused
	until  time.Time // when the job may be matched again
}

func (r *Reconciler) lastRefusal(ctx context.Context, job *boursev1.ComputeJob) (refusal, error) {
	if job.Status.Attempts == 0 {
		return refusal{}, nil
	}
	leases, err := r.leasesOf(ctx, job)
	if err != nil {
		return refusal{}, err
	}
	refused := listing.RefusedIn(job, job.Status.Attempts, leases)
	last := refusal{offers: listing.OffersOf(refused)}
	for _, lease := range refused {
		if until := refusedAt(lease).Add(backoff(job.Status.Attempts)); until.After(last.until) {
			last.until = until
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

// refusedAt is when a lease was refused. The supplier says so, by its own clock, and cannot say a moment at which there was no lease to refuse:
// the job would be matched again at once, or never.
func refusedAt(lease *boursev1.GPULease) time.Time {
	first, last := lease.CreationTimestamp.Time, lease.Spec.AcceptBy.Add(acceptGrace)
	switch end := lease.Status.End; {
	case end == nil:
		return lease.Spec.AcceptBy.Time
	case end.At.Before(&lease.CreationTimestamp):
		return first
	case end.At.After(last):
		return last
	default:
		return end.At.Time
	}
}

// logMatch tells the administrator of a match.
func logMatch(ctx context.Context, lease *boursev1.GPULease) {
	ctrl.LoggerFrom(ctx).Info("Leased GPUs", "lease", listing.NameOf(lease), "offer", lease.Spec.Offer, "model", lease.Spec.Model,
		"gpus", lease.Spec.Workers*lease.Spec.PerWorker, "priceUSD", lease.Spec.Payment.PriceUSD)
}
