// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/money"
)

func usd(tb testing.TB, text string) money.USD {
	tb.Helper()
	price, err := money.ParseUSD(text)
	if err != nil {
		tb.Fatal(err)
	}
	return price
}

func demand(tb testing.TB, change func(*Demand)) *Demand {
	tb.Helper()
	d := &Demand{
		UID: "8f0c", Models: []string{"h100", "a100"}, Workers: 2, PerWorker: 4, Token: "IO",
		MaxPrice: usd(tb, "2.00"), Tier: "Interruptible", Duration: time.Hour,
	}
	if change != nil {
		change(d)
	}
	return d
}

func offer(tb testing.TB, name, price string, change func(*Offer)) Offer {
	tb.Helper()
	o := Offer{
		Name: name, Model: "h100", Region: "eu-north", Price: usd(tb, price), Tokens: []string{"IO", "USDC"},
		Tiers: []string{"Interruptible"}, Egress: Registry, Shortest: time.Minute, Longest: 24 * time.Hour,
		Shapes: []Shape{{Free: 8, Nodes: 2}},
	}
	if change != nil {
		change(&o)
	}
	return o
}

// matchCase is a demand among offers, and what must come of it.
type matchCase struct {
	demand  func(*Demand)
	offers  []Offer
	want    string // the winner's name, or none
	explain string // why it won, or why none did
}

func (tc matchCase) run(t *testing.T) {
	got := Match(demand(t, tc.demand), tc.offers)
	if diff := cmp.Diff(tc.want, winner(got)); diff != "" {
		t.Errorf("winner (-want +got):\n%s", diff)
	}
	explanation := got.Why
	if got.Won == nil {
		explanation = got.Explain()
	}
	if diff := cmp.Diff(tc.explain, explanation); diff != "" {
		t.Errorf("explanation (-want +got):\n%s", diff)
	}
}

func TestMatch(t *testing.T) {
	cases := map[string]matchCase{
		"the only offer wins": {
			offers:  []Offer{offer(t, "oslo", "1.85", nil)},
			want:    "oslo",
			explain: "the only offer that fits, at 1.85 USD per GPU-hour",
		},
		"the cheapest wins": {
			offers:  []Offer{offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.84", nil), offer(t, "paris", "1.86", nil)},
			want:    "rome",
			explain: "the cheapest of 3 that fit, at 1.84 USD per GPU-hour",
		},
		"among equal prices the tightest fit wins": {
			offers: []Offer{
				offer(t, "large", "1.85", func(o *Offer) { o.Shapes = []Shape{{Free: 8, Nodes: 9}} }),
				offer(t, "small", "1.85", func(o *Offer) { o.Shapes = []Shape{{Free: 4, Nodes: 2}} }),
			},
			want:    "small",
			explain: "the tightest fit among the cheapest of 2, at 1.85 USD per GPU-hour",
		},
		"the offer that refused last loses to a dearer one": {
			demand:  func(d *Demand) { d.Refused = "rome" },
			offers:  []Offer{offer(t, "oslo", "1.99", nil), offer(t, "rome", "1.84", nil)},
			want:    "oslo",
			explain: "the best of 1 that fit and did not refuse before, at 1.99 USD per GPU-hour",
		},
		"the offer that refused last is better than none": {
			demand:  func(d *Demand) { d.Refused = "rome" },
			offers:  []Offer{offer(t, "rome", "1.84", nil)},
			want:    "rome",
			explain: "the only offer that fits, at 1.84 USD per GPU-hour",
		},
		"a price at the cap fits": {
			offers:  []Offer{offer(t, "oslo", "2", nil)},
			want:    "oslo",
			explain: "the only offer that fits, at 2.00 USD per GPU-hour",
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

func TestMatchSaysWhyNothingFits(t *testing.T) {
	cases := map[string]matchCase{
		"an empty market says so": {explain: "The market has no offer"},
		"the nearest fix names the cheapest of those that fail on price alone": {
			demand: func(d *Demand) { d.MaxPrice = usd(t, "1.50") },
			offers: []Offer{
				offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.84", nil),
				offer(t, "lima", "1.70", func(o *Offer) { o.Model = "t4" }),
			},
			explain: "None of 3 offers fits: rejected 1 on model, 2 on price; 2 of 3 offers fail only on price: the cheapest is 1.84 USD",
		},
		"a gang is placed as a whole or not at all": {
			demand:  func(d *Demand) { d.Workers = 5 },
			offers:  []Offer{offer(t, "oslo", "1.85", nil)},
			explain: "None of 1 offer fits: rejected 1 on capacity; 1 of 1 offer fails only on capacity: the largest has room for 4 of 5 workers",
		},
		"GPUs on different nodes do not add up to one worker": {
			demand:  func(d *Demand) { d.Workers, d.PerWorker = 1, 4 },
			offers:  []Offer{offer(t, "oslo", "1.85", func(o *Offer) { o.Shapes = []Shape{{Free: 3, Nodes: 100}} })},
			explain: "None of 1 offer fits: rejected 1 on capacity; 1 of 1 offer fails only on capacity: the largest has room for 0 of 1 workers",
		},
		"what is held is not sold again": {
			offers: []Offer{offer(t, "oslo", "1.85", func(o *Offer) {
				o.Held = []Gang{{Workers: 1, PerWorker: 8}, {Workers: 1, PerWorker: 1}}
			})},
			explain: "None of 1 offer fits: rejected 1 on capacity; 1 of 1 offer fails only on capacity: the largest has room for 1 of 2 workers",
		},
		"no single change helps when every offer breaks two rules": {
			demand:  func(d *Demand) { d.Token, d.Tier = "USDT", "Firm" },
			offers:  []Offer{offer(t, "oslo", "1.85", nil)},
			explain: "None of 1 offer fits: rejected 1 on token",
		},
	}
	for name, tc := range cases {
		t.Run(name, tc.run)
	}
}

func winner(d Decision) string {
	if d.Won == nil {
		return ""
	}
	return d.Won.Name
}

func TestEachRuleRejectsAndNamesItsFix(t *testing.T) {
	cases := map[Rule]struct {
		demand func(*Demand)
		has    string
	}{
		RuleModel:     {func(d *Demand) { d.Models = []string{"b200"} }, "the cheapest has h100"},
		RuleToken:     {func(d *Demand) { d.Token = "SOL" }, "the cheapest takes IO or USDC"},
		RuleRegion:    {func(d *Demand) { d.Regions = []string{"us-east"} }, "the cheapest is in eu-north"},
		RuleTier:      {func(d *Demand) { d.Tier = "Firm" }, "the cheapest is Interruptible"},
		RuleIsolation: {func(d *Demand) { d.Isolation = VM }, "the cheapest gives Container"},
		RuleEgress:    {func(d *Demand) { d.Egress = Internet }, "the cheapest allows Registry"},
		RuleDuration:  {func(d *Demand) { d.Duration = 25 * time.Hour }, "the cheapest takes terms from 1m0s to 24h0m0s"},
		RulePrice:     {func(d *Demand) { d.MaxPrice = 1 }, "the cheapest is 1.85 USD"},
		RuleCapacity:  {func(d *Demand) { d.Workers = 128 }, "the largest has room for 4 of 128 workers"},
	}
	if len(cases) != int(ruleCount) {
		t.Fatalf("%d rules are tested, want %d", len(cases), ruleCount)
	}
	offers := []Offer{offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.86", nil)}
	for rule, tc := range cases {
		t.Run(rule.String(), func(t *testing.T) {
			got := Match(demand(t, tc.demand), offers)
			want := Decision{Offers: 2, Fix: &Fix{Rule: rule, Offers: 2, Has: tc.has}}
			want.Rejected[rule] = 2
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("decision (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTiesFavourNoSupplier(t *testing.T) {
	offers := []Offer{offer(t, "oslo", "1.85", nil), offer(t, "rome", "1.85", nil), offer(t, "lima", "1.85", nil)}
	const jobs = 3000
	wins := map[string]int{}
	for i := range jobs {
		wins[winner(Match(demand(t, func(d *Demand) { d.UID = fmt.Sprintf("job-%d", i) }), offers))]++
	}
	for _, o := range offers {
		if n := wins[o.Name]; n < jobs/3-150 || n > jobs/3+150 { // more than five standard deviations
			t.Errorf("%s won %d of %d ties, want about a third", o.Name, n, jobs)
		}
	}
}

// randomMarket draws a demand and offers of which many nearly fit, with equal prices and sizes among them.
func randomMarket(rng *rand.Rand) (*Demand, []Offer) {
	pick := func(of ...string) string { return of[rng.IntN(len(of))] }
	d := &Demand{
		UID: strconv.FormatUint(rng.Uint64(), 10), Models: []string{pick("h100", "a100")}, Workers: 1 + rng.IntN(4), PerWorker: 1 + rng.IntN(8),
		Token: pick("IO", "USDC"), MaxPrice: money.USD(1 + rng.IntN(4)), Tier: pick("Firm", "Interruptible"),
		Isolation: Isolation(rng.IntN(2)), Egress: Egress(rng.IntN(3)), Duration: time.Duration(rng.IntN(4)) * time.Hour,
	}
	if rng.IntN(2) == 0 {
		d.Regions = []string{pick("eu", "us")}
	}
	offers := make([]Offer, rng.IntN(20))
	for i := range offers {
		o := Offer{
			Name: fmt.Sprintf("offer-%d", i), Model: pick("h100", "a100"), Region: pick("eu", "us"), Price: money.USD(1 + rng.IntN(4)),
			Tokens: []string{pick("IO", "USDC"), "IO"}, Tiers: []string{pick("Firm", "Interruptible"), "Interruptible"},
			Isolation: Isolation(rng.IntN(3)), Egress: Egress(rng.IntN(3)), Longest: time.Duration(rng.IntN(5)) * time.Hour,
		}
		for range rng.IntN(4) {
			o.Shapes = append(o.Shapes, Shape{Free: 1 + rng.IntN(8), Nodes: 1 + rng.IntN(3)})
		}
		for range rng.IntN(3) {
			o.Held = append(o.Held, Gang{Workers: 1 + rng.IntN(2), PerWorker: 1 + rng.IntN(8)})
		}
		offers[i] = o
	}
	if len(offers) > 0 && rng.IntN(3) == 0 {
		d.Refused = offers[rng.IntN(len(offers))].Name
	}
	return d, offers
}

func TestDecisionDependsOnTheSetAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		d, offers := randomMarket(rng)
		want := Match(d, offers)
		if diff := cmp.Diff(want, Match(d, offers)); diff != "" {
			t.Fatalf("the same snapshot gave another decision (-first +second):\n%s", diff)
		}
		rng.Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		// want.Won points into the slice that was shuffled, so names are compared.
		got := Match(d, offers)
		if got.Why != want.Why || got.Explain() != want.Explain() || got.Fit != want.Fit || (got.Won == nil) != (want.Won == nil) {
			t.Fatalf("another order gave another decision: %+v, want %+v", got, want)
		}
	}
}

func TestAnotherOrderGivesTheSameWinner(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		d, offers := randomMarket(rng)
		want := winner(Match(d, offers))
		rng.Shuffle(len(offers), func(i, j int) { offers[i], offers[j] = offers[j], offers[i] })
		if got := winner(Match(d, offers)); got != want {
			t.Fatalf("winner %q, want %q", got, want)
		}
	}
}

func TestTheWinnerMeetsEveryRuleAndNoneIsBetter(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	won := 0
	for range 3000 {
		d, offers := randomMarket(rng)
		got := Match(d, offers)
		rejected := 0
		for _, n := range got.Rejected {
			rejected += n
		}
		if rejected+got.Fit != got.Offers {
			t.Fatalf("%d rejected and %d fit of %d", rejected, got.Fit, got.Offers)
		}
		if got.Won == nil {
			continue
		}
		won++
		if set, _ := broken(d, got.Won); set != 0 {
			t.Fatalf("the winner breaks rules %b", set)
		}
		for i := range offers {
			if set, _ := broken(d, &offers[i]); set == 0 && offers[i].Name != d.Refused && offers[i].Price < got.Won.Price {
				t.Fatalf("%s is cheaper than the winner %s", offers[i].Name, got.Won.Name)
			}
		}
	}
	if won == 0 {
		t.Fatal("no market had a winner: the property was never tried")
	}
}

// fill places a gang on nodes at random, and says whether all of it found room.
func fill(rng *rand.Rand, nodes []int, gang Gang) bool {
	for range gang.Workers {
		placed := false
		for _, i := range rng.Perm(len(nodes)) {
			if nodes[i] >= gang.PerWorker {
				nodes[i] -= gang.PerWorker
				placed = true
				break
			}
		}
		if !placed {
			return false
		}
	}
	return true
}

// checkNoOverAllocation sells one offer to jobs until it is sold out, then lets the supplier place every gang wherever it likes:
// whatever the book sold after another gang must find room too.
func checkNoOverAllocation(t *testing.T, seed uint64) (sold int) {
	t.Helper()
	rng := rand.New(rand.NewPCG(seed, 7))
	o := Offer{Name: "oslo", Model: "h100", Tokens: []string{"IO"}, Tiers: []string{"Firm"}, Longest: time.Hour}
	nodes := make([]int, 0, 12)
	for range 1 + rng.IntN(4) {
		shape := Shape{Free: 1 + rng.IntN(8), Nodes: 1 + rng.IntN(3)}
		o.Shapes = append(o.Shapes, shape)
		for range shape.Nodes {
			nodes = append(nodes, shape.Free)
		}
	}
	for range 12 {
		d := &Demand{
			UID: "job", Models: []string{"h100"}, Token: "IO", Tier: "Firm", MaxPrice: 1,
			Workers: 1 + rng.IntN(4), PerWorker: 1 + rng.IntN(8),
		}
		if Match(d, []Offer{o}).Won != nil {
			o.Held = append(o.Held, Gang{Workers: d.Workers, PerWorker: d.PerWorker})
		}
	}
	for i, gang := range o.Held {
		if !fill(rng, nodes, gang) {
			t.Fatalf("seed %d: gang %d of %+v was sold and found no room on %+v", seed, i, o.Held, o.Shapes)
		}
	}
	return len(o.Held)
}

func TestNeverOverAllocates(t *testing.T) {
	sold := 0
	for seed := range uint64(3000) {
		sold += checkNoOverAllocation(t, seed)
	}
	if sold < 3000 {
		t.Fatalf("only %d gangs were sold: the property was hardly tried", sold)
	}
}

func FuzzNeverOverAllocates(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkNoOverAllocation(t, seed) })
}

func FuzzMatch(f *testing.F) {
	f.Add(uint64(1), uint64(2))
	f.Fuzz(func(t *testing.T, a, b uint64) {
		rng := rand.New(rand.NewPCG(a, b))
		d, offers := randomMarket(rng)
		got := Match(d, offers)
		if (got.Won == nil) != (got.Fit == 0) || (got.Won == nil) == (got.Why != "") {
			t.Fatalf("inconsistent decision %+v", got)
		}
		if got.Explain() == "" {
			t.Fatal("a decision without an explanation")
		}
	})
}

func TestSlotsOfNothing(t *testing.T) {
	o := offer(t, "oslo", "1.85", nil)
	if got := o.Slots(0); got != 0 {
		t.Errorf("Slots(0) = %d, want 0", got)
	}
	if d := Match(demand(t, func(d *Demand) { d.Workers = 0 }), []Offer{o}); d.Won != nil {
		t.Error("a job without workers was matched")
	}
}

func TestNames(t *testing.T) {
	got := []string{
		Isolation(0).String(), Confidential.String(), Isolation(9).String(), Egress(0).String(), Internet.String(), Rule(99).String(),
	}
	want := []string{"Container", "Confidential", "unknown", "None", "Internet", "unknown"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("names (-want +got):\n%s", diff)
	}
}

func BenchmarkMatch(b *testing.B) {
	for _, n := range []int{100, 20_000} {
		offers := make([]Offer, n)
		for i := range offers {
			offers[i] = offer(b, fmt.Sprintf("member-%d/pool", i), fmt.Sprintf("1.%02d", i%100), func(o *Offer) {
				if i%7 == 0 {
					o.Model = "t4"
				}
			})
		}
		d := demand(b, nil)
		b.Run(fmt.Sprintf("offers=%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if Match(d, offers).Won == nil {
					b.Fatal("no offer won")
				}
			}
		})
	}
}
