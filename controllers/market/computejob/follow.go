// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"cmp"
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/internal/money"
)

// acceptGrace is how long after acceptBy the market ends a lease that its supplier says nothing about.
const acceptGrace = 30 * time.Second

// silence is how long after its escrow's deadline a lease may go without an end: longer than any supplier takes that is there. By then
// no term can run and anybody may have refunded the buyer, so waiting on tells the job nothing.
const silence = 2 * time.Hour

// departWithin is how long after a supplier said that it leaves its leases may go without an end: time enough for one that is there.
const departWithin = 10 * time.Minute

const (
	awaitingSupplier = "The supplier has not accepted the lease yet"
	leaseDeleted     = "The lease was deleted before it ended"
)

// follow tells the job what becomes of its leases, and matches it again when a supplier did not accept.
func (r *Reconciler) follow(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	switch {
	case job.Status.Lease == nil || !kube.IsTrue(job, boursev1.JobMatched):
		return reconcile.Result{}, nil
	case len(job.Status.Parts) > 0:
		return r.followParts(ctx, job)
	default:
		return r.followLease(ctx, job)
	}
}

// followLease tells a job that was not split what becomes of its lease.
func (r *Reconciler) followLease(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	lease, err := r.lease(ctx, job.Status.Lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if lease == nil || lease.Spec.Job.UID != string(job.UID) {
		kube.Failed(job, boursev1.JobRunning, boursev1.ReasonEnded, "The lease is gone")
		kube.Failed(job, boursev1.Succeeded, boursev1.EndFault, leaseDeleted)
		return reconcile.Result{}, nil
	}
	if listing.Refused(lease) {
		forget(job, refusalMessage(lease))
		return reconcile.Result{RequeueAfter: journalled}, nil
	}
	voucher, err := r.voucher(ctx, job, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := mirror(job, lease, voucher); err != nil {
		return reconcile.Result{}, err
	}
	if result, err := r.expire(ctx, lease); err != nil || !result.IsZero() || listing.Ended(job) {
		return result, err
	}
	return r.outlive(ctx, job, lease)
}

// outlive ends a job whose supplier was not heard of for so long that its lease cannot be anything but over.
func (r *Reconciler) outlive(ctx context.Context, job *boursev1.ComputeJob, lease *boursev1.GPULease) (reconcile.Result, error) {
	left, err := r.patience(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if left > 0 {
		if departed(lease) {
			waiting(job, boursev1.ReasonSettling, "The supplier leaves the market and ends the lease")
		}
		return reconcile.Result{RequeueAfter: left}, nil
	}
	tellSilence(job, lease)
	return reconcile.Result{}, nil
}

// tellSilence ends a job with its lease, of whose supplier nothing was heard for too long.
func tellSilence(job *boursev1.ComputeJob, lease *boursev1.GPULease) {
	running, reason := "The lease has outlived its escrow", boursev1.EndFault
	message := "The supplier did not end the lease, and its escrow's deadline has passed"
	if departed(lease) {
		running, reason = "The supplier left the market", boursev1.EndSupplierLeft
		message = "The supplier left the market before the lease was over; after the escrow's deadline the rest of the deposit comes back"
	}
	if meta.FindStatusCondition(job.Status.Conditions, boursev1.JobRunning) != nil {
		kube.Failed(job, boursev1.JobRunning, boursev1.ReasonEnded, running)
	}
	kube.Failed(job, boursev1.Succeeded, reason, message)
}

// departed says whether the lease is to end because its supplier leaves, and has not ended yet.
func departed(lease *boursev1.GPULease) bool {
	return lease.Status.End == nil && lease.Spec.State == boursev1.LeaseEnded && lease.Spec.EndReason == boursev1.EndSupplierLeft
}

// patience is how long the supplier of a lease may stay silent from now on.
func (r *Reconciler) patience(ctx context.Context, lease *boursev1.GPULease) (time.Duration, error) {
	if departed(lease) {
		return r.departure(ctx, lease)
	}
	most := silence
	if lease.Status.Disputed != nil { // the arbiter has two delays to decide
		most += 2 * time.Duration(lease.Spec.Payment.DisputeDelaySeconds) * time.Second
	}
	return lease.Spec.Escrow.Deadline.Add(most).Sub(r.Now()), nil
}

// departure is how long a supplier that leaves may take to end the lease from now on; none when it has left.
func (r *Reconciler) departure(ctx context.Context, lease *boursev1.GPULease) (time.Duration, error) {
	var member boursev1.Member
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: lease.Namespace, Name: boursev1.MemberName}, &member)
	if client.IgnoreNotFound(err) != nil {
		return 0, fmt.Errorf("get member: %w", err)
	}
	if member.Spec.Leave == nil {
		return 0, nil
	}
	return member.Spec.Leave.Since.Add(departWithin).Sub(r.Now()), nil
}

// lease reads a lease, from the API server itself when the cache does not have it; nil says that there is none.
func (r *Reconciler) lease(ctx context.Context, ref *boursev1.ObjectReference) (*boursev1.GPULease, error) {
	var lease boursev1.GPULease
	err := r.Hub.Get(ctx, keyOf(ref), &lease)
	if apierrors.IsNotFound(err) {
		err = r.Live.Get(ctx, keyOf(ref), &lease)
	}
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("get lease: %w", err)
	}
	return &lease, nil
}

func (r *Reconciler) leasesOf(ctx context.Context, job *boursev1.ComputeJob) ([]boursev1.GPULease, error) {
	var leases boursev1.GPULeaseList
	if err := r.Hub.List(ctx, &leases, client.MatchingFields{byJob: string(job.UID)}); err != nil {
		return nil, fmt.Errorf("list leases of job: %w", err)
	}
	return leases.Items, nil
}

// voucher returns what the buyer says of its payment; an empty one while it says nothing.
func (r *Reconciler) voucher(ctx context.Context, job *boursev1.ComputeJob, lease *boursev1.GPULease) (*boursev1.Voucher, error) {
	var voucher boursev1.Voucher
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: job.Namespace, Name: lease.Name}, &voucher)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get voucher: %w", err)
	}
	return &voucher, nil
}

func refusalMessage(lease *boursev1.GPULease) string {
	accepted := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseAccepted)
	if accepted == nil || accepted.Status != metav1.ConditionFalse {
		return fmt.Sprintf("The supplier of offer %s did not answer in time", lease.Spec.Offer)
	}
	return fmt.Sprintf("The supplier of offer %s refused: %s: %s", lease.Spec.Offer, accepted.Reason, accepted.Message)
}

// expire ends a lease that its supplier says nothing about. A supplier that accepts at the same moment wins: the write is locked.
func (r *Reconciler) expire(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if kube.IsTrue(lease, boursev1.LeaseAccepted) || !listing.Open(lease) {
		return reconcile.Result{}, nil
	}
	if left := lease.Spec.AcceptBy.Add(acceptGrace).Sub(r.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	_, err := r.end(ctx, lease, boursev1.EndNotAccepted)
	return reconcile.Result{}, err
}

// end tells the supplier to release the lease, and says whether it is told. A conflict is no error: what changed in the lease brings its job
// back.
func (r *Reconciler) end(ctx context.Context, lease *boursev1.GPULease, reason string) (bool, error) {
	next := lease.DeepCopy()
	next.Spec.State, next.Spec.EndReason = boursev1.LeaseEnded, reason
	lock := client.MergeFromWithOptions(lease, client.MergeFromWithOptimisticLock{})
	err := r.Hub.Patch(ctx, next, lock)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("end lease: %w", err)
	}
	return true, nil
}

// mirror tells the job what its lease's conditions say.
func mirror(job *boursev1.ComputeJob, lease *boursev1.GPULease, voucher *boursev1.Voucher) error {
	if err := mirrorUsage(job, lease); err != nil {
		return err
	}
	job.Status.Notice = lease.Status.Notice.DeepCopy()
	switch {
	case mirrorEnd(job, lease):
	case !kube.IsTrue(lease, boursev1.LeaseAccepted):
		waiting(job, boursev1.ReasonAwaitingSupplier, awaitingSupplier)
	case !kube.IsTrue(lease, boursev1.LeaseFunded):
		mirrorFunding(job, lease, voucher)
	default:
		mirrorPromises(job, voucher)
		mirrorRunning(job, lease)
	}
	return nil
}

// mirrorEnd says whether the lease is at its end, and tells the job.
func mirrorEnd(job *boursev1.ComputeJob, lease *boursev1.GPULease) bool {
	succeeded := meta.FindStatusCondition(lease.Status.Conditions, boursev1.Succeeded)
	over := succeeded != nil && succeeded.Status != metav1.ConditionUnknown
	if lease.Status.End == nil && !over {
		return false
	}
	if kube.IsTrue(lease, boursev1.LeaseFunded) {
		kube.True(job, boursev1.JobFunded, boursev1.ReasonDeposited, "The escrow holds the deposit")
	} else if !kube.IsTrue(job, boursev1.JobFunded) {
		kube.Failed(job, boursev1.JobFunded, boursev1.ReasonEnded, "The lease ended before its escrow was opened")
	}
	if meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseRunning) != nil {
		kube.Failed(job, boursev1.JobRunning, boursev1.ReasonEnded, "The workers are gone")
	}
	if !over {
		waiting(job, boursev1.ReasonSettling, settlingMessage(lease.Status.End))
		return true
	}
	if succeeded.Status == metav1.ConditionTrue {
		kube.True(job, boursev1.Succeeded, succeeded.Reason, succeeded.Message)
	} else {
		kube.Failed(job, boursev1.Succeeded, succeeded.Reason, succeeded.Message)
	}
	return true
}

// settlingMessage says at once why the lease ended: the last claim may take a while.
func settlingMessage(end *boursev1.LeaseEnd) string {
	const message = "The last claim and the refund are under way"
	if end == nil || end.Message == "" {
		return message
	}
	return end.Message + "; the last claim and the refund are under way"
}

// mirrorPromises says that the deposit is there, and warns when the buyer's own operator promises no more: the supplier ends a lease
// that nobody pays.
func mirrorPromises(job *boursev1.ComputeJob, voucher *boursev1.Voucher) {
	if voucher.Spec.Refusal == "" {
		kube.True(job, boursev1.JobFunded, boursev1.ReasonDeposited, "The escrow holds the deposit")
		return
	}
	reason := cmp.Or(voucher.Spec.RefusalReason, boursev1.ReasonPromiseRefused)
	kube.True(job, boursev1.JobFunded, reason, "The escrow holds the deposit, but no voucher is signed: "+voucher.Spec.Refusal)
}

func mirrorFunding(job *boursev1.ComputeJob, lease *boursev1.GPULease, voucher *boursev1.Voucher) {
	const message = "The supplier holds the GPUs and waits for the deposit"
	waiting(job, boursev1.ReasonAwaitingDeposit, message)
	funded := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseFunded)
	deposit := voucher.Spec.Deposit
	switch {
	case voucher.Spec.Refusal != "":
		kube.Failed(job, boursev1.JobFunded, cmp.Or(voucher.Spec.RefusalReason, boursev1.ReasonDepositRefused), voucher.Spec.Refusal)
	case deposit != nil && deposit.State == boursev1.TransactionFailed:
		kube.Failed(job, boursev1.JobFunded, boursev1.ReasonTransactionFailed, "The deposit failed: "+deposit.Error)
	case funded != nil && funded.Status == metav1.ConditionFalse:
		kube.Failed(job, boursev1.JobFunded, funded.Reason, funded.Message)
	default:
		kube.Waiting(job, boursev1.JobFunded, boursev1.ReasonAwaitingDeposit, message)
	}
}

func mirrorRunning(job *boursev1.ComputeJob, lease *boursev1.GPULease) {
	running := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseRunning)
	switch {
	case running == nil:
		kube.Waiting(job, boursev1.JobRunning, boursev1.ReasonStarting, "The Ray workers are being started")
		waiting(job, boursev1.ReasonStarting, "The Ray workers are being started")
	case running.Status == metav1.ConditionTrue:
		kube.True(job, boursev1.JobRunning, running.Reason, running.Message)
		waiting(job, boursev1.ReasonRunning, "The job runs")
		mirrorNotice(job, lease)
	case running.Status == metav1.ConditionFalse:
		kube.Failed(job, boursev1.JobRunning, running.Reason, running.Message)
		waiting(job, running.Reason, running.Message)
	default:
		kube.Waiting(job, boursev1.JobRunning, running.Reason, running.Message)
		waiting(job, running.Reason, running.Message)
		mirrorNotice(job, lease)
	}
}

// mirrorNotice tells the job that its supplier takes the GPUs away, in the supplier's words.
func mirrorNotice(job *boursev1.ComputeJob, lease *boursev1.GPULease) {
	succeeded := meta.FindStatusCondition(lease.Status.Conditions, boursev1.Succeeded)
	if lease.Status.Notice != nil && succeeded != nil && succeeded.Reason == boursev1.ReasonTakingBack {
		waiting(job, succeeded.Reason, succeeded.Message)
	}
}

// mirrorUsage tells the job what it used on its leases, and what left their escrows for it with fees.
func mirrorUsage(job *boursev1.ComputeJob, leases ...*boursev1.GPULease) error {
	var used int64
	var debit money.Amount
	var in *boursev1.LeasePayment
	for _, lease := range leases {
		if lease.Status.Usage == nil && lease.Status.Paid == nil {
			continue
		}
		in = &lease.Spec.Payment
		if lease.Status.Usage != nil && lease.Status.Usage.GPUMilliseconds != nil {
			used += *lease.Status.Usage.GPUMilliseconds
		}
		cost, err := costOf(lease)
		if err != nil {
			return err
		}
		if debit, err = debit.Add(cost); err != nil {
			return fmt.Errorf("add up what was paid: %w", err)
		}
	}
	if in == nil {
		return nil
	}
	token, err := contract.Token(in)
	if err != nil {
		return err
	}
	paid, err := contract.Signed(debit)
	if err != nil {
		return err
	}
	job.Status.Usage = &boursev1.JobUsage{GPUMilliseconds: &used, Token: in.Token, Paid: &paid, Cost: token.Format(debit)}
	return nil
}

// costOf is what left a lease's escrow so far, with the buyer's fees.
func costOf(lease *boursev1.GPULease) (money.Amount, error) {
	fees, err := contract.Fees(&lease.Spec.Payment)
	if err != nil {
		return 0, err
	}
	var gross int64
	if lease.Status.Paid != nil {
		gross = max(0, *lease.Status.Paid)
	}
	split, err := fees.Split(money.Amount(gross))
	if err != nil {
		return 0, fmt.Errorf("split what was paid: %w", err)
	}
	return split.Debit, nil
}

// why repeats the reason that the choice was made for.
func why(job *boursev1.ComputeJob) string {
	if matched := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMatched); matched != nil {
		return matched.Message
	}
	return fmt.Sprintf("Offer %s of %s", job.Status.Offer, job.Status.Lease.Namespace)
}
