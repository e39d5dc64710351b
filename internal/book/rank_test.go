// SPDX-License-Identifier: Apache-2.0

package book

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/bourse-dev/bourse/internal/money"
)

// The paper's vectors: key 00…0f, message of eight bytes 00…07.
func TestSipHash(t *testing.T) {
	key := [2]uint64{0x0706050403020100, 0x0f0e0d0c0b0a0908}
	message := binary.LittleEndian.Uint64([]byte{0, 1, 2, 3, 4, 5, 6, 7})
	want := binary.LittleEndian.Uint64([]byte{0x62, 0x24, 0x93, 0x9a, 0x79, 0xf5, 0xf5, 0x93})
	if got := sipHash(key, message); got != want {
		t.Errorf("sipHash = %016x, want %016x", got, want)
	}
}

func TestNegLog2(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const random = 1000
	values := append(make([]uint64, 0, random+9), 0, 1, 2, 3, 1<<32, 1<<63-1, 1<<63, math.MaxUint64-1, math.MaxUint64)
	for range random {
		values = append(values, rng.Uint64()>>rng.IntN(64))
	}
	for _, u := range values {
		got := float64(negLog2(u)) / (1 << logBits)
		want := 64 - math.Log2(float64(u)+1)
		if math.Abs(got-want) > 1e-12*max(1, want)+2.5e-15*64 {
			t.Errorf("negLog2(%d) = %.15f, want %.15f", u, got, want)
		}
	}
}

// A bound that were too high would end a match too soon.
func TestABoundIsNeverAboveAScore(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		d := randomDemand(rng)
		o := randomOffer(rng, "oslo")
		o.Price = money.USD(rng.Uint64N(1 << (1 + rng.IntN(60))))
		o.Reputation = pick(rng, rng.Uint32N(PPM+1), rng.Uint32N(4), PPM-rng.Uint32N(4)) // what is lost to rounding shows at the ends
		d.Weights.Reputation = pick(rng, d.Weights.Reputation, rng.Uint32N(4), PPM/2, PPM-rng.Uint32N(4))
		s := newScorer(d)
		factor := s.factorOf(&o)
		if bound, score := s.scoreFrom(rankOf(o.Price, o.Reputation), factor), s.score(&o, factor); bound > score {
			t.Fatalf("bound %d above score %d for weights %+v, price %d, reputation %d", bound, score, d.Weights, o.Price, o.Reputation)
		}
	}
}

func TestTheHighestPriceBoundsTheRank(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 10_000 {
		price := money.USD(rng.Uint64N(1e18))
		if rank := rankOf(price, rng.Uint32N(PPM+1)); rank > times(uint64(price), 2*PPM) || rank < uint64(price) {
			t.Fatalf("rank %d of the price %d", rank, price)
		}
	}
}

func TestBrokenShare(t *testing.T) {
	cases := map[string]struct {
		shapes             []Shape
		workers, perWorker int
		want               uint64
	}{
		"one GPU of a whole node":                   {[]Shape{{8, 1}}, 1, 1, 875_000},
		"half of a whole node":                      {[]Shape{{8, 1}}, 1, 4, 500_000},
		"all of a whole node":                       {[]Shape{{8, 1}}, 2, 4, 0},
		"a node that is not whole":                  {[]Shape{{7, 1}}, 1, 1, 0},
		"the broken node is used first":             {[]Shape{{3, 1}, {8, 5}}, 3, 1, 0},
		"what the broken node cannot hold":          {[]Shape{{3, 1}, {8, 5}}, 4, 1, 875_000},
		"two workers of five on two nodes":          {[]Shape{{8, 2}}, 2, 5, 375_000},
		"a node of sixteen has two whole ones":      {[]Shape{{16, 1}}, 1, 8, 0},
		"half of the second":                        {[]Shape{{16, 1}}, 3, 4, 250_000},
		"a rest that is not whole is nobody's loss": {[]Shape{{11, 1}}, 3, 1, 0},
		"no GPUs":            {nil, 1, 1, 0},
		"workers of nothing": {[]Shape{{8, 1}}, 1, 0, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			o := Offer{Shapes: tc.shapes}
			if got := brokenShare(&o, tc.perWorker, tc.workers); got != tc.want {
				t.Errorf("got %d ppm, want %d", got, tc.want)
			}
		})
	}
}

// whole8 returns how many of 40 nodes with 8 GPUs stay whole, and what is paid, when jobs of one and two GPUs come and go. Prices move by
// up to 3 %.
func whole8(t *testing.T, choose func(*Book, *Demand) string) (whole int, paid money.USD) {
	t.Helper()
	rng := rand.New(rand.NewPCG(9, 9))
	b, free := New(), map[string]int{}
	update := func(name string, by int) {
		free[name] += by
		b.Upsert(offer(t, name, "1.00", func(o *Offer) {
			o.Price += money.USD(rng.IntN(30_000_000))
			o.Shapes = []Shape{{Free: free[name], Nodes: 1}}
		}))
	}
	for i := range 40 {
		update(fmt.Sprintf("node-%02d", i), 8)
	}
	type job struct {
		node string
		gpus int
	}
	var running []job
	for i := range 3000 {
		for len(running) > 90 {
			j := rng.IntN(len(running))
			update(running[j].node, running[j].gpus)
			running = slices.Delete(running, j, j+1)
		}
		d := demand(t, func(d *Demand) { d.Workers, d.PerWorker, d.UID = 1, 1+rng.IntN(2), strconv.Itoa(i) })
		name := choose(b, d)
		paid += b.Get(name).Price * money.USD(d.PerWorker)
		update(name, -d.PerWorker)
		running = append(running, job{name, d.PerWorker})
	}
	for _, n := range free {
		if n == 8 {
			whole++
		}
	}
	return whole, paid
}

func TestPackingKeepsNodesWhole(t *testing.T) {
	weighted := func(w Weights) func(*Book, *Demand) string {
		return func(b *Book, d *Demand) string {
			d.Weights = w
			return b.Match(d, nil)[0].Offer.Name
		}
	}
	packed, packedPaid := whole8(t, weighted(Weights{Packing: PPM / 20}))
	spread, cheapest := whole8(t, weighted(Weights{}))
	first, firstPaid := whole8(t, func(b *Book, d *Demand) string {
		for i := range 40 {
			if o := b.Get(fmt.Sprintf("node-%02d", i)); o.Slots(d.PerWorker) > 0 {
				return o.Name
			}
		}
		return ""
	})
	t.Logf("of 40 nodes %d stay whole with packing, %d by price alone, %d by first fit; paid %s, %s and %s",
		packed, spread, first, packedPaid, cheapest, firstPaid)
	if packed < first-2 || packed < spread+3 { // first fit packs best of all, at any price
		t.Errorf("%d nodes stay whole with packing, %d by price alone, %d by first fit", packed, spread, first)
	}
	if cheapest > packedPaid || cheapest > firstPaid {
		t.Errorf("price alone pays %s, with packing %s, first fit %s", cheapest, packedPaid, firstPaid)
	}
}
