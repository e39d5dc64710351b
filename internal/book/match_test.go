// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/money"
)

// start is when the tests' demands are decided.
var start = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

func usd(tb testing.TB, text string) money.USD {
	tb.Helper()
	price, err := money.ParseUSD(text)
	if err != nil {
		tb.Fatal(err)
	}
	return price
}

func models(names ...string) []Model {
	list := make([]Model, len(names))
	for i, name := range names {
		list[i] = Model{Name: name}
	}
	return list
}

func demand(tb testing.TB, change func(*Demand)) *Demand {
	tb.Helper()
	d := &Demand{
		UID: "8f0c", At: start, Models: models("h100", "a100"), Workers: 2, PerWorker: 4, Token: "IO",
		MaxPrice: usd(tb, "2.00"), Tier: "Interruptible", Duration: time.Hour, Start: 10 * time.Minute, Weights: DefaultWeights(),
	}
	if change != nil {
		change(d)
	}
	return d
}

func offer(tb testing.TB, name, price string, change func(*Offer)) Offer {
	tb.Helper()
	o := Offer{
		Name: name, Model: "h100", MemoryMiB: 81920, Region: "eu-north", Price: usd(tb, price), Tokens: []string{"IO", "USDC"},
		Tiers: []string{"Interruptible"}, Egress: Registry, Shortest: time.Minute, Longest: 24 * time.Hour,
		ValidUntil: start.Add(time.Minute), Reputation: PPM / 2, Shapes: []Shape{{Free: 8, Nodes: 2}},
	}
	if change != nil {
		change(&o)
	}
	return o
}

// bookOf returns a book of the offers with their held gangs.
func bookOf(offers []Offer) *Book {
	b := New()
	for i := range offers {
		b.Upsert(offers[i])
		for j, gang := range offers[i].Held {
			b.Promise(fmt.Sprintf("%s/%d", offers[i].Name, j), []Promise{{Offer: offers[i].Name, Gang: gang}}, time.Time{})
		}
	}
	return b
}

// decide judges the demand on the offers, and checks that a book of them finds the same.
func decide(tb testing.TB, d *Demand, offers []Offer) Decision {
	tb.Helper()
	got := Judge(d, offers)
	b := bookOf(offers)
	if diff := cmp.Diff(names(got.Fills), names(b.Match(d, nil))); diff != "" {
		tb.Errorf("what the book matches (-judged +matched):\n%s", diff)
	}
	indexed := b.Judge(d)
	if got.Explain() != indexed.Explain() || got.filters() != indexed.filters() {
		tb.Errorf("the book says %q, its offers say %q", indexed.Explain(), got.Explain())
	}
	return got
}

// names writes fills as "offer×workers".
func names(fills []Fill) []string {
	list := make([]string, 0, len(fills))
	for _, fill := range fills {
		list = append(list, fmt.Sprintf("%s×%d", fill.Offer.Name, fill.Workers))
	}
	return list
}

func winner(d Decision) string {
	if d.Won() == nil {
		return ""
	}
	return d.Won().Name
}

// matchCase is a demand among offers, and what must come of it.
type matchCase struct {
	demand  func(*Demand)
	offers  []Offer
	want    string // the winner's name, or none
	explain string // why it won, or why none did
}

func (tc matchCase) run(t *testing.T) {
	got := decide(t, demand(t, tc.demand), tc.offers)
	if diff := cmp.Diff(tc.want, winner(got)); diff != "" {
		t.Errorf("winner (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(tc.explain, got.Explain()); diff != "" {
		t.Errorf("explanation (-want +got):\n%s", diff)
	}
}

func reputed(ppm uint32) func(*Offer) { return func(o *Offer) { o.Reputation = ppm } }

func shaped(shapes ...Shape) func(*Offer) { return func(o *Offer) { o.Shapes = shapes } }

func TestMatch(t *testing.T) {
	cases := map[string]matchCase{
		"the only offer wins": {
			offers:  []Offer{offer(t, "oslo", "1.85", nil)},
			want:    "oslo",
			explain: "the only offer that fits, at 1.85 USD per GPU-hour",
		},
		"among equals in everything else the cheapest wins": {
			offers:  []Offer{offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.84", nil), offer(t, "paris", "1.86", nil)},
			want:    "rome",
			explain: "the cheapest of 3 that fit, at 1.84 USD per GPU-hour",
		},
		"a better reputation outweighs a slightly lower price": {
			offers:  []Offer{offer(t, "oslo", "1.85", reputed(900_000)), offer(t, "rome", "1.80", reputed(800_000))},
			want:    "oslo",
			explain: "the best of 2 that fit, at 1.85 USD per GPU-hour: its reputation outweighs the cheapest, at 1.80",
		},
		"a better reputation does not outweigh a much lower price": {
			offers:  []Offer{offer(t, "oslo", "1.85", reputed(900_000)), offer(t, "rome", "1.60", reputed(800_000))},
			want:    "rome",
			explain: "the cheapest of 2 that fit, at 1.60 USD per GPU-hour",
		},
		"without weights the price alone counts": {
			demand: func(d *Demand) { d.Weights = Weights{} },
			offers: []Offer{offer(t, "oslo", "1.85", reputed(PPM)), offer(t, "rome", "1.849999999", func(o *Offer) {
				o.Reputation, o.Shapes = 0, []Shape{{Free: 7, Nodes: 1}, {Free: 15, Nodes: 1}}
			})},
			want:    "rome",
			explain: "the cheapest of 2 that fit, at 1.849999999 USD per GPU-hour",
		},
		"a penalty makes a region dearer": {
			demand:  func(d *Demand) { d.Penalties = []Penalty{{Region: "us-east", PPM: 100_000}} },
			offers:  []Offer{offer(t, "oslo", "1.85", nil), offer(t, "york", "1.70", func(o *Offer) { o.Region = "us-east" })},
			want:    "oslo",
			explain: "the best of 2 that fit, at 1.85 USD per GPU-hour: its region outweighs the cheapest, at 1.70",
		},
		"a slow model must be so much cheaper": {
			demand:  func(d *Demand) { d.Models = []Model{{Name: "h100"}, {Name: "a100", Speed: 450_000}} },
			offers:  []Offer{offer(t, "oslo", "1.85", nil), offer(t, "old", "0.90", func(o *Offer) { o.Model = "a100" })},
			want:    "oslo",
			explain: "the best of 2 that fit, at 1.85 USD per GPU-hour: its speed outweighs the cheapest, at 0.90",
		},
		"a whole node stays whole for a little more": {
			demand:  func(d *Demand) { d.Workers, d.PerWorker = 1, 1 },
			offers:  []Offer{offer(t, "whole", "1.85", nil), offer(t, "rest", "1.90", shaped(Shape{Free: 1, Nodes: 1}))},
			want:    "rest",
			explain: "the best of 2 that fit, at 1.90 USD per GPU-hour: its packing outweighs the cheapest, at 1.85",
		},
		"a gang that fills whole nodes breaks none": {
			demand:  func(d *Demand) { d.Workers, d.PerWorker = 2, 8 },
			offers:  []Offer{offer(t, "whole", "1.85", nil), offer(t, "other", "1.86", nil)},
			want:    "whole",
			explain: "the cheapest of 2 that fit, at 1.85 USD per GPU-hour",
		},
		"an image at hand is worth a little": {
			demand: func(d *Demand) { d.Image = "ray:2.52" },
			offers: []Offer{
				offer(t, "cold", "1.85", func(o *Offer) { o.Images = []string{"other"} }),
				offer(t, "warm", "1.87", func(o *Offer) { o.Images = []string{"other", "ray:2.52"} }),
			},
			want:    "warm",
			explain: "the best of 2 that fit, at 1.87 USD per GPU-hour: its cached image outweighs the cheapest, at 1.85",
		},
		"the offer that refused last loses to a dearer one": {
			demand:  func(d *Demand) { d.Refused = []string{"rome"} },
			offers:  []Offer{offer(t, "oslo", "1.99", nil), offer(t, "rome", "1.84", nil)},
			want:    "oslo",
			explain: "the best of 1 that fit and did not refuse before, at 1.99 USD per GPU-hour",
		},
		"the offer that refused last is better than none": {
			demand:  func(d *Demand) { d.Refused = []string{"rome"} },
			offers:  []Offer{offer(t, "rome", "1.84", nil)},
			want:    "rome",
			explain: "the only offer that fits, at 1.84 USD per GPU-hour",
		},
		"a price at the cap fits": {
			offers:  []Offer{offer(t, "oslo", "2", reputed(0))},
			want:    "oslo",
			explain: "the only offer that fits, at 2.00 USD per GPU-hour",
		},
		"a job that names no model takes any": {
			demand:  func(d *Demand) { d.Models, d.MinMemoryMiB = nil, 40_000 },
			offers:  []Offer{offer(t, "small", "0.10", func(o *Offer) { o.Model, o.MemoryMiB = "t4", 15_360 }), offer(t, "oslo", "1.85", nil)},
			want:    "oslo",
			explain: "the only offer that fits, at 1.85 USD per GPU-hour",
		},
		"a term that ends when the GPUs are needed back fits": {
			offers:  []Offer{offer(t, "oslo", "1.85", func(o *Offer) { o.Until = start.Add(70 * time.Minute) })},
			want:    "oslo",
			explain: "the only offer that fits, at 1.85 USD per GPU-hour",
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

func TestMatchSaysWhyNothingFits(t *testing.T) {
	cases := map[string]matchCase{
		"an empty market says so": {explain: "The market has no offer"},
		"a market of offers that ended says so": {
			offers:  []Offer{offer(t, "oslo", "1.85", func(o *Offer) { o.ValidUntil = start })},
			explain: "The market has no offer that is valid: 1 is not renewed by their suppliers",
		},
		"the nearest fix names the cheapest of those that fail on price alone": {
			demand: func(d *Demand) { d.MaxPrice = usd(t, "1.50") },
			offers: []Offer{
				offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.84", nil),
				offer(t, "lima", "1.70", func(o *Offer) { o.Model = "t4" }),
			},
			explain: "2 of 3 offers fail only on price: the cheapest asks 1.84 USD, the job bids 1.50 USD (rejected: 1 on model, 2 on price)",
		},
		"a gang is placed as a whole or not at all": {
			demand:  func(d *Demand) { d.Workers = 5 },
			offers:  []Offer{offer(t, "oslo", "1.85", nil)},
			explain: "1 of 1 offer fails only on capacity: the largest has room for 4 of 5 workers (rejected: 1 on capacity)",
		},
		"GPUs on different nodes do not add up to one worker": {
			demand:  func(d *Demand) { d.Workers, d.PerWorker = 1, 4 },
			offers:  []Offer{offer(t, "oslo", "1.85", shaped(Shape{Free: 3, Nodes: 100}))},
			explain: "1 of 1 offer fails only on capacity: the largest has room for 0 of 1 worker (rejected: 1 on capacity)",
		},
		"what is held is not sold again": {
			offers: []Offer{offer(t, "oslo", "1.85", func(o *Offer) {
				o.Held = []Gang{{Workers: 1, PerWorker: 8}, {Workers: 1, PerWorker: 1}}
			})},
			explain: "1 of 1 offer fails only on capacity: the largest has room for 1 of 2 workers (rejected: 1 on capacity)",
		},
		"the nearest offer is named when every offer breaks several rules": {
			demand: func(d *Demand) { d.Token, d.Tier = "USDT", "Firm" },
			offers: []Offer{offer(t, "oslo", "1.85", nil), offer(t, "lima", "1.84", nil), offer(t, "far", "9", func(o *Offer) { o.Model = "t4" })},
			explain: "None of 3 offers fits: the nearest fails on token and tier: it takes IO or USDC, it is Interruptible " +
				"(rejected: 1 on model, 2 on token)",
		},
		"a gang that may be split says how much of it finds room": {
			demand: func(d *Demand) { d.Parts, d.Workers = 4, 9 },
			offers: []Offer{
				offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.85", nil), offer(t, "old", "1.85", func(o *Offer) { o.Model = "a100" }),
			},
			explain: "The 3 offers that fit together have room for 8 of 9 workers",
		},
		"a gang that would need more parts says so": {
			demand:  func(d *Demand) { d.Parts, d.Workers = 2, 9 },
			offers:  []Offer{offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.85", nil), offer(t, "lima", "1.85", nil)},
			explain: "Of the 3 offers that fit, no 2 together have room for more than 8 of 9 workers",
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

func TestEachRuleRejectsAndNamesItsFix(t *testing.T) {
	cases := map[Rule]struct {
		demand func(*Demand)
		offer  func(*Offer)
		want   string
	}{
		RuleValidity: {offer: func(o *Offer) { o.ValidUntil = start }, want: "the cheapest is not renewed by its supplier"},
		RuleModel:    {demand: func(d *Demand) { d.Models = models("b200", "b300") }, want: "the cheapest has h100, the job accepts b200 or b300"},
		RuleMemory:   {demand: func(d *Demand) { d.MinMemoryMiB = 100_000 }, want: "the cheapest has 81920 MiB, the job needs 100000 MiB"},
		RuleToken:    {demand: func(d *Demand) { d.Token = "SOL" }, want: "the cheapest takes IO or USDC, the job pays in SOL"},
		RuleRegion: {
			demand: func(d *Demand) { d.Regions = []string{"us-east", "us-west", "ap-south", "sa-east"} },
			want:   "the cheapest is in eu-north, the job accepts us-east, us-west or 2 others",
		},
		RuleTier:      {demand: func(d *Demand) { d.Tier = "Firm" }, want: "the cheapest is Interruptible, the job asks for Firm"},
		RuleIsolation: {demand: func(d *Demand) { d.Isolation = VM }, want: "the cheapest gives Container, the job asks for VM"},
		RuleEgress:    {demand: func(d *Demand) { d.Egress = Internet }, want: "the cheapest allows Registry, the job needs Internet"},
		RuleDuration: {
			demand: func(d *Demand) { d.Duration = 25 * time.Hour },
			want:   "the cheapest gives terms from 1m0s to 24h0m0s, the job runs for 25h0m0s",
		},
		RuleWindow: {
			offer: func(o *Offer) { o.Until = start.Add(70*time.Minute - 1) },
			want:  "the cheapest needs its GPUs back at 2027-03-01T13:09:59Z, the job runs for 1h0m0s",
		},
		RuleStake: {offer: func(o *Offer) { o.Unstaked = true }, want: "the cheapest has less at stake than the market asks for"},
		RuleReputation: {
			demand: func(d *Demand) { d.MinReputation = 999_999 },
			want:   "the cheapest has a reputation of 50 %, the job asks for 99.99 %",
		},
		RulePrice:  {demand: func(d *Demand) { d.MaxPrice = usd(t, "1.849999999") }, want: "the cheapest asks 1.85 USD, the job bids 1.849999999 USD"},
		RuleBudget: {demand: func(d *Demand) { d.Affordable = usd(t, "1.80") }, want: "the cheapest asks 1.85 USD, the job has a budget for 1.80 USD"},
		RulePolicy: {
			demand: func(d *Demand) { d.Image = "acme/ray:2" }, offer: func(o *Offer) { o.Allowed = []string{"rayproject/ray", "ghcr.io/acme/"} },
			want: "the cheapest runs images of rayproject/ray or ghcr.io/acme/, the job runs acme/ray:2",
		},
		RuleCapacity: {demand: func(d *Demand) { d.Workers = 128 }, want: "the largest has room for 4 of 128 workers"},
	}
	if len(cases) != int(ruleCount) || len(fixOrder()) != int(ruleCount) {
		t.Fatalf("%d rules are tested and %d can be a fix, want %d", len(cases), len(fixOrder()), ruleCount)
	}
	for r, tc := range cases {
		t.Run(r.String(), func(t *testing.T) {
			// One offer that breaks another rule too, so that the broken ones are not the whole market.
			other := offer(t, "else", "1.00", tc.offer)
			other.Shapes, other.Model, other.ValidUntil = []Shape{{Free: 1, Nodes: 1}}, "t4", start.Add(time.Minute)
			got := decide(t, demand(t, tc.demand), []Offer{offer(t, "oslo", "1.85", tc.offer), offer(t, "rome", "1.86", tc.offer), other})
			if got.Won() != nil || got.Fix == nil || !slices.Equal(got.Fix.Rules, []Rule{r}) || got.Fix.Offers != 2 {
				t.Fatalf("decision %+v with fix %+v, want two offers that break %s alone", got, got.Fix, r)
			}
			want := fmt.Sprintf("2 of 3 offers fail only on %s: %s (rejected: ", r, tc.want)
			if text := got.Explain(); !strings.HasPrefix(text, want) {
				t.Errorf("explanation\n%q, want\n%q…", text, want)
			}
		})
	}
}

// The longest names that the API allows, and every rule broken by some offer.
func TestAnExplanationIsBounded(t *testing.T) {
	long := func(n int) string { return strings.Repeat("x", n) }
	d := demand(t, func(d *Demand) {
		d.Models, d.Regions, d.Token, d.Tier, d.MinMemoryMiB = nil, nil, long(10), "Interruptible", 1<<31
		for i := range 16 {
			d.Models = append(d.Models, Model{Name: long(38) + strconv.Itoa(i)})
			d.Regions = append(d.Regions, long(30)+strconv.Itoa(i))
		}
		d.Isolation, d.Egress, d.Duration, d.MinReputation, d.MaxPrice = Confidential, Internet, 720*time.Hour, PPM, 1
	})
	offers := make([]Offer, 1000)
	for i := range offers {
		offers[i] = offer(t, fmt.Sprintf("%s/%s-%d", long(63), long(249), i), "999999999.999999", func(o *Offer) {
			o.Model, o.Region, o.Tokens, o.Unstaked, o.Until = long(40), long(32), []string{"A", "B", "C", "D"}, true, start
			o.Tiers, o.Shapes = []string{"Firm"}, nil
			if i > 0 {
				o.ValidUntil = start
			}
		})
	}
	got := decide(t, d, offers)
	if n := len(got.Explain()); n > 1024 {
		t.Errorf("the explanation has %d bytes, want at most 1024", n)
	}
	if len(got.Fix.Rules) < 10 {
		t.Errorf("the nearest offer breaks %v: the longest message was not tried", got.Fix.Rules)
	}
}

func TestASplitGangTakesTheCheapestPartsOfOneModel(t *testing.T) {
	offers := []Offer{
		offer(t, "oslo", "1.85", shaped(Shape{Free: 8, Nodes: 1})),
		offer(t, "rome", "1.80", shaped(Shape{Free: 4, Nodes: 1})),
		offer(t, "lima", "1.90", nil),
		offer(t, "old", "1.00", func(o *Offer) { o.Model, o.Shapes = "a100", []Shape{{Free: 8, Nodes: 1}} }),
	}
	cases := map[string]struct {
		change func(*Demand)
		want   []string
	}{
		"the cheapest parts first":           {func(d *Demand) { d.Workers = 5 }, []string{"rome×1", "oslo×2", "lima×2"}},
		"one model has it all":               {func(d *Demand) { d.Workers = 2 }, []string{"old×2"}},
		"all or nothing":                     {func(d *Demand) { d.Workers = 8 }, []string{}},
		"a speed can make the other cheaper": {func(d *Demand) { d.Workers, d.Models[1].Speed = 2, 400_000 }, []string{"oslo×2"}},
		"not split where one has room":       {func(d *Demand) { d.Workers = 4 }, []string{"lima×4"}},
		"any model":                          {func(d *Demand) { d.Workers, d.Models = 5, nil }, []string{"rome×1", "oslo×2", "lima×2"}},
		"not split, one offer has all":       {func(d *Demand) { d.Workers, d.Parts = 4, 1 }, []string{"lima×4"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := demand(t, func(d *Demand) { d.Parts = 4 })
			tc.change(d)
			if diff := cmp.Diff(tc.want, names(decide(t, d, offers).Fills)); diff != "" {
				t.Errorf("fills (-want +got):\n%s", diff)
			}
		})
	}
}

// wins counts how often each of the offers is drawn.
func wins(tb testing.TB, jobs int, offers []Offer) map[string]int {
	tb.Helper()
	count := map[string]int{}
	b := bookOf(offers)
	for i := range jobs {
		fills := b.Match(demand(tb, func(d *Demand) { d.UID = fmt.Sprintf("job-%d", i) }), nil)
		count[fills[0].Offer.Name]++
	}
	return count
}

// near fails the test when a count is more than five standard deviations away from jobs × share.
func near(t *testing.T, what string, got, jobs int, numerator, denominator int) {
	t.Helper()
	want := jobs * numerator / denominator
	variance := want * (denominator - numerator) / denominator
	if off := got - want; off*off > 25*variance {
		t.Errorf("%s won %d of %d draws, want about %d", what, got, jobs, want)
	}
}

func TestTiesFavourNoSupplier(t *testing.T) {
	const jobs = 3000
	count := wins(t, jobs, []Offer{offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.85", nil), offer(t, "lima", "1.85", nil)})
	for name, n := range count {
		near(t, name, n, jobs, 1, 3)
	}
	if len(count) != 3 {
		t.Errorf("only %v ever won", count)
	}
}

// A supplier of half of the GPUs gets half of the draws, as one offer or as eight.
func TestSplittingAnOfferGainsNothing(t *testing.T) {
	const jobs = 3000
	whole := offer(t, "honest", "1.85", shaped(Shape{Free: 8, Nodes: 8}))
	count := wins(t, jobs, []Offer{whole, offer(t, "one", "1.85", shaped(Shape{Free: 8, Nodes: 8}))})
	near(t, "one", count["one"], jobs, 1, 2)
	const pieces = 8
	parts := append(make([]Offer, 0, pieces+1), whole)
	for i := range pieces {
		parts = append(parts, offer(t, fmt.Sprintf("part-%d", i), "1.85", shaped(Shape{Free: 8, Nodes: 1})))
	}
	count = wins(t, jobs, parts)
	near(t, "the parts together", jobs-count["honest"], jobs, 1, 2)
}

func TestDecisionDependsOnTheSetAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	won := 0
	for range 1000 {
		d, offers := randomMarket(rng)
		first := decide(t, d, offers)
		want, explained := first.Record(DigestOf(offers)), first.Explain()
		if len(first.Fills) > 0 {
			won++
		}
		rng.Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		second := decide(t, d, offers)
		if diff := cmp.Diff(want, second.Record(DigestOf(offers))); diff != "" {
			t.Fatalf("another order gave another decision (-first +second):\n%s", diff)
		}
		if second.Explain() != explained {
			t.Fatalf("another order says %q, want %q", second.Explain(), explained)
		}
	}
	if won < 150 {
		t.Fatalf("only %d markets had a winner: the property was hardly tried", won)
	}
}

func TestCountsSumToTheOffers(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 3000 {
		d, offers := randomMarket(rng)
		got := Judge(d, offers)
		sum := got.Fit
		for _, n := range got.Rejected {
			sum += n
		}
		if sum != len(offers) || got.Offers != len(offers) {
			t.Fatalf("%d offers are accounted for of %d", sum, len(offers))
		}
		if (len(got.Fills) == 0) != (got.By == ByNothing) || len(got.Fills) == 0 && got.Fit == 0 && len(offers) > 0 && got.Fix == nil {
			t.Fatalf("inconsistent decision %+v", got)
		}
	}
}

func FuzzMatch(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		d, offers := randomMarket(rand.New(rand.NewPCG(a, b)))
		got := decide(t, d, offers)
		if got.Explain() == "" || len(got.Explain()) > 1024 {
			t.Fatalf("explanation %q", got.Explain())
		}
		if differences := Replay(got.Record(DigestOf(offers)), d, offers); differences != nil {
			t.Fatalf("the replay differs: %v", differences)
		}
	})
}

func TestNothingForNobody(t *testing.T) {
	o := offer(t, "oslo", "1.85", nil)
	if got := o.Slots(0); got != 0 {
		t.Errorf("Slots(0) = %d, want 0", got)
	}
	for _, change := range []func(*Demand){func(d *Demand) { d.Workers = 0 }, func(d *Demand) { d.PerWorker = 0 }, func(d *Demand) { d.Workers = -1 }} {
		for _, parts := range []int{0, 1, 4} {
			d := demand(t, change)
			d.Parts = parts
			if got := decide(t, d, []Offer{o}); got.Won() != nil {
				t.Errorf("%d workers of %d GPUs got %s", d.Workers, d.PerWorker, got.Won().Name)
			}
		}
	}
}

func TestNames(t *testing.T) {
	got := []string{
		Isolation(0).String(), Confidential.String(), Isolation(9).String(), Egress(0).String(), Internet.String(), Rule(99).String(),
		Edge(0).String(), ByDraw.String(), Edge(9).String(), percent(0), percent(5_000), percent(PPM), percent(123_456),
	}
	want := []string{
		"Container", "Confidential", "unknown", "None", "Internet", "unknown", "Nothing", "Draw", "unknown", "0 %", "0.5 %", "100 %", "12.34 %",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}
