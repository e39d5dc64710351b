// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// randomMarket draws a demand and offers of which many nearly fit, with equal prices and sizes among them.
func randomMarket(rng *rand.Rand) (*Demand, []Offer) {
	offers := make([]Offer, rng.IntN(20))
	for i := range offers {
		offers[i] = randomOffer(rng, fmt.Sprintf("offer-%d", i))
		for range rng.IntN(3) {
			offers[i].Held = append(offers[i].Held, Gang{Workers: 1 + rng.IntN(2), PerWorker: 1 + rng.IntN(8)})
		}
	}
	d := randomDemand(rng)
	if len(offers) > 0 && rng.IntN(3) == 0 {
		d.Refused = []string{offers[rng.IntN(len(offers))].Name}
		if rng.IntN(3) == 0 {
			d.Refused = append(d.Refused, offers[rng.IntN(len(offers))].Name)
		}
	}
	return d, offers
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

func randomOffer(rng *rand.Rand, name string) Offer {
	o := Offer{
		Name: name, Model: pick(rng, "h100", "a100", "t4"), Region: pick(rng, "eu", "us", "ap"), MemoryMiB: 40 + rng.IntN(3),
		Price: money.USD(90 + rng.IntN(20)), Tokens: []string{pick(rng, "IO", "USDC"), "IO"},
		Tiers: []string{pick(rng, "Firm", "Interruptible"), "Interruptible"}, Isolation: Isolation(rng.IntN(3)), Egress: Egress(1 + rng.IntN(2)),
		Longest: time.Duration(2+rng.IntN(3)) * time.Hour, Reputation: pick[uint32](rng, 500_000, 500_000, 900_000, 0, PPM),
		ValidUntil: start.Add(time.Duration(rng.IntN(40)) * time.Minute), Unstaked: rng.IntN(20) == 0,
	}
	if rng.IntN(4) == 0 {
		o.Until = start.Add(time.Duration(rng.IntN(6)) * time.Hour)
	}
	if rng.IntN(3) == 0 {
		o.Images = []string{"ray"}
	}
	if rng.IntN(8) == 0 {
		o.Buyers = []string{pick(rng, "alice", "bob")}
	}
	if rng.IntN(8) == 0 {
		o.Allowed = []string{pick(rng, "ray", "acme/ray")}
	}
	for range rng.IntN(4) {
		o.Shapes = append(o.Shapes, Shape{Free: 1 + rng.IntN(16), Nodes: 1 + rng.IntN(3)})
	}
	return o
}

func randomDemand(rng *rand.Rand) *Demand {
	d := &Demand{
		UID: strconv.FormatUint(rng.Uint64(), 10), At: start, Models: models(pick(rng, "h100", "a100")), Workers: 1 + rng.IntN(4),
		PerWorker: 1 + rng.IntN(8), Token: pick(rng, "IO", "IO", "USDC"), MaxPrice: money.USD(90 + rng.IntN(25)), Parts: rng.IntN(5),
		Tier: pick(rng, "Firm", "Interruptible", "Interruptible"), Isolation: Isolation(rng.IntN(2)), Egress: Egress(rng.IntN(3)),
		Duration: time.Duration(rng.IntN(3)) * time.Hour, MinReputation: pick[uint32](rng, 0, 0, 0, 600_000), Weights: DefaultWeights(),
	}
	switch rng.IntN(4) {
	case 0:
		d.Models = nil
	case 1:
		d.Models = []Model{{Name: "h100"}, {Name: "t4", Speed: 300_000 + rng.Uint32N(PPM)}, {Name: "a100", Speed: PPM}, {Name: "h100"}}
	}
	if rng.IntN(3) == 0 {
		d.Regions = []string{pick(rng, "eu", "us"), "nowhere"}
	}
	if rng.IntN(3) == 0 {
		d.Penalties = []Penalty{{Region: pick(rng, "eu", "us"), PPM: rng.Uint32N(PPM / 2)}, {Region: "eu", PPM: 7}}
	}
	if rng.IntN(2) == 0 {
		d.Weights = Weights{Reputation: rng.Uint32N(2 * PPM), Packing: rng.Uint32N(PPM), Cache: rng.Uint32N(PPM)}
	}
	if rng.IntN(2) == 0 {
		d.Image = "ray"
	}
	if rng.IntN(2) == 0 {
		d.Buyer = pick(rng, "alice", "bob", "carol")
	}
	if rng.IntN(5) == 0 {
		d.Affordable = money.USD(90 + rng.IntN(25))
	}
	return d
}
