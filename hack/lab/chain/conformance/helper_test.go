// SPDX-License-Identifier: Apache-2.0

// Package conformance_test drives the local chain through solana-go's own
// clients, unchanged, and holds it to what a real cluster does. Slots are made
// by hand, so that every test says when a block is made.
package conformance_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/rpc"
	"github.com/gagliardetto/solana-go/rpc/jsonrpc"

	"github.com/bourse-dev/bourse/test/chaintest"
)

const (
	confirmLag = 2
	finalLag   = 32
	maxAge     = 150
	feeOfOne   = 5000
)

// Codes of the errors that a client acts on.
const (
	codePreflight = -32002
	codeSignature = -32003
	codeUnhealthy = -32005
	codeParams    = -32602
)

// world is a chain and a client of it.
type world struct {
	*chaintest.Process
	t   *testing.T
	rpc *rpc.Client
}

func start(t *testing.T, config chaintest.Config) *world {
	t.Helper()
	config.Manual = true
	process := chaintest.Run(t, config)
	client := rpc.New(process.RPC)
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Errorf("close client: %v", err)
		}
	})
	return &world{Process: process, t: t, rpc: client}
}

func (w *world) ctx() context.Context { return w.t.Context() }

func (w *world) tick(blocks int) {
	w.t.Helper()
	w.check(w.Tick(w.ctx(), blocks))
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// newKey makes a key that nobody else has.
func newKey(t *testing.T) solana.PrivateKey {
	t.Helper()
	key, err := solana.NewRandomPrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// funded makes a key with lamports that are final.
func (w *world) funded(lamports uint64) solana.PrivateKey {
	w.t.Helper()
	key := newKey(w.t)
	_, err := w.rpc.RequestAirdrop(w.ctx(), key.PublicKey(), lamports, rpc.CommitmentConfirmed)
	w.check(err)
	w.tick(1 + finalLag)
	return key
}

func (w *world) blockhash(commitment rpc.CommitmentType) *rpc.LatestBlockhashResult {
	w.t.Helper()
	latest, err := w.rpc.GetLatestBlockhash(w.ctx(), commitment)
	w.check(err)
	return latest.Value
}

func (w *world) height(commitment rpc.CommitmentType) uint64 {
	w.t.Helper()
	height, err := w.rpc.GetBlockHeight(w.ctx(), commitment)
	w.check(err)
	return height
}

func (w *world) lamports(key solana.PublicKey, commitment rpc.CommitmentType) uint64 {
	w.t.Helper()
	balance, err := w.rpc.GetBalance(w.ctx(), key, commitment)
	w.check(err)
	return balance.Value
}

// signed makes a transaction on a blockhash; the first signer pays.
func (w *world) signed(blockhash solana.Hash, signers []solana.PrivateKey, instructions ...solana.Instruction) *solana.Transaction {
	w.t.Helper()
	tx, err := solana.NewTransaction(instructions, blockhash, solana.TransactionPayer(signers[0].PublicKey()))
	w.check(err)
	_, err = tx.Sign(func(want solana.PublicKey) *solana.PrivateKey {
		for _, key := range signers {
			if key.PublicKey() == want {
				return &key
			}
		}
		return nil
	})
	w.check(err)
	return tx
}

func (w *world) transfer(from solana.PrivateKey, to solana.PublicKey, lamports uint64) *solana.Transaction {
	w.t.Helper()
	blockhash := w.blockhash(rpc.CommitmentConfirmed).Blockhash
	return w.signed(blockhash, []solana.PrivateKey{from}, system.NewTransferInstruction(lamports, from.PublicKey(), to).Build())
}

func (w *world) send(tx *solana.Transaction) error {
	w.t.Helper()
	got, err := w.rpc.SendTransactionWithOpts(w.ctx(), tx, rpc.TransactionOpts{PreflightCommitment: rpc.CommitmentConfirmed})
	if err == nil && got != tx.Signatures[0] {
		w.t.Fatalf("sent %s, the node answered %s", tx.Signatures[0], got)
	}
	return err
}

func (w *world) sendBlind(tx *solana.Transaction) error {
	_, err := w.rpc.SendTransactionWithOpts(w.ctx(), tx, rpc.TransactionOpts{SkipPreflight: true})
	return err
}

// land sends instructions, makes a block, and requires that they succeeded.
func (w *world) land(signers []solana.PrivateKey, instructions ...solana.Instruction) solana.Signature {
	w.t.Helper()
	tx := w.signed(w.blockhash(rpc.CommitmentConfirmed).Blockhash, signers, instructions...)
	w.check(w.send(tx))
	w.tick(1 + confirmLag)
	status := w.status(tx)
	if status == nil || status.Err != nil {
		w.t.Fatalf("status = %+v, want a success", status)
	}
	return tx.Signatures[0]
}

func (w *world) status(tx *solana.Transaction) *rpc.SignatureStatusesResult {
	w.t.Helper()
	statuses, err := w.rpc.GetSignatureStatuses(w.ctx(), true, tx.Signatures[0])
	w.check(err)
	return statuses.Value[0]
}

// level is how far a transaction has come; empty when no block has it.
func (w *world) level(tx *solana.Transaction) rpc.ConfirmationStatusType {
	w.t.Helper()
	status := w.status(tx)
	if status == nil {
		return ""
	}
	return status.ConfirmationStatus
}

// code is the JSON-RPC code of an error; zero when it has none.
func code(err error) int {
	if failure := (*jsonrpc.RPCError)(nil); errors.As(err, &failure) {
		return failure.Code
	}
	return 0
}

// cause is the transaction error that a refused preflight reports.
func cause(t *testing.T, err error) string {
	t.Helper()
	failure := (*jsonrpc.RPCError)(nil)
	if !errors.As(err, &failure) {
		t.Fatalf("error = %v, want a JSON-RPC error", err)
	}
	data, ok := failure.Data.(map[string]any)
	if !ok {
		t.Fatalf("error data = %v, want an object", failure.Data)
	}
	return fmt.Sprint(data["err"])
}
