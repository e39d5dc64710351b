// SPDX-License-Identifier: Apache-2.0

// Package chain speaks to Solana by JSON-RPC, to one endpoint or to a quorum of several: it reads what the chain says, sends signed
// bytes and says what an error means.
// It owns the message format too: a deterministic compiler, and a strict decoder that checks every index in what strangers wrote before
// anything is resolved by it.
// It knows nothing of leases, money or keys, and it decides nothing: "the node did not answer" is always an error, never a fact.
package chain

import (
	"fmt"
	"time"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/rpc"
)

// Address is a Solana account address.
type Address = solana.PublicKey

// Signature identifies a transaction: the first signature on it.
type Signature = solana.Signature

// Hash is a blockhash or the hash of the first block.
type Hash = solana.Hash

// Commitment says how settled a read state must be.
type Commitment string

// The commitments of Solana. Only Finalized can never be undone.
const (
	Processed Commitment = "processed"
	Confirmed Commitment = "confirmed"
	Finalized Commitment = "finalized"
)

// Programs and system accounts that the market uses.
//
//nolint:gochecknoglobals // Addresses fixed by the chain: they are read, never written.
var (
	SystemProgram        = solana.SystemProgramID
	TokenProgram         = solana.TokenProgramID
	Token2022Program     = solana.Token2022ProgramID
	AssociatedProgram    = solana.SPLAssociatedTokenAccountProgramID
	ComputeBudgetProgram = solana.ComputeBudget
	Ed25519Program       = solana.MustPublicKeyFromBase58("Ed25519SigVerify111111111111111111111111111")
	InstructionsSysvar   = solana.MustPublicKeyFromBase58("Sysvar1nstructions1111111111111111111111111")
	MemoProgram          = solana.MustPublicKeyFromBase58("MemoSq4gqABAXKb96qnH8TysNcWxMyWCqXgDLGmfcHr")
)

// ParseAddress reads a base58 address.
func ParseAddress(text string) (Address, error) {
	address, err := solana.PublicKeyFromBase58(text)
	if err != nil {
		return Address{}, fmt.Errorf("parse address %.64q: %w", text, err)
	}
	return address, nil
}

// ParseSignature reads a base58 transaction signature.
func ParseSignature(text string) (Signature, error) {
	signature, err := solana.SignatureFromBase58(text)
	if err != nil {
		return Signature{}, fmt.Errorf("parse signature %.100q: %w", text, err)
	}
	return signature, nil
}

// Derive returns the program-derived address of the seeds and its canonical bump.
func Derive(program Address, seeds ...[]byte) (Address, uint8, error) {
	address, bump, err := solana.FindProgramAddress(seeds, program)
	if err != nil {
		return Address{}, 0, fmt.Errorf("derive address of %s: %w", program, err)
	}
	return address, bump, nil
}

// TokenAddress returns the address of the wallet's associated token account for a mint of the classic Token program.
func TokenAddress(wallet, mint Address) (Address, error) {
	address, _, err := Derive(AssociatedProgram, wallet[:], TokenProgram[:], mint[:])
	return address, err
}

// Blockhash is what a transaction is signed under. It cannot land once the height passes LastValidHeight.
type Blockhash struct {
	Hash            Hash
	LastValidHeight uint64
	Slot            uint64 // where the node was when it answered
}

// Height is a position of the chain: blocks counted, and the slot of the last one.
type Height struct {
	Block uint64
	Slot  uint64
}

// Account is what the chain holds at an address, read at Slot. An address that holds nothing is an Account with Exists false.
type Account struct {
	Address    Address
	Exists     bool
	Owner      Address
	Lamports   uint64
	Data       []byte
	Executable bool
	Slot       uint64
}

// Status is what a node says of a signature, and how far that same node was. Found false means that this node, having seen Slot and
// still holding everything since Oldest, does not know the signature; that proves nothing about a node that is behind or has
// forgotten.
type Status struct {
	Found      bool
	Commitment Commitment
	Landed     uint64   // the slot it landed in
	Failure    *Failure // why it failed, nil when it succeeded
	Slot       uint64   // where the node was when it answered
	Oldest     uint64   // the first slot that the node still remembers; set when Found is false
	Finalized  Height   // how far the chain was settled for good, asked before the status: a status asked later covers all up to there
}

// Simulation is what would happen if the transaction were executed now.
type Simulation struct {
	Units   uint64
	Failure *Failure // nil when it would succeed
	Logs    []string
}

// SignatureInfo is one finalized transaction that mentions an address.
type SignatureInfo struct {
	Signature Signature
	Slot      uint64
	Time      time.Time // zero when the node does not know it
	Failed    bool
}

// Transaction is one finalized transaction with everything that it executed.
type Transaction struct {
	Signature Signature
	Slot      uint64
	Time      time.Time // zero when the node does not know it
	Failure   *Failure
	Signers   []Address
	Calls     []Call
}

// Call is one executed instruction. Depth 1 is the transaction's own; a deeper call was made by the nearest shallower one before it.
type Call struct {
	Program  Address
	Accounts []Address
	Data     []byte
	Depth    int
}

func commitment(level Commitment) rpc.CommitmentType { return rpc.CommitmentType(level) }
