// SPDX-License-Identifier: Apache-2.0

// Package price decides what a market's price index is, and what an offer that follows it asks. The index moves with how many of the
// GPUs that are for sale are sold, and with nothing else: who waits is not asked, because whoever waits cannot pay the price or cannot be
// placed, and a price that rises for them sells even less. It is advice: an offer with a price of its own does not follow it.
// The package knows neither what an index begins at, nor when it moves.
package price

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/bourse-dev/bourse/internal/money"
)

// PPM is one whole in parts per million. An index of PPM is the reference price.
const PPM = 1_000_000

// ErrRules says that rules of the index make no sense.
var ErrRules = errors.New("index rules make no sense")

// Rules are how an index moves. All are in ppm.
type Rules struct {
	Target  uint32 // the share of GPUs sold at which the index rests
	Gain    uint32 // how far it moves, in one step, for each whole that the share is off
	Step    uint32 // how far it moves in one step at most, of itself
	Floor   uint32 // the least that it may be
	Ceiling uint32 // the most
}

// Default are the rules that did best in the simulation: nine in ten GPUs sold, 2 % at most in a step of five minutes, 0.6 to 2.5.
func Default() Rules {
	return Rules{Target: 900_000, Gain: 20_000, Step: 20_000, Floor: 600_000, Ceiling: 2_500_000}
}

// Validate says whether an index can move by the rules, and stay within them.
func (r Rules) Validate() error {
	switch {
	case r.Target == 0 || r.Target >= PPM:
		return fmt.Errorf("target of %d ppm: %w", r.Target, ErrRules)
	case r.Gain == 0 || r.Gain > PPM:
		return fmt.Errorf("gain of %d ppm: %w", r.Gain, ErrRules)
	case r.Step == 0 || r.Step > PPM/10:
		return fmt.Errorf("step of %d ppm: %w", r.Step, ErrRules)
	case r.Floor == 0 || r.Floor > PPM || r.Ceiling < PPM || r.Ceiling > 100*PPM:
		return fmt.Errorf("band of %d to %d ppm: %w", r.Floor, r.Ceiling, ErrRules)
	}
	return nil
}

// Load is how many GPUs are sold, and how many are for sale and not sold.
type Load struct {
	Leased uint64
	Free   uint64
}

// Add returns both loads together.
func (l Load) Add(more Load) Load {
	return Load{Leased: l.Leased + more.Leased, Free: l.Free + more.Free}
}

// Share returns the sold share in ppm; false without any GPUs.
func (l Load) Share() (uint32, bool) {
	all := l.Leased + l.Free
	if all < l.Leased || all == 0 { // more GPUs than can be counted, or none
		return 0, false
	}
	high, low := bits.Mul64(l.Leased, PPM)
	quotient, _ := bits.Div64(high, low, all) // leased is not more than all
	return uint32(quotient), true             //nolint:gosec // at most PPM
}

// Next returns the index after one step:
//
//	index + index × (sold − target) × gain, at most step × index away, within the band
//
// The change is rounded toward none. Without any GPUs the index rests.
func (r Rules) Next(index uint32, load Load) uint32 {
	now := min(max(int64(index), int64(r.Floor)), int64(r.Ceiling))
	sold, ok := load.Share()
	if !ok {
		return uint32(now) //nolint:gosec // within the band
	}
	most := now * int64(r.Step) / PPM
	change := now * (int64(sold) - int64(r.Target)) / PPM * int64(r.Gain) / PPM
	now += min(max(change, -most), most)
	return uint32(min(max(now, int64(r.Floor)), int64(r.Ceiling))) //nolint:gosec // within the band
}

// Key is what has an index of its own: GPUs that replace each other, near each other.
type Key struct {
	Family string // such as "h100"
	Group  string // such as "eu"
}

// Rest is the group of the regions that belong to no other one.
const Rest = "world"

// Names are what has an index: families of models, and groups of regions. A name stands for everything that is called so or begins so, word
// by word; of several that fit, the longest counts.
type Names struct {
	Families []string // such as "h100", which "h100-sxm-80gb" belongs to
	Groups   []string // such as "eu", which "eu-north" belongs to
}

// Key returns the key of a model in a region; false if the model belongs to no family. A partition of a GPU is worth a part of it, so it
// belongs only to a family of partitions.
func (n Names) Key(model, region string) (Key, bool) {
	families := make([]string, 0, len(n.Families))
	for _, family := range n.Families {
		if isPartition(family) == isPartition(model) {
			families = append(families, family)
		}
	}
	family := longest(families, model)
	return Key{Family: family, Group: cmp.Or(longest(n.Groups, region), Rest)}, family != ""
}

// Has says whether the key can be that of anything.
func (n Names) Has(key Key) bool {
	return slices.Contains(n.Families, key.Family) && (key.Group == Rest || slices.Contains(n.Groups, key.Group))
}

func isPartition(name string) bool { return strings.Contains(name+"-", "-mig-") }

// longest returns the longest of the names that is what something is called, or how it begins; "" if there is none.
func longest(names []string, called string) string {
	var found string
	for _, name := range names {
		if strings.HasPrefix(called+"-", name+"-") && len(name) > len(found) {
			found = name
		}
	}
	return found
}

// Entry is the index of one key.
type Entry struct {
	Key   Key
	Index uint32
}

// Advance moves every index by one step. A key without an index begins at the reference; one without a load keeps its index. The result is
// in order of keys.
func (r Rules) Advance(entries []Entry, loads map[Key]Load) []Entry {
	next := make([]Entry, 0, len(entries)+len(loads))
	seen := make(map[Key]bool, len(entries))
	for _, entry := range entries {
		if !seen[entry.Key] {
			seen[entry.Key] = true
			next = append(next, Entry{Key: entry.Key, Index: r.Next(entry.Index, loads[entry.Key])})
		}
	}
	for key, load := range loads {
		if !seen[key] {
			next = append(next, Entry{Key: key, Index: r.Next(PPM, load)})
		}
	}
	slices.SortFunc(next, func(a, b Entry) int {
		return cmp.Or(strings.Compare(a.Key.Family, b.Key.Family), strings.Compare(a.Key.Group, b.Key.Group))
	})
	return next
}

// microUSD is the smallest step of a published price.
const microUSD money.USD = 1000

// At returns the price at an index: its share of the price at an index of PPM, rounded down to a millionth of a dollar.
func At(reference money.USD, index uint32) money.USD {
	price := times(reference, index)
	return price - price%microUSD
}

// Limits are what a supplier lets the price of an offer be that follows the index.
type Limits struct {
	Min money.USD
	Max money.USD
}

// Within returns the price, or the limit that it is beyond.
func (l Limits) Within(price money.USD) money.USD { return min(max(price, l.Min), l.Max) }

// times returns floor(a × ppm / PPM), or the greatest number when that does not fit.
func times(a money.USD, ppm uint32) money.USD {
	high, low := bits.Mul64(uint64(a), uint64(ppm))
	if high >= PPM {
		return ^money.USD(0)
	}
	quotient, _ := bits.Div64(high, low, PPM)
	return money.USD(quotient)
}
