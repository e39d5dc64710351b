// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// admit says whether the market can serve the job at all. A job that has a lease was admitted under that lease's terms.
func (r *Reconciler) admit(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if job.Status.Lease != nil {
		return reconcile.Result{}, nil
	}
	job.Status.GPUs = listing.GPUs(job)
	buyer, err := r.member(ctx, job.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	if buyer == nil {
		message := "The job's namespace has no admitted Member"
		kube.Failed(job, boursev1.JobAdmitted, boursev1.ReasonBuyerNotMember, message)
		waiting(job, boursev1.ReasonBuyerNotMember, message)
		return reconcile.Result{}, nil
	}
	market, err := r.market(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if market == nil {
		message := "The hub has no Market that is ready"
		kube.Waiting(job, boursev1.JobAdmitted, boursev1.ReasonNoMarket, message)
		waiting(job, boursev1.ReasonNoMarket, message)
		return reconcile.Result{}, nil
	}
	return r.admitTerms(job, market)
}

// admitTerms says whether the job's own terms make sense in the market.
func (r *Reconciler) admitTerms(job *boursev1.ComputeJob, market *boursev1.Market) (reconcile.Result, error) {
	token := listing.Token(market, job.Spec.Bid.Token)
	if token == nil {
		reject(job, boursev1.ReasonTokenUnknown, fmt.Sprintf("The market does not take %s", job.Spec.Bid.Token))
		return reconcile.Result{}, nil
	}
	most, err := listing.QuoteFor(job, job.Spec.GPUs.Workers, market, token, job.Spec.Bid.MaxPriceUSD)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("price job: %w", err)
	}
	if most.Deposit > most.Budget {
		reject(job, boursev1.ReasonBudgetTooSmall, fmt.Sprintf("At its highest price the job needs a deposit of %s, and its budget is worth %s",
			most.Token.Format(most.Deposit), most.Token.Format(most.Budget)))
		return reconcile.Result{}, nil
	}
	kube.True(job, boursev1.JobAdmitted, boursev1.ReasonJobAdmitted, "The market can serve the job")
	return reconcile.Result{}, nil
}

// reject says that the job cannot be served until its buyer edits it.
func reject(job *boursev1.ComputeJob, reason, message string) {
	kube.Failed(job, boursev1.JobAdmitted, reason, message)
	kube.Failed(job, boursev1.Succeeded, boursev1.ReasonRejected, message)
}
