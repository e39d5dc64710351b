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
	leaseSize, vaultSize            = 256, 165
	markOpen, markClosed            = "bourse2\x01", "bourse2\x02"
	markConfig                      = "bourse2\x10"
	depositAt, paidAt, deadlineAt   = 200, 208, 216
	capAt, disputedAtAt, disputedAt = 234, 240, 248
	balanceAt                       = 64
	rent                            = 1_000_000
)

// The instructions that a lease knows once it is open.
const (
	opOpen = iota
	opClaim
	opClose
	opTopUp
	opExtend
	opDispute
	opAward
)

// Install adds the program, and those that its transactions call besides.
func Install(on *chaintest.Fake, program chain.Address) {
	on.Native(program, func(made *chaintest.Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
		return run(made.Time.Unix(), call, accounts)
	})
	for _, other := range []chain.Address{chain.AssociatedProgram, chain.Ed25519Program} {
		on.Program(other, func(chain.Call, map[chain.Address]chain.Account) *chain.Failure { return nil })
	}
	on.Set(chain.Account{Address: program, Executable: true, Lamports: rent})
}

// Configure puts a market's configuration on the chain. Its layout follows from the instruction that makes it: the same bytes of the
// terms, current and pending.
func Configure(on *chaintest.Fake, config escrow.Config) error {
	instructions, err := escrow.CreateConfig(config)
	if err != nil {
		return err
	}
	made := instructions[0]
	in := made.Data[1:]
	delay, terms, bump := in[:4], in[4:len(in)-1], in[len(in)-1]
	const decimals = 8
	data := append(make([]byte, 0, configSize), markConfig...)
	for _, field := range [][]byte{
		config.Authority[:], config.Mint[:], make([]byte, 8), delay, {decimals, bump, version, 0}, terms, terms,
	} {
		data = append(data, field...)
	}
	on.Set(chain.Account{Address: made.Accounts[1].Address, Owner: config.Program, Lamports: rent, Data: data})
	return nil
}

func run(now int64, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	lease := accounts[call.Accounts[1]]
	if call.Data[0] == opOpen {
		if lease.Exists {
			return refused(escrow.CodeState)
		}
		open(call, accounts)
		return nil
	}
	if !lease.Exists || string(lease.Data[:8]) != markOpen {
		return refused(escrow.CodeState)
	}
	lease.Data = append([]byte(nil), lease.Data...)
	if failure := change(now, lease.Data, call, accounts); failure != nil {
		return failure
	}
	accounts[call.Accounts[1]] = lease
	return nil
}

// change does what an instruction does to an open lease's data, and to the vault's.
func change(now int64, lease []byte, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	switch call.Data[0] {
	case opClaim, opAward:
		copy(lease[paidAt:], call.Data[1:9])
		if call.Data[0] == opAward {
			clear(lease[disputedAt:])
		}
	case opClose:
		copy(lease, markClosed)
		delete(accounts, call.Accounts[2])
	case opTopUp:
		amount := binary.LittleEndian.Uint64(call.Data[1:])
		add(lease[depositAt:], amount)
		vault := accounts[call.Accounts[2]]
		vault.Data = append([]byte(nil), vault.Data...)
		add(vault.Data[balanceAt:], amount)
		accounts[call.Accounts[2]] = vault
	case opExtend:
		if binary.LittleEndian.Uint64(call.Data[1:]) <= binary.LittleEndian.Uint64(lease[deadlineAt:]) {
			return refused(escrow.CodeTime)
		}
		copy(lease[deadlineAt:], call.Data[1:9])
	case opDispute:
		if binary.LittleEndian.Uint16(lease[capAt:]) == 0 || binary.LittleEndian.Uint64(lease[disputedAtAt:]) != 0 {
			return refused(escrow.CodeDispute)
		}
		binary.LittleEndian.PutUint64(lease[disputedAtAt:], uint64(now))
		copy(lease[disputedAt:], call.Data[1:9])
	default:
		return refused(escrow.CodeArgument)
	}
	return nil
}

func add(to []byte, amount uint64) {
	binary.LittleEndian.PutUint64(to, binary.LittleEndian.Uint64(to)+amount)
}

func refused(code uint32) *chain.Failure { return &chain.Failure{Detail: "Custom", Code: code} }

// open writes the lease and its vault as the program's layout has them.
func open(call chain.Call, accounts map[chain.Address]chain.Account) {
	buyer, lease, vault, mint := call.Accounts[0], call.Accounts[1], call.Accounts[2], call.Accounts[3]
	supplier, treasury, arbiter := call.Accounts[5], call.Accounts[6], call.Accounts[7]
	in := call.Data[1:]
	id, deposit, deadline, fees, arbitration, bumps := in[:32], in[32:40], in[40:48], in[48:54], in[54:60], in[60:]
	data := append(make([]byte, 0, leaseSize), markOpen...)
	for _, field := range [][]byte{
		buyer[:], supplier[:], arbiter[:], treasury[:], mint[:], id, deposit, make([]byte, 8), deadline, fees, bumps,
		{2},
		arbitration,
		make([]byte, 16),
	} {
		data = append(data, field...)
	}
	accounts[lease] = chain.Account{Address: lease, Exists: true, Owner: call.Program, Lamports: rent, Data: data}
	tokens := make([]byte, vaultSize)
	copy(tokens, mint[:])
	copy(tokens[32:], lease[:])
	copy(tokens[balanceAt:], deposit)
	tokens[108] = 1
	accounts[vault] = chain.Account{Address: vault, Exists: true, Owner: chain.TokenProgram, Lamports: rent, Data: tokens}
}
