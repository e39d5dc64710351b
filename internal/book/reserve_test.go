// SPDX-License-Identifier: Apache-2.0

package book

import (
	"errors"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// fill places a gang on nodes at random, and says whether all of it found room.
func fill(rng *rand.Rand, nodes []int, gang Gang) bool {
	for range gang.Workers {
		placed := false
		for _, i := range rng.Perm(len(nodes)) {
			if nodes[i] >= gang.PerWorker {
				nodes[i] -= gang.PerWorker
				placed = true
				break
			}
		}
		if !placed {
			return false
		}
	}
	return true
}

// checkNoOverAllocation sells one offer to jobs until it is sold out, then lets the supplier place every gang wherever it likes:
// whatever the book sold after another gang must find room too.
func checkNoOverAllocation(t *testing.T, seed uint64) (sold int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	o := offer(t, "oslo", "1", nil)
	o.Shapes = nil
	nodes := make([]int, 0, 12)
	for range 1 + rng.IntN(4) {
		shape := Shape{Free: 1 + rng.IntN(8), Nodes: 1 + rng.IntN(3)}
		o.Shapes = append(o.Shapes, shape)
		for range shape.Nodes {
			nodes = append(nodes, shape.Free)
		}
	}
	b := bookOf([]Offer{o})
	for i := range 12 {
		d := demand(t, func(d *Demand) { d.Workers, d.PerWorker = 1+rng.IntN(4), 1+rng.IntN(8) })
		fills := b.Match(d, nil)
		if len(fills) == 0 {
			continue
		}
		if err := b.Reserve(strconv.Itoa(i), d.PerWorker, fills, time.Time{}); err != nil {
			t.Fatal(err)
		}
	}
	held := b.Get("oslo").Held
	for i, gang := range held {
		if !fill(rng, nodes, gang) {
			t.Fatalf("seed %d: gang %d of %+v was sold and found no room on %+v", seed, i, held, o.Shapes)
		}
	}
	return len(held)
}

func TestNeverOverAllocates(t *testing.T) {
	sold := 0
	for seed := range uint64(1500) {
		sold += checkNoOverAllocation(t, seed)
	}
	if sold < 1500 {
		t.Fatalf("only %d gangs were sold: the property was hardly tried", sold)
	}
}

func FuzzNeverOverAllocates(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkNoOverAllocation(t, seed) })
}

// room returns how many workers of four GPUs the book has left.
func room(b *Book) int { return b.Get("oslo").Slots(4) }

func TestReservations(t *testing.T) {
	d := demand(t, nil) // two workers of the four that there is room for
	match := func(tb testing.TB, b *Book) []Fill {
		tb.Helper()
		fills := b.Match(d, nil)
		if len(fills) == 0 {
			tb.Fatal("nothing matched")
		}
		return fills
	}
	cases := map[string]struct {
		do   func(testing.TB, *Book)
		want int
	}{
		"a reservation holds":                     {func(testing.TB, *Book) {}, 2},
		"it is given back when its time has come": {func(_ testing.TB, b *Book) { b.Expire(start.Add(time.Minute)) }, 4},
		"and not before":                          {func(_ testing.TB, b *Book) { b.Expire(start.Add(time.Minute - 1)) }, 2},
		"committed, it stays": {func(tb testing.TB, b *Book) {
			tb.Helper()
			if err := b.Commit("first"); err != nil {
				tb.Error(err)
			}
			b.Expire(start.Add(time.Hour))
		}, 2},
		"released, it is given back":     {func(_ testing.TB, b *Book) { b.Release("first") }, 4},
		"releasing nothing does nothing": {func(_ testing.TB, b *Book) { b.Release("second") }, 2},
		"what is gone cannot be reserved": {func(tb testing.TB, b *Book) {
			tb.Helper()
			fills := match(tb, b)
			if err := b.Reserve("second", 4, fills, time.Time{}); err != nil {
				tb.Error(err)
			}
			if err := b.Reserve("third", 4, fills, time.Time{}); !errors.Is(err, ErrGone) {
				tb.Errorf("err = %v, want ErrGone", err)
			}
		}, 0},
		"one offer twice in a gang is counted twice": {func(tb testing.TB, b *Book) {
			tb.Helper()
			fills := match(tb, b)
			if err := b.Reserve("second", 4, append(fills, fills[0]), time.Time{}); !errors.Is(err, ErrGone) {
				tb.Errorf("err = %v, want ErrGone", err)
			}
		}, 2},
		"a key holds one thing": {func(tb testing.TB, b *Book) {
			tb.Helper()
			if err := b.Reserve("first", 4, match(tb, b), time.Time{}); !errors.Is(err, ErrTaken) {
				tb.Errorf("err = %v, want ErrTaken", err)
			}
		}, 2},
		"a promise replaces what its key held": {func(_ testing.TB, b *Book) {
			b.Promise("first", []Promise{{"oslo", Gang{Workers: 1, PerWorker: 4}}}, time.Time{})
		}, 3},
		"an offer that comes back still owes what was held": {func(_ testing.TB, b *Book) {
			o := *b.Get("oslo")
			b.Remove("oslo")
			b.Upsert(o)
		}, 2},
		"and not what was released meanwhile": {func(_ testing.TB, b *Book) {
			o := *b.Get("oslo")
			b.Remove("oslo")
			b.Release("first")
			b.Upsert(o)
		}, 4},
		"new numbers of the supplier do not undo it": {func(tb testing.TB, b *Book) {
			tb.Helper()
			b.Upsert(offer(tb, "oslo", "1.00", shaped(Shape{Free: 8, Nodes: 3})))
		}, 4},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := bookOf([]Offer{offer(t, "oslo", "1.85", nil)})
			if err := b.Reserve("first", 4, match(t, b), start.Add(time.Minute)); err != nil {
				t.Fatal(err)
			}
			tc.do(t, b)
			if got := room(b); got != tc.want {
				t.Errorf("room for %d workers, want %d", got, tc.want)
			}
		})
	}
}

// A gang over two offers is reserved on both or on none.
func TestAGangIsReservedAsAWhole(t *testing.T) {
	b := bookOf([]Offer{offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.86", nil)})
	d := demand(t, func(d *Demand) { d.Parts, d.Workers = 4, 6 })
	fills := b.Match(d, nil)
	if diff := cmp.Diff([]string{"oslo×4", "rome×2"}, names(fills)); diff != "" {
		t.Fatalf("fills (-want +got):\n%s", diff)
	}
	b.Promise("other", []Promise{{"rome", Gang{Workers: 3, PerWorker: 4}}}, time.Time{}) // room for one is left
	if err := b.Reserve("gang", 4, fills, time.Time{}); !errors.Is(err, ErrGone) {
		t.Fatalf("err = %v, want ErrGone", err)
	}
	if got := room(b); got != 4 {
		t.Errorf("oslo has room for %d workers, want all 4: the gang was not reserved", got)
	}
	b.Release("other")
	if err := b.Reserve("gang", 4, fills, time.Time{}); err != nil {
		t.Fatal(err)
	}
	if got := room(b); got != 0 {
		t.Errorf("oslo has room for %d workers, want none", got)
	}
}
