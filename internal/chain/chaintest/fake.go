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

// Native is a Program that sees more than its own call, and may call others.
type Native func(run *Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure

// Run is a transaction being executed.
type Run struct {
	Calls   []chain.Call    // the transaction's own instructions
	Index   int             // which of them is being executed
	Signers []chain.Address // the payer first
	Time    time.Time       // of the block
	made    []chain.Call
}

// Made notes a call that the program made, as the history will show it.
func (r *Run) Made(call chain.Call) {
	call.Depth = 2
	r.made = append(r.made, call)
}

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
	now      func(slot uint64) time.Time
	blocks   []block
	accounts map[chain.Address]chain.Account
	waiting  []pending
	landed   []chain.Transaction
	sent     map[chain.Signature]*chain.Envelope
	programs map[chain.Address]Native
	faults   func(method string) Fault
}

// New returns a chain whose blocks are confirmed and finalized after so many more.
func New(confirmLag, finalLag int) *Fake {
	start := time.Unix(1_800_000_000, 0).UTC()
	f := &Fake{
		lag:      map[chain.Commitment]int{chain.Processed: 0, chain.Confirmed: confirmLag, chain.Finalized: finalLag},
		now:      func(slot uint64) time.Time { return start.Add(time.Duration(slot) * time.Second) }, //nolint:gosec // small
		accounts: map[chain.Address]chain.Account{},
		sent:     map[chain.Signature]*chain.Envelope{},
		programs: map[chain.Address]Native{chain.SystemProgram: alone(transfer), chain.ComputeBudgetProgram: alone(nothing)},
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
func (f *Fake) Program(address chain.Address, program Program) { f.Native(address, alone(program)) }

// Native adds a program that sees the whole transaction.
func (f *Fake) Native(address chain.Address, program Native) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.programs[address] = program
}

func alone(program Program) Native {
	return func(_ *Run, call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
		return program(call, accounts)
	}
}

// Clock gives blocks the time that the function tells when they are made, instead of one second for each slot.
func (f *Fake) Clock(now func() time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = func(uint64) time.Time { return now() }
}

// Walk shows every account as it is now, in no order. The data is the chain's own: it is only to be read.
func (f *Fake) Walk(visit func(chain.Account)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, account := range f.accounts {
		visit(account)
	}
}

// Set puts an account in place.
func (f *Fake) Set(account chain.Account) {
	f.mu.Lock()
	defer f.mu.Unlock()
	account.Exists = true
	f.accounts = maps.Clone(f.accounts)
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
	next := block{slot: f.slot, before: f.accounts} // whoever changes an account clones them first
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
	f.accounts = maps.Clone(f.accounts)
	f.accounts[payer.Address] = payer
	done, failure := f.execute(calls, signers)
	f.landed = append(f.landed, chain.Transaction{
		Signature: signature, Slot: f.slot, Time: f.now(f.slot), Signers: signers, Calls: done, Failure: failure,
	})
}

// execute runs the calls on a copy of the state, and keeps it only if all succeed. It returns them with the calls that they made.
func (f *Fake) execute(calls []chain.Call, signers []chain.Address) ([]chain.Call, *chain.Failure) {
	state := maps.Clone(f.accounts)
	var done []chain.Call
	run := &Run{Calls: calls, Signers: signers, Time: f.now(f.slot)}
	for i, call := range calls {
		program, ok := f.programs[call.Program]
		if !ok {
			return calls, &chain.Failure{Kind: "InstructionError", Instruction: i, Detail: "UnsupportedProgramId"}
		}
		run.Index, run.made = i, nil
		if failure := program(run, call, state); failure != nil {
			failure.Kind, failure.Instruction = "InstructionError", i
			return calls, failure
		}
		done = append(append(done, call), run.made...)
	}
	f.accounts = state
	return done, nil
}
