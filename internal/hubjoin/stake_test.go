// SPDX-License-Identifier: Apache-2.0

package hubjoin

import (
	"errors"
	"strings"
	"testing"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/stake"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

const (
	finalLag = 3
	lamports = 1_000_000_000
	oneIO    = 100_000_000 // base units of a token
)

// stakeBench is a hub that asks new members for 200 IO, and a wallet that wants to join.
type stakeBench struct {
	*testing.T

	hub   *fakehub.Hub
	h     *Hub
	chain *chaintest.Fake
	place contract.StakePlace
}

func newStakeBench(t *testing.T, change func(market *boursev1.Market)) *stakeBench {
	t.Helper()
	market := builders.Market()
	market.Spec.Stake = &boursev1.MarketStake{Token: "IO", PerGPU: "200"}
	if change != nil {
		change(market)
	}
	hub, h := newBench(t, market)
	b := &stakeBench{T: t, hub: hub, chain: chaintest.New(0, finalLag)}
	h.o.Stake = StakeRule{Least: 200, Chain: b.chain}
	b.h = New(h.o)
	fakeprogram.InstallStakes(b.chain, builders.Wallet("program").PublicKey(), hub.Now)
	var err error
	if b.place, err = contract.Stake(market, "IO", builders.Address("w")); err != nil {
		t.Fatal(err)
	}
	err = fakeprogram.Configure(b.chain, escrow.Config{
		Program: b.place.Pool.Program, Authority: b.place.Authority, Mint: b.place.Pool.Mint, Delay: time.Hour,
		Terms: escrow.ConfigTerms{
			Treasury: b.place.Authority, MaxSlashBps: 3_000, MaxDelegationBps: 5_000, SlashWindow: 2 * time.Hour, SlashHold: 2 * time.Hour,
			Cooldown: 14 * 24 * time.Hour,
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	wallet := builders.Wallet("w").PublicKey()
	tokens, err := chain.TokenAddress(wallet, b.place.Pool.Mint)
	if err != nil {
		t.Fatal(err)
	}
	b.chain.Fund(wallet, lamports)
	b.chain.Set(chain.Account{
		Address: tokens, Owner: chain.TokenProgram, Lamports: lamports, Data: fakeprogram.Tokens(b.place.Pool.Mint, wallet, 1_000*oneIO),
	})
	b.chain.Tick(finalLag + 1)
	return b
}

// bond puts so many base units of the wallet's at stake.
func (b *stakeBench) bond(units uint64, first bool) {
	b.Helper()
	instructions, err := stake.Bond(b.place.Pool, b.place.Pool.Owner, money.Amount(units))
	if err != nil {
		b.Fatal(err)
	}
	if first {
		create, err := stake.CreatePool(b.place.Pool)
		if err != nil {
			b.Fatal(err)
		}
		instructions = append(create, instructions...)
	}
	record, err := outbox.Prepare(b.Context(), b.chain, builders.Wallet("w"), "test", instructions, 1)
	if err != nil {
		b.Fatal(err)
	}
	for range 20 {
		outcome, err := outbox.Drive(b.Context(), b.chain, record)
		if err != nil || outcome.State != outbox.Landed && outcome.State != outbox.Pending {
			b.Fatalf("transaction %s: %v, %v", outcome.State, outcome.Failure, err)
		}
		b.chain.Tick(finalLag + 1)
		if outcome.State == outbox.Landed {
			return
		}
	}
	b.Fatal("the transaction did not land")
}

func (b *stakeBench) join() error {
	_, err := b.h.Admit(b.Context(), claim(join.Join))
	return err
}

func TestANewMemberHasItsStake(t *testing.T) {
	b := newStakeBench(t, nil)
	var err error
	for _, step := range []struct {
		bond, missing string
		units         uint64
	}{
		{"nothing", "has 0.00 IO: bond 200.00 IO more", 0},
		{"all but one unit", "has 199.99999999 IO: bond 0.00000001 IO more", 200*oneIO - 1},
	} {
		if step.units > 0 {
			b.bond(step.units, true)
		}
		if wrote := b.hub.Writes(func() { err = b.join() }); !errors.Is(err, join.StakeRequired) || len(wrote) > 0 {
			t.Errorf("with %s: %v, wrote %v; want %s", step.bond, err, wrote, join.StakeRequired)
		} else if !strings.Contains(err.Error(), step.missing) {
			t.Errorf("with %s: %v, want that it %s", step.bond, err, step.missing)
		}
	}
	b.bond(1, false)
	if err := b.join(); err != nil {
		t.Errorf("with what is asked for: %v", err)
	}
}

// A member stays one whatever becomes of its stake, and whatever the hub asks for later.
func TestAMemberIsNotAskedForItsStakeAgain(t *testing.T) {
	b := newStakeBench(t, nil)
	asks := b.h
	b.h = New(Options{Client: b.hub, Live: b.hub, Lifetime: time.Hour, Now: b.hub.Now}) // it asked for nothing then
	if err := b.join(); err != nil {
		t.Fatal(err)
	}
	b.h = asks
	b.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
	if err := b.join(); err != nil {
		t.Errorf("join again: %v", err)
	}
	if _, err := b.h.Renew(t.Context(), claim(join.Renew)); err != nil {
		t.Errorf("renew: %v", err)
	}
}

// What nobody knows is nobody's fault: the hub answers that it is busy.
func TestAStakeThatCannotBeReadIsNoRefusal(t *testing.T) {
	cases := map[string]struct {
		market func(*boursev1.Market)
		chain  func(*chaintest.Fake)
	}{
		"a chain that is away": {chain: func(c *chaintest.Fake) {
			c.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
		}},
		"a market without stakes":    {market: func(m *boursev1.Market) { m.Spec.Stake = nil }},
		"a market that is not ready": {market: func(m *boursev1.Market) { m.Status.Conditions = nil }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newStakeBench(t, tc.market)
			if tc.chain != nil {
				tc.chain(b.chain)
			}
			var err error
			wrote := b.hub.Writes(func() { err = b.join() })
			if refusal, refused := errors.AsType[*join.Refusal](err); err == nil || refused || len(wrote) > 0 {
				t.Errorf("got %v (%v), wrote %v; want an error that is no refusal", err, refusal, wrote)
			}
		})
	}
}

func TestTheChainIsNotAskedForEveryStranger(t *testing.T) {
	b := newStakeBench(t, nil)
	asked := 0
	b.chain.Faults(func(string) chaintest.Fault { asked++; return chaintest.Fault{} })
	var err error
	for i := range 2 * stakesBurst {
		c := claim(join.Join)
		c.Wallet[31] ^= byte(i + 1)
		_, err = b.h.Admit(t.Context(), c)
	}
	if !errors.Is(err, join.Busy) || asked != stakesBurst {
		t.Errorf("asked the chain %d times, and then: %v; want %d and %s", asked, err, stakesBurst, join.Busy)
	}
}
