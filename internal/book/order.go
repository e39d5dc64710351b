// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"slices"
	"strings"
)

// leafSize is how many offers a leaf holds before it is halved.
const leafSize = 64

// list is offers in order of their rank: a list of short sorted leaves, so that adding and removing costs the length of a leaf, however
// many offers there are. No leaf is empty.
type list struct {
	leaves [][]*standing
}

// compare orders standing offers by rank. The rest only makes the order total.
func compare(a, b *standing) int {
	if c := cmp.Compare(a.rank, b.rank); c != 0 {
		return c
	}
	if c := cmp.Compare(a.hash, b.hash); c != 0 {
		return c
	}
	return strings.Compare(a.Name, b.Name)
}

// leafFor returns the first leaf whose last offer is not before s; it may be one past the last leaf.
func (l *list) leafFor(s *standing) int {
	low, high := 0, len(l.leaves)
	for low < high {
		middle := (low + high) / 2
		if leaf := l.leaves[middle]; compare(leaf[len(leaf)-1], s) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	return low
}

func (l *list) insert(s *standing) {
	if len(l.leaves) == 0 {
		l.leaves = append(l.leaves, append(make([]*standing, 0, leafSize), s))
		return
	}
	i := min(l.leafFor(s), len(l.leaves)-1)
	at, _ := slices.BinarySearchFunc(l.leaves[i], s, compare)
	leaf := slices.Insert(l.leaves[i], at, s)
	l.leaves[i] = leaf
	if len(leaf) < leafSize {
		return
	}
	upper := append(make([]*standing, 0, leafSize), leaf[leafSize/2:]...)
	clear(leaf[leafSize/2:])
	l.leaves[i] = leaf[:leafSize/2]
	l.leaves = slices.Insert(l.leaves, i+1, upper)
}

func (l *list) remove(s *standing) {
	i := l.leafFor(s)
	at, _ := slices.BinarySearchFunc(l.leaves[i], s, compare)
	l.leaves[i] = slices.Delete(l.leaves[i], at, at+1)
	if len(l.leaves[i]) == 0 {
		l.leaves = slices.Delete(l.leaves, i, i+1)
	}
}

// first returns the rank of the first offer, or none.
func (l *list) first() uint64 {
	if len(l.leaves) == 0 {
		return none
	}
	return l.leaves[0][0].rank
}
