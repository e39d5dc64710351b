// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"bytes"
	"context"
	"encoding/binary"
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
	KindOpen  Kind = "Open"
	KindClaim Kind = "Claim"
	KindClose Kind = "Close"
)

// Movement is one finalized effect on an escrow, in base units of its mint.
type Movement struct {
	Kind      Kind
	Signature chain.Signature
	Slot      uint64
	Time      time.Time    // zero when the node does not know it
	Deposit   money.Amount // Open: what went in
	Gross     money.Amount // the cumulative gross amount after this movement
	Supplier  money.Amount // Claim: what the supplier received
	Treasury  money.Amount // Claim: what the treasury received
	Burn      money.Amount // Claim: what was burned
	Refund    money.Amount // Close: what went back to the buyer, dust included
}

// History is where finalized transactions are read. Signatures lists them newest first, back to but without until. Both return an
// error whenever they cannot tell, and never a part of the answer.
type History interface {
	Signatures(ctx context.Context, address chain.Address, until chain.Signature) ([]chain.SignatureInfo, error)
	Transaction(ctx context.Context, signature chain.Signature) (chain.Transaction, error)
}

// ReadMovements returns what happened to the escrow after the movement since, oldest first; a zero since means from the beginning.
// Of since it needs Kind, Signature and Gross; more movements of the same transaction may follow it. Each movement is taken from the token calls that the program itself made, and must equal what the terms and the cumulative gross
// amount demand to the base unit, or else the whole reading is an ErrMismatch.
func ReadMovements(ctx context.Context, history History, t Terms, since Movement) ([]Movement, error) {
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("read movements: %w", err)
	}
	signatures, err := history.Signatures(ctx, at.lease, since.Signature)
	if err != nil {
		return nil, fmt.Errorf("list transactions of %s: %w", at.lease, err)
	}
	read := reading{terms: t, at: at, last: since}
	if since.Kind != "" {
		transaction, err := history.Transaction(ctx, since.Signature)
		if err != nil {
			return nil, fmt.Errorf("read transaction %s: %w", since.Signature, err)
		}
		if err := read.resume(transaction); err != nil {
			return nil, fmt.Errorf("read transaction %s: %w", since.Signature, err)
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

// reading follows one escrow through its transactions.
type reading struct {
	terms     Terms
	at        places
	last      Movement
	movements []Movement
}

// resume adds the movements of a transaction that follow the one that is known.
func (r *reading) resume(transaction chain.Transaction) error {
	for i, call := range transaction.Calls {
		if r.concerns(call) && is(call, r.last) {
			return r.calls(transaction, i+1)
		}
	}
	return fmt.Errorf("%w: no %s of %s in its transaction", ErrMismatch, r.last.Kind, r.last.Gross)
}

// concerns says whether the call is one of the program on this lease, at whatever depth.
func (r *reading) concerns(call chain.Call) bool {
	return call.Program == r.terms.Program && len(call.Data) > 0 && len(call.Accounts) > 1 && call.Accounts[1] == r.at.lease
}

// is says whether the call made the movement. No two claims of a lease have one gross amount, and there is one opening and one close.
func is(call chain.Call, movement Movement) bool {
	switch movement.Kind {
	case KindOpen:
		return call.Data[0] == opOpen
	case KindClaim:
		return bytes.Equal(call.Data, claimData(movement.Gross))
	default:
		return movement.Kind == KindClose && call.Data[0] == opClose
	}
}

// calls adds the movements of a transaction from one of its calls on.
func (r *reading) calls(transaction chain.Transaction, from int) error {
	for i := from; i < len(transaction.Calls); i++ {
		call := transaction.Calls[i]
		if !r.concerns(call) {
			continue
		}
		made, err := tokenCalls(call, transaction.Calls[i+1:])
		if err != nil {
			return err
		}
		next := Movement{Signature: transaction.Signature, Slot: transaction.Slot, Time: transaction.Time, Gross: r.last.Gross}
		switch call.Data[0] {
		case opOpen:
			err = r.open(&next, call, made)
		case opClaim:
			err = r.claim(&next, call, made)
		case opClose:
			err = r.close(&next, call, made)
		default:
			err = fmt.Errorf("%w: unknown instruction %d", ErrMismatch, call.Data[0])
		}
		if err != nil {
			return err
		}
		r.last = next
		r.movements = append(r.movements, next)
	}
	return nil
}

func (r *reading) open(next *Movement, call chain.Call, made []tokenCall) error {
	t, at := r.terms, r.at
	if r.last.Kind != "" {
		return fmt.Errorf("%w: opened after %s", ErrMismatch, r.last.Kind)
	}
	if !bytes.Equal(call.Data, openData(t, at)) || !named(call, t.Buyer, at.lease, at.vault, t.Mint, anything, t.Supplier, t.Treasury) {
		return fmt.Errorf("%w: opened with other terms", ErrMismatch)
	}
	next.Kind, next.Deposit = KindOpen, t.Deposit
	return expect(made,
		tokenCall{op: initializeAccount, from: at.vault, to: t.Mint},
		tokenCall{op: transferChecked, from: call.Accounts[4], to: at.vault, amount: t.Deposit})
}

func (r *reading) claim(next *Movement, call chain.Call, made []tokenCall) error {
	if r.last.Kind != KindOpen && r.last.Kind != KindClaim {
		return fmt.Errorf("%w: claimed after %q", ErrMismatch, r.last.Kind)
	}
	if len(call.Data) != 9 || !named(call, anything, r.at.lease, r.at.vault, r.terms.Mint, anything, anything) {
		return fmt.Errorf("%w: claimed in another form", ErrMismatch)
	}
	next.Kind, next.Gross = KindClaim, money.Amount(binary.LittleEndian.Uint64(call.Data[1:]))
	if next.Gross <= r.last.Gross {
		return fmt.Errorf("%w: claimed %s after %s", ErrMismatch, next.Gross, r.last.Gross)
	}
	before, err := r.terms.Fees.Split(r.last.Gross)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	now, err := r.terms.Fees.Split(next.Gross)
	if err != nil || now.Debit > r.terms.Deposit {
		return fmt.Errorf("%w: claimed %s of a deposit of %s", ErrMismatch, next.Gross, r.terms.Deposit)
	}
	due, err := now.Sub(before)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	next.Supplier, next.Treasury, next.Burn = due.Supplier, due.Treasury, due.Burn
	return expect(made,
		tokenCall{op: transferChecked, from: r.at.vault, to: call.Accounts[4], amount: due.Supplier},
		tokenCall{op: transferChecked, from: r.at.vault, to: call.Accounts[5], amount: due.Treasury},
		tokenCall{op: burnChecked, from: r.at.vault, to: r.terms.Mint, amount: due.Burn})
}

func (r *reading) close(next *Movement, call chain.Call, made []tokenCall) error {
	if r.last.Kind != KindOpen && r.last.Kind != KindClaim {
		return fmt.Errorf("%w: closed after %q", ErrMismatch, r.last.Kind)
	}
	if !named(call, anything, r.at.lease, r.at.vault, r.terms.Mint, anything, r.terms.Buyer) {
		return fmt.Errorf("%w: closed in another form", ErrMismatch)
	}
	paid, err := r.terms.Fees.Split(r.last.Gross)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	rest, err := r.terms.Deposit.Sub(paid.Debit)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	next.Kind = KindClose
	if len(made) > 0 && made[0].op == transferChecked {
		next.Refund = made[0].amount // the vault's whole balance: the rest, and dust that strangers sent
	}
	if next.Refund < rest {
		return fmt.Errorf("%w: %s went back instead of %s", ErrMismatch, next.Refund, rest)
	}
	return expect(made,
		tokenCall{op: transferChecked, from: r.at.vault, to: call.Accounts[4], amount: next.Refund},
		tokenCall{op: closeAccount, from: r.at.vault, to: r.terms.Buyer})
}

// anything stands for an account that the terms do not determine: the program checked whose it is.
var anything chain.Address //nolint:gochecknoglobals // the zero address: it is never written

// named says whether the call's accounts begin with the wanted ones.
func named(call chain.Call, want ...chain.Address) bool {
	if len(call.Accounts) < len(want) {
		return false
	}
	for i, address := range want {
		if address != anything && call.Accounts[i] != address {
			return false
		}
	}
	return true
}
