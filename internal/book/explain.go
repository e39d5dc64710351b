// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"strings"
)

// longest is how many bytes an explanation has at most.
const longest = 1024

// Explain says in one sentence why a demand found what it found: the winner and its edge; or the nearest fix, then counts per rule.
// It says nothing that changes while the offers do not.
func (d *Decision) Explain() string {
	text := d.explain()
	return text[:min(len(text), longest)]
}

// Empty says that there was no offer that counted.
func (d *Decision) Empty() bool { return d.Rejected[RuleValidity] == d.Offers }

func (d *Decision) explain() string {
	switch {
	case len(d.Fills) > 0:
		return d.why()
	case d.Offers == 0:
		return "The market has no offer"
	case d.Empty():
		return fmt.Sprintf("The market has no offer that is valid: %s not renewed by their suppliers", isAre(d.Offers))
	case d.Fit > 0:
		return d.tooFew() + d.rejected()
	case d.Fix == nil:
		return fmt.Sprintf("None of %s fits%s", plural(d.Offers, "offer", "offers"), d.rejected())
	default:
		return d.nearest() + d.rejected()
	}
}

// tooFew says how much of a gang that may be split finds room.
func (d *Decision) tooFew() string {
	workers := plural(d.demand.Workers, "worker", "workers")
	if d.Fit > d.demand.Parts {
		return fmt.Sprintf("Of the %d offers that fit, no %d together have room for more than %d of %s", d.Fit, d.demand.Parts, d.Placed, workers)
	}
	return fmt.Sprintf("The %s together have room for %d of %s", plural(d.Fit, "offer that fits", "offers that fit"), d.Placed, workers)
}

// why says what told the winner from the rest.
func (d *Decision) why() string {
	won := d.Won()
	price := won.Price.String() + " USD per GPU-hour"
	switch {
	case len(d.Fills) > 1:
		return d.shared()
	case d.among == 1 && d.Fit > 1:
		return fmt.Sprintf("the only one of %d that fit with room for the whole job, at %s", d.Fit, price)
	case d.among == 1:
		return "the only offer that fits, at " + price
	case d.By == ByRefusal:
		return fmt.Sprintf("the best of %d that fit and did not refuse before, at %s", d.willing, price)
	case d.By == ByDraw:
		return fmt.Sprintf("drawn among the best of %d that fit, at %s", d.among, price)
	case won.Price == d.cheapest.offer.Price:
		return fmt.Sprintf("the cheapest of %d that fit, at %s", d.among, price)
	default:
		merits := d.merits(won, d.cheapest.offer)
		outweigh := "outweigh"
		if len(merits) == 1 {
			outweigh = "outweighs"
		}
		return fmt.Sprintf("the best of %d that fit, at %s: its %s %s the cheapest, at %s",
			d.among, price, enumerate(merits), outweigh, d.cheapest.offer.Price)
	}
}

// shared says at what prices several offers have the gang together.
func (d *Decision) shared() string {
	low, high := d.Fills[0].Offer.Price, d.Fills[0].Offer.Price
	for i := range d.Fills {
		low, high = min(low, d.Fills[i].Offer.Price), max(high, d.Fills[i].Offer.Price)
	}
	price := low.String()
	if low != high {
		price += " to " + high.String()
	}
	return fmt.Sprintf("the first of %d of %d that fit, which have room for the job together, at %s USD per GPU-hour",
		len(d.Fills), d.among, price)
}

// merits names what the first offer has that the second, which is cheaper, lacks.
func (d *Decision) merits(first, second *Offer) []string {
	packed := func(o *Offer) uint64 { return brokenShare(o, d.demand.PerWorker, o.room(d.demand)) }
	s := newScorer(d.demand)
	var merits []string
	for _, merit := range []struct {
		name string
		has  bool
	}{
		{"reputation", first.Reputation > second.Reputation},
		{"region", d.demand.penalty(first.Region) < d.demand.penalty(second.Region)},
		{"speed", place(0, d.demand.speed(first.Model)) < place(0, d.demand.speed(second.Model))},
		{"packing", packed(first) < packed(second)},
		{"cached image", s.cached(first) && !s.cached(second)},
	} {
		if merit.has {
			merits = append(merits, merit.name)
		}
	}
	return merits
}

// nearest says what the smallest change is that would find an offer.
func (d *Decision) nearest() string {
	fix := d.Fix
	if len(fix.Rules) > 1 {
		names := make([]string, len(fix.Rules))
		for i, r := range fix.Rules {
			names[i] = r.String()
		}
		return fmt.Sprintf("None of %s fits: the nearest fails on %s: it %s",
			plural(d.Offers, "offer", "offers"), enumerate(names), strings.Join(fix.Has, ", it "))
	}
	r := fix.Rules[0]
	subject := "the cheapest"
	if r == RuleCapacity {
		subject = "the largest"
	}
	text := fmt.Sprintf("%d of %s %s only on %s: %s %s",
		fix.Offers, plural(d.Offers, "offer", "offers"), failFails(fix.Offers), r, subject, fix.Has[0])
	if asks := rules[r].asks(d.demand); asks != "" {
		text += ", the job " + asks
	}
	return text
}

// rejected counts the offers that each rule rejected.
func (d *Decision) rejected() string {
	counts := make([]string, 0, ruleCount)
	for r, n := range d.Rejected {
		if n > 0 {
			counts = append(counts, fmt.Sprintf("%d on %s", n, Rule(r)))
		}
	}
	if len(counts) == 0 {
		return ""
	}
	return " (rejected: " + strings.Join(counts, ", ") + ")"
}

// enumerate joins names as people do.
func enumerate(names []string) string {
	if len(names) < 2 {
		return strings.Join(names, "")
	}
	last := len(names) - 1
	return strings.Join(names[:last], ", ") + " and " + names[last]
}

func plural(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

func isAre(n int) string { return plural(n, "is", "are") }

func failFails(n int) string {
	if n == 1 {
		return "fails"
	}
	return "fail"
}
