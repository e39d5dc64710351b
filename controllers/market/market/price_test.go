// SPDX-License-Identifier: Apache-2.0

package market

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// index is where prices begin: an h100 at 2 USD, an l4 at 0.5 USD.
func index() *boursev1.MarketPriceIndex {
	return &boursev1.MarketPriceIndex{
		Families:     []boursev1.FamilyPrice{{Family: "h100", PriceUSD: "2"}, {Family: "l4", PriceUSD: "0.5"}},
		RegionGroups: []boursev1.Region{"eu"}, MinPercent: 60, MaxPercent: 250,
	}
}

// newIndexed returns a controller whose market is ready and has an index, a supplier that offers 16 h100 in eu-north, and a lease of 8 more.
func newIndexed(t *testing.T, change func(*boursev1.GPUOffer, *boursev1.GPULease)) (*fakehub.Hub, *Reconciler) {
	t.Helper()
	hub, _, r := newBench(t, func(market *boursev1.Market, _ *chaintest.Fake) { market.Spec.PriceIndex = index() })
	offer := builders.Offer(builders.Supplier, "h100")
	offer.Spec.ValidUntil = metav1.NewTime(builders.Start.Add(24 * time.Hour))
	_, lease := builders.Leased(t, "train")
	if change != nil {
		change(offer, lease)
	}
	for _, object := range []client.Object{offer, lease} {
		if err := hub.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	pass(t, hub, r) // it is ready now
	return hub, r
}

func prices(t *testing.T, hub *fakehub.Hub, r *Reconciler) []boursev1.MarketPrice {
	t.Helper()
	pass(t, hub, r)
	market := builders.Market()
	hub.Read(market)
	return market.Status.Prices
}

func published(family, group string, price boursev1.USDPrice, ppm, leased int32, at time.Time) boursev1.MarketPrice {
	return boursev1.MarketPrice{
		Family: boursev1.GPUModel(family), RegionGroup: boursev1.Region(group), PriceUSD: price, IndexPPM: ppm,
		LeasedPercent: new(leased), At: metav1.NewTime(at),
	}
}

func wantPrices(t *testing.T, got []boursev1.MarketPrice, want ...boursev1.MarketPrice) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("prices (-want +got):\n%s", diff)
	}
}

func TestThePriceMovesOnceInEachRound(t *testing.T) {
	hub, r := newIndexed(t, nil)
	first := published("h100", "eu", "1.977334", 988_667, 33, builders.Start)
	wantPrices(t, prices(t, hub, r), first)

	restarted := &Reconciler{Teller: hub.Teller(), Hub: hub, Chain: r.Chain, Now: hub.Now}
	for _, wait := range []time.Duration{0, roundEvery - time.Second} {
		hub.Step(wait)
		if wrote := hub.Writes(func() { wantPrices(t, prices(t, hub, restarted), first) }); len(wrote) != 0 {
			t.Errorf("after %s it wrote %v", wait, wrote)
		}
	}
	market := builders.Market()
	hub.Read(market)
	if result, err := r.Reconcile(t.Context(), market); err != nil || result.RequeueAfter != time.Second {
		t.Errorf("it looks again in %s, %v; want when the round begins, in a second", result.RequeueAfter, err)
	}

	hub.Step(time.Second)
	second := published("h100", "eu", "1.954926", 977_463, 33, builders.Start.Add(roundEvery))
	if wrote := hub.Writes(func() { wantPrices(t, prices(t, hub, restarted), second) }); len(wrote) != 1 {
		t.Errorf("it wrote %v, want the status once", wrote)
	}
	hub.Step(10*roundEvery + time.Minute) // a long sleep is one step, at a moment of the clock
	wantPrices(t, prices(t, hub, r), published("h100", "eu", "1.932772", 966_386, 33, builders.Start.Add(11*roundEvery)))
}

func TestWhatCountsAsForSale(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPUOffer, *boursev1.GPULease)
		want   []boursev1.MarketPrice
	}{
		"the GPUs of a lease, and free ones": {nil, []boursev1.MarketPrice{published("h100", "eu", "1.977334", 988_667, 33, builders.Start)}},
		"all of them leased": {
			func(o *boursev1.GPUOffer, _ *boursev1.GPULease) { o.Spec.FreeGPUs = new(int32(0)) },
			[]boursev1.MarketPrice{published("h100", "eu", "2.004", 1_002_000, 100, builders.Start)},
		},
		"not a lease that nobody accepted": {
			func(_ *boursev1.GPUOffer, l *boursev1.GPULease) { l.Status.Conditions = nil },
			[]boursev1.MarketPrice{published("h100", "eu", "1.964", 982_000, 0, builders.Start)},
		},
		"not a lease that is to end": {
			func(_ *boursev1.GPUOffer, l *boursev1.GPULease) { l.Spec.State = boursev1.LeaseEnded },
			[]boursev1.MarketPrice{published("h100", "eu", "1.964", 982_000, 0, builders.Start)},
		},
		"not a lease that has ended": {
			func(_ *boursev1.GPUOffer, l *boursev1.GPULease) { l.Status.End = &boursev1.LeaseEnd{} },
			[]boursev1.MarketPrice{published("h100", "eu", "1.964", 982_000, 0, builders.Start)},
		},
		"not a lease of an offer that is withdrawn": {
			func(_ *boursev1.GPUOffer, l *boursev1.GPULease) { l.Spec.Offer = "another" },
			[]boursev1.MarketPrice{published("h100", "eu", "1.964", 982_000, 0, builders.Start)},
		},
		"not what is free in an offer that does not count": {
			func(o *boursev1.GPUOffer, _ *boursev1.GPULease) { o.Status.Conditions = nil },
			[]boursev1.MarketPrice{published("h100", "eu", "2.004", 1_002_000, 100, builders.Start)},
		},
		"nor in one that was not renewed": {
			func(o *boursev1.GPUOffer, _ *boursev1.GPULease) { o.Spec.ValidUntil = metav1.NewTime(builders.Start) },
			[]boursev1.MarketPrice{published("h100", "eu", "2.004", 1_002_000, 100, builders.Start)},
		},
		"elsewhere it is another price": {
			func(o *boursev1.GPUOffer, _ *boursev1.GPULease) { o.Spec.Region = "us-east" },
			[]boursev1.MarketPrice{published("h100", "world", "1.977334", 988_667, 33, builders.Start)},
		},
		"a model without an index has no price": {func(o *boursev1.GPUOffer, _ *boursev1.GPULease) { o.Spec.Model = "a100" }, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, r := newIndexed(t, tc.change)
			wantPrices(t, prices(t, hub, r), tc.want...)
			if wrote := hub.Writes(func() { prices(t, hub, r) }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

// A queue that cannot be served must not drive the price up.
func TestWhoWaitsMovesNoPrice(t *testing.T) {
	hub, r := newIndexed(t, nil)
	for _, name := range []string{"a", "b", "c"} {
		if err := hub.Create(t.Context(), builders.Job(name)); err != nil {
			t.Fatal(err)
		}
	}
	wantPrices(t, prices(t, hub, r), published("h100", "eu", "1.977334", 988_667, 33, builders.Start))
}

func TestAPriceStaysInItsBand(t *testing.T) {
	hub, r := newIndexed(t, func(_ *boursev1.GPUOffer, l *boursev1.GPULease) { l.Status.Conditions = nil })
	for range 60 {
		prices(t, hub, r)
		hub.Step(roundEvery)
	}
	if got := prices(t, hub, r); len(got) != 1 || got[0].PriceUSD != "1.20" || got[0].IndexPPM != 600_000 {
		t.Errorf("after five hours in which nothing is leased: %+v, want 1.20 USD", got)
	}
}

func TestPricesOfWhatIsNotForSaleStay(t *testing.T) {
	hub, r := newIndexed(t, nil)
	first := published("h100", "eu", "1.977334", 988_667, 33, builders.Start)
	wantPrices(t, prices(t, hub, r), first)
	offer := builders.Offer(builders.Supplier, "h100")
	hub.Read(offer)
	offer.Spec.Model, offer.Spec.Region = "l4", "us-east"
	hub.Edit(offer)
	hub.Step(roundEvery)
	l4 := published("l4", "world", "0.494333", 988_667, 33, hub.Now())
	wantPrices(t, prices(t, hub, r), first, l4)

	market := builders.Market()
	hub.Read(market)
	market.Spec.PriceIndex.Families = market.Spec.PriceIndex.Families[1:]
	hub.Edit(market)
	hub.Step(roundEvery)
	wantPrices(t, prices(t, hub, r), published("l4", "world", "0.488731", 977_463, 33, hub.Now()))

	hub.Read(market)
	market.Spec.PriceIndex = nil
	hub.Edit(market)
	wantPrices(t, prices(t, hub, r))
}

// A market that matches nothing sells nothing, which says nothing about the price.
func TestAMarketThatIsNotReadyMovesNoPrice(t *testing.T) {
	hub, r := newIndexed(t, nil)
	first := prices(t, hub, r)
	market := builders.Market()
	hub.Read(market)
	market.Spec.Treasury = builders.Address("x")
	hub.Edit(market)
	pass(t, hub, r)
	hub.Step(roundEvery)
	if wrote := hub.Writes(func() { wantPrices(t, prices(t, hub, r), first...) }); len(wrote) != 0 {
		t.Errorf("it wrote %v", wrote)
	}
}
