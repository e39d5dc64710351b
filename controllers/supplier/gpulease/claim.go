// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/signer"
)

// claim turns the newest verified voucher into a payment: one transaction at a time, written down before it is sent.
func (r *Reconciler) claim(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if err := r.drive(ctx, lease); err != nil {
		return reconcile.Result{}, err
	}
	if lease.Status.Usage == nil || kube.IsTrue(lease, boursev1.LeaseSettled) {
		return reconcile.Result{}, nil
	}
	if err := r.heed(ctx, lease); err != nil {
		return reconcile.Result{}, err
	}
	voucher, err := r.voucher(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	promised, claimed, owed := amount(lease.Status.Promised), amount(lease.Status.Paid), amount(lease.Status.Usage.Gross)
	switch {
	case voucher != nil && amount(voucher.Spec.Gross) > claimed:
		return r.unlessRefused(lease, kube.Failed, r.sign(ctx, lease, voucher))
	case owed > promised || promised > claimed: // a promise that is not claimable any more is waited for like one that was not made
		if !inDispute(lease) { // which is told by itself
			kube.Waiting(lease, boursev1.LeaseSettled, boursev1.ReasonAwaitingVoucher, "The buyer has not promised the newest usage yet")
		}
	default:
		kube.Waiting(lease, boursev1.LeaseSettled, boursev1.ReasonClaimed, "Every promise so far is claimed")
	}
	return reconcile.Result{}, nil
}

// sign writes a claim down, unless one is on its way or the chain has it already: anybody may have submitted the voucher.
func (r *Reconciler) sign(ctx context.Context, lease *boursev1.GPULease, voucher *boursev1.Voucher) error {
	if onItsWay(lease) {
		r.tellClaiming(lease)
		return nil
	}
	found, err := r.Ledger.Look(ctx, lease)
	if err != nil {
		return fmt.Errorf("look at escrow: %w", err)
	}
	if found.State == EscrowClosed {
		return closed(lease, found)
	}
	if err := paid(lease, found); err != nil {
		return err
	}
	if amount(voucher.Spec.Gross) <= amount(lease.Status.Paid) {
		r.tellClaiming(lease)
		return nil
	}
	tx, err := r.Ledger.Claim(ctx, lease, amount(voucher.Spec.Gross), voucher.Spec.Signature, attempt(lease, boursev1.TransactionClaim))
	if err != nil {
		return fmt.Errorf("sign claim: %w", err)
	}
	crashpoint.Hit("claim.signed")
	tx.Gross = voucher.Spec.Gross
	lease.Status.Transaction = tx
	r.tellClaiming(lease)
	return nil
}

// tellClaiming says that a claim is under way. What is given up so long after the deadline is told once, and elsewhere.
func (r *Reconciler) tellClaiming(lease *boursev1.GPULease) {
	if !r.late(lease) {
		kube.Waiting(lease, boursev1.LeaseSettled, boursev1.ReasonUnclaimed, "A promise is being claimed")
	}
}

// unlessRefused tells why the wallet itself does not sign, which only people can change; it is asked again every minute, until so long
// after the escrow's deadline that nothing is waited for any more.
func (r *Reconciler) unlessRefused(
	lease *boursev1.GPULease, tell func(kube.Conditioned, string, string, string), err error,
) (reconcile.Result, error) {
	refused, ok := errors.AsType[*signer.Refusal](err)
	switch {
	case !ok:
		return reconcile.Result{}, r.unlessHopeless(lease, err)
	case r.late(lease):
		kube.Failed(lease, boursev1.LeaseSettled, string(refused.Reason), refused.Detail)
		return reconcile.Result{}, nil
	default:
		tell(lease, boursev1.LeaseSettled, string(refused.Reason), refused.Detail)
		return reconcile.Result{RequeueAfter: askWallet}, nil
	}
}

// unlessHopeless gives up what the chain itself still refuses so long after the escrow's deadline; every other error stays one.
func (r *Reconciler) unlessHopeless(lease *boursev1.GPULease, err error) error {
	failure, refused := errors.AsType[*chain.Failure](err)
	refused = refused && chain.ClassOf(failure) == chain.Failed // and no lag, and no lack of fees
	if !refused || !r.late(lease) {
		return err
	}
	kube.Failed(lease, boursev1.LeaseSettled, boursev1.ReasonTransactionFailed, "The chain refuses the transaction: "+failure.Error())
	return nil
}

// voucher returns the lease's voucher if it holds a promise that the supplier may claim: signed by the buyer for this escrow, and for
// no more than was metered. Nil when there is none.
func (r *Reconciler) voucher(ctx context.Context, lease *boursev1.GPULease) (*boursev1.Voucher, error) {
	var voucher boursev1.Voucher
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: lease.Spec.Job.Namespace, Name: lease.Name}, &voucher)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // no promise is a state, not an error
	}
	if err != nil {
		return nil, fmt.Errorf("get voucher: %w", err)
	}
	promise := voucher.Spec
	mine := promise.Lease.Namespace == lease.Namespace && promise.Lease.Name == lease.Name
	if !mine || promise.Gross == nil || amount(promise.Gross) > amount(lease.Status.Usage.Gross) || !vouches(lease, promise) {
		return nil, nil //nolint:nilnil // as above
	}
	return &voucher, nil
}

// drive takes the transaction on its way a step further, and writes down what became of it.
func (r *Reconciler) drive(ctx context.Context, lease *boursev1.GPULease) error {
	if !onItsWay(lease) {
		return nil
	}
	tx := lease.Status.Transaction
	outcome, err := r.Ledger.Drive(ctx, *tx)
	if err != nil {
		return fmt.Errorf("drive transaction: %w", err)
	}
	switch outcome.State {
	case TransactionLanded:
		return landed(lease, tx)
	case TransactionFailed:
		settle(tx, boursev1.TransactionFailed, outcome.Detail)
		kube.Failed(lease, boursev1.LeaseSettled, boursev1.ReasonTransactionFailed, "The chain refused the transaction: "+outcome.Detail)
	case TransactionForgotten:
		return r.recollect(ctx, lease, tx)
	case TransactionPending:
	}
	return nil
}

// recollect finds out from the escrow itself what became of a transaction that no node remembers and that can no longer land.
func (r *Reconciler) recollect(ctx context.Context, lease *boursev1.GPULease, tx *boursev1.Transaction) error {
	found, err := r.Ledger.Look(ctx, lease)
	if err != nil {
		return fmt.Errorf("look at escrow: %w", err)
	}
	claimed := tx.Purpose == boursev1.TransactionClaim && found.Paid >= amount(tx.Gross)
	disputed := tx.Purpose == boursev1.TransactionDispute && found.Disputed
	if claimed || disputed || tx.Purpose == boursev1.TransactionClose && found.State == EscrowClosed {
		return landed(lease, tx)
	}
	settle(tx, boursev1.TransactionFailed, "it expired before it landed")
	return nil
}

// landed takes in what a transaction did.
func landed(lease *boursev1.GPULease, tx *boursev1.Transaction) error {
	settle(tx, boursev1.TransactionLanded, "")
	if tx.Purpose == boursev1.TransactionDispute {
		lease.Status.Disputed = tx.Gross
		return nil
	}
	arrived(tx)
	did := Escrow{Paid: max(amount(tx.Gross), amount(lease.Status.Paid))}
	if tx.Purpose == boursev1.TransactionClose {
		return closed(lease, did)
	}
	return paid(lease, did)
}

// settle writes down that a transaction is over; its bytes are of no more use.
func settle(tx *boursev1.Transaction, state boursev1.TransactionState, detail string) {
	tx.State, tx.Raw, tx.Error = state, "", clip(detail, maxTransactionError)
}

// onItsWay says whether a transaction may still land, so that no other may be signed.
func onItsWay(lease *boursev1.GPULease) bool {
	return lease.Status.Transaction != nil && lease.Status.Transaction.State == boursev1.TransactionSigned
}

// attempt counts how often a purpose was signed in a row.
func attempt(lease *boursev1.GPULease, purpose boursev1.TransactionPurpose) int32 {
	if tx := lease.Status.Transaction; tx != nil && tx.Purpose == purpose && tx.State == boursev1.TransactionFailed {
		return tx.Attempt + 1
	}
	return 1
}
