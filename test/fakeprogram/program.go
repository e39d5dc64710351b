// SPDX-License-Identifier: Apache-2.0

// Package fakeprogram is the lease program on the fake chain, as far as controllers see it: accounts appear, change and close as the
// real program's do. It moves no tokens and checks no signature; the real program is tested on a real runtime.
package fakeprogram

import (
	"encoding/binary"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/escrow"
)

// Sizes, offsets and markers of the accounts.
const (
	leaseSize, vaultSize = 256, 165
	paidAt               = 208
	markOpen, markClosed = "bourse1\x01", "bourse1\x02"
	rent                 = 1_000_000
)

// Install adds the program, and those that its transactions call besides.
func Install(on *chaintest.Fake, program chain.Address) {
	on.Program(program, run)
	for _, other := range []chain.Address{chain.AssociatedProgram, chain.Ed25519Program} {
		on.Program(other, func(chain.Call, map[chain.Address]chain.Account) *chain.Failure { return nil })
	}
	on.Set(chain.Account{Address: program, Executable: true, Lamports: rent})
}

func run(call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	lease := accounts[call.Accounts[1]]
	switch call.Data[0] {
	case 0:
		if lease.Exists {
			return refused(escrow.CodeState)
		}
		open(call, accounts)
	case 1:
		if !lease.Exists || string(lease.Data[:8]) != markOpen {
			return refused(escrow.CodeState)
		}
		data := append([]byte(nil), lease.Data...)
		copy(data[paidAt:], call.Data[1:9])
		lease.Data = data
		accounts[call.Accounts[1]] = lease
	case 2:
		if !lease.Exists || string(lease.Data[:8]) != markOpen {
			return refused(escrow.CodeState)
		}
		data := append([]byte(nil), lease.Data...)
		copy(data, markClosed)
		lease.Data = data
		accounts[call.Accounts[1]] = lease
		delete(accounts, call.Accounts[2])
	default:
		return refused(escrow.CodeArgument)
	}
	return nil
}

func refused(code uint32) *chain.Failure { return &chain.Failure{Detail: "Custom", Code: code} }

// open writes the lease and its vault as the program's layout has them.
func open(call chain.Call, accounts map[chain.Address]chain.Account) {
	buyer, lease, vault, mint := call.Accounts[0], call.Accounts[1], call.Accounts[2], call.Accounts[3]
	supplier, treasury := call.Accounts[5], call.Accounts[6]
	in := call.Data[1:]
	id, deposit, deadline, rest := in[:32], in[32:40], in[40:48], in[48:]
	data := append(make([]byte, 0, leaseSize), markOpen...)
	for _, field := range [][]byte{
		buyer[:], supplier[:], make([]byte, 32), treasury[:], mint[:], id, deposit, make([]byte, 8), deadline, rest, {1},
	} {
		data = append(data, field...)
	}
	accounts[lease] = chain.Account{
		Address: lease, Exists: true, Owner: call.Program, Lamports: rent, Data: append(data, make([]byte, leaseSize-len(data))...),
	}
	tokens := make([]byte, vaultSize)
	copy(tokens, mint[:])
	copy(tokens[32:], lease[:])
	binary.LittleEndian.PutUint64(tokens[64:], binary.LittleEndian.Uint64(deposit))
	tokens[108] = 1
	accounts[vault] = chain.Account{Address: vault, Exists: true, Owner: chain.TokenProgram, Lamports: rent, Data: tokens}
}
