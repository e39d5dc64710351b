// SPDX-License-Identifier: Apache-2.0

// Package outbox lands what was signed at most once, and says truthfully what became of it: Prepare signs and sends nothing, the caller
// writes the Record down, and only then Drive sends it, as often as it takes, always the same bytes. A Record is given up only when the
// chain has proven, at finalized, that its bytes can never land.
// It does not know what the transactions mean, nor where records are kept.
package outbox

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Chain is what the outbox needs of a chain. Every method returns an error whenever it cannot tell; Send may have had its effect even
// when it returns one. A Status says how far the node that gave it was before it looked, and, if not Found, how far its memory reaches.
type Chain interface {
	Blockhash(ctx context.Context) (chain.Blockhash, error)
	Simulate(ctx context.Context, raw []byte) (chain.Simulation, error)
	Send(ctx context.Context, raw []byte) error
	Status(ctx context.Context, signature chain.Signature) (chain.Status, error)
}

// ErrRecord says that a record's parts do not belong together, so it must neither be sent nor given up.
var ErrRecord = errors.New("damaged record")

// Record is a signed transaction as the caller keeps it. It must be stored before Drive sees it.
type Record struct {
	Purpose              string // what it does, in the caller's words
	Signature            string // base58: the transaction's name on the chain
	Raw                  string // base64: the signed bytes
	LastValidBlockHeight uint64 // the last height at which it can land
	Slot                 uint64 // where the chain was when it was signed
	Attempt              int32  // how often this purpose was signed, from 1
}

// State is what became of a record.
type State string

// The states. Pending is the only one that may change, and Forgotten the only one that leaves a question.
const (
	Pending State = "Pending" // it may still land
	Landed  State = "Landed"  // it is finalized and succeeded
	Failed  State = "Failed"  // it is finalized and failed: nothing but its fee was spent
	Expired State = "Expired" // it is proven that it never landed and never can: the purpose may be signed anew
	// Forgotten is rare: it can no longer land, but the node no longer remembers the time when it could have. Only the account that
	// it would have changed can tell, read at finalized.
	Forgotten State = "Forgotten"
)

// Outcome is what Drive learned.
type Outcome struct {
	State   State
	Slot    uint64           // Landed, Failed: where
	Failure *chain.Failure   // Failed: why
	Seen    chain.Commitment // Pending: how settled it is, empty while no node has it
}

// Compute budget: what a simulation may use, and what is asked for on top of what it used. Account states, and with them the search
// for derived addresses, can differ a little when the transaction lands.
const (
	maxUnits     = 1_400_000
	spareDivisor = 5
	spareUnits   = 2_000
)

// Draft is one transaction to prepare, paid for by the wallet that signs it.
type Draft struct {
	Purpose      string
	Instructions []chain.Instruction
	Attempt      int32
	// Tables are lookup tables that the message may name accounts by; without any it is a legacy message.
	Tables []chain.LookupTable
	// Try simulates the unsigned transaction in its caller's own way, and refuses it by an error; without it the chain simulates it.
	Try func(ctx context.Context, unsigned []byte) (chain.Simulation, error)
}

// Prepare builds, tries and signs one transaction, paid for by the wallet, and sends nothing. If it would fail on the chain now, the
// error holds a *chain.Failure.
func Prepare(
	ctx context.Context, on Chain, wallet signer.Signer, purpose string, instructions []chain.Instruction, attempt int32,
) (Record, error) {
	return PrepareDraft(ctx, on, wallet, Draft{Purpose: purpose, Instructions: instructions, Attempt: attempt})
}

// PrepareDraft does what Prepare does, for transactions that need more than instructions.
func PrepareDraft(ctx context.Context, on Chain, wallet signer.Signer, draft Draft) (Record, error) {
	if draft.Try == nil {
		draft.Try = on.Simulate
	}
	blockhash, err := on.Blockhash(ctx)
	if err != nil {
		return Record{}, fmt.Errorf("prepare %s: %w", draft.Purpose, err)
	}
	units, err := draft.measure(ctx, wallet.PublicKey(), blockhash.Hash)
	if err != nil {
		return Record{}, fmt.Errorf("prepare %s: %w", draft.Purpose, err)
	}
	envelope, err := draft.seal(wallet.PublicKey(), blockhash.Hash, units)
	if err != nil {
		return Record{}, fmt.Errorf("prepare %s: %w", draft.Purpose, err)
	}
	signature, err := wallet.Sign(ctx, envelope.Message())
	if err != nil {
		return Record{}, fmt.Errorf("sign %s: %w", draft.Purpose, err)
	}
	if err := envelope.Add(wallet.PublicKey(), signature); err != nil {
		return Record{}, fmt.Errorf("sign %s: %w", draft.Purpose, err)
	}
	raw, err := envelope.Bytes()
	if err != nil {
		return Record{}, fmt.Errorf("prepare %s: %w", draft.Purpose, err)
	}
	return Record{
		Purpose:              draft.Purpose,
		Signature:            signature.String(),
		Raw:                  base64.StdEncoding.EncodeToString(raw),
		LastValidBlockHeight: blockhash.LastValidHeight,
		Slot:                 blockhash.Slot,
		Attempt:              draft.Attempt,
	}, nil
}

// measure simulates the draft and returns the compute units to ask for.
func (d Draft) measure(ctx context.Context, payer chain.Address, blockhash chain.Hash) (uint32, error) {
	envelope, err := d.seal(payer, blockhash, maxUnits)
	if err != nil {
		return 0, err
	}
	raw, err := envelope.Unsigned()
	if err != nil {
		return 0, err
	}
	simulation, err := d.Try(ctx, raw)
	if err != nil {
		return 0, err
	}
	if simulation.Failure != nil {
		return 0, fmt.Errorf("simulate: %w", simulation.Failure)
	}
	wanted := min(simulation.Units, maxUnits)
	return uint32(min(wanted+wanted/spareDivisor+spareUnits, maxUnits)), nil
}

// seal puts the instructions behind a compute limit into a message to sign.
func (d Draft) seal(payer chain.Address, blockhash chain.Hash, units uint32) (*chain.Envelope, error) {
	instructions := append([]chain.Instruction{chain.ComputeLimit(units)}, d.Instructions...)
	var message []byte
	var err error
	if len(d.Tables) > 0 {
		message, err = chain.CompileVersioned(payer, instructions, blockhash, d.Tables...)
	} else {
		message, err = chain.CompileMessage(payer, instructions, blockhash)
	}
	if err != nil {
		return nil, err
	}
	return chain.NewEnvelope(message)
}

// Drive takes a stored record one step further and says where it stands. It is safe to call at any time, any number of times, from
// any number of processes. An error means that nothing was learned; the record stays as it is.
func Drive(ctx context.Context, on Chain, record Record) (Outcome, error) {
	signature, raw, err := open(record)
	if err != nil {
		return Outcome{}, fmt.Errorf("drive %s: %w", record.Purpose, err)
	}
	status, err := on.Status(ctx, signature)
	if err != nil {
		return Outcome{}, fmt.Errorf("drive %s: %w", record.Purpose, err)
	}
	outcome := decide(record, status)
	if outcome.State != Pending || status.Found || status.Finalized.Block > record.LastValidBlockHeight {
		return outcome, nil
	}
	crashpoint.Hit("outbox.sending." + record.Purpose)
	if err := on.Send(ctx, raw); err != nil && chain.ClassOf(err) != chain.Already {
		return Outcome{}, fmt.Errorf("send %s: %w", record.Purpose, err)
	}
	crashpoint.Hit("outbox.sent." + record.Purpose)
	return outcome, nil
}

// decide is the whole rule, as a function of what was observed.
//
//  1. Only finalized counts: what a fork showed may vanish and land again.
//  2. Unknown is proof of expiry only if the finalized height has passed the last valid one, the node that does not know the
//     signature has seen every slot up to there, and it still remembers the slot in which the record was signed.
//  3. If only the memory is missing, nothing more can land, but whether it did is for the caller to find out.
//  4. Everything else is pending.
func decide(record Record, status chain.Status) Outcome {
	if status.Found {
		switch {
		case status.Commitment != chain.Finalized:
			return Outcome{State: Pending, Seen: status.Commitment}
		case status.Failure != nil:
			return Outcome{State: Failed, Slot: status.Landed, Failure: status.Failure}
		default:
			return Outcome{State: Landed, Slot: status.Landed}
		}
	}
	passed := status.Finalized.Block > record.LastValidBlockHeight
	seen := status.Slot >= status.Finalized.Slot
	remembers := status.Oldest <= record.Slot
	switch {
	case !passed || !seen:
		return Outcome{State: Pending}
	case !remembers:
		return Outcome{State: Forgotten}
	default:
		return Outcome{State: Expired}
	}
}

// open checks that a record is one whole: signed bytes, whose first signature is the recorded one.
func open(record Record) (chain.Signature, []byte, error) {
	signature, err := chain.ParseSignature(record.Signature)
	if err != nil {
		return chain.Signature{}, nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	raw, err := base64.StdEncoding.Strict().DecodeString(record.Raw)
	if err != nil {
		return chain.Signature{}, nil, fmt.Errorf("%w: bytes are not base64", ErrRecord)
	}
	envelope, err := chain.OpenEnvelope(raw)
	if err != nil {
		return chain.Signature{}, nil, fmt.Errorf("%w: %w", ErrRecord, err)
	}
	if id, ok := envelope.ID(); !ok || id != signature {
		return chain.Signature{}, nil, fmt.Errorf("%w: the bytes are of another transaction", ErrRecord)
	}
	return signature, raw, nil
}
