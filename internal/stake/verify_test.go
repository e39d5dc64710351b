// SPDX-License-Identifier: Apache-2.0

package stake_test

import (
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/stake"
)

func TestAPoolIsRefusedForWhatIsWrongWithIt(t *testing.T) {
	w := newFake(t)
	w.open(1_000)
	w.propose(10)
	account, err := w.pool.Account()
	w.must(err)
	vault, err := w.pool.Vault()
	w.must(err)
	cases := map[string]struct {
		change func(pool, vault *chain.Account)
		want   escrow.Reason
	}{
		"as it is":              {change: func(_, _ *chain.Account) {}},
		"with a gift":           {change: func(_, v *chain.Account) { v.Data[64]++ }},
		"gone":                  {func(p, _ *chain.Account) { *p = chain.Account{Address: p.Address} }, escrow.Absent},
		"dust before its time":  {func(p, _ *chain.Account) { p.Owner, p.Data = chain.SystemProgram, nil }, escrow.Absent},
		"at another address":    {func(p, _ *chain.Account) { p.Address[0]++ }, escrow.WrongAddress},
		"of another program":    {func(p, _ *chain.Account) { p.Owner[0]++ }, escrow.WrongOwner},
		"too long":              {func(p, _ *chain.Account) { p.Data = append(p.Data, 0) }, escrow.WrongLayout},
		"of another kind":       {func(p, _ *chain.Account) { p.Data[7]++ }, escrow.WrongLayout},
		"of another market":     {func(p, _ *chain.Account) { p.Data[8]++ }, escrow.WrongTerms},
		"of another owner":      {func(p, _ *chain.Account) { p.Data[40]++ }, escrow.WrongTerms},
		"of another mint":       {func(p, _ *chain.Account) { p.Data[72]++ }, escrow.WrongTerms},
		"of another layout":     {func(p, _ *chain.Account) { p.Data[281]++ }, escrow.WrongLayout},
		"with another bump":     {func(p, _ *chain.Account) { p.Data[279]++ }, escrow.WrongLayout},
		"with a spare byte":     {func(p, _ *chain.Account) { p.Data[287]++ }, escrow.WrongLayout},
		"in an unknown state":   {func(p, _ *chain.Account) { p.Data[276] = 3 }, escrow.WrongLayout},
		"worth more than it is": {func(p, _ *chain.Account) { p.Data[104]++ }, escrow.Inconsistent},
		"worth nothing":         {func(p, _ *chain.Account) { clear(p.Data[104:112]) }, escrow.Inconsistent},
		"all of it leaving":     {func(p, _ *chain.Account) { p.Data[128]++ }, escrow.Inconsistent},
		"a slash of nothing":    {func(p, _ *chain.Account) { clear(p.Data[176:184]) }, escrow.Inconsistent},
		"without a vault":       {func(_, v *chain.Account) { *v = chain.Account{Address: v.Address} }, escrow.Absent},
		"with a foreign vault":  {func(_, v *chain.Account) { v.Address[0]++ }, escrow.WrongAddress},
		"with a vault for hire": {func(_, v *chain.Account) { v.Data[72] = 1 }, escrow.WrongVault},
		"a vault to be closed":  {func(_, v *chain.Account) { v.Data[129] = 1 }, escrow.WrongVault},
		"a vault of strangers":  {func(_, v *chain.Account) { v.Data[32]++ }, escrow.WrongVault},
		"a vault of other coin": {func(_, v *chain.Account) { v.Data[0]++ }, escrow.WrongVault},
		"a vault of Token-2022": {func(_, v *chain.Account) { v.Owner = chain.Token2022Program }, escrow.WrongVault},
		"a frozen vault":        {func(_, v *chain.Account) { v.Data[108] = 2 }, escrow.Frozen},
		"a vault that lacks":    {func(_, v *chain.Account) { v.Data[64]-- }, escrow.Underfunded},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			accounts := w.read(account, vault)
			tc.change(&accounts[0], &accounts[1])
			_, err := stake.VerifyPool(w.pool, accounts[0], accounts[1])
			if tc.want == "" && err != nil || tc.want != "" && !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

func TestAPositionIsRefusedForWhatIsWrongWithIt(t *testing.T) {
	w := newFake(t)
	w.open(1_000)
	w.unbond(w.owner, 400)
	address, err := w.pool.Position(w.owner.PublicKey())
	w.must(err)
	cases := map[string]struct {
		change func(*chain.Account)
		want   escrow.Reason
	}{
		"as it is":            {change: func(*chain.Account) {}},
		"of another pool":     {func(p *chain.Account) { p.Data[8]++ }, escrow.WrongTerms},
		"of another staker":   {func(p *chain.Account) { p.Data[40]++ }, escrow.WrongTerms},
		"without an unlock":   {func(p *chain.Account) { clear(p.Data[88:96]) }, escrow.Inconsistent},
		"without unbonding":   {func(p *chain.Account) { clear(p.Data[80:88]) }, escrow.Inconsistent},
		"of another layout":   {func(p *chain.Account) { p.Data[97]++ }, escrow.WrongLayout},
		"of the other marker": {func(p *chain.Account) { p.Data[7]-- }, escrow.WrongLayout},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			account := w.read(address)[0]
			tc.change(&account)
			_, err := stake.VerifyPosition(w.pool, w.owner.PublicKey(), account)
			if tc.want == "" && err != nil || tc.want != "" && !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// Whatever the counters say, what we call the cap is what the program accepts, to the base unit.
func TestTheCapIsTheProgramsOwn(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 40 {
		w := newFake(t)
		w.config.Terms.MaxSlashBps = uint16(rng.IntN(10_001))
		w.furnish()
		w.open(money.Amount(rng.Uint64N(allTokens-100) + 2))
		for number := uint32(1); number < 4; number++ {
			facts := w.facts()
			left, err := facts.CapLeft(w.config.Terms.MaxSlashBps, w.now())
			w.must(err)
			if left+1 < facts.Total {
				more, err := stake.ProposeSlash(w.pool, w.authority.PublicKey(), left+1, stake.Counterfeit, stake.Evidence{1})
				w.refused(escrow.CodeCap, w.authority, more, err)
			}
			if left == 0 {
				break
			}
			amount := money.Amount(rng.Uint64N(uint64(left)) + 1)
			w.propose(amount)
			w.warp(window + time.Second)
			execute, err := stake.ExecuteSlash(w.pool, w.stranger.PublicKey(), number)
			w.land(w.stranger, execute, err)
			w.warp(25 * time.Hour)
			w.bond(w.owner, money.Amount(rng.Uint64N(5)+1)) // the shares are no longer those of the mark
		}
	}
}

func TestProposable(t *testing.T) {
	w := newFake(t)
	w.open(1_000)
	facts := w.facts()
	cases := map[string]struct {
		cause stake.Cause
		bps   uint16
		want  money.Amount
	}{
		"what the cause costs":       {stake.RentedOffline, 3_000, 40},
		"no more than the cap":       {stake.RentedOffline, 100, 10},
		"nothing where nothing may":  {stake.RentedOffline, 0, 0},
		"never the last base unit":   {stake.Counterfeit, 10_000, 120},
		"an idle node, the same day": {stake.IdleOffline, 10_000, 40},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := facts.Proposable(tc.cause, time.Hour, tc.bps, w.now()); err != nil || got != tc.want {
				t.Errorf("got %s (%v), want %s", got, err, tc.want)
			}
		})
	}
	if _, err := facts.Proposable(9, time.Hour, 1, w.now()); err == nil {
		t.Error("an unknown cause costs something")
	}
	if got, err := facts.Proposable(stake.Unreachable, 9_000*time.Hour, 10_000, w.now()); err != nil || got != 999 {
		t.Errorf("got %s (%v), want 999: a base unit stays", got, err)
	}
}

func FuzzVerifyPool(f *testing.F) {
	p := stake.Pool{
		Program: wallet("program").PublicKey(), Config: wallet("config").PublicKey(), Owner: wallet("owner").PublicKey(), Mint: wallet("mint").PublicKey(),
	}
	account, err := p.Account()
	if err != nil {
		f.Fatal(err)
	}
	vault, err := p.Vault()
	if err != nil {
		f.Fatal(err)
	}
	head := binary.LittleEndian.AppendUint64([]byte("bourse2\x20"), 0)
	f.Add(append(head, make([]byte, 272)...), make([]byte, 165))
	f.Fuzz(func(t *testing.T, pool, tokens []byte) {
		facts, err := stake.VerifyPool(p,
			chain.Account{Address: account, Exists: true, Owner: p.Program, Data: pool},
			chain.Account{Address: vault, Exists: true, Owner: chain.TokenProgram, Data: tokens})
		if err != nil {
			return
		}
		if effective, err := facts.Effective(10_000); err != nil || effective > facts.Total || facts.Balance < facts.Total {
			t.Errorf("effective %s (%v) of %+v", effective, err, facts)
		}
	})
}
