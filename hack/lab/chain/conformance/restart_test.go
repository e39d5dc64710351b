// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/rpc"
	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/test/chaintest"
)

// memory is what must be the same before and after a restart.
type memory struct {
	Genesis                  solana.Hash
	Slots, Heights, Balances map[rpc.CommitmentType]uint64
	Hash                     solana.Hash
	Old, New                 *rpc.SignatureStatusesResult
	History                  []string
	Count                    uint64
}

func (w *world) remember(to solana.PublicKey, older, newer *solana.Transaction) memory {
	w.t.Helper()
	genesis, err := w.rpc.GetGenesisHash(w.ctx())
	w.check(err)
	m := memory{
		Genesis: genesis, Hash: w.blockhash(rpc.CommitmentProcessed).Blockhash, Old: w.status(older), New: w.status(newer),
		Slots: map[rpc.CommitmentType]uint64{}, Heights: map[rpc.CommitmentType]uint64{}, Balances: map[rpc.CommitmentType]uint64{},
	}
	for _, commitment := range []rpc.CommitmentType{rpc.CommitmentProcessed, rpc.CommitmentConfirmed, rpc.CommitmentFinalized} {
		m.Slots[commitment], err = w.rpc.GetSlot(w.ctx(), commitment)
		w.check(err)
		m.Heights[commitment] = w.height(commitment)
		m.Balances[commitment] = w.lamports(to, commitment)
	}
	found, err := w.rpc.GetSignaturesForAddressWithOpts(w.ctx(), to, &rpc.GetSignaturesForAddressOpts{Commitment: rpc.CommitmentConfirmed})
	w.check(err)
	for _, entry := range found {
		m.History = append(m.History, entry.Signature.String())
	}
	m.Count, err = w.rpc.GetTransactionCount(w.ctx(), rpc.CommitmentProcessed)
	w.check(err)
	return m
}

func TestAKilledChainRemembersEverything(t *testing.T) {
	config := chaintest.Config{Dir: t.TempDir()}
	w := start(t, config)
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	older := w.transfer(payer, to, 1_000_000)
	w.check(w.send(older))
	w.tick(1 + finalLag)
	newer := w.transfer(payer, to, 2_000_000)
	w.check(w.send(newer))
	w.tick(1)
	before := w.remember(to, older, newer)
	w.check(w.Kill())

	w = start(t, config)
	if diff := cmp.Diff(before, w.remember(to, older, newer)); diff != "" {
		t.Errorf("after the restart (-before +after):\n%s", diff)
	}
	if err := w.send(newer); code(err) != codePreflight || cause(t, err) != "AlreadyProcessed" {
		t.Errorf("sent again: %v, want AlreadyProcessed", err)
	}
	lost, err := w.Rollback(w.ctx(), 1, false)
	w.check(err)
	if len(lost) != 1 {
		t.Errorf("lost %v, want the newer transaction", lost)
	}
	if got := w.lamports(to, rpc.CommitmentProcessed); got != 1_000_000 {
		t.Errorf("receiver has %d lamports after the fork, want 1000000", got)
	}
	after := w.remember(to, older, newer)
	w.check(w.Kill())

	w = start(t, config)
	if diff := cmp.Diff(after, w.remember(to, older, newer)); diff != "" {
		t.Errorf("after the fork and a restart (-before +after):\n%s", diff)
	}
	w.check(w.send(newer))
	w.tick(1)
	if got := w.lamports(to, rpc.CommitmentProcessed); got != 3_000_000 {
		t.Errorf("receiver has %d lamports, want 3000000", got)
	}
}

func TestAStoppedChainStartsAgain(t *testing.T) {
	config := chaintest.Config{Dir: t.TempDir()}
	w := start(t, config)
	payer, to := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
	tx := w.transfer(payer, to, 1_000_000)
	w.check(w.send(tx))
	w.tick(1)
	before := w.remember(to, tx, tx)
	w.check(w.Stop())
	w = start(t, config)
	if diff := cmp.Diff(before, w.remember(to, tx, tx)); diff != "" {
		t.Errorf("after the restart (-before +after):\n%s", diff)
	}
}
