// SPDX-License-Identifier: Apache-2.0

package member

import (
	"testing"
	"time"

	"github.com/bourse-dev/bourse/test/builders"
)

// Not to be observed is not to be absent.
func TestDaysThatAreNotCounted(t *testing.T) {
	const before = 12
	cases := map[string]struct {
		passes func(b *retainBench)
		want   int
	}{
		"on which the market was away, and its first hour": {func(b *retainBench) {
			b.hub.Step(40 * day)
			b.begins()
			b.asks("neighbour")
			b.hub.Step(settle - time.Second)
		}, before},
		"but the one on which it has looked for an hour": {func(b *retainBench) {
			b.hub.Step(40 * day)
			b.begins()
			b.asks("neighbour")
			b.hub.Step(settle)
		}, before + 1},
		"on which the market was never up for an hour": {func(b *retainBench) {
			for range 3 * 24 * 2 {
				b.hub.Step(settle / 2)
				b.begins()
				b.asks("neighbour")
				b.pass()
			}
		}, before},
		"on which nobody came in": {func(b *retainBench) {
			for range 40 {
				b.hub.Step(day)
				b.pass()
			}
		}, before},
		"when the clock jumps a year ahead, but one": {func(b *retainBench) {
			b.hub.Step(365 * day)
			b.asks("neighbour")
			b.pass()
		}, before + 1},
		"when the clock jumps a year back": {func(b *retainBench) {
			b.hub.Step(-365 * day)
			b.begins() // time that passes is measured by another clock, which does not jump
			b.asks("neighbour")
			b.pass()
		}, before},
		"when the clock was a year ahead for a while, but one": {func(b *retainBench) {
			b.hub.Step(365 * day)
			b.asks("neighbour")
			b.pass()
			b.hub.Step(-365 * day)
			b.asks("neighbour")
			b.pass()
		}, before + 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newRetainBench(t)
			b.days(before + 1)
			tc.passes(b)
			b.pass()
			if got := b.counted(); got != tc.want {
				t.Errorf("%d days are counted, want %d", got, tc.want)
			}
			if wrote := b.hub.Writes(b.pass); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
			b.days(2)
			if got := b.counted(); got < tc.want+1 {
				t.Errorf("%d days are counted two days later: it does not go on from %d", got, tc.want)
			}
		})
	}
}

// A sign that is found when the market begins may be an old one.
func TestAnOldSignIsNoSignOfLife(t *testing.T) {
	b := newRetainBench(t)
	b.beats("supplier")
	b.days(6)
	if got := b.counted(); got != 4 {
		t.Fatalf("%d days are counted of one that was seen on the first", got)
	}
	b.begins()
	b.pass()
	if got := b.counted(); got != 4 {
		t.Errorf("%d days are counted when the market has begun anew", got)
	}
	b.hub.Step(settle)
	b.beats("supplier")
	b.census()
	b.pass()
	if got := b.counted(); got != -1 {
		t.Errorf("%d days are counted of one that is there", got)
	}
}

// A market that was away for long removes nobody when it is back, however far it had come with it.
func TestAMarketThatWasAwayGivesMembersTime(t *testing.T) {
	cases := map[string]int{"when all days were over": mostDays + 1, "when it was letting the member go": mostDays + 2}
	for name, after := range cases {
		t.Run(name, func(t *testing.T) {
			b := newRetainBench(t)
			b.days(mostDays + 1)
			if after > mostDays+1 {
				b.pass()
			}
			if got := b.get().Spec.Leave; (got != nil) != (after > mostDays+1) {
				t.Fatalf("spec.leave is %+v", got)
			}
			b.hub.Step(30 * day)
			b.begins()
			b.asks("neighbour")
			for range int(settle/time.Minute) - 1 {
				b.hub.Step(time.Minute)
				b.pass()
				b.pass()
			}
			if left := b.get().Spec.Leave; (left != nil) != (after > mostDays+1) {
				t.Errorf("after an hour less a minute spec.leave is %+v", left)
			}
			b.asks(builders.Supplier)
			b.hub.Step(time.Minute)
			b.pass()
			if m := b.get(); m.Spec.Leave != nil || m.Status.Unseen != nil {
				t.Errorf("it came back within the hour: leave %+v, unseen %+v", m.Spec.Leave, m.Status.Unseen)
			}
		})
	}
}
