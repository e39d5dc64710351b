// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// MaxProof is the longest proof that the program reads, so that a tree has at most 2^MaxProof leaves.
const MaxProof = 20

// Leaves and nodes are hashed under different tags, so that none can pass for the other.
const (
	leafTag = 0
	nodeTag = 1
)

// ErrTree says that a list of rewards cannot be a tree.
var ErrTree = errors.New("invalid reward tree")

// Digest is a hash of the reward tree.
type Digest [sha256.Size]byte

// Reward is what a wallet was ever awarded: the sum of all epochs.
type Reward struct {
	Wallet     chain.Address
	Cumulative money.Amount
}

// Tree is the rewards of all wallets, each of which can be proven to who knows the root alone.
type Tree struct {
	rewards []Reward
	levels  [][]Digest // the leaves first, the root last
	total   money.Amount
}

// NewTree makes the tree of a rewards account. The order of the list makes no difference. A wallet that is named twice is refused.
func NewTree(account chain.Address, list []Reward) (*Tree, error) {
	if len(list) == 0 || len(list) > 1<<MaxProof {
		return nil, fmt.Errorf("%w: %d wallets", ErrTree, len(list))
	}
	tree := &Tree{rewards: slices.Clone(list)}
	slices.SortFunc(tree.rewards, func(a, b Reward) int { return bytes.Compare(a.Wallet[:], b.Wallet[:]) })
	level := make([]Digest, 0, len(list))
	for i, reward := range tree.rewards {
		if i > 0 && reward.Wallet == tree.rewards[i-1].Wallet {
			return nil, fmt.Errorf("%w: %s is named twice", ErrTree, reward.Wallet)
		}
		var err error
		if tree.total, err = tree.total.Add(reward.Cumulative); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrTree, err)
		}
		level = append(level, Leaf(account, reward))
	}
	tree.levels = append(tree.levels, level)
	for len(level) > 1 {
		level = above(level)
		tree.levels = append(tree.levels, level)
	}
	return tree, nil
}

// above joins pairs. The last of an odd level goes up as it is.
func above(level []Digest) []Digest {
	next := make([]Digest, 0, (len(level)+1)/2)
	for i := 0; i < len(level); i += 2 {
		if i+1 == len(level) {
			next = append(next, level[i])
			break
		}
		next = append(next, node(level[i], level[i+1]))
	}
	return next
}

// Root returns what the market posts.
func (t *Tree) Root() Digest { return t.levels[len(t.levels)-1][0] }

// Total returns the sum of all rewards.
func (t *Tree) Total() money.Amount { return t.total }

// Prove returns a wallet's reward and the proof of it, or false if the tree has none for it.
func (t *Tree) Prove(wallet chain.Address) (Reward, []Digest, bool) {
	index, found := slices.BinarySearchFunc(t.rewards, wallet, func(r Reward, w chain.Address) int { return bytes.Compare(r.Wallet[:], w[:]) })
	if !found {
		return Reward{}, nil, false
	}
	reward, proof := t.rewards[index], []Digest(nil)
	for _, level := range t.levels[:len(t.levels)-1] {
		if sibling := index ^ 1; sibling < len(level) {
			proof = append(proof, level[sibling])
		}
		index /= 2
	}
	return reward, proof, true
}

// VerifyProof says whether a root contains the reward, by the rule of the program.
func VerifyProof(root Digest, account chain.Address, reward Reward, proof []Digest) bool {
	if len(proof) > MaxProof {
		return false
	}
	hash := Leaf(account, reward)
	for _, sibling := range proof {
		hash = node(hash, sibling)
	}
	return hash == root
}

// Leaf returns the hash of one reward of a rewards account.
func Leaf(account chain.Address, reward Reward) Digest {
	text := append([]byte{leafTag}, account[:]...)
	text = append(text, reward.Wallet[:]...)
	return sha256.Sum256(binary.LittleEndian.AppendUint64(text, uint64(reward.Cumulative)))
}

// node joins two hashes, the smaller one first, so that a proof need not say which side it stands on.
func node(a, b Digest) Digest {
	if bytes.Compare(a[:], b[:]) > 0 {
		a, b = b, a
	}
	return sha256.Sum256(slices.Concat([]byte{nodeTag}, a[:], b[:]))
}
