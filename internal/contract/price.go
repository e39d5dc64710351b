// SPDX-License-Identifier: Apache-2.0

package contract

import (
	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/price"
)

// PriceNames returns what a market's price index is kept for.
func PriceNames(index *boursev1.MarketPriceIndex) price.Names {
	names := price.Names{Families: make([]string, 0, len(index.Families)), Groups: make([]string, 0, len(index.RegionGroups))}
	for _, of := range index.Families {
		names.Families = append(names.Families, string(of.Family))
	}
	for _, group := range index.RegionGroups {
		names.Groups = append(names.Groups, string(group))
	}
	return names
}

// IndexPrice returns what the market publishes as the price of a model in a region; false if it publishes none.
func IndexPrice(market *boursev1.Market, model boursev1.GPUModel, region boursev1.Region) (boursev1.USDPrice, bool) {
	if market.Spec.PriceIndex == nil {
		return "", false
	}
	key, ok := PriceNames(market.Spec.PriceIndex).Key(string(model), string(region))
	if !ok {
		return "", false
	}
	for i := range market.Status.Prices {
		if PriceKey(&market.Status.Prices[i]) == key {
			return market.Status.Prices[i].PriceUSD, true
		}
	}
	return "", false
}

// PoolPrice returns what a pool states for a model: its price, and the limits within which that follows the market's; nil if it stands.
func PoolPrice(pool *boursev1.GPUPool, model boursev1.GPUModel) (boursev1.USDPrice, *boursev1.AutoPrice) {
	for i := range pool.Spec.ModelPrices {
		if own := &pool.Spec.ModelPrices[i]; own.Model == model {
			return own.PriceUSD, own.AutoPrice
		}
	}
	return pool.Spec.PriceUSD, pool.Spec.AutoPrice
}

// PriceKey returns what a published price is of.
func PriceKey(of *boursev1.MarketPrice) price.Key {
	return price.Key{Family: string(of.Family), Group: string(of.RegionGroup)}
}
