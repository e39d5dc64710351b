// SPDX-License-Identifier: Apache-2.0

package market

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/price"
)

// roundEvery is how often the price index moves: at these moments of the clock, so that a restart neither skips a step nor repeats one.
// A round that was slept through is not made up for, since nobody knows what was for sale then.
const roundEvery = 5 * time.Minute

// perPercent converts the API's percentages into parts per million.
const perPercent = price.PPM / 100

// offerKey names an offer.
type offerKey struct{ namespace, name string }

// price moves the price index by one step in each round. While the market is not ready no job is matched, and what stands free then says
// nothing about the price.
func (r *Reconciler) price(ctx context.Context, market *boursev1.Market) (reconcile.Result, error) {
	index := market.Spec.PriceIndex
	if index == nil {
		market.Status.Prices = nil
		return reconcile.Result{}, nil
	}
	round := r.Now().UTC().Truncate(roundEvery)
	if !kube.IsTrue(market, boursev1.Ready) || priced(market, round) {
		return reconcile.Result{}, nil
	}
	loads, err := r.loads(ctx, contract.PriceNames(index))
	if err != nil {
		return reconcile.Result{}, err
	}
	next, err := step(index, market.Status.Prices, loads, round)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("move price index: %w", err)
	}
	market.Status.Prices = next
	return reconcile.Result{}, nil
}

// priced says whether the round's step is made.
func priced(market *boursev1.Market, round time.Time) bool {
	for i := range market.Status.Prices {
		if !market.Status.Prices[i].At.Time.Before(round) {
			return true
		}
	}
	return false
}

// loads counts what is for sale: the free GPUs of offers that count, and the GPUs that leases hold of any offer which still stands. A lease
// that its supplier has not accepted counts nothing: its GPUs are still free, and they cost nobody anything.
func (r *Reconciler) loads(ctx context.Context, names price.Names) (map[price.Key]price.Load, error) {
	var offers boursev1.GPUOfferList
	if err := r.Hub.List(ctx, &offers, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list offers: %w", err)
	}
	var leases boursev1.GPULeaseList
	if err := r.Hub.List(ctx, &leases, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	loads, keys := map[price.Key]price.Load{}, map[offerKey]price.Key{}
	for i := range offers.Items {
		offer := &offers.Items[i]
		key, ok := names.Key(string(offer.Spec.Model), string(offer.Spec.Region))
		if !ok {
			continue
		}
		keys[offerKey{offer.Namespace, offer.Name}] = key
		if free := number(offer.Spec.FreeGPUs); free > 0 && kube.IsTrue(offer, boursev1.Ready) && offer.Spec.ValidUntil.After(r.Now()) {
			loads[key] = loads[key].Add(price.Load{Free: uint64(free)})
		}
	}
	for i := range leases.Items {
		lease := &leases.Items[i]
		key, ok := keys[offerKey{lease.Namespace, lease.Spec.Offer}]
		if gpus := int64(lease.Spec.Workers) * int64(lease.Spec.PerWorker); ok && gpus > 0 && holds(lease) {
			loads[key] = loads[key].Add(price.Load{Leased: uint64(gpus)})
		}
	}
	return loads, nil
}

// holds says whether a lease has GPUs.
func holds(lease *boursev1.GPULease) bool {
	return listing.Open(lease) && kube.IsTrue(lease, boursev1.LeaseAccepted)
}

// step returns the prices after a round. A price of what is not for sale now stays, with its time; one of what the spec does not name any
// more is dropped.
func step(
	index *boursev1.MarketPriceIndex, prices []boursev1.MarketPrice, loads map[price.Key]price.Load, round time.Time,
) ([]boursev1.MarketPrice, error) {
	begins, err := beginnings(index)
	if err != nil {
		return nil, err
	}
	names, known := contract.PriceNames(index), map[price.Key]*boursev1.MarketPrice{}
	entries := make([]price.Entry, 0, len(prices))
	for i := range prices {
		if key := contract.PriceKey(&prices[i]); names.Has(key) {
			known[key] = &prices[i]
			entries = append(entries, price.Entry{Key: key, Index: uint32(max(0, prices[i].IndexPPM))})
		}
	}
	rules := rulesOf(index)
	if err := rules.Validate(); err != nil {
		return nil, err
	}
	moved := rules.Advance(entries, loads)
	next := make([]boursev1.MarketPrice, 0, len(moved))
	for _, entry := range moved {
		row := boursev1.MarketPrice{
			Family: boursev1.GPUModel(entry.Key.Family), RegionGroup: boursev1.Region(entry.Key.Group),
			PriceUSD: boursev1.USDPrice(price.At(begins[entry.Key.Family], entry.Index).String()),
			IndexPPM: int32(entry.Index), //nolint:gosec // the band ends at ten times the beginning
		}
		if share, ok := loads[entry.Key].Share(); ok {
			row.LeasedPercent, row.At = new(int32(share/perPercent)), metav1.NewTime(round) //nolint:gosec // at most 100
		} else {
			row.LeasedPercent, row.At = known[entry.Key].LeasedPercent, known[entry.Key].At
		}
		next = append(next, row)
	}
	return next, nil
}

// beginnings are where the families' prices begin.
func beginnings(index *boursev1.MarketPriceIndex) (map[string]money.USD, error) {
	begins := make(map[string]money.USD, len(index.Families))
	for _, family := range index.Families {
		begin, err := money.ParseUSD(string(family.PriceUSD))
		if err != nil {
			return nil, err
		}
		begins[string(family.Family)] = begin
	}
	return begins, nil
}

// rulesOf are the rules of the simulation, in the market's own band. The API bounds it.
func rulesOf(index *boursev1.MarketPriceIndex) price.Rules {
	rules := price.Default()
	rules.Floor = uint32(max(0, index.MinPercent)) * perPercent
	rules.Ceiling = uint32(max(0, index.MaxPercent)) * perPercent
	return rules
}

// nextRound is how long it takes until the index moves again.
func (r *Reconciler) nextRound() time.Duration {
	now := r.Now()
	return now.Truncate(roundEvery).Add(roundEvery).Sub(now)
}
