// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"fmt"
	"math"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
)

// msPerSecond converts the API's seconds into the meter's milliseconds.
const msPerSecond = 1000

// quote is what a job costs at some price: everything that a lease's payment says in numbers.
type quote struct {
	token   money.Token
	fees    money.Fees
	perHour money.Amount // of one GPU
	deposit money.Amount // the whole term of all GPUs, and the buyer's fees
	budget  money.Amount // what the job's budget is worth
}

// quoteFor prices the job in its token.
func quoteFor(job *boursev1.ComputeJob, market *boursev1.Market, token *boursev1.MarketToken, price boursev1.USDPrice) (quote, error) {
	q := quote{token: money.Token{Symbol: string(token.Symbol), Decimals: uint8(value(token.Decimals))}} //nolint:gosec // at most 12
	perGPUHour, err := money.ParseUSD(string(price))
	if err != nil {
		return quote{}, err
	}
	perToken, err := money.ParseUSD(string(token.PriceUSD))
	if err != nil {
		return quote{}, err
	}
	budget, err := money.ParseUSD(string(job.Spec.Bid.BudgetUSD))
	if err != nil {
		return quote{}, err
	}
	if q.budget, err = money.WorthInToken(budget, perToken, q.token); err != nil {
		return quote{}, err
	}
	if q.perHour, err = money.PriceInToken(perGPUHour, perToken, q.token); err != nil {
		return quote{}, err
	}
	if q.fees, err = feesOf(market, token); err != nil {
		return quote{}, err
	}
	gross, err := money.Gross(q.perHour, uint64(gpus(job))*uint64(job.Spec.DurationSeconds)*msPerSecond) //nolint:gosec // both are positive
	if err != nil {
		return quote{}, err
	}
	split, err := q.fees.Split(gross)
	if err != nil {
		return quote{}, err
	}
	q.deposit = split.Debit
	if q.deposit > math.MaxInt64 || q.perHour > math.MaxInt64 {
		return quote{}, fmt.Errorf("price job: %w", money.ErrOverflow)
	}
	return q, nil
}

func feesOf(market *boursev1.Market, token *boursev1.MarketToken) (money.Fees, error) {
	buyer := value(market.Spec.Fees.BuyerBps) + value(token.FacilitationBps)
	supplier, burn := value(market.Spec.Fees.SupplierBps), value(token.BurnBps)
	for _, bps := range []int32{buyer, supplier, burn} {
		if bps < 0 || bps > money.MaxBurnBps {
			return money.Fees{}, fmt.Errorf("read fees: %w", money.ErrFees)
		}
	}
	//nolint:gosec // all three are checked above
	fees := money.Fees{BuyerBps: uint16(buyer), SupplierBps: uint16(supplier), BurnBps: uint16(burn)}
	return fees, fees.Validate()
}

func gpus(job *boursev1.ComputeJob) int32 {
	return job.Spec.GPUs.Workers * job.Spec.GPUs.PerWorker
}

func value(of *int32) int32 {
	if of == nil {
		return 0
	}
	return *of
}

// market returns the Market that serves jobs: of several that are ready, the first by name. It returns nil when none is ready.
func (r *Reconciler) market(ctx context.Context) (*boursev1.Market, error) {
	var markets boursev1.MarketList
	if err := r.Hub.List(ctx, &markets); err != nil {
		return nil, fmt.Errorf("list markets: %w", err)
	}
	var first *boursev1.Market
	for i := range markets.Items {
		market := &markets.Items[i]
		if kube.IsTrue(market, boursev1.Ready) && (first == nil || market.Name < first.Name) {
			first = market
		}
	}
	return first, nil
}

func tokenOf(market *boursev1.Market, symbol boursev1.TokenSymbol) *boursev1.MarketToken {
	for i := range market.Spec.Tokens {
		if market.Spec.Tokens[i].Symbol == symbol {
			return &market.Spec.Tokens[i]
		}
	}
	return nil
}

// member returns the admitted Member of a namespace, or nil.
func (r *Reconciler) member(ctx context.Context, namespace string) (*boursev1.Member, error) {
	var member boursev1.Member
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: namespace, Name: boursev1.MemberName}, &member)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("get member: %w", err)
	}
	if !kube.IsTrue(&member, boursev1.Ready) {
		return nil, nil //nolint:nilnil // as good as absent
	}
	return &member, nil
}
