// SPDX-License-Identifier: Apache-2.0

package escrow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// placeless leaves out of a comparison where on the chain a movement is.
var placeless = cmpopts.IgnoreFields(escrow.Movement{}, "Signature", "Slot", "Time")

// The whole life of an escrow on the real program, checked to the base unit against what the accounts hold.
func TestEscrowLife(t *testing.T) {
	l := newLab(t)
	if _, err := l.verify(); !errors.Is(err, escrow.Absent) {
		t.Fatalf("before it is opened: got %v, want %v", err, escrow.Absent)
	}
	l.open()
	facts, err := l.verify()
	l.must(err)
	if facts.Balance != l.terms.Deposit || facts.Paid != 0 || facts.Closed {
		t.Fatalf("opened: %+v", facts)
	}
	opened := l.movements()

	l.claim(l.supplier, 399)        // bears no fee yet
	l.claim(l.stranger, 40_000_001) // anybody may submit
	l.claim(l.supplier, 70_000_000)
	facts, err = l.verify()
	l.must(err)
	if facts.Paid != 70_000_000 {
		t.Fatalf("claimed: %+v", facts)
	}
	l.close(l.supplier)
	if facts, err = l.verify(); !errors.Is(err, escrow.Closed) || !facts.Closed || facts.Paid != 70_000_000 {
		t.Fatalf("closed: %+v, %v", facts, err)
	}

	movements := l.movements()
	want := []escrow.Movement{
		{Kind: escrow.KindOpen, Deposit: 100_250_000, Deadline: l.terms.Deadline},
		{Kind: escrow.KindClaim, Gross: 399, Supplier: 399},
		{Kind: escrow.KindClaim, Gross: 40_000_001, Supplier: 39_900_001 - 399, Treasury: 80_000, Burn: 120_000},
		{Kind: escrow.KindClaim, Gross: 70_000_000, Supplier: 69_825_000 - 39_900_001, Treasury: 60_000, Burn: 90_000},
		{Kind: escrow.KindClose, Gross: 70_000_000, Refund: 100_250_000 - 70_175_000},
	}
	if diff := cmp.Diff(want, movements, placeless); diff != "" {
		t.Fatalf("movements (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(opened, movements[:1]); diff != "" {
		t.Errorf("the first movement (-then +now):\n%s", diff)
	}
	l.checkResumed(movements)
	var supplier, treasury, burned, refunded money.Amount
	for _, movement := range movements {
		if movement.Signature.IsZero() || movement.Slot == 0 || movement.Time.IsZero() {
			t.Errorf("movement without its place: %+v", movement)
		}
		supplier += movement.Supplier
		treasury += movement.Treasury
		burned += movement.Burn
		refunded += movement.Refund
	}
	if sum := supplier + treasury + burned + refunded; sum != l.terms.Deposit {
		t.Errorf("movements sum to %d of a deposit of %d", sum, l.terms.Deposit)
	}
	if got := l.balance(l.terms.Supplier); got != supplier {
		t.Errorf("supplier holds %d, was paid %d", got, supplier)
	}
	if got := l.balance(l.terms.Treasury); got != treasury {
		t.Errorf("treasury holds %d, was paid %d", got, treasury)
	}
	if got := l.supply(); got != allTokens-burned {
		t.Errorf("supply is %d after burning %d of %d", got, burned, allTokens)
	}
	if got := l.balance(l.terms.Buyer); got != allTokens-l.terms.Deposit+refunded {
		t.Errorf("buyer holds %d", got)
	}
}

func TestProgramRefuses(t *testing.T) {
	l := newLab(t)
	l.open()
	l.claim(l.supplier, 1_000)
	claim := func(gross money.Amount, edit func([]chain.Instruction)) func() ([]chain.Instruction, error) {
		return func() ([]chain.Instruction, error) {
			instructions, err := escrow.Claim(l.terms, l.supplier.PublicKey(), gross, l.voucher(gross))
			if err == nil {
				edit(instructions)
			}
			return instructions, err
		}
	}
	same := func([]chain.Instruction) {}
	cases := map[string]struct {
		build func() ([]chain.Instruction, error)
		want  uint32
	}{
		"a claim a second time":   {claim(1_000, same), escrow.CodeAmount},
		"a claim of less":         {claim(999, same), escrow.CodeAmount},
		"opening a second time":   {func() ([]chain.Instruction, error) { return escrow.Open(l.terms) }, escrow.CodeState},
		"an amount not promised":  {claim(2_000, func(i []chain.Instruction) { i[3].Data[1]++ }), escrow.CodeVoucher},
		"a claim without voucher": {claim(2_000, func(i []chain.Instruction) { i[2] = i[0] }), escrow.CodeVoucher},
		"pay to somebody else":    {claim(2_000, func(i []chain.Instruction) { i[3].Accounts[4] = i[3].Accounts[5] }), escrow.CodeParty},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			instructions, err := tc.build()
			l.must(err)
			by := l.supplier
			if instructions[0].Accounts[0].Address == l.terms.Buyer {
				by = l.buyer
			}
			_, err = l.try(by, instructions, nil)
			failure, ok := errors.AsType[*chain.Failure](err)
			if !ok || !failure.IsCustom(tc.want) {
				t.Errorf("got %v, want code %d", err, tc.want)
			}
		})
	}
}

func TestAnybodyClosesAfterTheDeadlineAndDustIsHarmless(t *testing.T) {
	l := newLab(t)
	l.open()
	instructions, err := escrow.Close(l.terms, l.stranger.PublicKey())
	l.must(err)
	_, err = l.try(l.stranger, instructions, nil)
	if failure, ok := errors.AsType[*chain.Failure](err); !ok || !failure.IsCustom(escrow.CodeTime) {
		t.Fatalf("before the deadline: got %v, want code %d", err, escrow.CodeTime)
	}
	vault, err := l.terms.Vault()
	l.must(err)
	lease, err := l.terms.Address()
	l.must(err)
	l.set(vault, chain.TokenProgram, tokenData(l.terms.Mint, lease, uint64(l.terms.Deposit)+5))
	l.must(l.sim.Tick(t.Context(), finalLag+1))
	if facts, err := l.verify(); err != nil || facts.Balance != l.terms.Deposit+5 {
		t.Fatalf("with dust: %+v, %v", facts, err)
	}
	l.must(l.sim.WarpTime(t.Context(), 2*time.Hour))
	l.close(l.stranger)
	movements := l.movements()
	if last := movements[len(movements)-1]; last.Kind != escrow.KindClose || last.Refund != l.terms.Deposit+5 {
		t.Errorf("refund: %+v", last)
	}
	if got := l.balance(l.terms.Buyer); got != allTokens+5 {
		t.Errorf("buyer holds %d", got)
	}
}

// Two claims and the close in one transaction are three movements, each with its own amounts.
func TestSeveralMovementsInOneTransaction(t *testing.T) {
	l := newLab(t)
	l.open()
	first, err := escrow.Claim(l.terms, l.supplier.PublicKey(), 1_000_000, l.voucher(1_000_000))
	l.must(err)
	second, err := escrow.Claim(l.terms, l.supplier.PublicKey(), 1_234_567, l.voucher(1_234_567))
	l.must(err)
	closing, err := escrow.Close(l.terms, l.supplier.PublicKey())
	l.must(err)
	l.land(l.supplier, append(append(first, second[2:]...), closing[1]), nil)
	movements := l.movements()
	kinds := make([]escrow.Kind, 0, len(movements))
	var total money.Amount
	for _, movement := range movements {
		kinds = append(kinds, movement.Kind)
		total += movement.Supplier + movement.Treasury + movement.Burn + movement.Refund
	}
	want := []escrow.Kind{escrow.KindOpen, escrow.KindClaim, escrow.KindClaim, escrow.KindClose}
	if diff := cmp.Diff(want, kinds); diff != "" || total != l.terms.Deposit {
		t.Errorf("moved %d of %d; kinds (-want +got):\n%s", total, l.terms.Deposit, diff)
	}
	l.checkResumed(movements)
	unknown := movements[1]
	unknown.Gross++
	if _, err := escrow.ReadMovements(t.Context(), l.client, l.terms, unknown); !errors.Is(err, escrow.ErrMismatch) {
		t.Errorf("since a movement that never was: got %v, want %v", err, escrow.ErrMismatch)
	}
}
