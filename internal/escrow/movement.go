// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// ErrMismatch says that what the chain did is not what the terms and the amounts before say it must have done.
var ErrMismatch = errors.New("movement does not add up")

// Kind says what a movement is.
type Kind string

// The kinds of movements.
const (
	KindOpen    Kind = "Open"
	KindClaim   Kind = "Claim"
	KindClose   Kind = "Close"
	KindTopUp   Kind = "TopUp"
	KindExtend  Kind = "Extend"
	KindDispute Kind = "Dispute"
	KindAward   Kind = "Award"
)

// Movement is one finalized effect on an escrow, in base units of its mint.
type Movement struct {
	Kind      Kind
	Signature chain.Signature
	Slot      uint64
	Time      time.Time    // zero when the node does not know it
	Deposit   money.Amount // Open, TopUp: what went in
	Gross     money.Amount // the cumulative gross amount after this movement
	Supplier  money.Amount // Claim, Award: what the supplier received
	Treasury  money.Amount // Claim, Award: what the treasury received
	Burn      money.Amount // Claim, Award: what was burned
	Refund    money.Amount // Close: what went back to the buyer, dust included
	Disputed  money.Amount // Dispute: the cumulative gross amount that the supplier says it is owed
	Deadline  time.Time    // Open, Extend: until when the deposit is kept
}

// History is where finalized transactions are read. Signatures lists them newest first, back to but without until. Both return an
// error whenever they cannot tell, and never a part of the answer.
type History interface {
	Signatures(ctx context.Context, address chain.Address, until chain.Signature) ([]chain.SignatureInfo, error)
	Transaction(ctx context.Context, signature chain.Signature) (chain.Transaction, error)
}

// ReadMovements returns what happened to the escrow after the movements that are known already, oldest first; with none known, all of
// it. The known ones must be all that followed the opening, in order and without a gap; the opening itself may be left out. Each
// movement is taken from the token calls that the program itself made, and must equal what the terms and the movements before it
// demand to the base unit, or else the whole reading is an ErrMismatch.
func ReadMovements(ctx context.Context, history History, t Terms, known ...Movement) ([]Movement, error) {
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("read movements: %w", err)
	}
	read := reading{terms: t, at: at}
	var until chain.Signature
	if len(known) > 0 {
		until = known[len(known)-1].Signature
	}
	signatures, err := history.Signatures(ctx, at.lease, until)
	if err != nil {
		return nil, fmt.Errorf("list transactions of %s: %w", at.lease, err)
	}
	if len(known) > 0 {
		transaction, err := history.Transaction(ctx, until)
		if err != nil {
			return nil, fmt.Errorf("read transaction %s: %w", until, err)
		}
		if err := read.resume(transaction, known); err != nil {
			return nil, fmt.Errorf("read transaction %s: %w", until, err)
		}
	}
	for _, info := range slices.Backward(signatures) {
		if info.Failed {
			continue
		}
		transaction, err := history.Transaction(ctx, info.Signature)
		if err != nil {
			return nil, fmt.Errorf("read transaction %s: %w", info.Signature, err)
		}
		if transaction.Failure != nil {
			continue
		}
		if err := read.calls(transaction, 0); err != nil {
			return nil, fmt.Errorf("read transaction %s: %w", info.Signature, err)
		}
	}
	return read.movements, nil
}
