// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/money"
)

// follows says whether the lease is a part of a job whose first part signs the deposits of all.
func follows(lease *boursev1.GPULease) bool {
	return lease.Spec.Part != nil && number(lease.Spec.Part.Index) > 0
}

// approved returns the leases whose escrows are opened together with the lease's, itself first: those of all parts of its job. It returns a
// refusal unless each is what the job asked for and all are the whole job, and none while one of them does not want its deposit yet.
func (r *Reconciler) approved(ctx context.Context, lease *boursev1.GPULease) ([]*boursev1.GPULease, error) {
	job, err := r.job(ctx, lease)
	if err != nil {
		return nil, err
	}
	leases, err := r.together(ctx, lease, job)
	if err != nil {
		return nil, err
	}
	for _, one := range leases {
		if !r.wantsDeposit(one) {
			return nil, nil
		}
	}
	for i, one := range leases {
		err := r.approve(ctx, one, job)
		if why, ok := errors.AsType[refusal](err); ok && len(leases) > 1 {
			return nil, refuse("part %d of %d: %s", i+1, len(leases), strings.TrimPrefix(why.Error(), refusedPrefix))
		}
		if err != nil {
			return nil, err
		}
	}
	return leases, r.approveSum(ctx, leases, job)
}

// together returns the leases of all parts of the job, none while one of them is not here yet, or a refusal if they are not what the job
// names.
func (r *Reconciler) together(ctx context.Context, lease *boursev1.GPULease, job *boursev1.ComputeJob) ([]*boursev1.GPULease, error) {
	if lease.Spec.Part == nil {
		if job.Status.Lease == nil || *job.Status.Lease != refOf(lease) || len(job.Status.Parts) > 0 {
			return nil, refuse("the job has another lease")
		}
		return []*boursev1.GPULease{lease}, nil
	}
	leases := make([]*boursev1.GPULease, 0, len(job.Status.Parts))
	for i, part := range job.Status.Parts {
		one := &boursev1.GPULease{}
		err := r.Hub.Get(ctx, types.NamespacedName{Namespace: part.Lease.Namespace, Name: part.Lease.Name}, one)
		if apierrors.IsNotFound(err) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("get lease of part %d: %w", i, err)
		}
		leases = append(leases, one)
	}
	return leases, checkParts(lease, leases, job)
}

// checkParts refuses leases that are not all parts of the one job, each once, or that have more or fewer workers than it asks for.
func checkParts(lease *boursev1.GPULease, leases []*boursev1.GPULease, job *boursev1.ComputeJob) error {
	if len(leases) < 2 || refOf(leases[0]) != refOf(lease) || len(leases) > boursev1.MaxParts {
		return refuse("the job has other parts")
	}
	var workers int32
	for i := range leases {
		if err := checkPart(leases, i); err != nil {
			return err
		}
		workers += leases[i].Spec.Workers
	}
	if workers != job.Spec.GPUs.Workers || job.Spec.Placement.Split != boursev1.SplitAcrossPools {
		return refuse("the parts have %d workers, and the job asks for %d, split: %s", workers, job.Spec.GPUs.Workers, job.Spec.Placement.Split)
	}
	return nil
}

// checkPart refuses a lease that is not the part of that place.
func checkPart(leases []*boursev1.GPULease, at int) error {
	spec, first := &leases[at].Spec, &leases[0].Spec
	twice := slices.ContainsFunc(leases[:at], func(other *boursev1.GPULease) bool { return other.Spec.Escrow.ID == spec.Escrow.ID })
	switch {
	case spec.Part == nil || int(number(spec.Part.Index)) != at || int(spec.Part.Of) != len(leases):
		return refuse("the lease of part %d of %d is of another part", at+1, len(leases))
	case twice:
		return refuse("the lease of part %d of %d is there twice", at+1, len(leases))
	case spec.Job != first.Job:
		return refuse("the lease of part %d of %d is of another job", at+1, len(leases))
	case spec.Buyer != first.Buyer:
		return refuse("the lease of part %d of %d is another buyer's", at+1, len(leases))
	case spec.Model != first.Model:
		return refuse("the parts are of different models")
	case spec.Payment.Market != first.Payment.Market:
		return refuse("the parts are of different markets")
	}
	return nil
}

// approveSum compares the deposits of all parts together with the budget.
func (r *Reconciler) approveSum(ctx context.Context, leases []*boursev1.GPULease, job *boursev1.ComputeJob) error {
	if len(leases) < 2 {
		return nil
	}
	market, err := r.market(ctx, leases[0])
	if err != nil {
		return err
	}
	token := tokenOf(market, job.Spec.Bid.Token)
	if token == nil {
		return refuse("the market does not take %s", job.Spec.Bid.Token)
	}
	paidIn, err := contract.Token(&leases[0].Spec.Payment)
	if err != nil {
		return refuse("%s", err)
	}
	_, budget, err := bid(job, token, paidIn)
	if err != nil {
		return err
	}
	var sum money.Amount
	for _, lease := range leases {
		terms, err := contract.Meter(lease)
		if err != nil {
			return refuse("%s", err)
		}
		if sum, err = sum.Add(terms.Deposit); err != nil {
			return refuse("%s", err)
		}
	}
	if sum > budget {
		return refuse("the deposits of all parts are %s, and the budget is worth %s", paidIn.Format(sum), paidIn.Format(budget))
	}
	return nil
}

// copyDeposit takes over the transaction that the first part's voucher has written down, so that whoever asks about this lease sees that its
// deposit is on its way, and the same bytes are sent if the other voucher is lost. It never signs one of its own.
func (r *Reconciler) copyDeposit(ctx context.Context, lease *boursev1.GPULease, voucher *boursev1.Voucher) (reconcile.Result, error) {
	lead, err := r.lead(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if lead == nil {
		return reconcile.Result{RequeueAfter: r.lookSoon(lease)}, nil
	}
	signed := lead.Spec.Deposit
	if !in(signed, boursev1.TransactionSigned) {
		return reconcile.Result{RequeueAfter: r.lookSoon(lease)}, nil
	}
	if own := voucher.Spec.Deposit; own != nil && own.Signature == signed.Signature {
		return reconcile.Result{RequeueAfter: drive}, nil // this voucher knows its end already
	}
	voucher.Spec.Deposit = signed.DeepCopy()
	voucher.Spec.DepositedAt = lead.Spec.DepositedAt.DeepCopy()
	decline(voucher, "")
	return reconcile.Result{RequeueAfter: drive}, nil
}

// lookSoon is how long it is until a part is looked at again whose deposit is not written down.
func (r *Reconciler) lookSoon(lease *boursev1.GPULease) time.Duration {
	if r.wantsDeposit(lease) {
		return retry
	}
	return r.lookAgain(lease)
}

// lead returns the voucher of the first part of the lease's job; nil while there is none.
func (r *Reconciler) lead(ctx context.Context, lease *boursev1.GPULease) (*boursev1.Voucher, error) {
	parts, err := r.partsOf(ctx, lease)
	if err != nil || len(parts) == 0 {
		return nil, err
	}
	var voucher boursev1.Voucher
	err = r.Hub.Get(ctx, types.NamespacedName{Namespace: lease.Spec.Job.Namespace, Name: parts[0].Lease.Name}, &voucher)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get voucher of the first part: %w", err)
	}
	if voucher.Spec.Lease != parts[0].Lease { // an empty one is of none
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	return &voucher, nil
}

// partsOf returns the parts of the lease's job, the lease among them; none if the job is gone, or has other leases by now.
func (r *Reconciler) partsOf(ctx context.Context, lease *boursev1.GPULease) ([]boursev1.JobPart, error) {
	if lease.Spec.Part == nil {
		return nil, nil
	}
	var job boursev1.ComputeJob
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: lease.Spec.Job.Namespace, Name: lease.Spec.Job.Name}, &job)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get job: %w", err)
	}
	at := int(number(lease.Spec.Part.Index))
	if string(job.UID) != lease.Spec.Job.UID || at >= len(job.Status.Parts) || job.Status.Parts[at].Lease != refOf(lease) {
		return nil, nil
	}
	return job.Status.Parts, nil
}

func refOf(lease *boursev1.GPULease) boursev1.ObjectReference {
	return boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}
}
