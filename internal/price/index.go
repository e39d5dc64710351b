// SPDX-License-Identifier: Apache-2.0

// Package price decides what a market's price index is, and what an offer that follows it asks. The index moves with how many of the
// GPUs that are for sale are sold, and with nothing else: who waits is not asked, because whoever waits cannot pay the price or cannot be
// placed, and a price that rises for them sells even less. It is advice: an offer with a price of its own does not follow it.
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

// share returns the sold share in ppm; false without any GPUs.
func (l Load) share() (int64, bool) {
	all := l.Leased + l.Free
	if all < l.Leased || all == 0 { // more GPUs than can be counted, or none
		return 0, false
	}
	high, low := bits.Mul64(l.Leased, PPM)
	quotient, _ := bits.Div64(high, low, all) // leased is not more than all
	return int64(quotient), true              //nolint:gosec // at most PPM
}

// Next returns the index after one step:
//
//	index + index × (sold − target) × gain, at most step × index away, within the band
//
// The change is rounded toward none. Without any GPUs the index rests.
func (r Rules) Next(index uint32, load Load) uint32 {
	now := min(max(int64(index), int64(r.Floor)), int64(r.Ceiling))
	sold, ok := load.share()
	if !ok {
		return uint32(now) //nolint:gosec // within the band
	}
	most := now * int64(r.Step) / PPM
	change := now * (sold - int64(r.Target)) / PPM * int64(r.Gain) / PPM
	now += min(max(change, -most), most)
	return uint32(min(max(now, int64(r.Floor)), int64(r.Ceiling))) //nolint:gosec // within the band
}

// Key is what has an index of its own: GPUs that replace each other, near each other.
type Key struct {
	Family string // such as "h100"
	Group  string // such as "eu"
}

// KeyOf returns the key of a model in a region: the first word of each.
func KeyOf(model, region string) Key {
	family, _, _ := strings.Cut(model, "-")
	if family == "rtx" { // the number tells these apart: rtx-4090
		words := strings.SplitN(model, "-", 3)
		family = strings.Join(words[:min(2, len(words))], "-")
	}
	group, _, _ := strings.Cut(region, "-")
	return Key{Family: family, Group: group}
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

// Auto is an offer's wish to follow the index, within its supplier's own limits.
type Auto struct {
	Reference money.USD // the price at an index of PPM
	Min       money.USD
	Max       money.USD
}

// ErrLimits says that an offer's limits make no sense.
var ErrLimits = errors.New("price limits make no sense")

// The band of limits around the reference: from half of it to four times as much.
const (
	leastShare = 500_000
	mostShare  = 4_000_000
)

// Validate says whether the limits hold a price, and are not so far from the reference that following means nothing.
func (a Auto) Validate() error {
	low, high := times(a.Reference, leastShare), times(a.Reference, mostShare)
	if a.Reference == 0 || a.Min > a.Max || a.Min < low || a.Max > high {
		return fmt.Errorf("from %s to %s around %s USD: %w", a.Min, a.Max, a.Reference, ErrLimits)
	}
	return nil
}

// microUSD is the smallest step of a published price.
const microUSD money.USD = 1000

// At returns what the offer asks at an index: its share of the reference, rounded down to a millionth of a dollar, within the limits.
func (a Auto) At(index uint32) money.USD {
	asked := times(a.Reference, index)
	return min(max(asked-asked%microUSD, a.Min), a.Max)
}

// times returns floor(a × ppm / PPM), or the greatest number when that does not fit.
func times(a money.USD, ppm uint32) money.USD {
	high, low := bits.Mul64(uint64(a), uint64(ppm))
	if high >= PPM {
		return ^money.USD(0)
	}
	quotient, _ := bits.Div64(high, low, PPM)
	return money.USD(quotient)
}
