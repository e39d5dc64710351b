// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/meter"
)

const (
	// afterDeadline allows for the difference between our clock and the chain's.
	afterDeadline = 2 * time.Minute
	// mostRefunds is how often a refund is signed without a break: each attempt that fails on the chain costs its fee. After that it is signed
	// once in refundEvery, since nobody else takes the deposit back.
	mostRefunds = 20
	refundEvery = time.Hour
)

// reclaim takes back what an escrow still holds after its deadline, when the supplier did not close it. Nobody's leave is needed.
func (r *Reconciler) reclaim(ctx context.Context, lease *boursev1.GPULease, voucher *boursev1.Voucher) (reconcile.Result, error) {
	if !in(voucher.Spec.Deposit, boursev1.TransactionLanded) || in(voucher.Spec.Refund, boursev1.TransactionLanded) {
		return reconcile.Result{}, nil
	}
	if in(voucher.Spec.Refund, boursev1.TransactionSigned) {
		return r.landRefund(ctx, lease, voucher.Spec.Refund)
	}
	if wait := r.calm(lease, voucher.Spec.Refund); wait > 0 {
		return reconcile.Result{RequeueAfter: wait}, nil
	}
	left := lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(r.Now())
	if left > 0 && !closedBySupplier(lease) {
		return reconcile.Result{RequeueAfter: r.soon(lease, voucher, left)}, nil
	}
	facts, err := r.inspect(ctx, lease) // the supplier's word is no proof
	if err != nil || facts.Closed {
		return reconcile.Result{}, err
	}
	if held := facts.Held.Add(afterDeadline).Sub(r.Now()); !facts.Held.IsZero() {
		left = max(left, held) // a dispute keeps the escrow open for a while
	}
	if left > 0 {
		return reconcile.Result{RequeueAfter: r.soon(lease, voucher, left)}, nil
	}
	return r.refund(ctx, lease, voucher)
}

// calm is how long a refund that failed again and again waits for its next attempt. Each refundEvery since the deadline allows one more.
func (r *Reconciler) calm(lease *boursev1.GPULease, failed *boursev1.Transaction) time.Duration {
	if failed == nil || failed.Attempt < mostRefunds {
		return 0
	}
	more := time.Duration(failed.Attempt-mostRefunds+1) * refundEvery
	return lease.Spec.Escrow.Deadline.Add(more).Sub(r.Now())
}

// soon shortens a wait while a usage record is ahead of our clock, because time alone makes it believable, and while the wallet does
// not sign a promise.
func (r *Reconciler) soon(lease *boursev1.GPULease, voucher *boursev1.Voucher, wait time.Duration) time.Duration {
	usage := lease.Status.Usage
	if usage != nil && usage.Sequence > voucher.Spec.Sequence && voucher.Spec.RefusalReason != "" {
		return min(wait, retry)
	}
	if usage != nil && usage.Sequence > voucher.Spec.Sequence && usage.Through.After(r.Now().Add(meter.MaxSkew)) {
		return min(wait, max(retry, usage.Through.Sub(r.Now().Add(meter.MaxSkew))))
	}
	return wait
}

// refund signs the transaction that closes the escrow.
func (r *Reconciler) refund(ctx context.Context, lease *boursev1.GPULease, voucher *boursev1.Voucher) (reconcile.Result, error) {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	instructions, err := escrow.Close(terms, r.Signer.PublicKey())
	if err != nil {
		return reconcile.Result{}, err
	}
	attempt := int32(1)
	if voucher.Spec.Refund != nil {
		attempt = voucher.Spec.Refund.Attempt + 1
	}
	tx, err := r.sign(ctx, boursev1.TransactionClose, instructions, attempt)
	if unsigned(voucher, err) {
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if failure, ok := errors.AsType[*chain.Failure](err); ok {
		decline(voucher, "The refund would fail on chain: "+failure.Error())
		return reconcile.Result{RequeueAfter: afterDeadline}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	voucher.Spec.Refund = tx
	decline(voucher, "")
	return reconcile.Result{RequeueAfter: drive}, nil
}

// landRefund sends a journalled refund until the chain has decided about it.
func (r *Reconciler) landRefund(ctx context.Context, lease *boursev1.GPULease, tx *boursev1.Transaction) (reconcile.Result, error) {
	closed := func(ctx context.Context) (bool, error) {
		facts, err := r.inspect(ctx, lease)
		return facts.Closed, err
	}
	if err := r.drive(ctx, tx, closed); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: drive}, nil
}

// closedBySupplier says whether the lease tells that its escrow is closed.
func closedBySupplier(lease *boursev1.GPULease) bool {
	settled := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseSettled)
	return settled != nil && settled.Reason == boursev1.ReasonClosed
}
