// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"slices"
	"strings"
)

// Rule is one hard condition that an offer must meet. Rules are checked in the order of their values.
type Rule uint8

// The rules.
const (
	RuleModel Rule = iota
	RuleToken
	RuleRegion
	RuleTier
	RuleIsolation
	RuleEgress
	RuleDuration
	RulePrice
	RuleCapacity
	ruleCount
)

// String names the rule.
func (r Rule) String() string {
	if r < ruleCount {
		return rules[r].name
	}
	return "unknown"
}

// rule tells whether an offer meets a demand in one respect, and what the nearest offer that does not would have.
type rule struct {
	name string
	met  func(*Demand, *Offer) bool
	has  func(*Demand, *Offer) string
}

var rules = [ruleCount]rule{
	RuleModel: {
		name: "model",
		met:  func(d *Demand, o *Offer) bool { return slices.Contains(d.Models, o.Model) },
		has:  func(_ *Demand, o *Offer) string { return "the cheapest has " + o.Model },
	},
	RuleToken: {
		name: "token",
		met:  func(d *Demand, o *Offer) bool { return slices.Contains(o.Tokens, d.Token) },
		has:  func(_ *Demand, o *Offer) string { return "the cheapest takes " + strings.Join(o.Tokens, " or ") },
	},
	RuleRegion: {
		name: "region",
		met:  func(d *Demand, o *Offer) bool { return len(d.Regions) == 0 || slices.Contains(d.Regions, o.Region) },
		has:  func(_ *Demand, o *Offer) string { return "the cheapest is in " + o.Region },
	},
	RuleTier: {
		name: "tier",
		met:  func(d *Demand, o *Offer) bool { return slices.Contains(o.Tiers, d.Tier) },
		has:  func(_ *Demand, o *Offer) string { return "the cheapest is " + strings.Join(o.Tiers, " or ") },
	},
	RuleIsolation: {
		name: "isolation",
		met:  func(d *Demand, o *Offer) bool { return o.Isolation >= d.Isolation },
		has:  func(_ *Demand, o *Offer) string { return "the cheapest gives " + o.Isolation.String() },
	},
	RuleEgress: {
		name: "egress",
		met:  func(d *Demand, o *Offer) bool { return o.Egress >= d.Egress },
		has:  func(_ *Demand, o *Offer) string { return "the cheapest allows " + o.Egress.String() },
	},
	RuleDuration: {
		name: "duration",
		met:  func(d *Demand, o *Offer) bool { return o.Shortest <= d.Duration && d.Duration <= o.Longest },
		has: func(_ *Demand, o *Offer) string {
			return fmt.Sprintf("the cheapest takes terms from %s to %s", o.Shortest, o.Longest)
		},
	},
	RulePrice: {
		name: "price",
		met:  func(d *Demand, o *Offer) bool { return o.Price <= d.MaxPrice },
		has:  func(_ *Demand, o *Offer) string { return fmt.Sprintf("the cheapest is %s USD", o.Price) },
	},
	RuleCapacity: {
		name: "capacity",
		met:  func(d *Demand, o *Offer) bool { return d.Workers > 0 && o.Slots(d.PerWorker) >= d.Workers },
		has: func(d *Demand, o *Offer) string {
			return fmt.Sprintf("the largest has room for %d of %d workers", o.Slots(d.PerWorker), d.Workers)
		},
	},
}

// fixOrder says which rule a buyer would rather give way on, when several single changes would find an offer.
func fixOrder() []Rule {
	return []Rule{
		RulePrice, RuleCapacity, RuleDuration, RuleRegion, RuleTier, RuleToken, RuleEgress, RuleIsolation, RuleModel,
	}
}

// broken returns the rules that the offer breaks, as a bit set, and the first of them.
func broken(d *Demand, o *Offer) (set uint16, first Rule) {
	first = ruleCount
	for r := range ruleCount {
		if rules[r].met(d, o) {
			continue
		}
		set |= 1 << r
		first = min(first, r)
	}
	return set, first
}
