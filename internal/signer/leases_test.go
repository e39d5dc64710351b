// SPDX-License-Identifier: Apache-2.0

package signer_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
)

// leased returns a buyer whose policy knows one program, and the terms of a lease that it could sign for.
func leased(t *testing.T, caps ...string) (buyer *signer.Policy, terms escrow.Terms) {
	t.Helper()
	limits, err := signer.ParseLimits(caps)
	if err != nil {
		t.Fatal(err)
	}
	key := signer.FromSeed(canary)
	terms = escrow.Terms{
		Program: chain.Address{1}, Config: chain.Address{5}, Buyer: key.PublicKey(), Supplier: chain.Address{2}, Treasury: chain.Address{3}, Mint: usdc,
		ID: [32]byte{4}, Deposit: 90_000_000, Deadline: time.Unix(1_900_000_000, 0), Fees: money.Fees{BuyerBps: 25}, Decimals: 6,
	}
	return signer.NewPolicy(key, signer.PolicyOptions{
		Read: []signer.Reader{signer.Leases(terms.Program)}, Switch: &pause{}, Limits: limits, Flag: "buyer-daily-cap",
		Store: &memory{}, Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	}), terms
}

func compiled(t *testing.T, payer chain.Address, instructions []chain.Instruction) []byte {
	t.Helper()
	message, err := chain.CompileMessage(payer, append([]chain.Instruction{chain.ComputeLimit(50_000)}, instructions...), chain.Hash{9})
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func opening(t *testing.T, terms escrow.Terms) []byte {
	t.Helper()
	instructions, err := escrow.Open(terms)
	if err != nil {
		t.Fatal(err)
	}
	return compiled(t, terms.Buyer, instructions)
}

func TestAMemberSignsWhatEscrowBuilds(t *testing.T) {
	buyer, terms := leased(t, usdcCap("100"), "SOL=0.02")
	address, err := terms.Address()
	if err != nil {
		t.Fatal(err)
	}
	closing, err := escrow.Close(terms, terms.Buyer)
	if err != nil {
		t.Fatal(err)
	}
	topUp, err := escrow.TopUp(terms, 1_000_000)
	if err != nil {
		t.Fatal(err)
	}
	extension, err := escrow.Extend(terms, terms.Deadline.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, message := range map[string][]byte{
		"top-up":    compiled(t, terms.Buyer, topUp),
		"extension": compiled(t, terms.Buyer, extension),
		"deposit":   opening(t, terms),
		"voucher":   escrow.VoucherMessage(terms.Program, address, 5),
		"refund":    compiled(t, terms.Buyer, closing),
	} {
		if _, err := buyer.Sign(t.Context(), message); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	terms.ID[0]++ // 91 of 100 are spent
	if _, err := buyer.Sign(t.Context(), opening(t, terms)); !errors.Is(err, signer.SpendCapReached) || !strings.Contains(err.Error(), "100.00 of mint") {
		t.Errorf("a second deposit: got %v, want %s that names the cap", err, signer.SpendCapReached)
	}
}

// A hub could name a program that does as it likes with the wallet of whoever signs for it.
func TestAMemberSignsForNoOtherProgram(t *testing.T) {
	buyer, terms := leased(t)
	address, err := terms.Address()
	if err != nil {
		t.Fatal(err)
	}
	foreign := terms
	foreign.Program = chain.Address{7}
	transfer := chain.Instruction{
		Program: chain.SystemProgram, Data: []byte{2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0},
		Accounts: []chain.Meta{{Address: terms.Buyer, Signer: true, Writable: true}, {Address: chain.Address{8}, Writable: true}},
	}
	open, err := escrow.Open(terms)
	if err != nil {
		t.Fatal(err)
	}
	for name, message := range map[string][]byte{
		"another program's deposit":  opening(t, foreign),
		"another program's voucher":  escrow.VoucherMessage(foreign.Program, address, 5),
		"a transfer":                 compiled(t, terms.Buyer, []chain.Instruction{transfer}),
		"a transfer after a deposit": compiled(t, terms.Buyer, append(open, transfer)),
		"a login":                    []byte("sign in to market.example"),
		"a longer voucher":           append(escrow.VoucherMessage(terms.Program, address, 5), 0),
	} {
		if _, err := buyer.Sign(t.Context(), message); !errors.Is(err, signer.MessageRefused) {
			t.Errorf("%s: got %v, want %s", name, err, signer.MessageRefused)
		}
	}
}

// The leases of one job are opened by one transaction, and all of it counts: once, however often it is signed, and anew with another deposit.
func TestLeasesThatAreOpenedTogetherCountTogether(t *testing.T) {
	buyer, terms := leased(t, usdcCap("100"))
	sign := func(deposits ...money.Amount) error {
		all := make([]escrow.Terms, 0, len(deposits))
		for i, deposit := range deposits {
			terms.ID[0], terms.Deposit = byte(i), deposit
			all = append(all, terms)
		}
		instructions, err := escrow.OpenAll(all)
		if err != nil {
			t.Fatal(err)
		}
		_, err = buyer.Sign(t.Context(), compiled(t, terms.Buyer, instructions))
		return err
	}
	for i, step := range []struct {
		deposits []money.Amount
		want     error
	}{
		{[]money.Amount{60_000_000, 50_000_000}, signer.SpendCapReached},
		{[]money.Amount{30_000_000, 20_000_000}, nil},
		{[]money.Amount{30_000_000, 20_000_000}, nil},
		{[]money.Amount{30_000_000, 50_000_000}, signer.SpendCapReached},
		{[]money.Amount{30_000_000, 10_000_000, 10_000_000}, nil},
		{[]money.Amount{1}, signer.SpendCapReached},
	} {
		if err := sign(step.deposits...); !errors.Is(err, step.want) {
			t.Errorf("step %d: got %v, want %v", i, err, step.want)
		}
	}
}

// What is bonded leaves the wallet too, so that it counts against the same cap.
func TestAStakeCountsAgainstTheCap(t *testing.T) {
	key := signer.FromSeed(canary)
	limits, err := signer.ParseLimits([]string{usdcCap("100")})
	if err != nil {
		t.Fatal(err)
	}
	pool := stake.Pool{Program: chain.Address{1}, Config: chain.Address{5}, Owner: key.PublicKey(), Mint: usdc}
	member := signer.NewPolicy(key, signer.PolicyOptions{
		Read: []signer.Reader{signer.Leases(pool.Program), signer.Stakes(pool.Program)}, Switch: &pause{}, Limits: limits,
		Flag: "supplier-daily-cap", Store: &memory{}, Now: func() time.Time { return time.Unix(1_800_000_000, 0) },
	})
	for i, step := range []struct {
		amount money.Amount
		want   error
	}{{60_000_000, nil}, {60_000_000, signer.SpendCapReached}, {40_000_000, nil}} {
		bond, err := stake.Bond(pool, key.PublicKey(), step.amount)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := member.Sign(t.Context(), compiled(t, key.PublicKey(), bond)); !errors.Is(err, step.want) {
			t.Errorf("step %d: got %v, want %v", i, err, step.want)
		}
	}
	pool.Program = chain.Address{7}
	bond, err := stake.Bond(pool, key.PublicKey(), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := member.Sign(t.Context(), compiled(t, key.PublicKey(), bond)); !errors.Is(err, signer.MessageRefused) {
		t.Errorf("another program's stake: got %v, want %s", err, signer.MessageRefused)
	}
}

func TestAWalletThatKnowsNoProgramSaysSo(t *testing.T) {
	policy := signer.NewPolicy(signer.FromSeed(canary), signer.PolicyOptions{
		Read: []signer.Reader{signer.Leases(), signer.Stakes()}, Switch: &pause{},
	})
	_, err := policy.Sign(t.Context(), []byte("anything"))
	if !errors.Is(err, signer.MessageRefused) || strings.Count(err.Error(), "--lease-program") != 1 {
		t.Errorf("got %v, want %s that names the flag once", err, signer.MessageRefused)
	}
}
