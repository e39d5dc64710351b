// SPDX-License-Identifier: Apache-2.0

package book

import (
	"errors"
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"
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
	list := make([]Offer, 0, len(w.offers))
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
		(len(o.Buyers) == 0 || slices.Index(o.Buyers, d.Buyer) >= 0) && (len(o.Allowed) == 0 || slices.Index(o.Allowed, d.Image) >= 0) &&
		o.Price <= d.MaxPrice && (d.Affordable == 0 || o.Price <= d.Affordable) && (slots >= d.Workers || d.Parts > 1 && slots > 0)
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
	if fills, _ := w.gather(d, "", 1); fills != nil || d.Parts < 2 {
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
		if fills, sum := w.gather(d, name, d.Parts); fills != nil && (least == nil || sum.Cmp(least) < 0) {
			best, least = fills, sum
		}
	}
	return best
}

// gather tries every beginning of the offers in their order, the shortest first: whether those of it with the most room have room for all.
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
			all = append(all, entry{o, w.score(d, &o), slices.Contains(d.Refused, o.Name), s.draw(hashOf(o.Name), o.Free())})
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
	roomOf := func(e *entry) int { return min(d.Workers, e.offer.Slots(d.PerWorker)) }
	for length := 1; length <= len(all); length++ {
		places := make([]int, length)
		for i := range places {
			places[i] = i
		}
		slices.SortStableFunc(places, func(a, b int) int { return roomOf(&all[b]) - roomOf(&all[a]) })
		places = places[:min(most, length)]
		slices.Sort(places)
		var fills []twinFill
		sum, left := new(big.Int), d.Workers
		for _, at := range places {
			workers := min(left, roomOf(&all[at]))
			fills = append(fills, twinFill{all[at].offer.Name, workers, all[at].score})
			sum.Add(sum, new(big.Int).Mul(new(big.Int).SetUint64(all[at].score), big.NewInt(int64(workers))))
			left -= workers
		}
		if left == 0 {
			return fills, sum
		}
	}
	return nil, nil
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
	t.Helper()
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
		d.Refused = []string{name, "nobody"}
	}
	fills := p.book.Match(d, nil)
	got := make([]twinFill, 0, len(fills))
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
		s := &standing{Offer: Offer{Name: strconv.Itoa(i)}, rank: rng.Uint64N(50), hash: rng.Uint64N(3)}
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
