// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"testing"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/price"
)

func TestAPriceIsFoundByModelAndRegion(t *testing.T) {
	market := &boursev1.Market{
		Spec: boursev1.MarketSpec{PriceIndex: &boursev1.MarketPriceIndex{
			Families:     []boursev1.FamilyPrice{{Family: "h100", PriceUSD: "2"}, {Family: "l4", PriceUSD: "0.5"}},
			RegionGroups: []boursev1.Region{"eu"},
		}},
		Status: boursev1.MarketStatus{Prices: []boursev1.MarketPrice{
			{Family: "h100", RegionGroup: "eu", PriceUSD: "2.04"}, {Family: "h100", RegionGroup: boursev1.WorldGroup, PriceUSD: "1.9"},
		}},
	}
	cases := map[string]struct {
		model  boursev1.GPUModel
		region boursev1.Region
		want   boursev1.USDPrice
	}{
		"a region of a group":        {"h100-sxm-80gb", "eu-north", "2.04"},
		"a region of no group":       {"h100-pcie-80gb", "us-east-1", "1.9"},
		"a family without a price":   {"l4", "eu-north", ""},
		"a model that has no family": {"a100-sxm-80gb", "eu-north", ""},
	}
	for name, tc := range cases {
		if got, ok := contract.IndexPrice(market, tc.model, tc.region); got != tc.want || ok != (tc.want != "") {
			t.Errorf("%s: %q, %t, want %q", name, got, ok, tc.want)
		}
	}
	market.Spec.PriceIndex = nil
	if got, ok := contract.IndexPrice(market, "h100", "eu"); ok {
		t.Errorf("a market without an index has the price %s", got)
	}
	if price.Rest != boursev1.WorldGroup {
		t.Errorf("the rest is called %s here and %s there", price.Rest, boursev1.WorldGroup)
	}
}

func TestAModelsPriceHasLimitsOfItsOwn(t *testing.T) {
	all, own := &boursev1.AutoPrice{MinUSD: "1", MaxUSD: "3"}, &boursev1.AutoPrice{MinUSD: "0.3", MaxUSD: "0.6"}
	pool := &boursev1.GPUPool{Spec: boursev1.GPUPoolSpec{
		PriceUSD: "2", AutoPrice: all,
		ModelPrices: []boursev1.ModelPrice{{Model: "l4", PriceUSD: "0.4", AutoPrice: own}, {Model: "t4", PriceUSD: "0.1"}},
	}}
	cases := map[boursev1.GPUModel]struct {
		price boursev1.USDPrice
		auto  *boursev1.AutoPrice
	}{"h100": {"2", all}, "l4": {"0.4", own}, "t4": {"0.1", nil}}
	for model, want := range cases {
		if got, auto := contract.PoolPrice(pool, model); got != want.price || auto != want.auto {
			t.Errorf("%s: %s within %v, want %s within %v", model, got, auto, want.price, want.auto)
		}
	}
}
