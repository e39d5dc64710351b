// SPDX-License-Identifier: Apache-2.0

package stake_test

import (
	"errors"
	"testing"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

// Rewards of two epochs on the real program: each wallet gets what it was awarded in all, once, whoever submits the proof.
func TestRewardsAreClaimedOnce(t *testing.T) {
	w := newReal(t)
	r := stake.Rewards{Program: w.pool.Program, Config: w.pool.Config, Mint: w.pool.Mint}
	create, err := stake.CreateRewards(r, w.authority.PublicKey())
	w.land(w.authority, create, err)
	account, err := r.Account()
	w.must(err)
	vault, err := r.Vault()
	w.must(err)
	w.set(vault, chain.TokenProgram, fakeprogram.Tokens(r.Mint, account, 1_000))

	first := w.post(r, 1, []stake.Reward{{Wallet: w.owner.PublicKey(), Cumulative: 300}, {Wallet: w.delegator.PublicKey(), Cumulative: 100}})
	w.claim(r, first, w.owner)
	if got := w.balance(w.owner); got != allTokens+300 {
		t.Errorf("the owner has %s", got)
	}
	reward, proof, _ := first.Prove(w.owner.PublicKey())
	again, err := stake.ClaimReward(r, w.stranger.PublicKey(), reward, proof)
	w.refused(escrow.CodeAmount, w.stranger, again, err)
	reward.Cumulative++
	forged, err := stake.ClaimReward(r, w.stranger.PublicKey(), reward, proof)
	w.refused(escrow.CodeProof, w.stranger, forged, err)

	second := w.post(r, 2, []stake.Reward{
		{Wallet: w.owner.PublicKey(), Cumulative: 450}, {Wallet: w.delegator.PublicKey(), Cumulative: 250}, {Wallet: w.arbiter.PublicKey(), Cumulative: 1},
	})
	for _, one := range []*signer.Keypair{w.owner, w.delegator, w.arbiter} {
		w.claim(r, second, one)
	}
	for who, want := range map[*signer.Keypair]money.Amount{w.owner: 450, w.delegator: 250, w.arbiter: 1} {
		receipt, err := r.Receipt(who.PublicKey())
		w.must(err)
		claimed, err := stake.VerifyReceipt(r, who.PublicKey(), w.read(receipt)[0])
		if got := w.balance(who); err != nil || claimed != want || got != allTokens+want {
			t.Errorf("%s claimed %s (%v) and has %s, want %s", who.PublicKey(), claimed, err, got, want)
		}
	}
	accounts := w.read(account, vault)
	facts, err := stake.VerifyRewards(r, accounts[0], accounts[1])
	w.must(err)
	if facts.Epoch != 2 || facts.Root != second.Root() || facts.Total != 701 || facts.Claimed != 701 || facts.Balance != 299 {
		t.Errorf("rewards %+v", facts)
	}
	receipt, err := r.Receipt(w.stranger.PublicKey())
	w.must(err)
	if _, err := stake.VerifyReceipt(r, w.stranger.PublicKey(), w.read(receipt)[0]); !errors.Is(err, escrow.Absent) {
		t.Errorf("the receipt of who never claimed: %v, want %v", err, escrow.Absent)
	}
}

// post puts an epoch's tree on the chain.
func (w *world) post(r stake.Rewards, epoch uint64, list []stake.Reward) *stake.Tree {
	w.t.Helper()
	account, err := r.Account()
	w.must(err)
	tree, err := stake.NewTree(account, list)
	w.must(err)
	instructions, err := stake.PostRewards(r, w.authority.PublicKey(), epoch, tree)
	w.land(w.authority, instructions, err)
	return tree
}

// claim has a stranger submit a wallet's proof.
func (w *world) claim(r stake.Rewards, tree *stake.Tree, of *signer.Keypair) {
	w.t.Helper()
	reward, proof, _ := tree.Prove(of.PublicKey())
	instructions, err := stake.ClaimReward(r, w.stranger.PublicKey(), reward, proof)
	w.land(w.stranger, instructions, err)
}
