// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"bytes"
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// reading follows one escrow through its transactions.
type reading struct {
	terms     Terms
	at        places
	state     state
	movements []Movement
}

// state is where an escrow stands after some of its movements.
type state struct {
	opened, closed bool
	deposit        money.Amount // top-ups included
	deadline       int64
	gross          money.Amount // claimed and awarded so far
	disputed       money.Amount // of the open dispute, zero if none is open
	wasDisputed    bool
}

// after is the state that a movement leads to.
func (s state) after(movement Movement) state {
	switch movement.Kind {
	case KindOpen:
		s.opened, s.deposit, s.deadline = true, movement.Deposit, movement.Deadline.Unix()
	case KindClaim:
		s.gross = movement.Gross
	case KindAward:
		s.gross, s.disputed = movement.Gross, 0
	case KindTopUp:
		s.deposit += movement.Deposit // the sum was checked
	case KindExtend:
		s.deadline = movement.Deadline.Unix()
	case KindDispute:
		s.disputed, s.wasDisputed = movement.Disputed, true
	case KindClose:
		s.closed = true
	case KindVoucher, KindCreateConfig, KindProposeConfig, KindApplyConfig: // they move nothing
	}
	return s
}

// resume takes in the known movements, and adds those that follow the last one in its own transaction.
func (r *reading) resume(transaction chain.Transaction, known []Movement) error {
	if known[0].Kind != KindOpen {
		r.state = r.state.after(Movement{Kind: KindOpen, Deposit: r.terms.Deposit, Deadline: r.terms.Deadline})
	}
	var here []Movement // the known ones of this transaction
	for _, movement := range known {
		if _, err := r.state.deposit.Add(movement.Deposit); err != nil {
			return fmt.Errorf("%w: %w", ErrMismatch, err)
		}
		r.state = r.state.after(movement)
		if movement.Signature == transaction.Signature {
			here = append(here, movement)
		}
	}
	for i, call := range transaction.Calls {
		switch {
		case !r.concerns(call):
		case len(here) == 0:
			return r.calls(transaction, i)
		case is(call, here[0]):
			here = here[1:]
		case call.Data[0] != opOpen:
			return fmt.Errorf("%w: instruction %d instead of the known %s", ErrMismatch, call.Data[0], here[0].Kind)
		}
	}
	if len(here) > 0 {
		return fmt.Errorf("%w: no %s in its transaction", ErrMismatch, here[0].Kind)
	}
	return nil
}

// concerns says whether the call is one of the program on this lease, at whatever depth.
func (r *reading) concerns(call chain.Call) bool {
	return call.Program == r.terms.Program && len(call.Data) > 0 && len(call.Accounts) > 1 && call.Accounts[1] == r.at.lease
}

// is says whether the call made the movement.
func is(call chain.Call, movement Movement) bool {
	switch movement.Kind {
	case KindOpen:
		return call.Data[0] == opOpen
	case KindClaim:
		return bytes.Equal(call.Data, numbered(opClaim, uint64(movement.Gross)))
	case KindAward:
		return bytes.Equal(call.Data, numbered(opAward, uint64(movement.Gross)))
	case KindTopUp:
		return bytes.Equal(call.Data, numbered(opTopUp, uint64(movement.Deposit)))
	case KindExtend:
		return bytes.Equal(call.Data, numbered(opExtend, uint64(movement.Deadline.Unix()))) //nolint:gosec // the layout's signed seconds
	case KindDispute:
		return bytes.Equal(call.Data, numbered(opDispute, uint64(movement.Disputed)))
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
		next := Movement{Signature: transaction.Signature, Slot: transaction.Slot, Time: transaction.Time, Gross: r.state.gross}
		if err := r.call(&next, call, made); err != nil {
			return err
		}
		r.state = r.state.after(next)
		r.movements = append(r.movements, next)
	}
	return nil
}

// call reads one instruction and what it made the Token program do.
func (r *reading) call(next *Movement, call chain.Call, made []tokenCall) error {
	form, known := formOf(call.Data[0])
	if !known || len(call.Data) != form.Size || len(call.Accounts) < len(form.Accounts) {
		return fmt.Errorf("%w: instruction %d of %d bytes", ErrMismatch, call.Data[0], len(call.Data))
	}
	if r.state.closed || r.state.opened == (call.Data[0] == opOpen) {
		return fmt.Errorf("%w: instruction %d out of turn", ErrMismatch, call.Data[0])
	}
	read := map[byte]func(*Movement, chain.Call, []tokenCall) error{
		opOpen: r.open, opClaim: r.claim, opClose: r.close, opTopUp: r.topUp, opExtend: r.extend, opDispute: r.dispute, opAward: r.award,
	}[call.Data[0]]
	if read == nil {
		return fmt.Errorf("%w: instruction %d names a lease", ErrMismatch, call.Data[0])
	}
	return read(next, call, made)
}

func (r *reading) open(next *Movement, call chain.Call, made []tokenCall) error {
	t, at := r.terms, r.at
	if !bytes.Equal(call.Data, openData(t, at)) ||
		!named(call, t.Buyer, at.lease, at.vault, t.Mint, anything, t.Supplier, t.Treasury, anything, t.Config) || call.Accounts[7] != t.Arbiter {
		return fmt.Errorf("%w: opened with other terms", ErrMismatch)
	}
	next.Kind, next.Deposit, next.Deadline = KindOpen, t.Deposit, t.Deadline
	return expect(made,
		tokenCall{op: initializeAccount, from: at.vault, to: t.Mint},
		tokenCall{op: transferChecked, from: call.Accounts[4], to: at.vault, amount: t.Deposit})
}

func (r *reading) claim(next *Movement, call chain.Call, made []tokenCall) error {
	if !named(call, anything, r.at.lease, r.at.vault, r.terms.Mint, anything, anything) {
		return fmt.Errorf("%w: claimed in another form", ErrMismatch)
	}
	next.Kind, next.Gross = KindClaim, amountOf(call)
	return r.pay(next, call, made)
}

// award is a payment without a voucher, so its bounds are looked at as closely as its amounts.
func (r *reading) award(next *Movement, call chain.Call, made []tokenCall) error {
	if !named(call, r.terms.Arbiter, r.at.lease, r.at.vault, r.terms.Mint, anything, anything) {
		return fmt.Errorf("%w: awarded in another form", ErrMismatch)
	}
	next.Kind, next.Gross = KindAward, amountOf(call)
	if next.Gross > r.state.disputed {
		return fmt.Errorf("%w: awarded %s of a dispute of %s", ErrMismatch, next.Gross, r.state.disputed)
	}
	if err := r.pay(next, call, made); err != nil {
		return err
	}
	taken, err := money.Sum(next.Supplier, next.Treasury, next.Burn)
	if most := money.Portion(r.state.deposit, r.terms.ArbiterCapBps); err != nil || taken > most {
		return fmt.Errorf("%w: an award of %s exceeds the arbiter's %s", ErrMismatch, taken, most)
	}
	return nil
}

// pay checks a payment up to a cumulative gross amount.
func (r *reading) pay(next *Movement, call chain.Call, made []tokenCall) error {
	if next.Gross <= r.state.gross {
		return fmt.Errorf("%w: paid %s after %s", ErrMismatch, next.Gross, r.state.gross)
	}
	before, err := r.terms.Fees.Split(r.state.gross)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	now, err := r.terms.Fees.Split(next.Gross)
	if err != nil || now.Debit > r.state.deposit {
		return fmt.Errorf("%w: paid %s of a deposit of %s", ErrMismatch, next.Gross, r.state.deposit)
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

func (r *reading) topUp(next *Movement, call chain.Call, made []tokenCall) error {
	if !named(call, r.terms.Buyer, r.at.lease, r.at.vault, r.terms.Mint, anything) {
		return fmt.Errorf("%w: topped up in another form", ErrMismatch)
	}
	next.Kind, next.Deposit = KindTopUp, amountOf(call)
	if _, err := r.state.deposit.Add(next.Deposit); err != nil || next.Deposit == 0 {
		return fmt.Errorf("%w: topped up by %s", ErrMismatch, next.Deposit)
	}
	return expect(made, tokenCall{op: transferChecked, from: call.Accounts[4], to: r.at.vault, amount: next.Deposit})
}

func (r *reading) extend(next *Movement, call chain.Call, made []tokenCall) error {
	if !named(call, r.terms.Buyer, r.at.lease) {
		return fmt.Errorf("%w: extended in another form", ErrMismatch)
	}
	until := int64(amountOf(call)) //nolint:gosec // the layout's signed seconds
	if until <= r.state.deadline {
		return fmt.Errorf("%w: the deadline moved from %d to %d", ErrMismatch, r.state.deadline, until)
	}
	next.Kind, next.Deadline = KindExtend, time.Unix(until, 0).UTC()
	return expect(made)
}

func (r *reading) dispute(next *Movement, call chain.Call, made []tokenCall) error {
	if !named(call, r.terms.Supplier, r.at.lease) || r.terms.ArbiterCapBps == 0 || r.state.wasDisputed {
		return fmt.Errorf("%w: a dispute that the lease does not allow", ErrMismatch)
	}
	next.Kind, next.Disputed = KindDispute, amountOf(call)
	split, err := r.terms.Fees.Split(next.Disputed)
	if err != nil || split.Debit > r.state.deposit || next.Disputed <= r.state.gross {
		return fmt.Errorf("%w: a dispute of %s about a deposit of %s", ErrMismatch, next.Disputed, r.state.deposit)
	}
	return expect(made)
}

func (r *reading) close(next *Movement, call chain.Call, made []tokenCall) error {
	if !named(call, anything, r.at.lease, r.at.vault, r.terms.Mint, anything, r.terms.Buyer) {
		return fmt.Errorf("%w: closed in another form", ErrMismatch)
	}
	paid, err := r.terms.Fees.Split(r.state.gross)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMismatch, err)
	}
	rest, err := r.state.deposit.Sub(paid.Debit)
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

// amountOf is the one number in an instruction's data.
func amountOf(call chain.Call) money.Amount {
	in := fields{call.Data[1:]}
	return in.amount()
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
