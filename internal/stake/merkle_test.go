// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// vectors are trees that the program's own tests read too: for each size a line "tree" with account and root, then a line "leaf" with
// wallet, cumulative amount and proof for each wallet.
const vectors = "testdata/merkle.txt"

func address(name string) chain.Address { return sha256.Sum256([]byte(name)) }

func rewards(n int) []Reward {
	list := make([]Reward, n)
	for i := range list {
		list[i] = Reward{Wallet: address(fmt.Sprintf("wallet %d", i)), Cumulative: money.Amount(i*i + 1)}
	}
	return list
}

func TestEveryRewardCanBeProven(t *testing.T) {
	account := address("rewards")
	for n := 1; n <= 40; n++ {
		list := rewards(n)
		tree, err := NewTree(account, list)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range list {
			reward, proof, ok := tree.Prove(want.Wallet)
			if !ok || reward != want || !VerifyProof(tree.Root(), account, reward, proof) {
				t.Fatalf("of %d: %v is not proven by %d hashes", n, want, len(proof))
			}
			for name, forged := range map[string]Reward{
				"one unit more":  {want.Wallet, want.Cumulative + 1},
				"another wallet": {address("thief"), want.Cumulative},
			} {
				if VerifyProof(tree.Root(), account, forged, proof) {
					t.Fatalf("of %d: %s is proven", n, name)
				}
			}
			if VerifyProof(tree.Root(), address("other rewards"), reward, proof) {
				t.Fatalf("of %d: a proof holds for another account", n)
			}
		}
		if _, _, ok := tree.Prove(address("stranger")); ok {
			t.Fatal("a stranger has a reward")
		}
	}
}

func TestATreeDoesNotDependOnTheOrder(t *testing.T) {
	list := rewards(13)
	a, err := NewTree(address("rewards"), list)
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(list)
	b, err := NewTree(address("rewards"), list)
	if err != nil || a.Root() != b.Root() || a.Total() != b.Total() || a.Total() != 13+650 {
		t.Errorf("roots %x and %x, totals %s and %s, %v", a.Root(), b.Root(), a.Total(), b.Total(), err)
	}
}

func TestWhatIsNoTree(t *testing.T) {
	twice := append(rewards(3), rewards(1)...)
	much := []Reward{{address("a"), math.MaxUint64}, {address("b"), 1}}
	for name, list := range map[string][]Reward{"nothing": nil, "a wallet twice": twice, "more than there can be": much} {
		if _, err := NewTree(address("rewards"), list); !errors.Is(err, ErrTree) {
			t.Errorf("%s: %v, want %v", name, err, ErrTree)
		}
	}
	if VerifyProof(Digest{}, address("rewards"), Reward{}, make([]Digest, MaxProof+1)) {
		t.Error("a proof of 21 hashes is read")
	}
}

// An inner node must not pass for a leaf, nor the other way round.
func TestANodeIsNoLeaf(t *testing.T) {
	account := address("rewards")
	tree, err := NewTree(account, rewards(4))
	if err != nil {
		t.Fatal(err)
	}
	for _, level := range tree.levels[1:] {
		for _, hash := range level {
			for _, reward := range rewards(4) {
				if hash == Leaf(account, reward) {
					t.Error("a node is a leaf")
				}
			}
		}
	}
}

func TestTreesAreThoseOfTheProgram(t *testing.T) {
	account := address("rewards")
	var text strings.Builder
	for _, n := range []int{1, 2, 3, 5, 8, 21} {
		tree, err := NewTree(account, rewards(n))
		if err != nil {
			t.Fatal(err)
		}
		root := tree.Root()
		fmt.Fprintf(&text, "tree %x %x\n", account[:], root[:])
		for _, reward := range tree.rewards {
			_, proof, _ := tree.Prove(reward.Wallet)
			fmt.Fprintf(&text, "leaf %x %d", reward.Wallet[:], reward.Cumulative)
			for _, hash := range proof {
				fmt.Fprintf(&text, " %x", hash[:])
			}
			fmt.Fprintln(&text)
		}
	}
	if *update {
		if err := os.WriteFile(vectors, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(vectors)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), text.String()); diff != "" {
		t.Errorf("vectors (-want +got):\n%s", diff)
	}
}

// The golden file is checked by a reader that knows the rule alone, not by what wrote it.
func TestTheVectorsHold(t *testing.T) {
	file, err := os.Open(vectors)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // it is only read
	var account chain.Address
	var root Digest
	count := 0
	for lines := bufio.NewScanner(file); lines.Scan(); {
		words := strings.Fields(lines.Text())
		if words[0] == "tree" {
			account, root = chain.Address(unhex(t, words[1])), Digest(unhex(t, words[2]))
			continue
		}
		reward := Reward{Wallet: chain.Address(unhex(t, words[1]))}
		if _, err := fmt.Sscan(words[2], &reward.Cumulative); err != nil {
			t.Fatal(err)
		}
		var proof []Digest
		for _, word := range words[3:] {
			proof = append(proof, Digest(unhex(t, word)))
		}
		if !VerifyProof(root, account, reward, proof) {
			t.Errorf("line %q does not hold", lines.Text())
		}
		count++
	}
	if count != 40 {
		t.Errorf("%d leaves, want 40", count)
	}
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != sha256.Size {
		t.Fatalf("%q is no hash: %v", text, err)
	}
	return raw
}
