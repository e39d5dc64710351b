// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"
)

// lucky returns the first new key that passes: with it all addresses have the bump 255, so that finding them always costs the same.
func (w *world) lucky(passes func(key) bool) key {
	w.t.Helper()
	k := w.newKey()
	for !passes(k) {
		k = w.newKey()
	}
	w.must(w.admin, system.NewTransferInstruction(solana.LAMPORTS_PER_SOL, w.admin, k).Build())
	return k
}

// rich gives somebody tokens of the world's mint.
func (w *world) rich(k key) {
	w.t.Helper()
	w.must(w.admin, createTokens(w.admin, k, w.mint),
		token.NewMintToInstruction(10_000_000, w.mint, tokens(k, w.mint), w.admin, nil).Build())
}

// stakeCosts measures the instructions about stakes and rewards in a market of its own.
func (w *world) stakeCosts(row measure) {
	w.t.Helper()
	before := w.market
	defer func() { w.market = before }()
	authority := w.lucky(func(k key) bool {
		w.market = w.marketOf(k)
		r := w.rewards()
		return w.market.bump == 255 && r.bump == 255 && r.vaultBump == 255
	})
	w.must(authority, w.createMarket(w.market).build())
	owner := w.lucky(func(k key) bool {
		p := w.poolOf(k)
		_, bump := w.position(p, k)
		return p.bump == 255 && p.vaultBump == 255 && bump == 255
	})
	w.rich(owner)
	p := w.poolOf(owner)
	delegator := w.lucky(func(k key) bool { _, bump := w.position(p, k); return bump == 255 })
	w.rich(delegator)

	row("pool create", owner, w.createPool(p).build())
	row("bond, the first", owner, w.bond(p, owner, 1_000_000).build())
	row("bond, another", owner, w.bond(p, owner, 1_000_000).build())
	w.must(delegator, w.bond(p, delegator, 1_000_000).build())
	row("bond, delegated", delegator, w.bond(p, delegator, 500_000).build())
	row("unbond", delegator, w.unbond(p, delegator, 500_000).build())
	row("slash propose", authority, w.proposeSlash(p, 200_000, evidence).build())
	row("appeal", owner, w.appeal(p, 1).build())
	row("slash execute", w.arbiter, w.executeSlash(w.arbiter, p, 1).build())
	w.warp(15 * day)
	row("withdraw", delegator, w.withdraw(p, delegator).build())
	w.must(authority, w.proposeSlash(p, 1, evidence).build())
	row("slash drop", authority, w.dropSlash(authority, p, 2).build())
	w.rewardCosts(row, delegator)
}

func (w *world) rewardCosts(row measure, submitter key) {
	w.t.Helper()
	r, authority := w.rewards(), w.market.authority
	wallet := w.lucky(func(k key) bool {
		_, bump := w.derive([]byte("reward"), r.address[:], k[:])
		return bump == 255
	})
	w.rich(wallet)
	row("rewards create", authority, w.createRewards(r).build())
	w.must(w.buyer, token.NewTransferCheckedInstruction(2000, decimals, tokens(w.buyer, w.mint), w.mint, r.vault, w.buyer, nil).Build())
	for epoch, name := range []string{"rewards claim, the first, of 1024 wallets", "rewards claim, another"} {
		amount := uint64(1000 * (epoch + 1))
		root, proof := leaf(r, wallet, amount), make([]hash, 10)
		for i := range proof {
			proof[i] = hash(bytes.Repeat([]byte{0xff}, 32)) // Always the larger of two: comparing them costs the same.
			root = node(root, proof[i])
		}
		post := w.post(r, uint64(epoch+1), amount, root).build()
		if epoch == 0 {
			row("rewards post", authority, post)
		} else {
			w.must(authority, post)
		}
		row(name, submitter, w.claimRewards(submitter, r, wallet, amount, proof...).build())
	}
}
