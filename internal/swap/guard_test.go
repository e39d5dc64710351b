// SPDX-License-Identifier: Apache-2.0

package swap

import (
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/oracle"
)

func rules() Rules {
	return Rules{
		Request: asked(), Cap: 10_000_000, Bound: oracle.Bound{Least: 1_980_000_000, Most: 2_020_000_000},
		Programs: []chain.Address{at(20), at(21)},
	}
}

func TestAnHonestRouteIsApproved(t *testing.T) {
	if err := rules().Check(honest()); err != nil {
		t.Error(err)
	}
}

func TestAHostileRouteIsRefused(t *testing.T) {
	add := func(meta chain.Meta) func(*Rules, *Route) {
		return func(_ *Rules, route *Route) {
			route.Instructions[1].Accounts = append(route.Instructions[1].Accounts, meta)
		}
	}
	program := func(address chain.Address, allowed bool) func(*Rules, *Route) {
		return func(rules *Rules, route *Route) {
			route.Instructions = append(route.Instructions, chain.Instruction{Program: address})
			if allowed {
				rules.Programs = append(rules.Programs, address)
			}
		}
	}
	cases := map[string]struct {
		spoil func(*Rules, *Route)
		want  Reason
	}{
		"it takes more than asked":           {func(_ *Rules, route *Route) { route.Amount++ }, WrongAmount},
		"it takes less than asked":           {func(_ *Rules, route *Route) { route.Amount-- }, WrongAmount},
		"more was asked than is allowed":     {func(rules *Rules, _ *Route) { rules.Cap-- }, WrongAmount},
		"it yields less than the bound":      {func(_ *Rules, route *Route) { route.Expected, route.Least = 1_979_999_999, 1_979_999_999 }, OutsideBound},
		"it yields more than the bound":      {func(_ *Rules, route *Route) { route.Expected = 2_020_000_001 }, OutsideBound},
		"it may yield less than the bound":   {func(_ *Rules, route *Route) { route.Least = 1_979_999_999 }, OutsideBound},
		"it must yield more than it says":    {func(_ *Rules, route *Route) { route.Least = route.Expected + 1 }, OutsideBound},
		"it calls another program":           {program(at(22), false), ForeignProgram},
		"it moves tokens itself":             {program(chain.TokenProgram, true), ForeignProgram},
		"it moves tokens of the other kind":  {program(chain.Token2022Program, true), ForeignProgram},
		"it moves lamports itself":           {program(chain.SystemProgram, true), ForeignProgram},
		"it sets the price of its landing":   {program(chain.ComputeBudgetProgram, true), ForeignProgram},
		"it has no end":                      {func(_ *Rules, route *Route) { route.Instructions = slices.Repeat(route.Instructions, maxInstructions) }, ForeignProgram},
		"it needs another signature":         {add(chain.Meta{Address: at(6), Signer: true}), ForeignSigner},
		"it pays into another account":       {func(_ *Rules, route *Route) { route.Instructions[1].Accounts[2].Address = at(6) }, Detour},
		"it takes from another account":      {func(_ *Rules, route *Route) { route.Instructions[1].Accounts[1].Address = at(6) }, Detour},
		"it only reads where it should pay":  {func(_ *Rules, route *Route) { route.Instructions[1].Accounts[2].Writable = false }, Detour},
		"it only reads where it should take": {func(_ *Rules, route *Route) { route.Instructions[1].Accounts[1].Writable = false }, Detour},
		"it does nothing":                    {func(_ *Rules, route *Route) { route.Instructions = nil }, Detour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rules, route := rules(), honest()
			tc.spoil(&rules, &route)
			if err := rules.Check(route); !errors.Is(err, tc.want) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
}

func TestWritesAreWhatIsNotExpected(t *testing.T) {
	route := honest()
	route.Instructions = append(route.Instructions, route.Instructions[1])
	if diff := cmp.Diff([]chain.Address{at(30)}, rules().Writes(route)); diff != "" {
		t.Errorf("written (-want +got):\n%s", diff)
	}
}

func TestNoOtherTokenAccountOfOursIsWritten(t *testing.T) {
	tokens := func(program, owner chain.Address) chain.Account {
		data := make([]byte, 165)
		copy(data[32:], owner[:])
		return chain.Account{Address: at(30), Exists: true, Owner: program, Data: data}
	}
	cases := map[string]struct {
		account chain.Account
		refused bool
	}{
		"a pool's tokens":                 {tokens(chain.TokenProgram, at(31)), false},
		"a pool's state":                  {tokens(at(21), at(1)), false},
		"nothing yet":                     {chain.Account{Address: at(30)}, false},
		"a mint":                          {chain.Account{Address: at(30), Exists: true, Owner: chain.TokenProgram, Data: make([]byte, 82)}, false},
		"our tokens":                      {tokens(chain.TokenProgram, at(1)), true},
		"our tokens of the other program": {tokens(chain.Token2022Program, at(1)), true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := rules().CheckWrites([]chain.Account{tokens(chain.TokenProgram, at(32)), tc.account})
			if errors.Is(err, ForeignAccount) != tc.refused || err != nil && !tc.refused {
				t.Errorf("err = %v, want refusal %v", err, tc.refused)
			}
		})
	}
}
