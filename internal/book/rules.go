// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Rule is one hard condition that an offer must meet. Rules are checked in the order of their values.
type Rule uint8

// The rules.
const (
	RuleValidity Rule = iota
	RuleModel
	RuleMemory
	RuleToken
	RuleRegion
	RuleTier
	RuleIsolation
	RuleEgress
	RuleDuration
	RuleWindow
	RuleStake
	RuleReputation
	RulePrice
	RuleBudget
	RulePolicy
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

// rule tells whether an offer meets a demand in one respect. Of an offer that does not, has says what it has instead; asks says what the
// job does that it should be otherwise, and is empty where that is plain or not the job's.
type rule struct {
	name string
	met  func(*Demand, *Offer) bool
	has  func(*Demand, *Offer) string
	asks func(*Demand) string
}

var rules = [ruleCount]rule{
	RuleValidity:   {"validity", validNow, hasExpired, nothing},
	RuleModel:      {"model", acceptsModel, hasModel, asksModel},
	RuleMemory:     {"memory", enoughMemory, hasMemory, asksMemory},
	RuleToken:      {"token", takesToken, hasTokens, asksToken},
	RuleRegion:     {"region", inRegion, hasRegion, asksRegion},
	RuleTier:       {"tier", givesTier, hasTiers, asksTier},
	RuleIsolation:  {"isolation", isolates, hasIsolation, asksIsolation},
	RuleEgress:     {"egress", reaches, hasEgress, asksEgress},
	RuleDuration:   {"duration", inTerms, hasTerms, asksDuration},
	RuleWindow:     {"time left", endsInTime, hasUntil, asksDuration},
	RuleStake:      {"stake", staked, hasNoStake, nothing},
	RuleReputation: {"reputation", reputable, hasReputation, asksReputation},
	RulePrice:      {"price", underPrice, hasPrice, asksPrice},
	RuleBudget:     {"budget", underBudget, hasPrice, asksBudget},
	RulePolicy:     {"policy", permitted, hasPolicy, asksPolicy},
	RuleCapacity:   {"capacity", hasRoom, hasSlots, nothing},
}

// fixOrder says which rule a buyer would rather give way on, when several single changes would find an offer. The last four are not
// the buyer's to change.
func fixOrder() []Rule {
	return []Rule{
		RulePrice, RuleBudget, RuleDuration, RuleWindow, RuleRegion, RuleReputation, RuleTier, RuleToken, RuleEgress, RuleIsolation,
		RuleMemory, RuleModel, RulePolicy, RuleCapacity, RuleStake, RuleValidity,
	}
}

// Fits says whether an offer meets every rule of a demand, with what is held of it.
func Fits(d *Demand, o *Offer) bool { return fits(d, o) }

// fits says whether the offer meets every rule.
func fits(d *Demand, o *Offer) bool {
	for r := range rules {
		if !rules[r].met(d, o) {
			return false
		}
	}
	return true
}

// broken returns the rules that the offer breaks, as a bit set, and the first of them. It stops looking when there are more than enough.
func broken(d *Demand, o *Offer, enough int) (set uint16, first Rule) {
	first = ruleCount
	count := 0
	for r := range ruleCount {
		if rules[r].met(d, o) {
			continue
		}
		set |= 1 << r
		first = min(first, r)
		if count++; count > enough {
			break
		}
	}
	return set, first
}

func nothing(*Demand) string { return "" }

// validNow: an offer that its supplier does not renew counts no more.
func validNow(d *Demand, o *Offer) bool { return o.ValidUntil.After(d.At) }

func hasExpired(*Demand, *Offer) string { return "is not renewed by its supplier" }

// acceptsModel: the GPU is one of those that the job names.
func acceptsModel(d *Demand, o *Offer) bool {
	if len(d.Models) == 0 {
		return true
	}
	for i := range d.Models {
		if d.Models[i].Name == o.Model {
			return true
		}
	}
	return false
}

func hasModel(_ *Demand, o *Offer) string { return "has " + o.Model }

func asksModel(d *Demand) string {
	names := make([]string, len(d.Models))
	for i := range d.Models {
		names[i] = d.Models[i].Name
	}
	return "accepts " + anyOf(names)
}

// enoughMemory: a GPU has the memory that the job needs.
func enoughMemory(d *Demand, o *Offer) bool { return o.MemoryMiB >= d.MinMemoryMiB }

func hasMemory(_ *Demand, o *Offer) string { return fmt.Sprintf("has %d MiB", o.MemoryMiB) }

func asksMemory(d *Demand) string { return fmt.Sprintf("needs %d MiB", d.MinMemoryMiB) }

// takesToken: the supplier takes what the job is paid in.
func takesToken(d *Demand, o *Offer) bool { return slices.Contains(o.Tokens, d.Token) }

func hasTokens(_ *Demand, o *Offer) string { return "takes " + anyOf(o.Tokens) }

func asksToken(d *Demand) string { return "pays in " + d.Token }

// inRegion: the GPUs are where the job may run.
func inRegion(d *Demand, o *Offer) bool {
	return len(d.Regions) == 0 || slices.Contains(d.Regions, o.Region)
}

func hasRegion(_ *Demand, o *Offer) string { return "is in " + o.Region }

func asksRegion(d *Demand) string { return "accepts " + anyOf(d.Regions) }

// givesTier: the supplier gives leases of the job's tier.
func givesTier(d *Demand, o *Offer) bool { return slices.Contains(o.Tiers, d.Tier) }

func hasTiers(_ *Demand, o *Offer) string { return "is " + anyOf(o.Tiers) }

func asksTier(d *Demand) string { return "asks for " + d.Tier }

// isolates: leases are kept apart as strongly as the job asks, or more.
func isolates(d *Demand, o *Offer) bool { return o.Isolation >= d.Isolation }

func hasIsolation(_ *Demand, o *Offer) string { return "gives " + o.Isolation.String() }

func asksIsolation(d *Demand) string { return "asks for " + d.Isolation.String() }

// reaches: the pods may reach what the job needs.
func reaches(d *Demand, o *Offer) bool { return o.Egress >= d.Egress }

func hasEgress(_ *Demand, o *Offer) string { return "allows " + o.Egress.String() }

func asksEgress(d *Demand) string { return "needs " + d.Egress.String() }

// inTerms: the supplier gives leases of such a length.
func inTerms(d *Demand, o *Offer) bool { return o.Shortest <= d.Duration && d.Duration <= o.Longest }

func hasTerms(_ *Demand, o *Offer) string {
	return fmt.Sprintf("gives terms from %s to %s", o.Shortest, o.Longest)
}

func asksDuration(d *Demand) string { return "runs for " + d.Duration.String() }

// endsInTime: the term is over before the supplier needs the GPUs back, however late it begins.
func endsInTime(d *Demand, o *Offer) bool {
	return o.Until.IsZero() || !d.At.Add(d.Start+d.Duration).After(o.Until)
}

func hasUntil(_ *Demand, o *Offer) string {
	return "needs its GPUs back at " + o.Until.UTC().Format(time.RFC3339)
}

// staked: the supplier has the stake that the market asks for.
func staked(_ *Demand, o *Offer) bool { return !o.Unstaked }

func hasNoStake(*Demand, *Offer) string { return "has less at stake than the market asks for" }

// reputable: the supplier has the reputation that the job asks for.
func reputable(d *Demand, o *Offer) bool { return o.Reputation >= d.MinReputation }

func hasReputation(_ *Demand, o *Offer) string { return "has a reputation of " + percent(o.Reputation) }

func asksReputation(d *Demand) string { return "asks for " + percent(d.MinReputation) }

// underPrice: a GPU costs no more than the job bids.
func underPrice(d *Demand, o *Offer) bool { return o.Price <= d.MaxPrice }

func hasPrice(_ *Demand, o *Offer) string { return fmt.Sprintf("asks %s USD", o.Price) }

func asksPrice(d *Demand) string { return fmt.Sprintf("bids %s USD", d.MaxPrice) }

// underBudget: the budget covers all GPUs for the whole term.
func underBudget(d *Demand, o *Offer) bool { return d.Affordable == 0 || o.Price <= d.Affordable }

func asksBudget(d *Demand) string {
	return fmt.Sprintf("has a budget for %s USD", d.Affordable)
}

// permitted: the supplier serves this buyer, and lets this image run.
func permitted(d *Demand, o *Offer) bool { return serves(d, o) && ImageAllowed(o.Allowed, d.Image) }

func serves(d *Demand, o *Offer) bool {
	return len(o.Buyers) == 0 || slices.Contains(o.Buyers, d.Buyer)
}

func hasPolicy(d *Demand, o *Offer) string {
	if !serves(d, o) {
		return "is for chosen buyers"
	}
	return "runs images of " + anyOf(o.Allowed)
}

func asksPolicy(d *Demand) string { return "runs " + d.Image }

// ImageAllowed says whether an image is of one of the repositories, or of one whose name begins with one that ends with a slash. Any is, if
// none is named.
func ImageAllowed(repositories []string, image string) bool {
	if len(repositories) == 0 {
		return true
	}
	name, _, _ := strings.Cut(image, "@")
	if colon := strings.LastIndexByte(name, ':'); colon > strings.LastIndexByte(name, '/') {
		name = name[:colon]
	}
	return slices.ContainsFunc(repositories, func(allowed string) bool {
		return name == allowed || strings.HasSuffix(allowed, "/") && strings.HasPrefix(name, allowed)
	})
}

// hasRoom: every worker finds its GPUs on one node; of a gang that may be split, one worker does.
func hasRoom(d *Demand, o *Offer) bool {
	need := d.Workers
	if d.split() {
		need = 1
	}
	return d.Workers > 0 && o.Slots(d.PerWorker) >= need
}

func hasSlots(d *Demand, o *Offer) string {
	return fmt.Sprintf("has room for %d of %s", o.room(d), plural(d.Workers, "worker", "workers"))
}

// anyOf lists alternatives: two of them, and how many more.
func anyOf(names []string) string {
	switch n := len(names); {
	case n == 0:
		return "any"
	case n <= most:
		return strings.Join(names, " or ")
	default:
		return fmt.Sprintf("%s or %d others", strings.Join(names[:most-1], ", "), n-most+1)
	}
}

// most is how many alternatives are named.
const most = 3

// percent writes parts per million with at most two decimals, rounded down, so that nothing looks like what it does not reach.
func percent(ppm uint32) string {
	text := fmt.Sprintf("%d.%02d", ppm/10_000, ppm%10_000/100)
	return strings.TrimSuffix(strings.TrimRight(text, "0"), ".") + " %"
}
