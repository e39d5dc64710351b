// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
)

// errNoOpening says that a node shows an escrow and not the transaction that opened it.
var errNoOpening = errors.New("the node does not know how the escrow was opened")

// adopt takes in a deposit that is on chain although the voucher does not tell of it: the voucher was deleted, the hub was restored
// from a backup, or a node denied what had landed. It says whether there is one.
func (r *Reconciler) adopt(ctx context.Context, lease *boursev1.GPULease, voucher *boursev1.Voucher) (bool, error) {
	opened, err := r.opened(ctx, lease)
	if err != nil || !opened {
		return false, err
	}
	terms, err := contract.Escrow(lease)
	if err != nil {
		return false, err
	}
	movements, err := escrow.ReadMovements(ctx, r.Chain, terms)
	if err != nil {
		return false, fmt.Errorf("find deposit: %w", err)
	}
	if len(movements) == 0 || movements[0].Time.IsZero() || movements[0].Slot > math.MaxInt64 {
		return false, fmt.Errorf("find deposit: %w", errNoOpening)
	}
	attempt := int32(1)
	if voucher.Spec.Deposit != nil {
		attempt = voucher.Spec.Deposit.Attempt
	}
	voucher.Spec.Deposit = &boursev1.Transaction{
		Purpose: boursev1.TransactionOpen, State: boursev1.TransactionLanded, Attempt: attempt,
		Signature:            boursev1.SolanaSignature(movements[0].Signature.String()),
		LastValidBlockHeight: new(int64(0)),                 // it has landed: nothing waits for a height
		Slot:                 new(int64(movements[0].Slot)), //nolint:gosec // checked above
	}
	voucher.Spec.DepositedAt = new(metav1.NewTime(movements[0].Time))
	decline(voucher, "")
	return true, nil
}

// opened says whether the lease's escrow is on chain, open or closed.
func (r *Reconciler) opened(ctx context.Context, lease *boursev1.GPULease) (bool, error) {
	facts, err := r.inspect(ctx, lease)
	if refusal, ok := errors.AsType[*escrow.Refusal](err); ok {
		// What is refused is nothing, or nothing that this wallet opened for the lease: only the issuer can spoil what it opened.
		return refusal.Reason == escrow.Frozen, nil
	}
	return facts.Deposit > 0, err
}

// lookAgain is how long it is until an escrow can be closed by its buyer, or zero after that: a deposit that was not seen before is
// looked for once more then.
func (r *Reconciler) lookAgain(lease *boursev1.GPULease) time.Duration {
	return max(0, lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(r.Now()))
}
