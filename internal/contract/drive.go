// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"context"
	"fmt"
	"math"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
)

// errorText is as much of an error as a transaction's record holds.
const errorText = 256

// Drive takes a written-down transaction one step further, and notes in it what the chain decided. Once that is anything but pending, it
// returns a slot by which the transaction has had its effect or never will: an account that was read there or later tells the truth,
// also of a transaction of which the node has forgotten whether it landed. Such a one is noted as failed.
func Drive(ctx context.Context, on outbox.Chain, tx *boursev1.Transaction) (slot *int64, err error) {
	record, err := Journalled(tx)
	if err != nil {
		return nil, err
	}
	outcome, err := outbox.Drive(ctx, on, record)
	if err != nil {
		return nil, err
	}
	after := outcome.Slot
	switch outcome.State {
	case outbox.Landed:
		settle(tx, boursev1.TransactionLanded, "")
	case outbox.Failed:
		settle(tx, boursev1.TransactionFailed, outcome.Failure.Error())
	case outbox.Expired:
		after = record.Slot
		settle(tx, boursev1.TransactionFailed, "It expired before it landed")
	case outbox.Forgotten:
		if after, err = finalizedSlot(ctx, on, record); err != nil {
			return nil, err
		}
		settle(tx, boursev1.TransactionFailed, "Whether it landed is forgotten: what is on chain tells")
	default: // the same bytes again, next time
		return nil, nil //nolint:nilnil // nothing is decided yet
	}
	if after > math.MaxInt64 {
		return nil, fmt.Errorf("store slot: %w", money.ErrOverflow)
	}
	return new(int64(after)), nil
}

// finalizedSlot is how far the chain is settled, after it was found that the record can no longer land.
func finalizedSlot(ctx context.Context, on outbox.Chain, record outbox.Record) (uint64, error) {
	signature, err := chain.ParseSignature(record.Signature)
	if err != nil {
		return 0, err
	}
	status, err := on.Status(ctx, signature)
	if err != nil {
		return 0, fmt.Errorf("find out how far the chain is: %w", err)
	}
	return status.Finalized.Slot, nil
}

func settle(tx *boursev1.Transaction, state boursev1.TransactionState, problem string) {
	tx.State, tx.Raw = state, ""
	tx.Error = problem[:min(len(problem), errorText)]
}
