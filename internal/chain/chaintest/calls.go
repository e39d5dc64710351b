// SPDX-License-Identifier: Apache-2.0

package chaintest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
)

// fresh says whether a transaction under the blockhash could be in the next block.
func (f *Fake) fresh(hash chain.Hash) bool {
	tip := f.blocks[len(f.blocks)-1].height
	for _, one := range slices.Backward(f.blocks) {
		if one.hash == hash {
			return tip-one.height < maxAge
		}
	}
	return false
}

func (f *Fake) find(signature chain.Signature) *chain.Transaction {
	for i := range f.landed {
		if f.landed[i].Signature == signature {
			return &f.landed[i]
		}
	}
	return nil
}

// begin applies the faults of a call. A call that goes on returns the fault still to be applied to its reply.
func (f *Fake) begin(ctx context.Context, method string) (Fault, error) {
	if err := ctx.Err(); err != nil {
		return Fault{}, err
	}
	fault := f.faults(method)
	if fault.Refuse {
		return Fault{}, ErrFault
	}
	return fault, nil
}

// reply loses a value if the fault says so.
func reply[T any](fault Fault, value T) (T, error) {
	if fault.LoseReply {
		var none T
		return none, ErrFault
	}
	return value, nil
}

// GenesisHash names the fake network.
func (f *Fake) GenesisHash(ctx context.Context) (chain.Hash, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "GenesisHash")
	if err != nil {
		return chain.Hash{}, err
	}
	return reply(fault, chain.Hash(sha256.Sum256([]byte("genesis"))))
}

// Blockhash returns the newest confirmed blockhash.
func (f *Fake) Blockhash(ctx context.Context) (chain.Blockhash, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "Blockhash")
	if err != nil {
		return chain.Blockhash{}, err
	}
	at := f.at(chain.Confirmed, fault.Behind)
	return reply(fault, chain.Blockhash{Hash: at.hash, LastValidHeight: at.height + maxAge, Slot: at.slot})
}

// FinalizedHeight returns how far the chain is settled for good.
func (f *Fake) FinalizedHeight(ctx context.Context) (chain.Height, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "FinalizedHeight")
	if err != nil {
		return chain.Height{}, err
	}
	at := f.at(chain.Finalized, fault.Behind)
	return reply(fault, chain.Height{Block: at.height, Slot: at.slot})
}

// TipHeight returns how far the chain has come on the present fork, which a later one may undo.
func (f *Fake) TipHeight() chain.Height {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.at(chain.Processed, 0)
	return chain.Height{Block: at.height, Slot: at.slot}
}

// Send takes signed bytes on their way.
func (f *Fake) Send(ctx context.Context, raw []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "Send")
	if err != nil {
		return err
	}
	envelope, err := chain.OpenEnvelope(raw)
	if err != nil {
		return chain.NewError("Send", chain.Stop, err)
	}
	if signature, ok := envelope.ID(); ok && !fault.Drop {
		f.sent[signature] = envelope
		f.waiting = append(f.waiting, pending{envelope: envelope, due: f.slot + fault.Delay})
	}
	_, err = reply(fault, true)
	return err
}

// Status tells what became of a signature. The height before it is a call of its own: behind one address there may be two nodes.
func (f *Fake) Status(ctx context.Context, signature chain.Signature) (chain.Status, error) {
	height, err := f.FinalizedHeight(ctx)
	if err != nil {
		return chain.Status{}, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "Status")
	if err != nil {
		return chain.Status{}, err
	}
	tip := f.at(chain.Processed, fault.Behind).slot
	status := chain.Status{Slot: tip, Finalized: height}
	found := f.find(signature)
	if found == nil || found.Slot > tip {
		status.Oldest = f.blocks[0].slot
		return reply(fault, status)
	}
	status.Found, status.Landed, status.Failure, status.Commitment = true, found.Slot, found.Failure, chain.Processed
	for _, level := range []chain.Commitment{chain.Confirmed, chain.Finalized} {
		if found.Slot <= f.at(level, fault.Behind).slot {
			status.Commitment = level
		}
	}
	return reply(fault, status)
}

// Simulate executes a transaction without effect.
func (f *Fake) Simulate(ctx context.Context, raw []byte) (chain.Simulation, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "Simulate")
	if err != nil {
		return chain.Simulation{}, err
	}
	envelope, err := chain.ReadEnvelope(raw)
	if err != nil {
		return chain.Simulation{}, chain.NewError("Simulate", chain.Stop, err)
	}
	calls, err := envelope.Calls()
	if err != nil {
		return chain.Simulation{}, chain.NewError("Simulate", chain.Stop, err)
	}
	if !f.fresh(envelope.Blockhash()) {
		return reply(fault, chain.Simulation{Failure: &chain.Failure{Kind: "BlockhashNotFound", Instruction: chain.NoInstruction}})
	}
	signers := envelope.Signers()
	if funds := f.accounts[signers[0]].Lamports; funds < feePerSignature*uint64(len(signers)) {
		return reply(fault, chain.Simulation{Failure: &chain.Failure{Kind: noFunds(funds), Instruction: chain.NoInstruction}})
	}
	before := f.accounts
	_, failure := f.execute(calls, signers)
	f.accounts = before
	return reply(fault, chain.Simulation{Units: unitsPerCall * uint64(len(calls)), Failure: failure})
}

// noFunds is what the runtime says of a payer that cannot pay the fee.
func noFunds(lamports uint64) string {
	if lamports == 0 {
		return "AccountNotFound"
	}
	return "InsufficientFundsForFee"
}

// Account reads one account.
func (f *Fake) Account(ctx context.Context, address chain.Address, level chain.Commitment) (chain.Account, error) {
	accounts, err := f.Accounts(ctx, level, address)
	if err != nil {
		return chain.Account{}, err
	}
	return accounts[0], nil
}

// Accounts reads several accounts as they were in one slot.
func (f *Fake) Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "Accounts")
	if err != nil {
		return nil, err
	}
	index := f.index(level, fault.Behind)
	state := f.accounts
	if index+1 < len(f.blocks) {
		state = f.blocks[index+1].before
	}
	accounts := make([]chain.Account, len(addresses))
	for i, address := range addresses {
		account, ok := state[address]
		if !ok || account.Lamports == 0 {
			account = chain.Account{}
		}
		account.Address, account.Slot, account.Data = address, f.blocks[index].slot, slices.Clone(account.Data)
		accounts[i] = account
	}
	return reply(fault, accounts)
}

// Signatures lists the finalized transactions that mention an address, newest first, back to but without until.
func (f *Fake) Signatures(ctx context.Context, address chain.Address, until chain.Signature) ([]chain.SignatureInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "Signatures")
	if err != nil {
		return nil, err
	}
	var infos []chain.SignatureInfo
	for _, one := range slices.Backward(f.landed) {
		if one.Signature == until {
			break
		}
		if one.Slot <= f.at(chain.Finalized, fault.Behind).slot && mentions(one, address) {
			infos = append(infos, chain.SignatureInfo{Signature: one.Signature, Slot: one.Slot, Time: one.Time, Failed: one.Failure != nil})
		}
	}
	return reply(fault, infos)
}

// Transaction reads one finalized transaction.
func (f *Fake) Transaction(ctx context.Context, signature chain.Signature) (chain.Transaction, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fault, err := f.begin(ctx, "Transaction")
	if err != nil {
		return chain.Transaction{}, err
	}
	found := f.find(signature)
	if found == nil || found.Slot > f.at(chain.Finalized, fault.Behind).slot {
		return chain.Transaction{}, chain.NewError("Transaction", chain.Retry, chain.ErrUnknown)
	}
	return reply(fault, *found)
}

func mentions(transaction chain.Transaction, address chain.Address) bool {
	for _, call := range transaction.Calls {
		if call.Program == address || slices.Contains(call.Accounts, address) {
			return true
		}
	}
	return slices.Contains(transaction.Signers, address)
}

// nothing is a program without effect.
func nothing(chain.Call, map[chain.Address]chain.Account) *chain.Failure { return nil }

// transfer is the System program's transfer of lamports, and nothing else of it.
func transfer(call chain.Call, accounts map[chain.Address]chain.Account) *chain.Failure {
	const op, size = 2, 12
	if len(call.Data) != size || binary.LittleEndian.Uint32(call.Data) != op || len(call.Accounts) < 2 {
		return &chain.Failure{Detail: "InvalidInstructionData"}
	}
	amount := binary.LittleEndian.Uint64(call.Data[4:])
	from, to := accounts[call.Accounts[0]], call.Accounts[1]
	if from.Lamports < amount {
		return &chain.Failure{Detail: "Custom", Code: 1}
	}
	from.Lamports -= amount
	accounts[from.Address] = from
	into, ok := accounts[to]
	if !ok {
		into = chain.Account{Address: to, Exists: true, Owner: chain.SystemProgram}
	}
	into.Lamports += amount
	accounts[to] = into
	return nil
}
