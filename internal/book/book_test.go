// SPDX-License-Identifier: Apache-2.0

package book

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// twin is what a book must be like: offers in a map, reservations in another, and every question answered by looking at all of them. It
// shares nothing with the book but the types and the draw.
type twin struct {
	offers map[string]Offer
	held   map[string]twinHold
}

type twinHold struct {
	promises []Promise
	until    time.Time
}

func (w *twin) expire(now time.Time) {
	for key, hold := range w.held {
		if !hold.until.IsZero() && !hold.until.After(now) {
			delete(w.held, key)
		}
	}
}

// snapshot returns the offers with what is held of them.
func (w *twin) snapshot() []Offer {
	var list []Offer
	for _, o := range w.offers {
		o.Shapes = slices.Clone(o.Shapes)
		slices.SortFunc(o.Shapes, func(a, b Shape) int { return a.Free - b.Free })
		for _, hold := range w.held {
			for _, promise := range hold.promises {
				if promise.Offer == o.Name {
					o.Held = append(o.Held, promise.Gang)
				}
			}
		}
		list = append(list, o)
	}
	return list
}

// fits is the rules, written down once more.
func (w *twin) fits(d *Demand, o *Offer) bool {
	slots := o.Slots(d.PerWorker)
	named := len(d.Models) == 0 || slices.ContainsFunc(d.Models, func(m Model) bool { return m.Name == o.Model })
	return o.ValidUntil.After(d.At) && named && o.MemoryMiB >= d.MinMemoryMiB && slices.Contains(o.Tokens, d.Token) &&
		(len(d.Regions) == 0 || slices.Contains(d.Regions, o.Region)) && slices.Contains(o.Tiers, d.Tier) && o.Isolation >= d.Isolation &&
		o.Egress >= d.Egress && o.Shortest <= d.Duration && o.Longest >= d.Duration &&
		(o.Until.IsZero() || !o.Until.Before(d.At.Add(d.Start).Add(d.Duration))) && !o.Unstaked && o.Reputation >= d.MinReputation &&
		o.Price <= d.MaxPrice && (d.Affordable == 0 || o.Price <= d.Affordable) && (slots >= d.Workers || d.Split && slots > 0)
}

// score is the formula in whole numbers of any size.
func (w *twin) score(d *Demand, o *Offer) uint64 {
	million := big.NewInt(PPM)
	floor := func(a *big.Int, ppm *big.Int) *big.Int { return new(big.Int).Div(new(big.Int).Mul(a, ppm), million) }
	lack := new(big.Int).Div(big.NewInt(int64(d.Weights.Reputation)*int64(PPM-o.Reputation)), million)
	score := floor(new(big.Int).SetUint64(uint64(o.Price)), lack.Add(lack, million))
	speed := uint32(PPM)
	for _, m := range slices.Backward(d.Models) {
		if m.Name == o.Model {
			if speed = m.Speed; speed == 0 {
				speed = PPM
			}
		}
	}
	penalty := uint32(0)
	for _, p := range slices.Backward(d.Penalties) {
		if p.Region == o.Region {
			penalty = p.PPM
		}
	}
	score = floor(score, new(big.Int).Div(big.NewInt((PPM+int64(penalty))*PPM), big.NewInt(int64(speed))))
	last := int64(PPM) + int64(d.Weights.Packing)*w.broken(d, o)/PPM
	if d.Image != "" && slices.Contains(o.Images, d.Image) {
		last -= int64(d.Weights.Cache)
	}
	return floor(score, big.NewInt(last)).Uint64()
}

// broken places the gang node by node and worker by worker.
func (w *twin) broken(d *Demand, o *Offer) int64 {
	var nodes []int
	for _, shape := range o.Shapes {
		for range shape.Nodes {
			nodes = append(nodes, shape.Free)
		}
	}
	slices.Sort(nodes)
	workers := min(d.Workers, o.Slots(d.PerWorker))
	gone, wasted := 0, 0
	for _, free := range nodes {
		taken := 0
		for workers > 0 && free-taken >= d.PerWorker {
			taken += d.PerWorker
			workers--
		}
		lost := 8 * (free/8 - (free-taken)/8)
		gone, wasted = gone+lost, wasted+max(0, lost-taken)
	}
	if gone == 0 {
		return 0
	}
	return int64(wasted) * PPM / int64(gone)
}

type twinFill struct {
	name    string
	workers int
	score   uint64
}

// match sorts everything that fits.
func (w *twin) match(d *Demand) []twinFill {
	if !d.Split {
		fills, _ := w.gather(d, "", d.Workers)
		return fills
	}
	var names []string
	for _, m := range d.Models {
		names = append(names, m.Name)
	}
	if len(names) == 0 {
		names = []string{"a100", "h100", "t4"}
	}
	var best []twinFill
	var least *big.Int
	for _, name := range names {
		if fills, sum := w.gather(d, name, 1); fills != nil && (least == nil || sum.Cmp(least) < 0) {
			best, least = fills, sum
		}
	}
	return best
}

func (w *twin) gather(d *Demand, model string, most int) ([]twinFill, *big.Int) {
	type entry struct {
		offer Offer
		score uint64
		last  bool
		draw  uint64
	}
	var all []entry
	s := newScorer(d)
	for _, o := range w.snapshot() {
		if w.fits(d, &o) && (model == "" || o.Model == model) {
			all = append(all, entry{o, w.score(d, &o), o.Name == d.Refused, s.draw(hashOf(o.Name), o.Free())})
		}
	}
	slices.SortFunc(all, func(a, b entry) int {
		less := func(a, b entry) bool {
			switch {
			case a.last != b.last:
				return b.last
			case a.score != b.score:
				return a.score < b.score
			case a.draw != b.draw:
				return a.draw < b.draw
			default:
				return a.offer.Name < b.offer.Name
			}
		}
		if less(a, b) {
			return -1
		}
		return 1
	})
	var fills []twinFill
	sum := new(big.Int)
	left := d.Workers
	for _, e := range all {
		if left == 0 {
			break
		}
		workers := min(left, e.offer.Slots(d.PerWorker))
		if workers < most && !d.Split {
			continue
		}
		fills = append(fills, twinFill{e.offer.Name, workers, e.score})
		sum.Add(sum, new(big.Int).Mul(new(big.Int).SetUint64(e.score), big.NewInt(int64(workers))))
		left -= workers
	}
	if left > 0 {
		return nil, nil
	}
	return fills, sum
}

// pair is a book and its twin, to which the same things happen.
type pair struct {
	t    *testing.T
	rng  *rand.Rand
	book *Book
	twin twin
	now  time.Time
	keys int
}

func newPair(t *testing.T, seed uint64) *pair {
	return &pair{
		t: t, rng: rand.New(rand.NewPCG(seed, 11)), book: New(), now: start,
		twin: twin{offers: map[string]Offer{}, held: map[string]twinHold{}},
	}
}

// step does one thing at random to both, and compares what a match finds.
func (p *pair) step() (matched bool) {
	name := fmt.Sprintf("offer-%d", p.rng.IntN(60))
	switch p.rng.IntN(12) {
	case 0, 1, 2:
		p.upsert(randomOffer(p.rng, name))
	case 3, 4: // another price or reputation
		if o, ok := p.twin.offers[name]; ok {
			o.Price = o.Price*9/10 + 10
			o.Reputation = p.rng.Uint32N(PPM + 1)
			p.upsert(o)
		}
	case 5:
		delete(p.twin.offers, name)
		p.book.Remove(name)
	case 6:
		p.now = p.now.Add(time.Duration(p.rng.IntN(90)) * time.Second)
	case 7:
		p.promise()
	case 8, 9:
		p.end()
	}
	p.twin.expire(p.now)
	d := randomDemand(p.rng)
	d.At = p.now
	if p.rng.IntN(4) == 0 {
		d.Refused = name
	}
	fills := p.book.Match(d, nil)
	var got []twinFill
	for _, fill := range fills {
		got = append(got, twinFill{fill.Offer.Name, fill.Workers, fill.Score})
	}
	want := p.twin.match(d)
	if !slices.Equal(want, got) {
		p.t.Fatalf("the book matches %v, its twin %v, for %+v", got, want, *d)
	}
	if len(fills) > 0 && p.rng.IntN(2) == 0 {
		p.reserve(d, fills)
	}
	return len(fills) > 0
}

func (p *pair) upsert(o Offer) {
	o.ValidUntil = p.now.Add(time.Duration(p.rng.IntN(600)) * time.Second)
	p.twin.offers[o.Name] = o
	p.book.Upsert(o)
}

func (p *pair) reserve(d *Demand, fills []Fill) {
	p.keys++
	key := fmt.Sprintf("key-%d", p.keys)
	until := p.now.Add(time.Duration(1+p.rng.IntN(300)) * time.Second)
	if err := p.book.Reserve(key, d.PerWorker, fills, until); err != nil {
		p.t.Fatalf("reserve what was matched: %v", err)
	}
	hold := twinHold{until: until}
	for _, fill := range fills {
		hold.promises = append(hold.promises, Promise{Offer: fill.Offer.Name, Gang: Gang{Workers: fill.Workers, PerWorker: d.PerWorker}})
	}
	p.twin.held[key] = hold
}

// promise holds something without asking whether there is room, for an offer that may not be there.
func (p *pair) promise() {
	key := fmt.Sprintf("key-%d", p.rng.IntN(p.keys+1))
	hold := twinHold{until: p.now.Add(time.Duration(1+p.rng.IntN(300)) * time.Second)}
	for range 1 + p.rng.IntN(2) {
		hold.promises = append(hold.promises, Promise{
			Offer: fmt.Sprintf("offer-%d", p.rng.IntN(60)), Gang: Gang{Workers: 1 + p.rng.IntN(2), PerWorker: 1 + p.rng.IntN(4)},
		})
	}
	p.book.Promise(key, hold.promises, hold.until)
	p.twin.held[key] = hold
}

// end commits or releases something.
func (p *pair) end() {
	key := fmt.Sprintf("key-%d", p.rng.IntN(p.keys+1))
	p.twin.expire(p.now)
	p.book.Expire(p.now)
	hold, ok := p.twin.held[key]
	if p.rng.IntN(2) == 0 {
		p.book.Release(key)
		delete(p.twin.held, key)
		return
	}
	if err := p.book.Commit(key); ok != (err == nil) || err != nil && !errors.Is(err, ErrUnknown) {
		p.t.Fatalf("commit %s: %v, held by the twin: %t", key, err, ok)
	}
	if ok {
		hold.until = time.Time{}
		p.twin.held[key] = hold
	}
}

// compare looks at the whole book.
func (p *pair) compare() {
	if p.book.Digest() != DigestOf(p.twin.snapshot()) {
		p.t.Fatal("the book's digest is not that of its offers")
	}
	if p.book.Len() != len(p.twin.offers) {
		p.t.Fatalf("%d offers in the book, %d in its twin", p.book.Len(), len(p.twin.offers))
	}
	for _, want := range p.twin.snapshot() {
		got := p.book.Get(want.Name)
		if got == nil || got.Free() != want.Free() || got.Slots(3) != want.Slots(3) {
			p.t.Fatalf("the book has %+v, its twin %+v", got, want)
		}
	}
}

func TestTheBookAgreesWithItsTwin(t *testing.T) {
	matched := 0
	for seed := range uint64(5) {
		p := newPair(t, seed)
		for i := range 1000 {
			if p.step() {
				matched++
			}
			if i%40 == 0 {
				p.compare()
			}
		}
		p.compare()
	}
	t.Logf("%d of 5000 steps matched", matched)
	if matched < 1500 {
		t.Fatal("too few steps matched: the property was hardly tried")
	}
}

func FuzzBook(f *testing.F) {
	for seed := range uint64(4) {
		f.Add(seed, uint16(60))
	}
	f.Fuzz(func(t *testing.T, seed uint64, steps uint16) {
		p := newPair(t, seed)
		for range min(steps, 400) {
			p.step()
		}
		p.compare()
	})
}

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
		if err := b.Reserve(fmt.Sprint(i), d.PerWorker, fills, time.Time{}); err != nil {
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
	for seed := range uint64(3000) {
		sold += checkNoOverAllocation(t, seed)
	}
	if sold < 3000 {
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
	match := func(t *testing.T, b *Book) []Fill {
		t.Helper()
		fills := b.Match(d, nil)
		if len(fills) == 0 {
			t.Fatal("nothing matched")
		}
		return fills
	}
	cases := map[string]struct {
		do   func(*testing.T, *Book)
		want int
	}{
		"a reservation holds":                     {func(*testing.T, *Book) {}, 2},
		"it is given back when its time has come": {func(_ *testing.T, b *Book) { b.Expire(start.Add(time.Minute)) }, 4},
		"and not before":                          {func(_ *testing.T, b *Book) { b.Expire(start.Add(time.Minute - 1)) }, 2},
		"committed, it stays": {func(t *testing.T, b *Book) {
			if err := b.Commit("first"); err != nil {
				t.Error(err)
			}
			b.Expire(start.Add(time.Hour))
		}, 2},
		"released, it is given back":     {func(_ *testing.T, b *Book) { b.Release("first") }, 4},
		"releasing nothing does nothing": {func(_ *testing.T, b *Book) { b.Release("second") }, 2},
		"what is gone cannot be reserved": {func(t *testing.T, b *Book) {
			fills := match(t, b)
			if err := b.Reserve("second", 4, fills, time.Time{}); err != nil {
				t.Error(err)
			}
			if err := b.Reserve("third", 4, fills, time.Time{}); !errors.Is(err, ErrGone) {
				t.Errorf("err = %v, want ErrGone", err)
			}
		}, 0},
		"one offer twice in a gang is counted twice": {func(t *testing.T, b *Book) {
			fills := match(t, b)
			if err := b.Reserve("second", 4, append(fills, fills[0]), time.Time{}); !errors.Is(err, ErrGone) {
				t.Errorf("err = %v, want ErrGone", err)
			}
		}, 2},
		"a key holds one thing": {func(t *testing.T, b *Book) {
			if err := b.Reserve("first", 4, match(t, b), time.Time{}); !errors.Is(err, ErrTaken) {
				t.Errorf("err = %v, want ErrTaken", err)
			}
		}, 2},
		"a promise replaces what its key held": {func(_ *testing.T, b *Book) {
			b.Promise("first", []Promise{{"oslo", Gang{Workers: 1, PerWorker: 4}}}, time.Time{})
		}, 3},
		"an offer that comes back still owes what was held": {func(_ *testing.T, b *Book) {
			o := *b.Get("oslo")
			b.Remove("oslo")
			b.Upsert(o)
		}, 2},
		"and not what was released meanwhile": {func(_ *testing.T, b *Book) {
			o := *b.Get("oslo")
			b.Remove("oslo")
			b.Release("first")
			b.Upsert(o)
		}, 4},
		"new numbers of the supplier do not undo it": {func(t *testing.T, b *Book) {
			b.Upsert(offer(t, "oslo", "1.00", shaped(Shape{Free: 8, Nodes: 3})))
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
	d := demand(t, func(d *Demand) { d.Split, d.Workers = true, 6 })
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

func TestAnExpiredOfferIsNeverMatched(t *testing.T) {
	b := bookOf([]Offer{offer(t, "oslo", "1.85", nil)})
	for _, tc := range []struct {
		at   time.Time
		want int
	}{{start.Add(time.Minute - 1), 1}, {start.Add(time.Minute), 0}, {start.Add(time.Hour), 0}} {
		if got := len(b.Match(demand(t, func(d *Demand) { d.At = tc.at }), nil)); got != tc.want {
			t.Errorf("at %s %d offers match, want %d", tc.at, got, tc.want)
		}
	}
	b.Upsert(offer(t, "oslo", "1.85", func(o *Offer) { o.ValidUntil = time.Time{} }))
	if got := b.Match(demand(t, nil), nil); len(got) != 0 {
		t.Error("an offer that does not count was matched")
	}
}

// Many offers in one list: leaves are halved and vanish.
func TestAListKeepsItsOrder(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var l list
	var all []*standing
	for i := range 1000 {
		s := &standing{Offer: Offer{Name: fmt.Sprint(i)}, rank: rng.Uint64N(50), hash: rng.Uint64N(3)}
		all = append(all, s)
		l.insert(s)
	}
	for len(all) > 0 {
		slices.SortFunc(all, compare)
		var got []*standing
		for _, leaf := range l.leaves {
			if len(leaf) == 0 || len(leaf) > leafSize {
				t.Fatalf("a leaf of %d", len(leaf))
			}
			got = append(got, leaf...)
		}
		if !slices.Equal(all, got) || l.first() != all[0].rank {
			t.Fatalf("the list of %d is out of order", len(all))
		}
		for range min(97, len(all)) {
			i := rng.IntN(len(all))
			l.remove(all[i])
			all = slices.Delete(all, i, i+1)
		}
	}
	if l.first() != none {
		t.Error("an empty list has a first offer")
	}
}

func TestATypicalMatchAllocatesNothing(t *testing.T) {
	b, _, rng := market(t, 2000)
	jobs := make([]*Demand, 64)
	for i := range jobs {
		jobs[i] = typicalJob(rng)
	}
	buf := make([]Fill, 0, 8)
	i := 0
	if n := testing.AllocsPerRun(500, func() { buf = b.Match(jobs[i%len(jobs)], buf); i++ }); n != 0 {
		t.Errorf("%v allocations in a match, want none", n)
	}
}
