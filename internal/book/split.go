// SPDX-License-Identifier: Apache-2.0

package book

import "slices"

// parts are what a gang is split over: of the offers that were looked at, those with the most room, as many as the gang may have parts, in
// the order in which they were looked at. Offers are looked at best first, and only until there is room for all. So no way to split the gang
// goes without the offer that was looked at last, and the better ones are filled before it.
type parts struct {
	demand *Demand
	fills  []Fill // each with all the workers that its offer has room for, until they are dealt
	room   int    // of all of them
}

// full says whether there is room for the whole gang.
func (p *parts) full() bool { return p.room >= p.demand.Workers }

// add looks at the next offer. Once there are as many parts as may be, it takes the place of the one with the least room, the last of
// several, or of none.
func (p *parts) add(next *ranked) {
	room := next.offer.room(p.demand)
	if len(p.fills) >= p.demand.Parts {
		least := 0
		for i := range p.fills {
			if p.fills[i].Workers <= p.fills[least].Workers {
				least = i
			}
		}
		if p.fills[least].Workers >= room {
			return
		}
		p.room -= p.fills[least].Workers
		p.fills = slices.Delete(p.fills, least, least+1)
	}
	p.fills = append(p.fills, Fill{Offer: next.offer, Workers: room, Score: next.score})
	p.room += room
}

// deal gives the workers to the parts, the best first, and returns the sum of their scores.
func (p *parts) deal() (sum uint128) {
	need := p.demand.Workers
	for i := range p.fills {
		p.fills[i].Workers = min(need, p.fills[i].Workers)
		need -= p.fills[i].Workers
		sum = sum.plus(p.fills[i].Score, p.fills[i].Workers)
	}
	return sum
}
