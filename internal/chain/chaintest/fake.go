// SPDX-License-Identifier: Apache-2.0

// Package chaintest is a small chain in memory for tests: slots, forks, blockhashes that expire, commitments, lamports, and faults of
// the way to it. It executes transfers of lamports and whatever programs a test adds; the conformance suite beside it holds it and the
// real client to one behaviour.
package chaintest

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
)

// What the real chain has too.
const (
	maxAge          = 150
	feePerSignature = 5_000
	unitsPerCall    = 150
)

// ErrFault is the error of a call that a fault refused, or whose reply it lost.
var ErrFault = errors.New("injected fault")

// Fault is what goes wrong with one call.
type Fault struct {
	Refuse    bool   // the call has no effect and fails
	LoseReply bool   // the call has its effect and fails
	Drop      bool   // a sent transaction is accepted and never arrives
	Delay     uint64 // a sent transaction arrives so many slots later
	Behind    uint64 // the answer comes from a node that is so many slots behind
}

// Program executes one call on the accounts it may see and change.
type Program func(call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure

// block is one slot that has a block, with the state before it.
type block struct {
	slot, height uint64
	hash         chain.Hash
	before       map[chain.Address]chain.Account
}

// pending is a transaction on its way.
type pending struct {
	envelope *chain.Envelope
	due      uint64
}

// Fake is the chain. Its zero value is not usable; New makes one. It is safe for concurrent use.
type Fake struct {
	mu       sync.Mutex
	lag      map[chain.Commitment]int
	slot     uint64
	root     uint64 // the newest slot that was ever finalized: no fork goes below it
	forks    uint64
	start    time.Time
	blocks   []block
	accounts map[chain.Address]chain.Account
	waiting  []pending
	landed   []chain.Transaction
	sent     map[chain.Signature]*chain.Envelope
	programs map[chain.Address]Program
	faults   func(method string) Fault
}

// New returns a chain whose blocks are confirmed and finalized after so many more.
func New(confirmLag, finalLag int) *Fake {
	f := &Fake{
		lag:      map[chain.Commitment]int{chain.Processed: 0, chain.Confirmed: confirmLag, chain.Finalized: finalLag},
		start:    time.Unix(1_800_000_000, 0).UTC(),
		accounts: map[chain.Address]chain.Account{},
		sent:     map[chain.Signature]*chain.Envelope{},
		programs: map[chain.Address]Program{chain.SystemProgram: transfer, chain.ComputeBudgetProgram: nothing},
		faults:   func(string) Fault { return Fault{} },
	}
	f.seal()
	return f
}

// Faults decides from now on what goes wrong with each call.
func (f *Fake) Faults(decide func(method string) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = decide
}

// Program adds a program.
func (f *Fake) Program(address chain.Address, program Program) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.programs[address] = program
}

// Set puts an account in place.
func (f *Fake) Set(account chain.Account) {
	f.mu.Lock()
	defer f.mu.Unlock()
	account.Exists = true
	f.accounts[account.Address] = account
}

// Fund gives lamports to an address.
func (f *Fake) Fund(address chain.Address, lamports uint64) {
	f.Set(chain.Account{Address: address, Owner: chain.SystemProgram, Lamports: lamports})
}

// Tick makes blocks.
func (f *Fake) Tick(blocks int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range blocks {
		f.seal()
	}
}

// Rollback takes back up to depth blocks that are not finalized, as when another fork wins. With reland, what was in them is on its
// way again.
func (f *Fake) Rollback(depth int, reland bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for range depth {
		last := f.blocks[len(f.blocks)-1]
		if last.slot <= f.root {
			break
		}
		f.blocks = f.blocks[:len(f.blocks)-1]
		f.accounts = last.before
		for len(f.landed) > 0 && f.landed[len(f.landed)-1].Slot == last.slot {
			lost := f.landed[len(f.landed)-1]
			f.landed = f.landed[:len(f.landed)-1]
			if reland {
				f.waiting = append(f.waiting, pending{envelope: f.sent[lost.Signature]})
			}
		}
	}
	f.forks++
}

// Forget makes the chain forget all but its last blocks and what landed in them.
func (f *Fake) Forget(keep int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.blocks = slices.Clone(f.blocks[max(0, len(f.blocks)-keep):])
	f.landed = slices.DeleteFunc(f.landed, func(t chain.Transaction) bool { return t.Slot < f.blocks[0].slot })
}

// Balance returns the lamports of an address now.
func (f *Fake) Balance(address chain.Address) uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.accounts[address].Lamports
}

// index finds the newest block of a level for a node that is behind.
func (f *Fake) index(level chain.Commitment, behind uint64) int {
	index := max(0, len(f.blocks)-1-f.lag[level]-int(behind)) //nolint:gosec // tests lag by small numbers
	for level == chain.Finalized && behind == 0 && f.blocks[index].slot < f.root {
		index++
	}
	return index
}

func (f *Fake) at(level chain.Commitment, behind uint64) block {
	return f.blocks[f.index(level, behind)]
}

// seal closes the next slot with a block of what has arrived.
func (f *Fake) seal() {
	f.slot++
	next := block{slot: f.slot, before: maps.Clone(f.accounts)}
	if len(f.blocks) > 0 {
		next.height = f.blocks[len(f.blocks)-1].height + 1
	}
	var text [16]byte
	binary.LittleEndian.PutUint64(text[:], f.slot)
	binary.LittleEndian.PutUint64(text[8:], f.forks)
	next.hash = chain.Hash(sha256.Sum256(text[:]))
	waiting := f.waiting
	f.waiting = nil
	for _, one := range waiting {
		if one.due > f.slot {
			f.waiting = append(f.waiting, one)
			continue
		}
		f.land(one.envelope)
	}
	f.blocks = append(f.blocks, next)
	f.root = f.at(chain.Finalized, 0).slot
}

// land executes a transaction in the open slot, unless it is too old, a duplicate or cannot pay its fee.
func (f *Fake) land(envelope *chain.Envelope) {
	signature, ok := envelope.ID()
	if !ok || !f.fresh(envelope.Blockhash()) || f.find(signature) != nil {
		return
	}
	calls, err := envelope.Calls()
	if err != nil {
		return
	}
	signers := envelope.Signers()
	payer := f.accounts[signers[0]]
	fee := feePerSignature * uint64(len(signers))
	if payer.Lamports < fee {
		return
	}
	payer.Lamports -= fee
	f.accounts[payer.Address] = payer
	f.landed = append(f.landed, chain.Transaction{
		Signature: signature, Slot: f.slot, Time: f.start.Add(time.Duration(f.slot) * time.Second), //nolint:gosec // small
		Signers: signers, Calls: calls, Failure: f.execute(calls),
	})
}

// execute runs the calls on a copy of the state, and keeps it only if all succeed.
func (f *Fake) execute(calls []chain.Call) *chain.Failure {
	state := maps.Clone(f.accounts)
	for i, call := range calls {
		program, ok := f.programs[call.Program]
		if !ok {
			return &chain.Failure{Kind: "InstructionError", Instruction: i, Detail: "UnsupportedProgramId"}
		}
		if failure := program(call, state); failure != nil {
			failure.Kind, failure.Instruction = "InstructionError", i
			return failure
		}
	}
	f.accounts = state
	return nil
}
