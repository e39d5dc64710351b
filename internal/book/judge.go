// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"iter"
	"math/bits"
	"slices"
	"strings"
)

// Decision is what became of a demand, and why.
type Decision struct {
	Fills     []Fill         // what the job gets, best first; empty when nothing can place it
	Offers    int            // how many offers there were
	Fit       int            // how many of them met every rule
	Rejected  [ruleCount]int // how many offers each rule rejected: every offer counts for the first rule that it breaks
	By        Edge           // what told the fills from the next offer
	Next      string         // the best offer that got nothing, of those that the fills were chosen among; empty when there was none
	NextScore uint64
	Placed    int  // how many workers of a gang that may be split found a place, at most
	Fix       *Fix // the nearest change that would find an offer; nil with a winner or without offers

	demand   *Demand
	among    int    // how many offers the fills were chosen among
	willing  int    // how many of them did not refuse the job last
	cheapest ranked // the cheapest of them, the best of several
}

// Edge is what told the best offer from the next.
type Edge uint8

// The edges.
const (
	ByNothing Edge = iota // nothing was won
	Alone                 // there was no other
	ByRefusal             // the next one refused the job last
	ByScore               // its score is lower
	ByDraw                // the scores are equal
	ByRoom                // its score may be lower, but it has less room than any part of the gang
)

// String names the edge.
func (e Edge) String() string {
	return nameOf(uint8(e), "Nothing", "Alone", "Refusal", "Score", "Draw", "Room")
}

// Won returns the first fill's offer, or nil.
func (d *Decision) Won() *Offer {
	if len(d.Fills) == 0 {
		return nil
	}
	return d.Fills[0].Offer
}

// Judge looks at every offer of the book, and so can say why. The offers that a demand gets are those that Match finds.
func (b *Book) Judge(d *Demand) Decision {
	b.Expire(d.At)
	return judge(d, func(yield func(*Offer, uint64) bool) {
		for _, s := range b.all {
			if !yield(&s.Offer, s.hash) {
				return
			}
		}
	})
}

// Judge decides on a snapshot of offers, held gangs and all.
func Judge(d *Demand, offers []Offer) Decision {
	return judge(d, func(yield func(*Offer, uint64) bool) {
		for i := range offers {
			offer := normal(offers[i])
			if !yield(&offer, hashOf(offer.Name)) {
				return
			}
		}
	})
}

func judge(d *Demand, offers iter.Seq2[*Offer, uint64]) Decision {
	decision := Decision{demand: d}
	near := nearest{demand: d, enough: int(ruleCount)}
	s := newScorer(d)
	var fit []ranked
	for offer, hash := range offers {
		decision.Offers++
		set, first := broken(d, offer, near.enough)
		if first != ruleCount {
			decision.Rejected[first]++
			near.add(set, first, offer)
			continue
		}
		decision.Fit++
		fit = append(fit, s.rank(offer, s.factorOf(offer), hash))
	}
	decision.settle(fit)
	if len(decision.Fills) == 0 {
		decision.Fix = near.fix()
	}
	return decision
}

// settle decides among the offers that meet every rule.
func (d *Decision) settle(fit []ranked) {
	if d.demand.Workers < 1 {
		return
	}
	fit = inTurn(d.demand, fit)
	of := slices.DeleteFunc(slices.Clone(fit), func(one ranked) bool { return one.offer.room(d.demand) < d.demand.Workers })
	switch {
	case len(of) > 0:
		d.Fills = []Fill{{Offer: of[0].offer, Workers: d.demand.Workers, Score: of[0].score}}
	case d.demand.split():
		of = d.splitAmong(fit)
	}
	if len(of) == 0 {
		return
	}
	d.among, d.cheapest = len(of), of[0]
	for i := range of {
		if d.refused(of[i].offer) {
			continue
		}
		d.willing++
		if of[i].offer.Price < d.cheapest.offer.Price {
			d.cheapest = of[i]
		}
	}
	d.edge(of)
}

// edge says what told the fills from the best offer that got nothing.
func (d *Decision) edge(of []ranked) {
	d.By = Alone
	last := 0 // the place of the last fill
	for i := range of {
		if of[i].offer == d.Fills[len(d.Fills)-1].Offer {
			last = i
		}
	}
	for i := range of {
		if slices.ContainsFunc(d.Fills, func(fill Fill) bool { return fill.Offer == of[i].offer }) {
			continue
		}
		d.compare(&of[last], &of[i])
		if i < last {
			d.By = ByRoom
		}
		return
	}
}

// inTurn sorts offers as a demand gets them: by score, then by draw, and the one that refused it last behind all others.
func inTurn(d *Demand, fit []ranked) []ranked {
	slices.SortFunc(fit, func(a, b ranked) int {
		return cmp.Or(cmp.Compare(flag(d.refusedBy(a.offer)), flag(d.refusedBy(b.offer))), a.order(&b))
	})
	return fit
}

// compare says what told the best offer from the next.
func (d *Decision) compare(best, next *ranked) {
	d.Next, d.NextScore = next.offer.Name, next.score
	switch {
	case d.refused(next.offer):
		d.By = ByRefusal
	case next.score != best.score:
		d.By = ByScore
	default:
		d.By = ByDraw
	}
}

// refused says whether the offer refused the job last.
func (d *Decision) refused(o *Offer) bool { return d.demand.refusedBy(o) }

func (d *Demand) refusedBy(o *Offer) bool {
	return len(d.Refused) > 0 && slices.Contains(d.Refused, o.Name)
}

// splitAmong fills the gang from the offers of one model, and returns those of it; none when no model has room for the whole gang.
func (d *Decision) splitAmong(fit []ranked) []ranked {
	byModel := map[string][]ranked{}
	var names []string
	for i := range d.demand.Models {
		names = append(names, d.demand.Models[i].Name)
	}
	for i := range fit {
		model := fit[i].offer.Model
		if len(d.demand.Models) == 0 && byModel[model] == nil {
			names = append(names, model)
		}
		byModel[model] = append(byModel[model], fit[i])
	}
	if len(d.demand.Models) == 0 {
		slices.Sort(names)
	}
	var least uint128
	var of []ranked
	for _, name := range names {
		fills, sum, placed := gather(d.demand, byModel[name])
		d.Placed = max(d.Placed, placed)
		if placed == d.demand.Workers && placed > 0 && (of == nil || sum.less(least)) {
			least, of, d.Fills = sum, byModel[name], fills
		}
	}
	return of
}

// gather looks at offers in their order until the whole gang has a place.
func gather(d *Demand, of []ranked) (fills []Fill, sum uint128, placed int) {
	among := parts{demand: d}
	for i := 0; i < len(of) && !among.full(); i++ {
		among.add(&of[i])
	}
	placed = min(among.room, d.Workers)
	sum = among.deal()
	return among.fills, sum, placed
}

// Fix is the smallest change of the demand that would find an offer: what the nearest offer breaks, and what it has there.
type Fix struct {
	Rules  []Rule   // one; several when no offer breaks one rule alone
	Offers int      // how many offers break just these
	Has    []string // what the nearest of them has there
}

// nearest collects the offers that break the fewest rules.
type nearest struct {
	demand *Demand
	alone  [ruleCount]int    // how many offers break this rule alone
	best   [ruleCount]*Offer // the nearest of them
	other  *Offer            // the nearest that breaks more
	breaks uint16            // what other breaks
	alike  int               // how many offers break just that
	enough int               // an offer that breaks more rules is not the nearest
}

func (n *nearest) add(set uint16, first Rule, offer *Offer) {
	count := bits.OnesCount16(set)
	if count > n.enough {
		return
	}
	n.enough = count
	if count > 1 {
		n.addOther(set, offer)
		return
	}
	n.alone[first]++
	if best := n.best[first]; best == nil || n.closer(first, offer, best) {
		n.best[first] = offer
	}
}

func (n *nearest) addOther(set uint16, offer *Offer) {
	few, fewest := bits.OnesCount16(set), bits.OnesCount16(n.breaks)
	switch {
	case n.other == nil || few < fewest || few == fewest && set < n.breaks:
		n.other, n.breaks, n.alike = offer, set, 1
	case set == n.breaks:
		n.alike++
		if n.closer(ruleCount, offer, n.other) {
			n.other = offer
		}
	}
}

// closer says whether a is a better example than b: the roomier one where room is missing, else the cheaper one.
func (n *nearest) closer(r Rule, a, b *Offer) bool {
	order := 0
	if r == RuleCapacity {
		order = cmp.Compare(b.Slots(n.demand.PerWorker), a.Slots(n.demand.PerWorker))
	}
	return cmp.Or(order, cmp.Compare(a.Price, b.Price), strings.Compare(a.Name, b.Name)) < 0
}

func (n *nearest) fix() *Fix {
	for _, r := range fixOrder() {
		if n.best[r] != nil {
			return &Fix{Rules: []Rule{r}, Offers: n.alone[r], Has: []string{rules[r].has(n.demand, n.best[r])}}
		}
	}
	if n.other == nil {
		return nil
	}
	fix := &Fix{Offers: n.alike}
	for r := range ruleCount {
		if n.breaks&(1<<r) != 0 {
			fix.Rules = append(fix.Rules, r)
			fix.Has = append(fix.Has, rules[r].has(n.demand, n.other))
		}
	}
	return fix
}
