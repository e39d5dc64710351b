// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

// priceList are prices by model.
type priceList map[boursev1.GPUModel]boursev1.USDPrice

// indexed returns a market whose price of an h100 in eu is that.
func indexed(price boursev1.USDPrice) *boursev1.Market {
	market := builders.Market()
	market.Spec.PriceIndex = &boursev1.MarketPriceIndex{
		Families: []boursev1.FamilyPrice{{Family: "h100", PriceUSD: "2"}, {Family: "l4", PriceUSD: "0.5"}}, RegionGroups: []boursev1.Region{"eu"},
	}
	market.Status.Prices = []boursev1.MarketPrice{
		{Family: "h100", RegionGroup: "eu", PriceUSD: price, IndexPPM: 1_000_000, LeasedPercent: new(int32(90)), At: metav1.NewTime(builders.Start)},
		{Family: "l4", RegionGroup: boursev1.WorldGroup, PriceUSD: "9", IndexPPM: 1_000_000, LeasedPercent: new(int32(90)), At: metav1.NewTime(builders.Start)},
	}
	return market
}

// move makes the market publish another price of an h100.
func (b *bench) move(price boursev1.USDPrice) {
	b.t.Helper()
	market := builders.Market()
	b.hub.Read(market)
	market.Status.Prices = indexed(price).Status.Prices
	b.hub.EditStatus(market)
}

// wantAsks says what the offers ask now, and the pool's status too.
func (b *bench) wantAsks(want priceList) *boursev1.GPUPool {
	b.t.Helper()
	of, _ := b.rest("pool")
	var offers boursev1.GPUOfferList
	if err := b.hub.List(b.t.Context(), &offers); err != nil {
		b.t.Fatal(err)
	}
	offered, told := priceList{}, priceList{}
	for i := range offers.Items {
		offered[offers.Items[i].Spec.Model] = offers.Items[i].Spec.PriceUSD
	}
	for _, row := range of.Status.Models {
		told[row.Model] = row.PriceUSD
	}
	if diff := cmp.Diff(want, offered); diff != "" {
		b.t.Errorf("the offers ask (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(want, told); diff != "" {
		b.t.Errorf("the status says (-want +got):\n%s", diff)
	}
	return of
}

// follow lets the pool's price follow the market's from 1.50 to 2.20 USD.
func follow(of *boursev1.GPUPool) {
	of.Spec.AutoPrice = &boursev1.AutoPrice{MinUSD: "1.50", MaxUSD: "2.20"}
}

func TestAPriceFollowsTheMarketsWithinLimits(t *testing.T) {
	b := newBench(t, indexed("2.04"))
	b.cooled()
	of := b.wantAsks(priceList{h100: "1.85", l4: "0.4"})
	if meta.FindStatusCondition(of.Status.Conditions, boursev1.PoolPriced) != nil {
		t.Error("a pool whose prices stand says that they follow")
	}
	b.change(follow)
	of = b.wantAsks(priceList{h100: "1.85", l4: "0.4"})
	wantCondition(t, of, boursev1.PoolPriced, metav1.ConditionTrue, boursev1.ReasonFollowsIndex)
	for _, tc := range []struct{ index, want boursev1.USDPrice }{{"2.04", "2.04"}, {"2.25", "2.20"}, {"1.4", "1.50"}, {"1.51", "1.51"}} {
		b.move(tc.index)
		b.hub.Step(validity / 2)
		b.wantAsks(priceList{h100: tc.want, l4: "0.4"})
	}
	b.change(func(of *boursev1.GPUPool) { of.Spec.AutoPrice = nil })
	b.wantAsks(priceList{h100: "1.85", l4: "0.4"}) // at once
}

// A step of the index must not make all suppliers write at once, and no lease hears of it.
func TestANewPriceWaitsUntilTheOfferIsRenewed(t *testing.T) {
	_, lease := builders.Leased(t, "train")
	lease.Spec.Model = h100
	b := newBench(t, indexed("2.04"), lease)
	b.change(follow)
	b.cooled()
	b.wantAsks(priceList{h100: "2.04", l4: "0.4"})
	b.move("2.06")
	if wrote := b.hub.Writes(func() { b.pass("pool") }); len(wrote) != 0 {
		t.Errorf("a step of the index wrote %v", wrote)
	}
	b.create(pod("team", "p", "h1", 1, nil))
	wrote := b.hub.Writes(func() { b.wantAsks(priceList{h100: "2.06", l4: "0.4"}) }) // what changes the offer takes the price along
	b.change(func(of *boursev1.GPUPool) { of.Spec.AutoPrice.MinUSD = "2.10" })
	wrote = append(wrote, b.hub.Writes(func() { b.wantAsks(priceList{h100: "2.10", l4: "0.4"}) })...) // and so does what it may not ask any more
	if slices.ContainsFunc(wrote, func(one string) bool { return strings.Contains(one, lease.Name) }) {
		t.Errorf("it wrote %v", wrote)
	}
	before := lease.DeepCopy()
	b.hub.Read(lease)
	if diff := cmp.Diff(before.Spec.Payment, lease.Spec.Payment); diff != "" {
		t.Errorf("the lease's price changed (-before +after):\n%s", diff)
	}
}

func TestThePoolsOwnPriceStandsWithoutAnIndex(t *testing.T) {
	cases := map[string]func(*boursev1.Market){
		"the market has no index":        func(m *boursev1.Market) { m.Spec.PriceIndex = nil },
		"no such GPU was for sale yet":   func(m *boursev1.Market) { m.Status.Prices = nil },
		"it has another family's":        func(m *boursev1.Market) { m.Status.Prices = m.Status.Prices[1:] },
		"the market is not ready":        func(m *boursev1.Market) { m.Status.Conditions = nil },
		"the market's price is no price": func(m *boursev1.Market) { m.Status.Prices[0].PriceUSD = "cheap" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			market := indexed("2.04")
			change(market)
			b := newBench(t, market)
			b.change(follow)
			b.cooled()
			of := b.wantAsks(priceList{h100: "1.85", l4: "0.4"})
			wantCondition(t, of, boursev1.PoolPriced, metav1.ConditionUnknown, boursev1.ReasonNoIndex)
			if got := meta.FindStatusCondition(of.Status.Conditions, boursev1.PoolPriced).Message; !strings.Contains(got, "for "+h100+", so") {
				t.Errorf("it says %q, and should name %s alone", got, h100)
			}
		})
	}
}

func TestAModelsOwnPriceMayFollow(t *testing.T) {
	market := indexed("2.04")
	market.Status.Prices[1].RegionGroup = "eu"
	b := newBench(t, market)
	b.change(func(of *boursev1.GPUPool) {
		of.Spec.ModelPrices[0].AutoPrice = &boursev1.AutoPrice{MinUSD: "0.3", MaxUSD: "0.6"}
	})
	b.cooled()
	of := b.wantAsks(priceList{h100: "1.85", l4: "0.60"})
	wantCondition(t, of, boursev1.PoolPriced, metav1.ConditionTrue, boursev1.ReasonFollowsIndex)
	b.change(func(of *boursev1.GPUPool) { of.Spec.Mode = boursev1.PoolHold })
	of, _ = b.rest("pool")
	if got := of.Status.Models[0].PriceUSD + of.Status.Models[1].PriceUSD; got != "" {
		t.Errorf("a pool on hold asks %s", got)
	}
}

// The first of several markets that are ready is the one that matches jobs.
func TestThePriceIsThatOfTheMarketThatServes(t *testing.T) {
	other, absent := indexed("2.1"), indexed("2.2")
	other.Name, other.UID = "other", "uid of other"
	absent.Name, absent.UID, absent.Status.Conditions = "absent", "uid of absent", nil
	b := newBench(t, other, absent, indexed("2.04"))
	b.change(follow)
	b.cooled()
	b.wantAsks(priceList{h100: "2.04", l4: "0.4"})
}
