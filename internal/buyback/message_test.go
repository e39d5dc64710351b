// SPDX-License-Identifier: Apache-2.0

package buyback

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/oracle"
	"github.com/bourse-dev/bourse/internal/swap"
)

// planned are the instructions of a whole buy-back, as they are signed.
func planned(t *testing.T, opened bool) []chain.Instruction {
	t.Helper()
	route := swap.Route{Amount: 10, Expected: 200, Least: 199, Instructions: []chain.Instruction{{
		Program: at(7), Data: []byte{1}, Accounts: []chain.Meta{{Address: at(1), Signer: true}, {Address: at(30), Writable: true}},
	}}}
	plan, err := terms().Plan(route, oracle.Bound{}, Holdings{Opened: opened})
	if err != nil {
		t.Fatal(err)
	}
	return append([]chain.Instruction{chain.ComputeLimit(77)}, plan.Instructions...)
}

func compiled(t *testing.T, instructions []chain.Instruction) []byte {
	t.Helper()
	tables, err := terms().Spell([]chain.LookupTable{{Address: at(40), Addresses: []chain.Address{at(3), at(30)}}})
	if err != nil {
		t.Fatal(err)
	}
	message, err := chain.CompileVersioned(at(1), instructions, chain.Hash{1}, tables...)
	if err != nil {
		t.Fatal(err)
	}
	return message
}

func TestReadsItsOwnMessages(t *testing.T) {
	want := terms()
	want.Paid = chain.Address{} // only the route says what is paid
	for _, opened := range []bool{true, false} {
		got, err := ReadMessage(compiled(t, planned(t, opened)))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("terms (-want +got):\n%s", diff)
		}
	}
}

func TestRefusesEveryOtherMessage(t *testing.T) {
	last := func(i []chain.Instruction) *chain.Instruction { return &i[len(i)-1] }
	steal := chain.Instruction{Program: chain.TokenProgram, Data: make([]byte, 9), Accounts: []chain.Meta{{Address: at(1), Signer: true}}}
	cases := map[string]func([]chain.Instruction) []chain.Instruction{
		"no memo":                 func(i []chain.Instruction) []chain.Instruction { return i[:len(i)-1] },
		"another memo":            func(i []chain.Instruction) []chain.Instruction { last(i).Data = []byte("hello"); return i },
		"another epoch":           func(i []chain.Instruction) []chain.Instruction { last(i).Data[len(last(i).Data)-1]++; return i },
		"no receipt":              func(i []chain.Instruction) []chain.Instruction { return append(i[:1:1], i[3:]...) },
		"rent for somebody else":  func(i []chain.Instruction) []chain.Instruction { i[1].Accounts[1].Address = at(9); return i },
		"more than the rent":      func(i []chain.Instruction) []chain.Instruction { i[1].Data[7]++; return i },
		"a burn of other tokens":  func(i []chain.Instruction) []chain.Instruction { i[len(i)-2].Accounts[0].Address = at(9); return i },
		"no burn but a transfer":  func(i []chain.Instruction) []chain.Instruction { i[len(i)-2].Data[0] = tokenTransferChecked; return i },
		"no swap":                 func(i []chain.Instruction) []chain.Instruction { return append(i[:3:3], i[4:]...) },
		"tokens moved in between": func(i []chain.Instruction) []chain.Instruction { return append(append(i[:4:4], steal), i[4:]...) },
		"no compute limit":        func(i []chain.Instruction) []chain.Instruction { return i[1:] },
		"another signer": func(i []chain.Instruction) []chain.Instruction {
			i[3].Accounts[1].Signer = true
			return i
		},
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := ReadMessage(compiled(t, spoil(planned(t, true)))); !errors.Is(err, ErrMessage) {
				t.Errorf("err = %v, want %v", err, ErrMessage)
			}
		})
	}
	for _, message := range [][]byte{nil, {1}, []byte("bourse2")} {
		if _, err := ReadMessage(message); !errors.Is(err, ErrMessage) {
			t.Errorf("%q: err = %v, want %v", message, err, ErrMessage)
		}
	}
}
