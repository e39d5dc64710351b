// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// called is the instruction as the chain shows it.
func called(instruction Instruction) Call {
	call := Call{Program: instruction.Program, Data: instruction.Data}
	for _, meta := range instruction.Accounts {
		call.Accounts = append(call.Accounts, meta.Address)
	}
	return call
}

func TestAFormReadsWhatItBuilds(t *testing.T) {
	form := Form{Accounts: "PSWrsti", Size: 2}
	given := []Address{{1}, {2}, {3}, {4}}
	built := form.Build(Address{9}, []byte{7, 8}, given...)
	want := Instruction{Program: Address{9}, Data: []byte{7, 8}, Accounts: []Meta{
		{Address: Address{1}, Signer: true, Writable: true},
		{Address: Address{2}, Signer: true},
		{Address: Address{3}, Writable: true},
		{Address: Address{4}},
		{Address: SystemProgram},
		{Address: TokenProgram},
		{Address: InstructionsSysvar},
	}}
	if diff := cmp.Diff(want, built); diff != "" {
		t.Errorf("built (-want +got):\n%s", diff)
	}
	if got, ok := form.Read(called(built)); !ok || !slices.Equal(got, given) {
		t.Errorf("read %v, %t; want %v", got, ok, given)
	}
	other := map[string]func(*Call){
		"data of another size": func(c *Call) { c.Data = c.Data[:1] },
		"an account less":      func(c *Call) { c.Accounts = c.Accounts[:6] },
		"an account more":      func(c *Call) { c.Accounts = append(c.Accounts, Address{5}) },
		"another System":       func(c *Call) { c.Accounts[4] = Address{5} },
		"another Token":        func(c *Call) { c.Accounts[5] = Address{5} },
		"another sysvar":       func(c *Call) { c.Accounts[6] = Address{5} },
	}
	for name, change := range other {
		t.Run(name, func(t *testing.T) {
			call := called(built)
			change(&call)
			if got, ok := form.Read(call); ok {
				t.Errorf("read as %v", got)
			}
		})
	}
}

func TestReadTokenAccount(t *testing.T) {
	payer, wallet, mint := Address{1}, Address{2}, Address{3}
	_, built, err := TokenAccount(payer, wallet, mint)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := ReadTokenAccount(called(built), payer); err != nil || !cmp.Equal(built, again) {
		t.Errorf("read again as %v (%v), want %v", again, err, built)
	}
	other := map[string]func(*Call){
		"another payer":    func(c *Call) { c.Accounts[0] = Address{4} },
		"another account":  func(c *Call) { c.Accounts[1] = Address{4} },
		"another wallet's": func(c *Call) { c.Accounts[2] = Address{4} },
		"another mint's":   func(c *Call) { c.Accounts[3] = Address{4} },
		"the instruction that fails if it is there": func(c *Call) { c.Data = []byte{0} },
	}
	for name, change := range other {
		t.Run(name, func(t *testing.T) {
			call := called(built)
			call.Data = slices.Clone(call.Data)
			change(&call)
			if _, err := ReadTokenAccount(call, payer); err == nil {
				t.Error("it is taken for the payer's")
			}
		})
	}
}
