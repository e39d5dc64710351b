// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go"
	ata "github.com/gagliardetto/solana-go/programs/associated-token-account"
	"github.com/gagliardetto/solana-go/rpc"

	"github.com/bourse-dev/bourse/test/chaintest"
)

type key = solana.PublicKey

// chain is a local chain whose slots are made by hand: one for every transaction.
type chain struct {
	t    *testing.T
	rpc  *rpc.Client
	sim  *chaintest.Sim
	keys map[key]solana.PrivateKey
}

func startChain(t *testing.T) *chain {
	t.Helper()
	process := chaintest.Run(t, chaintest.Config{Manual: true, ConfirmLag: new(0), FinalLag: new(0)})
	return &chain{t: t, rpc: rpc.New(process.RPC), sim: chaintest.NewSim(process.RPC, http.DefaultClient), keys: map[key]solana.PrivateKey{}}
}

// tick makes a slot.
func (c *chain) tick() {
	c.t.Helper()
	if err := c.sim.Tick(c.t.Context(), 1); err != nil {
		c.t.Fatal(err)
	}
}

func (c *chain) newKey() key {
	c.t.Helper()
	private, err := solana.NewRandomPrivateKey()
	if err != nil {
		c.t.Fatal(err)
	}
	c.keys[private.PublicKey()] = private
	return private.PublicKey()
}

func (c *chain) newWallet(sol uint64) key {
	c.t.Helper()
	k := c.newKey()
	if _, err := c.rpc.RequestAirdrop(c.t.Context(), k, sol*solana.LAMPORTS_PER_SOL, rpc.CommitmentProcessed); err != nil {
		c.t.Fatal(err)
	}
	c.tick()
	return k
}

// outcome is what became of a transaction.
type outcome struct {
	err        string // Empty if it succeeded.
	bytes      int
	signatures int
	units      uint64
	fee        uint64
	paid       int64 // What the payer has less, fee included.
	logs       []string
}

// send signs with all keys that it has, sends, makes a slot and reads the result.
func (c *chain) send(payer key, instructions ...solana.Instruction) outcome {
	c.t.Helper()
	ctx := c.t.Context()
	latest, err := c.rpc.GetLatestBlockhash(ctx, rpc.CommitmentProcessed)
	if err != nil {
		c.t.Fatal(err)
	}
	tx, err := solana.NewTransaction(instructions, latest.Value.Blockhash, solana.TransactionPayer(payer))
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := tx.Sign(func(k key) *solana.PrivateKey {
		private := c.keys[k]
		return &private
	}); err != nil {
		c.t.Fatal(err)
	}
	wire, err := tx.MarshalBinary()
	if err != nil {
		c.t.Fatal(err)
	}
	sig, err := c.rpc.SendTransactionWithOpts(ctx, tx, rpc.TransactionOpts{SkipPreflight: true})
	if err != nil {
		c.t.Fatal(err)
	}
	c.tick()
	result, err := c.rpc.GetTransaction(ctx, sig, &rpc.GetTransactionOpts{Encoding: solana.EncodingBase64, Commitment: rpc.CommitmentConfirmed})
	if errors.Is(err, rpc.ErrNotFound) {
		return outcome{err: "not included"}
	}
	if err != nil {
		c.t.Fatal(err)
	}
	o := outcome{
		bytes: len(wire), signatures: len(tx.Signatures), fee: result.Meta.Fee, logs: result.Meta.LogMessages,
		paid: int64(result.Meta.PreBalances[0]) - int64(result.Meta.PostBalances[0]),
	}
	if result.Meta.ComputeUnitsConsumed != nil {
		o.units = *result.Meta.ComputeUnitsConsumed
	}
	if result.Meta.Err != nil {
		text, err := json.Marshal(result.Meta.Err)
		if err != nil {
			c.t.Fatal(err)
		}
		o.err = string(text)
	}
	return o
}

// must sends what has to succeed.
func (c *chain) must(payer key, instructions ...solana.Instruction) outcome {
	c.t.Helper()
	o := c.send(payer, instructions...)
	if o.err != "" {
		c.t.Fatalf("refused: %s\n%s", o.err, strings.Join(o.logs, "\n"))
	}
	return o
}

// custom is the error of the instruction at this place with this code.
func custom(at, code int) string {
	return fmt.Sprintf(`{"InstructionError":[%d,{"Custom":%d}]}`, at, code)
}

// builtin is the runtime's error for the instruction at this place.
func builtin(at int, name string) string {
	return fmt.Sprintf(`{"InstructionError":[%d,%q]}`, at, name)
}

// account returns owner, lamports and data; zeros if there is no such account.
func (c *chain) account(k key) (owner key, lamports uint64, data []byte) {
	c.t.Helper()
	result, err := c.rpc.GetAccountInfoWithOpts(c.t.Context(), k, &rpc.GetAccountInfoOpts{Encoding: solana.EncodingBase64, Commitment: rpc.CommitmentProcessed})
	if errors.Is(err, rpc.ErrNotFound) {
		return key{}, 0, nil
	}
	if err != nil {
		c.t.Fatal(err)
	}
	return result.Value.Owner, result.Value.Lamports, result.Value.Data.GetBinary()
}

// amount returns a token account's balance; zero if there is none.
func (c *chain) amount(k key) uint64 {
	c.t.Helper()
	_, _, data := c.account(k)
	if len(data) != 165 {
		return 0
	}
	return le.Uint64(data[64:])
}

// supply returns a mint's supply.
func (c *chain) supply(mint key) uint64 {
	c.t.Helper()
	_, _, data := c.account(mint)
	return le.Uint64(data[36:])
}

// tokens returns the address of the associated token account.
func tokens(owner, mint key) key {
	k, _, err := solana.FindAssociatedTokenAddress(owner, mint)
	if err != nil {
		panic(err)
	}
	return k
}

func createTokens(payer, owner, mint key) solana.Instruction {
	return ata.NewCreateInstruction(payer, owner, mint).Build()
}
