// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/price"
)

// price finds out what the pool asks for each model: the market's price within the pool's limits where the pool wants that and the market
// has one, and what the pool states otherwise.
func (p *pass) price(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	p.asked = map[string]boursev1.USDPrice{}
	market := &boursev1.Market{}
	if follows(pool) {
		var err error
		if market, err = p.market(ctx); err != nil {
			return reconcile.Result{}, err
		}
	}
	var alone []string
	for i := range p.report.Models {
		name := p.report.Models[i].Name
		stated, auto := contract.PoolPrice(pool, boursev1.GPUModel(name))
		p.asked[name] = stated
		if auto == nil {
			continue
		}
		published, _ := contract.IndexPrice(market, boursev1.GPUModel(name), pool.Spec.Region)
		if asked, ok := within(auto, published); ok {
			p.asked[name] = asked
		} else {
			alone = append(alone, name)
		}
	}
	switch {
	case !follows(pool):
		meta.RemoveStatusCondition(&pool.Status.Conditions, boursev1.PoolPriced)
	case len(alone) > 0:
		kube.Waiting(pool, boursev1.PoolPriced, boursev1.ReasonNoIndex,
			"The market has no index for "+strings.Join(alone, ", ")+", so the pool's own price is asked")
	default:
		kube.True(pool, boursev1.PoolPriced, boursev1.ReasonFollowsIndex, "The prices follow the market's index within the limits of autoPrice")
	}
	return reconcile.Result{}, nil
}

// follows says whether any price of the pool may follow the market's.
func follows(pool *boursev1.GPUPool) bool {
	for i := range pool.Spec.ModelPrices {
		if pool.Spec.ModelPrices[i].AutoPrice != nil {
			return true
		}
	}
	return pool.Spec.AutoPrice != nil
}

// market returns the Market that serves jobs, or one that says nothing.
func (r *Reconciler) market(ctx context.Context) (*boursev1.Market, error) {
	var markets boursev1.MarketList
	if err := r.Hub.List(ctx, &markets); err != nil {
		return nil, fmt.Errorf("list markets: %w", err)
	}
	if serving := contract.Serving(markets.Items); serving != nil {
		return serving, nil
	}
	return &boursev1.Market{}, nil
}

// within returns the market's price, or the limit that it is beyond; false if there is none that can be read.
func within(auto *boursev1.AutoPrice, published boursev1.USDPrice) (boursev1.USDPrice, bool) {
	limits, ok := limitsOf(auto)
	at, err := money.ParseUSD(string(published))
	if !ok || err != nil {
		return "", false
	}
	return boursev1.USDPrice(limits.Within(at).String()), true
}

// bears says whether an offer may go on asking a price until it is renewed: it follows the market's, and is within the limits. Without that
// every step of the index would make all suppliers write to the hub at once.
func bears(auto *boursev1.AutoPrice, asked boursev1.USDPrice) bool {
	if auto == nil {
		return false
	}
	limits, ok := limitsOf(auto)
	at, err := money.ParseUSD(string(asked))
	return ok && err == nil && limits.Within(at) == at
}

func limitsOf(auto *boursev1.AutoPrice) (price.Limits, bool) {
	least, errLeast := money.ParseUSD(string(auto.MinUSD))
	most, errMost := money.ParseUSD(string(auto.MaxUSD))
	return price.Limits{Min: least, Max: most}, errLeast == nil && errMost == nil
}
