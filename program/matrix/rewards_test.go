// SPDX-License-Identifier: Apache-2.0

package matrix

import (
	"bytes"
	"crypto/sha256"
	"slices"

	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"
)

type hash = [32]byte

func leaf(r rewards, wallet key, amount uint64) hash {
	return sha256.Sum256(le.AppendUint64(slices.Concat([]byte{0}, r.address[:], wallet[:]), amount))
}

func node(a, b hash) hash {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return sha256.Sum256(slices.Concat([]byte{1}, a[:], b[:]))
}

func (m *stakes) createRewards() {
	m.t.Helper()
	r, authority := m.rewards(), m.market.authority
	good := m.world.createRewards(r)
	m.refuse("authority does not sign", custom(0, 101), m.stranger, good.with(0, write(authority)).build())
	m.refuse("not the authority", custom(0, 101), m.stranger, good.with(0, sign(m.stranger).WRITE()).build())
	m.refuse("a wallet as market", custom(0, 102), authority, good.with(1, read(m.stranger)).build())
	m.refuse("rewards elsewhere", custom(0, 103), authority, good.with(2, write(m.newKey())).build())
	m.refuse("vault elsewhere", custom(0, 103), authority, good.with(3, write(m.newKey())).build())
	m.refuse("another mint", custom(0, 109), authority, good.with(4, read(m.newMint(decimals))).build())
	m.refuse("other System program", custom(0, 100), authority, good.with(5, read(m.stranger)).build())
	m.refuse("other Token program", custom(0, 100), authority, good.with(6, read(m.stranger)).build())
	m.refuse("wrong bump", custom(0, 103), authority, call{m.program, good.accounts, []byte{32, r.bump - 1, r.vaultBump}}.build())
	m.refuse("wrong vault bump", custom(0, 103), authority, call{m.program, good.accounts, []byte{32, r.bump, r.vaultBump - 1}}.build())
	m.accept("a griefer sends lamports", m.stranger, system.NewTransferInstruction(890_880, m.stranger, r.address).Build())
	m.accept("create", authority, good.build())
	m.refuse("create again", custom(0, 104), authority, good.build())
}

// list is what three wallets have earned in all, and the tree of it.
func (m *stakes) list(r rewards) (leaves [3]hash, root hash) {
	leaves = [3]hash{leaf(r, m.buyer, 1000), leaf(r, m.supplier, 2000), leaf(r, m.treasury, 3000)}
	return leaves, node(node(leaves[0], leaves[1]), leaves[2])
}

func (m *stakes) posts() {
	m.t.Helper()
	r, authority := m.rewards(), m.market.authority
	_, root := m.list(r)
	good := m.post(r, 1, 6000, root)
	m.refuse("more than the vault holds", custom(0, 105), authority, good.build())
	m.accept("fund the vault", m.buyer, token.NewTransferCheckedInstruction(7000, decimals, tokens(m.buyer, m.mint), m.mint, r.vault, m.buyer, nil).Build())
	m.refuse("one unit more than it holds", custom(0, 105), authority, m.post(r, 1, 7001, root).build())
	m.refuse("authority does not sign", custom(0, 101), m.stranger, good.with(0, read(authority)).build())
	m.refuse("not the authority", custom(0, 101), m.stranger, good.with(0, sign(m.stranger)).build())
	m.refuse("authority of another market", custom(0, 108), m.stranger, good.with(0, sign(m.stranger)).with(1, read(m.marketOf(m.stranger).address)).build())
	m.refuse("a pool as rewards", custom(0, 104), authority, good.with(2, write(m.pool.address)).build())
	m.refuse("rewards read-only", custom(0, 104), authority, good.with(2, read(r.address)).build())
	m.refuse("another vault", custom(0, 103), authority, good.with(3, read(tokens(m.buyer, m.mint))).build())
	m.refuse("epoch 0", custom(0, 104), authority, m.post(r, 0, 6000, root).build())
	m.refuse("epoch 2", custom(0, 104), authority, m.post(r, 2, 6000, root).build())
	m.refuse("short", custom(0, 100), authority, call{m.program, good.accounts, good.data[:48]}.build())
	m.refuse("claim before the first root", custom(0, 111), m.buyer, m.claimRewards(m.buyer, r, m.buyer, 0).build())
	m.accept("post", authority, good.build())
	m.refuse("post again", custom(0, 104), authority, good.build())
	m.refuse("promise less", custom(0, 105), authority, m.post(r, 2, 5999, root).build())
	want := []byte("bourse2\x30")
	for _, k := range []key{m.market.address, m.mint, root} {
		want = append(want, k[:]...)
	}
	for _, n := range []uint64{1, 6000, 0} {
		want = le.AppendUint64(want, n)
	}
	m.record(r.address, nil, append(want, decimals, r.bump, r.vaultBump, 2, 0, 0, 0, 0))
}

func (m *stakes) claims() {
	m.t.Helper()
	r, authority := m.rewards(), m.market.authority
	leaves, root := m.list(r)
	have := m.amount(tokens(m.buyer, m.mint))
	first := m.claimRewards(m.stranger, r, m.buyer, 1000, leaves[1], leaves[2])
	m.accept("anybody submits", m.stranger, first.build())
	m.refuse("claim again", custom(0, 105), m.stranger, first.build())
	receipt, bump := m.derive([]byte("reward"), r.address[:], m.buyer[:])
	want := []byte("bourse2\x31")
	for _, k := range []key{r.address, m.buyer} {
		want = append(want, k[:]...)
	}
	m.record(receipt, nil, append(le.AppendUint64(want, 1000), bump, 2, 0, 0, 0, 0, 0, 0))

	// The next tree: the buyer has earned more, and the rest comes along.
	more := leaf(r, m.buyer, 1500)
	next := node(node(more, leaves[1]), leaves[2])
	m.accept("post the next", authority, m.post(r, 2, 6500, next).build())
	m.refuse("a proof of the last tree", custom(0, 111), m.buyer, first.build())
	m.accept("claim the difference", m.buyer, m.claimRewards(m.buyer, r, m.buyer, 1500, leaves[1], leaves[2]).build())
	m.accept("claim later", m.treasury, m.claimRewards(m.treasury, r, m.treasury, 3000, node(more, leaves[1])).build())
	if got := m.amount(tokens(m.buyer, m.mint)) - have; got != 1500 {
		m.t.Fatalf("the buyer got %d", got)
	}
	if left := m.amount(r.vault); left != 2500 {
		m.t.Fatalf("%d units left in the vault", left)
	}
	m.accept("post the first tree again", authority, m.post(r, 3, 6500, root).build())
	m.refuse("less than was claimed", custom(0, 105), m.buyer, first.build())
	m.accept("post the next again", authority, m.post(r, 4, 6500, next).build())
}

func (m *stakes) attackClaims() {
	m.t.Helper()
	r, authority := m.rewards(), m.market.authority
	leaves := [3]hash{leaf(r, m.buyer, 1500), leaf(r, m.supplier, 2000), leaf(r, m.treasury, 3000)}
	good := m.claimRewards(m.stranger, r, m.supplier, 2000, leaves[0], leaves[2])
	with := func(name string, code, at int, account key) {
		m.refuse(name, custom(0, code), m.stranger, good.with(at, write(account)).build())
	}
	m.refuse("submitter does not sign", custom(0, 101), m.buyer, good.with(0, write(m.stranger)).build())
	with("a wallet as rewards", 102, 1, m.stranger)
	with("a pool as rewards", 104, 1, m.pool.address)
	with("a pool's vault", 103, 2, m.pool.vault)
	with("no receipt", 103, 3, m.newKey())
	receipt, _ := m.derive([]byte("reward"), r.address[:], m.buyer[:])
	with("somebody else's receipt", 108, 3, receipt)
	with("rewards as receipt", 104, 3, r.address)
	with("paid to a thief", 108, 5, tokens(m.stranger, m.mint))
	with("paid to the vault", 108, 5, r.vault)
	with("another mint", 109, 6, m.buyer)
	with("other System program", 100, 7, m.buyer)
	with("other Token program", 100, 8, m.buyer)
	m.refuse("a thief as wallet", custom(0, 111), m.stranger, good.with(4, read(m.stranger)).with(5, write(tokens(m.stranger, m.mint))).build())
	claim := func(name string, code int, amount uint64, proof ...hash) {
		m.refuse(name, custom(0, code), m.stranger, m.claimRewards(m.stranger, r, m.supplier, amount, proof...).build())
	}
	claim("more than was earned", 111, 2001, leaves[0], leaves[2])
	claim("less than was earned", 111, 1999, leaves[0], leaves[2])
	claim("no proof", 111, 2000)
	claim("half a proof", 111, 2000, leaves[0])
	claim("proof in the wrong order", 111, 2000, leaves[2], leaves[0])
	claim("proof too long", 100, 2000, make([]hash, 21)...)
	claim("the longest proof", 111, 2000, make([]hash, 20)...)
	m.refuse("not whole steps", custom(0, 100), m.stranger, call{m.program, good.accounts, good.data[:len(good.data)-1]}.build())

	// A root that says more than was posted for it pays no more than that.
	rich := leaf(r, m.stranger, 2001)
	m.accept("post a root that promises too much", authority, m.post(r, 5, 6500, node(rich, leaves[1])).build())
	m.refuse("claim too much", custom(0, 110), m.stranger, m.claimRewards(m.stranger, r, m.stranger, 2001, leaves[1]).build())
	m.accept("claim what is there", m.stranger, m.claimRewards(m.stranger, r, m.supplier, 2000, rich).build())
	// An inner hash without its first byte, or with that of a node, is no leaf.
	raw := sha256.Sum256(le.AppendUint64(slices.Concat(r.address[:], m.stranger[:]), 100))
	asNode := sha256.Sum256(le.AppendUint64(slices.Concat([]byte{1}, r.address[:], m.stranger[:]), 100))
	m.accept("post a tree of raw hashes", authority, m.post(r, 6, 6600, node(raw, asNode)).build())
	m.refuse("a hash without its kind", custom(0, 111), m.stranger, m.claimRewards(m.stranger, r, m.stranger, 100, asNode).build())
	m.refuse("a hash of a node's kind", custom(0, 111), m.stranger, m.claimRewards(m.stranger, r, m.stranger, 100, raw).build())
	if left := m.amount(r.vault); left != 500 {
		m.t.Fatalf("%d units left in the vault", left)
	}
}
