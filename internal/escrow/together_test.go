// SPDX-License-Identifier: Apache-2.0

package escrow_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// together are the terms of so many leases of one buyer, each with another supplier.
func together(terms escrow.Terms, n int) []escrow.Terms {
	all := make([]escrow.Terms, n)
	for i := range all {
		all[i] = terms
		all[i].Supplier = wallet(fmt.Sprintf("supplier %d", i)).PublicKey()
		all[i].ID = escrow.LeaseID("hub", "suppliers", fmt.Sprintf("train-%d", i), "uid")
		all[i].Deposit += money.Amount(i)
	}
	return all
}

// size is how many bytes the transaction has that opens all of them, with a limit and a price of compute units.
func size(t *testing.T, all []escrow.Terms) (int, error) {
	t.Helper()
	instructions := []chain.Instruction{chain.ComputeLimit(200_000), unitPrice(1_000_000)}
	for _, terms := range all {
		open, err := escrow.Open(terms)
		if err != nil {
			t.Fatal(err)
		}
		instructions = append(instructions, open...)
	}
	message, err := chain.CompileMessage(all[0].Buyer, instructions, chain.Hash{7})
	if err != nil {
		return 0, err
	}
	envelope, err := chain.NewEnvelope(message)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := envelope.Unsigned()
	return len(raw), err
}

// The bound is what the network carries: a full set fits, and one more does not.
func TestAFullSetFitsIntoOneTransaction(t *testing.T) {
	full, err := size(t, together(someTerms(), escrow.MaxOpenings))
	if err != nil {
		t.Fatal(err)
	}
	const want = 1_138
	if full != want {
		t.Errorf("%d openings have %d bytes, want %d", escrow.MaxOpenings, full, want)
	}
	if _, err := size(t, together(someTerms(), escrow.MaxOpenings+1)); !errors.Is(err, chain.ErrTooBig) {
		t.Errorf("%d openings: got %v, want %v", escrow.MaxOpenings+1, err, chain.ErrTooBig)
	}
}

func TestReadMessageSumsWhatIsOpenedTogether(t *testing.T) {
	all := together(someTerms(), 3)
	instructions, err := escrow.OpenAll(all)
	if err != nil {
		t.Fatal(err)
	}
	got, err := escrow.ReadMessage(compile(t, all[0].Buyer, append([]chain.Instruction{chain.ComputeLimit(9)}, instructions...)...), all[0].Program)
	if err != nil {
		t.Fatal(err)
	}
	address := func(i int) chain.Address {
		lease, err := all[i].Address()
		if err != nil {
			t.Fatal(err)
		}
		return lease
	}
	other := func(i int) escrow.Opening {
		return escrow.Opening{Lease: address(i), Supplier: all[i].Supplier, Arbiter: all[i].Arbiter, Deadline: all[i].Deadline}
	}
	want := escrow.Intent{
		Kind: escrow.KindOpen, Program: all[0].Program, Signer: all[0].Buyer, Lease: address(0), Mint: all[0].Mint, Config: all[0].Config,
		Supplier: all[0].Supplier, Arbiter: all[0].Arbiter, Tokens: 3*100_250_000 + 3, Lamports: perSignature + 3*(leaseRent+tokensRent),
		Deadline: all[0].Deadline, Others: []escrow.Opening{other(1), other(2)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("intent (-want +got):\n%s", diff)
	}
}

func TestOnlyLeasesOfOneKindAreOpenedTogether(t *testing.T) {
	cases := map[string]func([]escrow.Terms) []escrow.Terms{
		"none":                  func([]escrow.Terms) []escrow.Terms { return nil },
		"too many":              func([]escrow.Terms) []escrow.Terms { return together(someTerms(), escrow.MaxOpenings+1) },
		"one twice":             func(all []escrow.Terms) []escrow.Terms { all[1].ID = all[0].ID; return all },
		"another buyer":         func(all []escrow.Terms) []escrow.Terms { all[1].Buyer = wallet("x").PublicKey(); return all },
		"another program":       func(all []escrow.Terms) []escrow.Terms { all[1].Program = wallet("x").PublicKey(); return all },
		"another configuration": func(all []escrow.Terms) []escrow.Terms { all[1].Config = wallet("x").PublicKey(); return all },
		"another mint":          func(all []escrow.Terms) []escrow.Terms { all[1].Mint = wallet("x").PublicKey(); return all },
		"one without a deposit": func(all []escrow.Terms) []escrow.Terms { all[1].Deposit = 0; return all },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			all := change(together(someTerms(), 2))
			if _, err := escrow.OpenAll(all); !errors.Is(err, escrow.ErrTerms) {
				t.Errorf("OpenAll: got %v, want %v", err, escrow.ErrTerms)
			}
			var instructions []chain.Instruction
			for _, terms := range all {
				open, err := escrow.Open(terms)
				if err != nil {
					return // nobody builds it
				}
				instructions = append(instructions, open...)
			}
			message, err := chain.CompileMessage(someTerms().Buyer, instructions, chain.Hash{7})
			if err != nil {
				return // the network does not carry it
			}
			if intent, err := escrow.ReadMessage(message, someTerms().Program, wallet("x").PublicKey()); !errors.Is(err, escrow.ErrMessage) {
				t.Errorf("ReadMessage: got %+v and %v, want %v", intent, err, escrow.ErrMessage)
			}
		})
	}
}

// After an opening only another opening may follow, and before one none of another kind.
func TestNothingElseIsDoneWithAnOpening(t *testing.T) {
	terms := together(someTerms(), 2)
	open, err := escrow.OpenAll(terms)
	if err != nil {
		t.Fatal(err)
	}
	for kind, instructions := range built(t) {
		if kind == escrow.KindOpen || payerOf(instructions) != terms[0].Buyer {
			continue
		}
		for name, all := range map[string][]chain.Instruction{
			"after":   append(append([]chain.Instruction{}, open...), instructions...),
			"between": append(append(append([]chain.Instruction{}, open[0]), instructions...), open[1]),
			"before":  append(append([]chain.Instruction{}, instructions...), open...),
		} {
			if intent, err := escrow.ReadMessage(compile(t, terms[0].Buyer, all...), terms[0].Program); !errors.Is(err, escrow.ErrMessage) {
				t.Errorf("%s %s them: got %+v and %v, want %v", kind, name, intent, err, escrow.ErrMessage)
			}
		}
	}
}

// On the real program: all are opened or none is, and each escrow's own history has its own deposit.
func TestEscrowsAreOpenedTogetherOrNotAtAll(t *testing.T) {
	l := newLab(t)
	all := together(l.terms, escrow.MaxOpenings)
	opened := func() (n int) {
		for _, terms := range all {
			l.terms = terms
			if _, err := l.verify(); err == nil {
				n++
			} else if !errors.Is(err, escrow.Absent) {
				t.Fatal(err)
			}
		}
		return n
	}
	late := append([]escrow.Terms{}, all...)
	late[len(late)-1].Deadline = time.Unix(1, 0).UTC()
	l.refused(l.buyer, escrow.CodeTime)(escrow.OpenAll(late))
	if n := opened(); n != 0 {
		t.Fatalf("%d escrows are open, although the last could not be", n)
	}
	l.step(l.buyer)(escrow.OpenAll(all))
	if n := opened(); n != len(all) {
		t.Fatalf("%d escrows are open, want %d", n, len(all))
	}
	for _, terms := range all {
		l.terms = terms
		want := []escrow.Movement{{Kind: escrow.KindOpen, Deposit: terms.Deposit, Deadline: terms.Deadline}}
		if diff := cmp.Diff(want, l.movements(), placeless); diff != "" {
			t.Errorf("movements (-want +got):\n%s", diff)
		}
	}
	again := append([]escrow.Terms{}, all[0])
	again = append(again, together(l.terms, escrow.MaxOpenings+1)[escrow.MaxOpenings:]...)
	l.refused(l.buyer, escrow.CodeState)(escrow.OpenAll(again))
	l.terms = again[1]
	if _, err := l.verify(); !errors.Is(err, escrow.Absent) {
		t.Errorf("an escrow was opened together with one that was open: %v", err)
	}
}
