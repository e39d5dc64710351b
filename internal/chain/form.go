// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"errors"
	"slices"
)

// AnySize is the size of data that has no size of its own.
const AnySize = -1

// TokenAccountSize is how many bytes an account of the Token program has.
const TokenAccountSize = 165

// createIdempotent is the associated token program's instruction that makes an account or leaves the one that is there.
const createIdempotent = 1

// The letters of a form.
const (
	pays   = 'P'
	signs  = 'S'
	writes = 'W'
	system = 's'
	token  = 't'
	sysvar = 'i'
)

// Form is how an instruction is laid out. What is built and what is read again follow the same forms.
type Form struct {
	// Accounts has a letter for each account: P signs and pays, S signs, W is written, r is read. Three are always the same: s is the System
	// program, t the Token program, and i the sysvar that shows a transaction its own instructions.
	Accounts string
	// Size is how many bytes the data has, or AnySize.
	Size int
}

// Build lays out an instruction. The addresses are those of the accounts that the form does not fix, as many as it has.
func (f Form) Build(program Address, data []byte, addresses ...Address) Instruction {
	built := Instruction{Program: program, Data: data}
	for _, role := range f.Accounts {
		meta := Meta{Signer: role == pays || role == signs, Writable: role == pays || role == writes}
		if address, fixed := always(role); fixed {
			meta.Address = address
		} else {
			meta.Address, addresses = addresses[0], addresses[1:]
		}
		built.Accounts = append(built.Accounts, meta)
	}
	return built
}

// Read returns the addresses of the accounts that the form does not fix, or false if the call has another form.
func (f Form) Read(call Call) ([]Address, bool) {
	if f.Size != AnySize && len(call.Data) != f.Size || len(call.Accounts) != len(f.Accounts) {
		return nil, false
	}
	var addresses []Address
	for i, role := range f.Accounts {
		address, fixed := always(role)
		switch {
		case fixed && call.Accounts[i] != address:
			return nil, false
		case !fixed:
			addresses = append(addresses, call.Accounts[i])
		}
	}
	return slices.Clip(addresses), true
}

// always is the account that a letter fixes.
func always(role rune) (Address, bool) {
	switch role {
	case system:
		return SystemProgram, true
	case token:
		return TokenProgram, true
	case sysvar:
		return InstructionsSysvar, true
	default:
		return Address{}, false
	}
}

// createForm is the form of the instruction that makes an associated token account: payer, account, wallet, mint.
func createForm() Form { return Form{"PWrrst", 1} }

// TokenAccount returns a wallet's associated token account for a mint, and the instruction that makes it if it is missing.
func TokenAccount(payer, wallet, mint Address) (Address, Instruction, error) {
	tokens, err := TokenAddress(wallet, mint)
	if err != nil {
		return Address{}, Instruction{}, err
	}
	return tokens, createForm().Build(AssociatedProgram, []byte{createIdempotent}, payer, tokens, wallet, mint), nil
}

// ReadTokenAccount returns the instruction again that TokenAccount built for the payer, and refuses any other.
func ReadTokenAccount(call Call, payer Address) (Instruction, error) {
	addresses, ok := createForm().Read(call)
	if !ok || call.Data[0] != createIdempotent || addresses[0] != payer {
		return Instruction{}, errors.New("a token account in another form")
	}
	tokens, again, err := TokenAccount(addresses[0], addresses[2], addresses[3])
	if err != nil || tokens != addresses[1] {
		return Instruction{}, errors.New("a token account that is not the wallet's associated one")
	}
	return again, nil
}
