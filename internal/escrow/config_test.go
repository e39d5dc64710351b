// SPDX-License-Identifier: Apache-2.0

package escrow_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
)

// someConfig is a configuration for tests without a chain.
func someConfig() escrow.Config {
	return escrow.Config{
		Program: wallet("program").PublicKey(), Authority: wallet("authority").PublicKey(), Mint: wallet("mint").PublicKey(), Delay: 24 * time.Hour,
		Terms: escrow.ConfigTerms{
			Treasury: wallet("treasury").PublicKey(), Arbiter: wallet("arbiter").PublicKey(),
			MaxBuyerFeeBps: 225, MaxSupplierFeeBps: 25, MaxArbiterCapBps: 2_000, MaxSlashBps: 1_000, MaxDelegationBps: 10_000,
			MinDisputeDelay: time.Hour, SlashWindow: 48 * time.Hour, SlashHold: 72 * time.Hour, Cooldown: 14 * 24 * time.Hour,
		},
	}
}

// configAccount lays out a configuration account as the program does.
func configAccount(t *testing.T, config escrow.Config) chain.Account {
	t.Helper()
	address, bump, err := chain.Derive(config.Program, []byte("config"), config.Authority[:])
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 272)
	copy(data, "bourse2\x10")
	copy(data[8:], config.Authority[:])
	copy(data[40:], config.Mint[:])
	binary.LittleEndian.PutUint32(data[80:], uint32(config.Delay/time.Second))
	data[84], data[85], data[86] = 8, bump, 2
	for _, at := range []int{88, 180} {
		terms := data[at:]
		copy(terms, config.Terms.Treasury[:])
		copy(terms[32:], config.Terms.Arbiter[:])
		for i, bps := range []uint16{
			config.Terms.MaxBuyerFeeBps, config.Terms.MaxSupplierFeeBps, config.Terms.MaxArbiterCapBps, config.Terms.MaxSlashBps,
			config.Terms.MaxDelegationBps,
		} {
			binary.LittleEndian.PutUint16(terms[64+2*i:], bps)
		}
		for i, delay := range []time.Duration{
			config.Terms.MinDisputeDelay, config.Terms.SlashWindow, config.Terms.SlashHold, config.Terms.Cooldown,
		} {
			binary.LittleEndian.PutUint32(terms[76+4*i:], uint32(delay/time.Second))
		}
	}
	return chain.Account{Address: address, Exists: true, Owner: config.Program, Data: data, Slot: 9}
}

func TestVerifyConfig(t *testing.T) {
	put := func(offset int, value ...byte) func(*chain.Account) {
		return func(account *chain.Account) { copy(account.Data[offset:], value) }
	}
	cases := map[string]struct {
		edit func(*chain.Account)
		want error
	}{
		"nothing is wrong":               {func(*chain.Account) {}, nil},
		"no configuration":               {func(a *chain.Account) { *a = chain.Account{Address: a.Address} }, escrow.Absent},
		"lamports but no configuration":  {func(a *chain.Account) { a.Owner, a.Data = chain.SystemProgram, nil }, escrow.Absent},
		"another address":                {func(a *chain.Account) { a.Address[0]++ }, escrow.WrongAddress},
		"another program's":              {func(a *chain.Account) { a.Owner = chain.TokenProgram }, escrow.WrongOwner},
		"cut short":                      {func(a *chain.Account) { a.Data = a.Data[:271] }, escrow.WrongLayout},
		"too long":                       {func(a *chain.Account) { a.Data = append(a.Data, 0) }, escrow.WrongLayout},
		"a lease's marker":               {put(7, 1), escrow.WrongLayout},
		"another version":                {put(86, 1), escrow.WrongLayout},
		"a spare byte":                   {put(87, 1), escrow.WrongLayout},
		"another bump":                   {put(85, 0), escrow.WrongLayout},
		"spare bytes of the terms":       {put(88+74, 1), escrow.WrongLayout},
		"spare bytes of pending terms":   {put(180+74, 1), escrow.WrongLayout},
		"another authority":              {put(8, 1), escrow.Inconsistent},
		"a change without its time":      {put(180, 1), escrow.Inconsistent},
		"a change before there was time": {put(79, 0x80), escrow.Inconsistent},
	}
	config := someConfig()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			account := configAccount(t, config)
			tc.edit(&account)
			facts, err := escrow.VerifyConfig(config.Program, config.Authority, account)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				return
			}
			want := escrow.ConfigFacts{
				Address: account.Address, Authority: config.Authority, Mint: config.Mint, Decimals: 8, Delay: config.Delay,
				Current: config.Terms, Pending: config.Terms, Slot: 9,
			}
			if diff := cmp.Diff(want, facts); diff != "" {
				t.Errorf("facts (-want +got):\n%s", diff)
			}
		})
	}
}

func TestConfigAllows(t *testing.T) {
	config := someConfig()
	facts, err := escrow.VerifyConfig(config.Program, config.Authority, configAccount(t, config))
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string]struct {
		edit func(*escrow.Terms)
		want error
	}{
		"what the market says":              {func(*escrow.Terms) {}, nil},
		"no arbitration":                    {func(t *escrow.Terms) { t.Arbiter, t.ArbiterCapBps, t.DisputeDelay = chain.Address{}, 0, 0 }, nil},
		"another configuration":             {func(t *escrow.Terms) { t.Config[0]++ }, escrow.WrongConfig},
		"another treasury":                  {func(t *escrow.Terms) { t.Treasury[0]++ }, escrow.WrongConfig},
		"another arbiter":                   {func(t *escrow.Terms) { t.Arbiter[0]++ }, escrow.WrongConfig},
		"the highest buyer's fee":           {func(t *escrow.Terms) { t.Fees.BuyerBps = 225 }, nil},
		"a higher buyer's fee":              {func(t *escrow.Terms) { t.Fees.BuyerBps = 226 }, escrow.WrongConfig},
		"a higher supplier's fee":           {func(t *escrow.Terms) { t.Fees.SupplierBps = 26 }, escrow.WrongConfig},
		"a higher cap":                      {func(t *escrow.Terms) { t.ArbiterCapBps = 2_001 }, escrow.WrongConfig},
		"a shorter delay":                   {func(t *escrow.Terms) { t.DisputeDelay -= time.Second }, escrow.WrongConfig},
		"a longer delay, and a smaller cap": {func(t *escrow.Terms) { t.DisputeDelay += time.Second; t.ArbiterCapBps = 1 }, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			terms := someTerms()
			terms.Config = facts.Address
			tc.edit(&terms)
			if err := facts.Allows(terms); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func TestConfigIsValidated(t *testing.T) {
	cases := map[string]func(*escrow.Config){
		"no treasury":                 func(c *escrow.Config) { c.Terms.Treasury = chain.Address{} },
		"a cap without an arbiter":    func(c *escrow.Config) { c.Terms.Arbiter = chain.Address{} },
		"a buyer's fee of 11 %":       func(c *escrow.Config) { c.Terms.MaxBuyerFeeBps = 1_001 },
		"a supplier's fee of 11 %":    func(c *escrow.Config) { c.Terms.MaxSupplierFeeBps = 1_001 },
		"an arbiter who takes more":   func(c *escrow.Config) { c.Terms.MaxArbiterCapBps = 5_001 },
		"a slash of more than all":    func(c *escrow.Config) { c.Terms.MaxSlashBps = 10_001 },
		"delegation of more than own": func(c *escrow.Config) { c.Terms.MaxDelegationBps = 10_001 },
		"a long dispute":              func(c *escrow.Config) { c.Terms.MinDisputeDelay = 31 * 24 * time.Hour },
		"a long slash window":         func(c *escrow.Config) { c.Terms.SlashWindow = 31 * 24 * time.Hour },
		"a slash window too short":    func(c *escrow.Config) { c.Terms.SlashWindow = 59 * time.Minute },
		"a hold too short":            func(c *escrow.Config) { c.Terms.SlashHold = 0 },
		"a long hold":                 func(c *escrow.Config) { c.Terms.SlashHold = 31 * 24 * time.Hour },
		"a long cooldown":             func(c *escrow.Config) { c.Terms.Cooldown = 91 * 24 * time.Hour },
		"a negative delay":            func(c *escrow.Config) { c.Terms.Cooldown = -time.Second },
		"a part of a second":          func(c *escrow.Config) { c.Terms.SlashHold = time.Millisecond },
		"a short time lock":           func(c *escrow.Config) { c.Delay = time.Hour - time.Second },
		"a long time lock":            func(c *escrow.Config) { c.Delay = 366 * 24 * time.Hour },
	}
	for name, edit := range cases {
		t.Run(name, func(t *testing.T) {
			config := someConfig()
			edit(&config)
			if _, err := escrow.CreateConfig(config); !errors.Is(err, escrow.ErrConfig) {
				t.Errorf("create: got %v, want %v", err, escrow.ErrConfig)
			}
			if _, err := escrow.ProposeConfig(config.Program, config.Authority, config.Terms); config.Delay == someConfig().Delay &&
				!errors.Is(err, escrow.ErrConfig) {
				t.Errorf("propose: got %v, want %v", err, escrow.ErrConfig)
			}
		})
	}
}

// A configuration of the real program is made, announced to change, and changed when its time has come, each once and no sooner.
func TestConfigLife(t *testing.T) {
	l := newLab(t)
	program, authority := l.config.Program, l.config.Authority
	look := func() escrow.ConfigFacts {
		t.Helper()
		account, err := l.client.Account(t.Context(), l.terms.Config, chain.Finalized)
		l.must(err)
		facts, err := escrow.VerifyConfig(program, authority, account)
		l.must(err)
		return facts
	}
	made := look()
	if made.Current != l.config.Terms || made.Pending != l.config.Terms || !made.ChangeAt.IsZero() || made.Delay != time.Hour {
		t.Fatalf("made: %+v", made)
	}
	l.refused(l.authority, escrow.CodeState)(escrow.CreateConfig(l.config))
	l.refused(l.stranger, escrow.CodeState)(escrow.ApplyConfig(program, authority))
	changed := l.config.Terms
	changed.Treasury, changed.MaxArbiterCapBps = wallet("treasury 2").PublicKey(), 100
	l.step(l.authority)(escrow.ProposeConfig(program, authority, changed))
	announced := look()
	if announced.Current != l.config.Terms || announced.Pending != changed || announced.ChangeAt.IsZero() {
		t.Fatalf("announced: %+v", announced)
	}
	l.refused(l.stranger, escrow.CodeTime)(escrow.ApplyConfig(program, authority))
	l.open() // under the terms of before, which it keeps
	l.must(l.sim.WarpTime(t.Context(), 2*time.Hour))
	l.step(l.stranger)(escrow.ApplyConfig(program, authority))
	if now := look(); now.Current != changed || !now.ChangeAt.IsZero() {
		t.Fatalf("changed: %+v", now)
	}
	if _, err := l.verify(); err != nil {
		t.Errorf("a lease of before: %v", err)
	}
	l.step(l.authority)(escrow.ProposeConfig(program, authority, l.config.Terms))
	l.step(l.authority)(escrow.ProposeConfig(program, authority, changed))
	if now := look(); !now.ChangeAt.IsZero() {
		t.Errorf("taken back: %+v", now)
	}
}

// The chain refuses what VerifyConfig and Allows would have refused before.
func TestOpenIsBoundByTheConfig(t *testing.T) {
	cases := map[string]struct {
		edit func(*escrow.Terms)
		want uint32
	}{
		"another treasury":        {func(t *escrow.Terms) { t.Treasury = wallet("other").PublicKey() }, escrow.CodeParty},
		"another arbiter":         {func(t *escrow.Terms) { t.Arbiter = wallet("other").PublicKey() }, escrow.CodeParty},
		"a higher buyer's fee":    {func(t *escrow.Terms) { t.Fees.BuyerBps = 226 }, escrow.CodeCap},
		"a higher supplier's fee": {func(t *escrow.Terms) { t.Fees.SupplierBps = 26 }, escrow.CodeCap},
		"a higher cap":            {func(t *escrow.Terms) { t.ArbiterCapBps = 2_001 }, escrow.CodeCap},
		"a shorter delay":         {func(t *escrow.Terms) { t.DisputeDelay = 9 * time.Minute }, escrow.CodeTime},
		"no configuration at all": {func(t *escrow.Terms) { t.Config = wallet("other").PublicKey() }, escrow.CodeOwner},
	}
	l := newLab(t)
	for name, tc := range cases {
		t.Run(name, func(*testing.T) {
			terms := l.terms
			tc.edit(&terms)
			l.refused(l.buyer, tc.want)(escrow.Open(terms))
		})
	}
}
