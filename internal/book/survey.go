// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"slices"
	"strings"

	"github.com/bourse-dev/bourse/internal/money"
)

// Verdict is what one offer is to a demand.
type Verdict struct {
	Offer  *Offer
	Score  money.USD // as a price, of an offer that fits: the lower one wins
	Breaks []Rule    // in their order; none when the offer fits
	Has    []string  // what the offer has where it breaks them
}

// Survey returns what every offer of the book is to a demand: those that fit, in the order in which the demand would get them; then those
// that break the fewest rules, the cheapest first.
func (b *Book) Survey(d *Demand) []Verdict {
	b.Expire(d.At)
	s := newScorer(d)
	verdicts := make([]Verdict, 0, len(b.all))
	var fit []ranked
	for _, offer := range b.all {
		set, first := broken(d, &offer.Offer, int(ruleCount))
		if first == ruleCount {
			fit = append(fit, s.rank(&offer.Offer, s.factorOf(&offer.Offer), offer.hash))
			continue
		}
		verdict := Verdict{Offer: &offer.Offer}
		for r := range ruleCount {
			if set&(1<<r) != 0 {
				verdict.Breaks = append(verdict.Breaks, r)
				verdict.Has = append(verdict.Has, rules[r].has(d, &offer.Offer))
			}
		}
		verdicts = append(verdicts, verdict)
	}
	slices.SortFunc(verdicts, func(a, b Verdict) int {
		return cmp.Or(cmp.Compare(len(a.Breaks), len(b.Breaks)), cmp.Compare(a.Offer.Price, b.Offer.Price), strings.Compare(a.Offer.Name, b.Offer.Name))
	})
	best := make([]Verdict, 0, len(b.all))
	for _, r := range inTurn(d, fit) {
		best = append(best, Verdict{Offer: r.offer, Score: money.USD(r.score)})
	}
	return append(best, verdicts...)
}
