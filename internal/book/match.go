// SPDX-License-Identifier: Apache-2.0

package book

import (
	"math/bits"
	"slices"
)

// scratch is what a match works in. It is kept from match to match, so that a match allocates nothing.
type scratch struct {
	factors []uint64 // of each region for one model, in ppm; 0 says that the job may not run there
	cursors []cursor // a heap, the one with the lowest bound first
	ready   []ranked // a heap, the best first
	refused []ranked // a heap of those that refused last: they come after all others
	fills   [2][]Fill
	models  []string
	whole   Demand // of a gang that may be split, before it is
}

// cursor is a place in a list: the next offer that was not looked at yet.
type cursor struct {
	list   *list
	leaf   int32
	at     int32
	factor uint64
	bound  uint64 // no offer from here on has a lower score
}

func (c *cursor) offer() *standing { return c.list.leaves[c.leaf][c.at] }

// merge yields the offers that meet every rule, best first, without sorting those that nobody asks for.
type merge struct {
	scorer
	book  *Book
	limit uint64 // no offer of a higher rank is under the highest price
}

// Match returns the offers that the demand gets, in buf if it is large enough: one, or several when the gang may be split and no one offer
// has room for all of it; none when the book cannot place all of it. It changes nothing: Reserve does. It finds what Judge finds.
func (b *Book) Match(d *Demand, buf []Fill) []Fill {
	b.Expire(d.At)
	fills := buf[:0]
	if d.Workers < 1 || d.PerWorker < 1 {
		return fills
	}
	m := merge{scorer: newScorer(d), book: b, limit: times(uint64(d.MaxPrice), 2*PPM)}
	if !d.split() {
		return m.one(fills)
	}
	b.scratch.whole = *d
	b.scratch.whole.Parts = 1
	m.demand = &b.scratch.whole
	if fills = m.one(fills); len(fills) > 0 {
		return fills
	}
	m.demand = d
	return m.split(fills)
}

// one finds the one offer that has room for the whole gang.
func (m *merge) one(fills []Fill) []Fill {
	m.open(m.demand.Models)
	m.prune()
	m.heapify()
	if best, ok := m.next(); ok {
		fills = append(fills, Fill{Offer: best.offer, Workers: m.demand.Workers, Score: best.score})
	}
	return fills
}

// split fills the gang from the offers of one model: of the model that does so at the lowest sum of scores, the first by the demand's
// order among equals.
func (m *merge) split(fills []Fill) []Fill {
	s := &m.book.scratch
	var least uint128
	found := false
	for _, name := range m.modelNames() {
		m.open([]Model{{Name: name, Speed: m.demand.speed(name)}})
		m.heapify()
		part, sum, ok := m.fill(s.fills[0][:0])
		s.fills[0] = part
		if ok && (!found || sum.less(least)) {
			found, least = true, sum
			s.fills[0], s.fills[1] = s.fills[1], s.fills[0]
		}
	}
	if found {
		fills = append(fills, s.fills[1]...)
	}
	clear(s.fills[0][:cap(s.fills[0])])
	clear(s.fills[1][:cap(s.fills[1])])
	return fills
}

// fill looks at offers, best first, until the whole gang has a place.
func (m *merge) fill(fills []Fill) (filled []Fill, sum uint128, ok bool) {
	among := parts{demand: m.demand, fills: fills}
	for !among.full() {
		best, more := m.next()
		if !more {
			return among.fills, sum, false
		}
		among.add(&best)
	}
	sum = among.deal()
	return among.fills, sum, true
}

// modelNames returns the acceptable models: those of the demand in its order, or all of the book by name.
func (m *merge) modelNames() []string {
	s := &m.book.scratch
	s.models = s.models[:0]
	for i := range m.demand.Models {
		s.models = append(s.models, m.demand.Models[i].Name)
	}
	if len(m.demand.Models) == 0 {
		for name := range m.book.models {
			s.models = append(s.models, name)
		}
		slices.Sort(s.models)
	}
	return s.models
}

// open puts a cursor at the beginning of each list that can hold an offer for the demand, in no order.
func (m *merge) open(models []Model) {
	s := &m.book.scratch
	s.cursors, s.ready, s.refused = s.cursors[:0], s.ready[:0], s.refused[:0]
	wanted := classesFor(m.demand)
	for i := range models {
		if slices.ContainsFunc(models[:i], func(other Model) bool { return other.Name == models[i].Name }) {
			continue
		}
		if model := m.book.models[models[i].Name]; model != nil && model.stocked&wanted != 0 {
			m.openShelf(model, models[i].Speed, wanted)
		}
	}
	if len(models) == 0 {
		for _, model := range m.book.models {
			m.openShelf(model, 0, wanted)
		}
	}
}

// prune drops the lists that cannot hold the best offer: those whose lowest score is above the score of an offer that meets every rule,
// the first of the list that looks best. Usually few are left.
func (m *merge) prune() {
	s := &m.book.scratch
	best := 0
	for i := range s.cursors {
		if s.cursors[i].bound < s.cursors[best].bound {
			best = i
		}
	}
	if best == len(s.cursors) {
		return
	}
	found := s.cursors[best].offer()
	if m.demand.refusedBy(&found.Offer) || !fits(m.demand, &found.Offer) {
		return
	}
	score := m.score(&found.Offer, s.cursors[best].factor)
	s.cursors = slices.DeleteFunc(s.cursors, func(c cursor) bool { return c.bound > score })
}

// heapify makes a heap of the cursors.
func (m *merge) heapify() {
	s := &m.book.scratch
	for i := len(s.cursors)/2 - 1; i >= 0; i-- {
		sink(s.cursors, i, cursorBefore)
	}
}

func (m *merge) openShelf(model *shelf, speed uint32, wanted uint64) {
	m.weighRegions(speed)
	s := &m.book.scratch
	for set := model.stocked & wanted; set != 0; set &= set - 1 {
		class := bits.TrailingZeros64(set)
		for region, rank := range model.firsts[class] {
			factor := s.factors[region]
			if rank > m.limit || rank == none || factor == 0 {
				continue
			}
			s.cursors = append(s.cursors, cursor{list: &model.lists[class][region], factor: factor, bound: m.scoreFrom(rank, factor)})
		}
	}
}

// weighRegions computes the factor of each region for a model of some speed.
func (m *merge) weighRegions(speed uint32) {
	d, s := m.demand, &m.book.scratch
	s.factors = s.factors[:0]
	usual := place(0, speed)
	if len(d.Regions) > 0 {
		usual = 0
	}
	for range len(m.book.regions) {
		s.factors = append(s.factors, usual)
	}
	for _, region := range d.Regions {
		if number, ok := m.book.regions[region]; ok {
			s.factors[number] = place(0, speed)
		}
	}
	for _, penalty := range slices.Backward(d.Penalties) { // the first of a region counts
		if number, ok := m.book.regions[penalty.Region]; ok && s.factors[number] != 0 {
			s.factors[number] = place(penalty.PPM, speed)
		}
	}
}

// next returns the best offer that was not returned yet.
func (m *merge) next() (ranked, bool) {
	s := &m.book.scratch
	for len(s.cursors) > 0 && (len(s.ready) == 0 || s.cursors[0].bound <= s.ready[0].score) {
		m.look()
	}
	for _, heap := range [2]*[]ranked{&s.ready, &s.refused} {
		if len(*heap) > 0 {
			return pop(heap), true
		}
	}
	return ranked{}, false
}

// pop takes the best out of a heap that is not empty.
func pop(heap *[]ranked) ranked {
	best, last := (*heap)[0], len(*heap)-1
	(*heap)[0] = (*heap)[last]
	*heap = (*heap)[:last]
	sink(*heap, 0, rankedBefore)
	return best
}

// look ranks the offer that the first cursor is at, if it meets every rule, and moves the cursor on.
func (m *merge) look() {
	s := &m.book.scratch
	c := &s.cursors[0]
	found := c.offer()
	if fits(m.demand, &found.Offer) {
		heap := &s.ready
		if m.demand.refusedBy(&found.Offer) {
			heap = &s.refused
		}
		*heap = append(*heap, m.rank(&found.Offer, c.factor, found.hash))
		rise(*heap, len(*heap)-1, rankedBefore)
	}
	if c.at++; int(c.at) == len(c.list.leaves[c.leaf]) {
		c.leaf, c.at = c.leaf+1, 0
	}
	if int(c.leaf) < len(c.list.leaves) && c.offer().rank <= m.limit {
		c.bound = m.scoreFrom(c.offer().rank, c.factor)
	} else {
		last := len(s.cursors) - 1
		s.cursors[0] = s.cursors[last]
		s.cursors = s.cursors[:last]
	}
	sink(s.cursors, 0, cursorBefore)
}

func cursorBefore(a, b *cursor) bool { return a.bound < b.bound }
func rankedBefore(a, b *ranked) bool { return a.before(b) }

// sink restores a heap in which only the entry at i may be too low.
func sink[T any](heap []T, i int, before func(a, b *T) bool) {
	for {
		child := 2*i + 1
		if child >= len(heap) {
			return
		}
		if right := child + 1; right < len(heap) && before(&heap[right], &heap[child]) {
			child = right
		}
		if !before(&heap[child], &heap[i]) {
			return
		}
		heap[i], heap[child] = heap[child], heap[i]
		i = child
	}
}

// rise restores a heap in which only the entry at i may be too high.
func rise[T any](heap []T, i int, before func(a, b *T) bool) {
	for i > 0 {
		parent := (i - 1) / 2
		if !before(&heap[i], &heap[parent]) {
			return
		}
		heap[i], heap[parent] = heap[parent], heap[i]
		i = parent
	}
}

// uint128 is a sum of scores that cannot overflow.
type uint128 struct{ high, low uint64 }

func (u uint128) plus(score uint64, workers int) uint128 {
	high, low := bits.Mul64(score, uint64(workers)) //nolint:gosec // not negative
	low, carry := bits.Add64(u.low, low, 0)
	high, _ = bits.Add64(u.high, high, carry)
	return uint128{high, low}
}

func (u uint128) less(other uint128) bool {
	return u.high < other.high || u.high == other.high && u.low < other.low
}
