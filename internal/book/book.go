// SPDX-License-Identifier: Apache-2.0

package book

import (
	"math"
	"math/bits"
	"slices"
	"time"
)

// none is the first rank of an empty list: no offer ranks behind it.
const none = math.MaxUint64

// Book holds standing offers so that the best one for a demand is found without looking at most of them. Offers are sorted by their
// rank in lists, one for each model, region and class of free GPUs. A match merges the lists that can matter, always at the one whose
// next offer could have the lowest score, and ends when no list can hold a lower one than what was found.
//
// A Book is not safe for concurrent use: one owner has it. Offers in what it returns are valid until it is changed.
type Book struct {
	offers  map[string]*standing
	all     []*standing // in no order; every offer knows its place
	models  map[string]*shelf
	regions map[string]int // a number for each region that was ever seen
	holds   holds
	digests digests

	scratch scratch
}

// standing is an offer as the book holds it.
type standing struct {
	Offer

	rank     uint64
	hash     uint64
	at       int  // in Book.all
	region   int  // its number
	class    int  // of free GPUs; -1 when it stands in no list
	stale    bool // the digest is to be computed again
	digested bool // it is in a branch
	digest   Digest
	keys     []string // of the holds in Held, at the same places
}

// shelf is the offers of one model.
type shelf struct {
	stocked uint64 // a bit for each class with any offer
	count   [classes]int
	lists   [classes][]list   // by region
	firsts  [classes][]uint64 // the rank of each list's first offer, side by side: a match looks at all of them
}

// New returns an empty book.
func New() *Book {
	return &Book{offers: map[string]*standing{}, models: map[string]*shelf{}, regions: map[string]int{}, holds: newHolds()}
}

// Version changes whenever an offer does, or what is held of one.
func (b *Book) Version() uint64 { return b.digests.version }

// Len returns how many offers the book holds.
func (b *Book) Len() int { return len(b.all) }

// Get returns an offer with what is held of it, or nil.
func (b *Book) Get(name string) *Offer {
	if s := b.offers[name]; s != nil {
		return &s.Offer
	}
	return nil
}

// Offers returns copies of all offers with what is held of them, in no order.
func (b *Book) Offers() []Offer {
	offers := make([]Offer, len(b.all))
	for i, s := range b.all {
		offers[i] = s.Offer
	}
	return offers
}

// Upsert adds an offer, or replaces the one of its name. What is held of it stays held; the offer's own Held is not looked at.
func (b *Book) Upsert(offer Offer) {
	s := b.offers[offer.Name]
	if s == nil {
		s = &standing{hash: hashOf(offer.Name), at: len(b.all), class: -1}
		b.offers[offer.Name] = s
		b.all = append(b.all, s)
		s.keys, s.Held = b.holds.of(offer.Name)
	} else {
		b.unplace(s)
	}
	held := s.Held
	s.Offer = normal(offer)
	s.Held = held
	s.rank = rankOf(offer.Price, offer.Reputation)
	s.region = b.regionOf(offer.Region)
	b.place(s)
	b.digests.touch(s)
}

// normal is the offer with its shapes in order, fewest free GPUs first.
func normal(offer Offer) Offer {
	if !slices.IsSortedFunc(offer.Shapes, byFree) {
		offer.Shapes = slices.SortedFunc(slices.Values(offer.Shapes), byFree)
	}
	return offer
}

func byFree(a, b Shape) int { return a.Free - b.Free }

// Remove takes an offer out of the book. What is held of it is remembered in case that it comes back.
func (b *Book) Remove(name string) {
	s := b.offers[name]
	if s == nil {
		return
	}
	b.unplace(s)
	b.digests.forget(s)
	for _, key := range s.keys {
		b.holds.absent(name, b.holds.byKey[key])
	}
	delete(b.offers, name)
	last := b.all[len(b.all)-1]
	b.all[s.at], last.at = last, s.at
	b.all[len(b.all)-1] = nil
	b.all = b.all[:len(b.all)-1]
}

func (b *Book) regionOf(region string) int {
	number, ok := b.regions[region]
	if !ok {
		number = len(b.regions)
		b.regions[region] = number
	}
	return number
}

func (b *Book) place(s *standing) {
	if s.ValidUntil.IsZero() {
		return
	}
	class, ok := classOf(s.largest(), s.Free())
	if !ok {
		return
	}
	model := b.models[s.Model]
	if model == nil {
		model = &shelf{}
		b.models[s.Model] = model
	}
	for len(model.lists[class]) <= s.region {
		model.lists[class] = append(model.lists[class], list{})
		model.firsts[class] = append(model.firsts[class], none)
	}
	l := &model.lists[class][s.region]
	l.insert(s)
	s.class = class
	model.firsts[class][s.region] = l.first()
	model.count[class]++
	model.stocked |= 1 << class
}

func (b *Book) unplace(s *standing) {
	if s.class < 0 {
		return
	}
	model := b.models[s.Model]
	l := &model.lists[s.class][s.region]
	l.remove(s)
	model.firsts[s.class][s.region] = l.first()
	if model.count[s.class]--; model.count[s.class] == 0 {
		model.stocked &^= 1 << s.class
	}
	s.class = -1
}

// changed puts an offer of which more or less is held where it belongs now.
func (b *Book) changed(s *standing) {
	b.digests.touch(s)
	class, ok := classOf(s.largest(), s.Free())
	if s.class >= 0 && ok && class == s.class {
		return
	}
	b.unplace(s)
	b.place(s)
}

// Offers are classed by the free GPUs of their largest node, and by those of all nodes, in powers of two: a gang that needs so many
// on one node and so many in all looks at the classes that can have them, and at no other.
const (
	nodeClasses  = 5  // 1, 2, 4, 8, 16 and more
	totalClasses = 12 // 1, 2, 4, … 2048 and more
	classes      = nodeClasses * totalClasses
)

// classOf returns the class of an offer; one without free GPUs has none.
func classOf(largest, total int) (class int, ok bool) {
	if largest < 1 || total < 1 {
		return 0, false
	}
	return min(log2(largest), nodeClasses-1)*totalClasses + min(log2(total), totalClasses-1), true
}

func log2(n int) int { return bits.Len(uint(n)) - 1 }

// classesFor returns, as a bit set, the classes that can hold an offer for the demand.
func classesFor(d *Demand) uint64 {
	total := d.PerWorker
	if !d.split() {
		total *= d.Workers
	}
	if d.PerWorker < 1 || total < 1 {
		return 0
	}
	fromTotal := uint64(1)<<totalClasses - 1<<min(log2(total), totalClasses-1)
	var set uint64
	for node := min(log2(d.PerWorker), nodeClasses-1); node < nodeClasses; node++ {
		set |= fromTotal << (node * totalClasses)
	}
	return set
}

// Expire gives back what was reserved until now or before. A match does so by itself.
func (b *Book) Expire(now time.Time) {
	for {
		key, ok := b.holds.due(now)
		if !ok {
			return
		}
		b.Release(key)
	}
}
