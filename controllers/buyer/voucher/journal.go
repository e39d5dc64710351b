// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"errors"
	"fmt"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
)

const (
	// errorText is as much of an error as a transaction's record holds.
	errorText = 256
	// refusalText is as much of a reason as a voucher holds.
	refusalText = 512
)

// decline writes down why the buyer does not pay now; an empty text says that it does.
func decline(voucher *boursev1.Voucher, why string) {
	voucher.Spec.Refusal, voucher.Spec.RefusalReason = why[:min(len(why), refusalText)], ""
}

// unsigned says whether the wallet itself did not sign, and then writes down why: only people can change that.
func unsigned(voucher *boursev1.Voucher, err error) bool {
	refused, ok := errors.AsType[*signer.Refusal](err)
	if !ok {
		return false
	}
	decline(voucher, refused.Detail)
	voucher.Spec.RefusalReason = string(refused.Reason)
	return true
}

// sign prepares a transaction that is to be written down before it is sent.
func (r *Reconciler) sign(
	ctx context.Context, purpose boursev1.TransactionPurpose, instructions []chain.Instruction, attempt int32,
) (*boursev1.Transaction, error) {
	record, err := outbox.Prepare(ctx, r.Chain, r.Signer, string(purpose), instructions, attempt)
	if err != nil {
		return nil, err
	}
	return contract.Journal(record)
}

// drive takes a written-down transaction one step further, and notes in it what the chain decided. When the node has forgotten
// whether it landed, done reads from the account itself whether its effect is there.
func (r *Reconciler) drive(ctx context.Context, tx *boursev1.Transaction, done func(context.Context) (bool, error)) error {
	record, err := contract.Journalled(tx)
	if err != nil {
		return err
	}
	outcome, err := outbox.Drive(ctx, r.Chain, record)
	if err != nil {
		return err
	}
	switch outcome.State {
	case outbox.Landed:
		arrived(tx)
		settle(tx, boursev1.TransactionLanded, "")
	case outbox.Failed:
		settle(tx, boursev1.TransactionFailed, outcome.Failure.Error())
	case outbox.Expired:
		settle(tx, boursev1.TransactionFailed, "It expired before it landed")
	case outbox.Forgotten:
		landed, err := done(ctx)
		if err != nil {
			return fmt.Errorf("find out what became of %s: %w", tx.Signature, err)
		}
		if landed {
			settle(tx, boursev1.TransactionLanded, "")
		} else {
			settle(tx, boursev1.TransactionFailed, "It did not land in time")
		}
	case outbox.Pending: // the same bytes again, next time
	}
	return nil
}

// in says whether there is a transaction in this state.
func in(tx *boursev1.Transaction, state boursev1.TransactionState) bool {
	return tx != nil && tx.State == state
}

func settle(tx *boursev1.Transaction, state boursev1.TransactionState, problem string) {
	tx.State, tx.Raw = state, ""
	tx.Error = problem[:min(len(problem), errorText)]
}

// journal writes the voucher, and names the moments at which what it says of money has become durable.
type journal struct{ kube.Writer }

// Write implements kube.Writer.
func (j journal) Write(ctx context.Context, before, after kube.Conditioned) error {
	was, wasVoucher := before.(*boursev1.Voucher)
	now, isVoucher := after.(*boursev1.Voucher)
	if err := j.Writer.Write(ctx, before, after); err != nil || !wasVoucher || !isVoucher {
		return err
	}
	switch {
	case in(now.Spec.Deposit, boursev1.TransactionSigned) && !in(was.Spec.Deposit, boursev1.TransactionSigned):
		crashpoint.Hit("deposit.written")
	case in(now.Spec.Deposit, boursev1.TransactionLanded) && !in(was.Spec.Deposit, boursev1.TransactionLanded):
		crashpoint.Hit("deposit.recorded")
	case now.Spec.Sequence > was.Spec.Sequence:
		crashpoint.Hit("promise.written")
	}
	return nil
}

// arrived names the moment at which the deposit is known to have landed, and that is not written down.
func arrived(tx *boursev1.Transaction) {
	if tx.Purpose == boursev1.TransactionOpen {
		crashpoint.Hit("deposit.landed")
	}
}
