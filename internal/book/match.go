// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
)

// Decision is what became of a demand, and why.
type Decision struct {
	Won      *Offer         // the offer that the job gets, or nil
	Offers   int            // how many offers there were
	Fit      int            // how many of them met every rule
	Rejected [ruleCount]int // how many offers each rule rejected: every offer counts for the first rule that it breaks
	Why      string         // why this one won; empty without a winner
	Fix      *Fix           // the nearest change that would find an offer; nil with a winner or when no single change does
}

// Fix is a single change of the demand that would find an offer.
type Fix struct {
	Rule   Rule
	Offers int    // how many offers break this rule alone
	Has    string // what the nearest of them has
}

// Match decides which offer the demand gets. It changes neither, and equal arguments give equal decisions whatever the order of offers.
//
// Rank among offers that meet every rule: not the one that refused last; then the lowest price; then the fewest GPUs left over, so
// that large offers stay whole; then a hash of job and offer, so that ties do not always favour the same supplier.
func Match(demand *Demand, offers []Offer) Decision {
	decision := Decision{Offers: len(offers)}
	near := nearest{demand: demand}
	var best, second candidate
	for i := range offers {
		offer := &offers[i]
		set, first := broken(demand, offer)
		if first != ruleCount {
			decision.Rejected[first]++
			near.add(set, first, offer)
			continue
		}
		decision.Fit++
		switch next := rank(demand, offer); {
		case best.offer == nil || next.before(best):
			best, second = next, best
		case second.offer == nil || next.before(second):
			second = next
		}
	}
	if best.offer == nil {
		decision.Fix = near.fix()
		return decision
	}
	decision.Won = best.offer
	decision.Why = why(decision.Fit, best, second)
	return decision
}

// candidate is an offer that meets every rule, with its rank.
type candidate struct {
	offer    *Offer
	refused  bool
	leftover int
	draw     uint64
}

func rank(demand *Demand, offer *Offer) candidate {
	draw := sha256.Sum256([]byte(demand.UID + "/" + offer.Name))
	return candidate{
		offer:    offer,
		refused:  demand.Refused != "" && demand.Refused == offer.Name,
		leftover: offer.free() - demand.Workers*demand.PerWorker,
		draw:     binary.BigEndian.Uint64(draw[:]),
	}
}

// before says whether c ranks before other.
func (c candidate) before(other candidate) bool {
	if c.refused != other.refused {
		return other.refused
	}
	return cmp.Or(
		cmp.Compare(c.offer.Price, other.offer.Price),
		cmp.Compare(c.leftover, other.leftover),
		cmp.Compare(c.draw, other.draw),
		strings.Compare(c.offer.Name, other.offer.Name),
	) < 0
}

// nearest collects the offers that break one rule alone.
type nearest struct {
	demand *Demand
	alone  [ruleCount]int
	best   [ruleCount]*Offer
}

func (n *nearest) add(set uint16, first Rule, offer *Offer) {
	if bits.OnesCount16(set) != 1 {
		return
	}
	n.alone[first]++
	if best := n.best[first]; best == nil || n.closer(first, offer, best) {
		n.best[first] = offer
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
			return &Fix{Rule: r, Offers: n.alone[r], Has: rules[r].has(n.demand, n.best[r])}
		}
	}
	return nil
}

// why says what told the best offer from the second best.
func why(fit int, best, second candidate) string {
	price := best.offer.Price.String() + " USD per GPU-hour"
	switch {
	case fit == 1:
		return "the only offer that fits, at " + price
	case best.refused != second.refused:
		return fmt.Sprintf("the best of %d that fit and did not refuse before, at %s", fit-1, price)
	case best.offer.Price != second.offer.Price:
		return fmt.Sprintf("the cheapest of %d that fit, at %s", fit, price)
	case best.leftover != second.leftover:
		return fmt.Sprintf("the tightest fit among the cheapest of %d, at %s", fit, price)
	default:
		return fmt.Sprintf("drawn among the best of %d, at %s", fit, price)
	}
}

// Explain says in one sentence why a demand found no offer: counts per rule, then the nearest fix.
func (d Decision) Explain() string {
	if d.Offers == 0 {
		return "The market has no offer"
	}
	counts := make([]string, 0, ruleCount)
	for r, n := range d.Rejected {
		if n > 0 {
			counts = append(counts, fmt.Sprintf("%d on %s", n, Rule(r)))
		}
	}
	text := fmt.Sprintf("None of %s fits: rejected %s", plural(d.Offers, "offer"), strings.Join(counts, ", "))
	if d.Fix == nil {
		return text
	}
	verb := "fail"
	if d.Fix.Offers == 1 {
		verb = "fails"
	}
	return fmt.Sprintf("%s; %d of %s %s only on %s: %s", text, d.Fix.Offers, plural(d.Offers, "offer"), verb, d.Fix.Rule, d.Fix.Has)
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
