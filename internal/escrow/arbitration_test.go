// SPDX-License-Identifier: Apache-2.0

package escrow_test

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// check compares all movements of the lab's escrow, and reads on after each of them.
func (l *lab) check(want []escrow.Movement) []escrow.Movement {
	l.t.Helper()
	movements := l.movements()
	if diff := cmp.Diff(want, movements, placeless); diff != "" {
		l.t.Fatalf("movements (-want +got):\n%s", diff)
	}
	l.checkResumed(movements)
	return movements
}

// The buyer adds to the deposit and puts off the deadline of a running lease; what was deposited is what comes out again.
func TestTopUpAndExtend(t *testing.T) {
	l := newLab(t)
	l.open()
	l.claim(l.supplier, 1_000_000)
	l.step(l.buyer)(escrow.TopUp(l.terms, 100_250_000))
	later := l.terms.Deadline.Add(2 * time.Hour)
	l.step(l.buyer)(escrow.Extend(l.terms, later))
	facts, err := l.verify()
	l.must(err)
	if facts.Deposit != 2*l.terms.Deposit || !facts.Deadline.Equal(later) || facts.Paid != 1_000_000 || facts.Balance != 2*l.terms.Deposit-1_002_500 {
		t.Fatalf("raised: %+v", facts)
	}
	l.refused(l.buyer, escrow.CodeTime)(escrow.Extend(l.terms, l.terms.Deadline.Add(time.Hour))) // not later than it is
	if _, err := escrow.Claim(l.terms, l.supplier.PublicKey(), 150_000_000, l.voucher(150_000_000)); !errors.Is(err, escrow.ErrTerms) {
		t.Errorf("a claim beyond the deposit that is known: got %v, want %v", err, escrow.ErrTerms)
	}
	first := l.terms
	l.terms.Deposit = facts.Deposit
	l.claim(l.supplier, 150_000_000)
	l.terms = first
	l.must(l.sim.WarpTime(t.Context(), 90*time.Minute)) // past the first deadline, not the second
	l.refused(l.stranger, escrow.CodeTime)(escrow.Close(l.terms, l.stranger.PublicKey()))
	l.close(l.supplier)
	l.check([]escrow.Movement{
		{Kind: escrow.KindOpen, Deposit: 100_250_000, Deadline: l.terms.Deadline},
		{Kind: escrow.KindClaim, Gross: 1_000_000, Supplier: 997_500, Treasury: 2_000, Burn: 3_000},
		{Kind: escrow.KindTopUp, Gross: 1_000_000, Deposit: 100_250_000},
		{Kind: escrow.KindExtend, Gross: 1_000_000, Deadline: later},
		{Kind: escrow.KindClaim, Gross: 150_000_000, Supplier: 149_625_000 - 997_500, Treasury: 300_000 - 2_000, Burn: 450_000 - 3_000},
		{Kind: escrow.KindClose, Gross: 150_000_000, Refund: 200_500_000 - 150_375_000},
	})
}

func TestOnlyTheBuyerAddsAndExtends(t *testing.T) {
	l := newLab(t)
	l.open()
	foreign := func(instructions []chain.Instruction, err error) ([]chain.Instruction, error) {
		if err == nil {
			instructions[0].Accounts[0].Address = l.stranger.PublicKey()
		}
		return instructions, err
	}
	l.set(l.tokens(l.stranger.PublicKey(), l.terms.Mint), chain.TokenProgram, tokenData(l.terms.Mint, l.stranger.PublicKey(), allTokens))
	l.refused(l.stranger, escrow.CodeSigner)(foreign(escrow.TopUp(l.terms, 5)))
	l.refused(l.stranger, escrow.CodeSigner)(foreign(escrow.Extend(l.terms, l.terms.Deadline.Add(time.Hour))))
	l.refused(l.stranger, escrow.CodeSigner)(foreign(escrow.Dispute(l.terms, 1_000)))
}

// A supplier without vouchers disputes; the arbiter awards a part after the delay, once, and within the cap; the rest goes back.
func TestDisputeAndAward(t *testing.T) {
	l := newLab(t)
	l.open()
	l.claim(l.supplier, 1_000_000)
	l.refused(l.arbiter, escrow.CodeDispute)(escrow.Award(l.terms, 2_000_000))
	l.refused(l.supplier, escrow.CodeAmount)(escrow.Dispute(l.terms, 1_000_000))
	l.step(l.supplier)(escrow.Dispute(l.terms, 90_000_000))
	facts, err := l.verify()
	l.must(err)
	if facts.Disputed != 90_000_000 || facts.Held.Sub(facts.DisputedAt) != 2*l.terms.DisputeDelay || facts.Paid != 1_000_000 {
		t.Fatalf("disputed: %+v", facts)
	}
	l.refused(l.supplier, escrow.CodeDispute)(escrow.Dispute(l.terms, 91_000_000))
	l.refused(l.arbiter, escrow.CodeTime)(escrow.Award(l.terms, 20_000_000))
	l.must(l.sim.WarpTime(t.Context(), 11*time.Minute))
	l.refused(l.arbiter, escrow.CodeCap)(escrow.Award(l.terms, 21_000_001)) // 20 050 000 beyond what is paid
	l.refused(l.arbiter, escrow.CodeAmount)(escrow.Award(l.terms, 90_000_001))
	l.step(l.arbiter)(escrow.Award(l.terms, 21_000_000))
	facts, err = l.verify()
	l.must(err)
	if facts.Disputed != 0 || facts.DisputedAt.IsZero() || !facts.Held.IsZero() || facts.Paid != 21_000_000 {
		t.Fatalf("awarded: %+v", facts)
	}
	l.refused(l.arbiter, escrow.CodeDispute)(escrow.Award(l.terms, 22_000_000))
	l.refused(l.supplier, escrow.CodeDispute)(escrow.Dispute(l.terms, 91_000_000))
	l.close(l.supplier)
	movements := l.check([]escrow.Movement{
		{Kind: escrow.KindOpen, Deposit: 100_250_000, Deadline: l.terms.Deadline},
		{Kind: escrow.KindClaim, Gross: 1_000_000, Supplier: 997_500, Treasury: 2_000, Burn: 3_000},
		{Kind: escrow.KindDispute, Gross: 1_000_000, Disputed: 90_000_000},
		{Kind: escrow.KindAward, Gross: 21_000_000, Supplier: 19_950_000, Treasury: 40_000, Burn: 60_000},
		{Kind: escrow.KindClose, Gross: 21_000_000, Refund: 100_250_000 - 21_052_500},
	})
	var total money.Amount
	for _, movement := range movements {
		total += movement.Supplier + movement.Treasury + movement.Burn + movement.Refund
	}
	if total != l.terms.Deposit {
		t.Errorf("movements sum to %d of a deposit of %d", total, l.terms.Deposit)
	}
}

// An open dispute holds the refund for twice its delay and no longer, whatever the arbiter does.
func TestADisputeHoldsTheRefundForAWhile(t *testing.T) {
	l := newLab(t)
	l.terms.DisputeDelay = 2 * time.Hour
	l.open()
	l.step(l.supplier)(escrow.Dispute(l.terms, 90_000_000))
	l.must(l.sim.WarpTime(t.Context(), 90*time.Minute)) // past the deadline
	l.refused(l.buyer, escrow.CodeHeld)(escrow.Close(l.terms, l.buyer.PublicKey()))
	l.must(l.sim.WarpTime(t.Context(), 3*time.Hour))
	l.refused(l.arbiter, escrow.CodeTime)(escrow.Award(l.terms, 1_000_000)) // too late
	l.close(l.buyer)
	if got := l.balance(l.terms.Buyer); got != allTokens {
		t.Errorf("the buyer holds %d of %d", got, uint64(allTokens))
	}
}

func TestWithoutAnArbiterNobodyDisputes(t *testing.T) {
	l := newLab(t)
	l.terms.Arbiter, l.terms.ArbiterCapBps, l.terms.DisputeDelay = chain.Address{}, 0, 0
	l.open()
	l.claim(l.supplier, 1_000)
	if facts, err := l.verify(); err != nil || facts.Paid != 1_000 {
		t.Errorf("claimed: %+v, %v", facts, err)
	}
	for name, build := range map[string]func(escrow.Terms, money.Amount) ([]chain.Instruction, error){
		"dispute": escrow.Dispute, "award": escrow.Award,
	} {
		if _, err := build(l.terms, 2_000); !errors.Is(err, escrow.ErrTerms) {
			t.Errorf("%s: got %v, want %v", name, err, escrow.ErrTerms)
		}
	}
	arbitrated := l.terms
	arbitrated.Arbiter, arbitrated.ArbiterCapBps, arbitrated.DisputeDelay = l.arbiter.PublicKey(), 2_000, 10*time.Minute
	l.refused(l.supplier, escrow.CodeDispute)(escrow.Dispute(arbitrated, 2_000))
}
