// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"fmt"
	"math"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/money"
)

// msPerSecond converts the API's seconds into the meter's milliseconds.
const msPerSecond = 1000

// Quote is what a job costs at some price: everything that a lease's payment says in numbers.
type Quote struct {
	Token   money.Token
	Fees    money.Fees
	PerHour money.Amount // of one GPU
	Deposit money.Amount // the whole term of all GPUs that were asked about, and the buyer's fees
	Budget  money.Amount // what the job's budget is worth
}

// QuoteFor prices so many of the job's workers in its token. It fails if a price cannot be read, or is more than the token can express.
func QuoteFor(
	job *boursev1.ComputeJob, workers int32, market *boursev1.Market, token *boursev1.MarketToken, price boursev1.USDPrice,
) (Quote, error) {
	q := Quote{Token: money.Token{Symbol: string(token.Symbol), Decimals: uint8(value(token.Decimals))}} //nolint:gosec // at most 12
	perGPUHour, err := money.ParseUSD(string(price))
	if err != nil {
		return Quote{}, err
	}
	perToken, err := money.ParseUSD(string(token.PriceUSD))
	if err != nil {
		return Quote{}, err
	}
	budget, err := money.ParseUSD(string(job.Spec.Bid.BudgetUSD))
	if err != nil {
		return Quote{}, err
	}
	if q.Budget, err = money.WorthInToken(budget, perToken, q.Token); err != nil {
		return Quote{}, err
	}
	if q.PerHour, err = money.PriceInToken(perGPUHour, perToken, q.Token); err != nil {
		return Quote{}, err
	}
	if q.Fees, err = feesOf(market, token); err != nil {
		return Quote{}, err
	}
	gpus := workers * job.Spec.GPUs.PerWorker
	gross, err := money.Gross(q.PerHour, uint64(gpus)*uint64(job.Spec.DurationSeconds)*msPerSecond) //nolint:gosec // both are positive
	if err != nil {
		return Quote{}, err
	}
	split, err := q.Fees.Split(gross)
	if err != nil {
		return Quote{}, err
	}
	q.Deposit = split.Debit
	if q.Deposit > math.MaxInt64 || q.PerHour > math.MaxInt64 {
		return Quote{}, fmt.Errorf("price job: %w", money.ErrOverflow)
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

// GPUs is how many GPUs the job asks for in all.
func GPUs(job *boursev1.ComputeJob) int32 {
	return job.Spec.GPUs.Workers * job.Spec.GPUs.PerWorker
}

func value(of *int32) int32 {
	if of == nil {
		return 0
	}
	return *of
}

// Token is what the market says of a token, or nil if it does not take it.
func Token(market *boursev1.Market, symbol boursev1.TokenSymbol) *boursev1.MarketToken {
	for i := range market.Spec.Tokens {
		if market.Spec.Tokens[i].Symbol == symbol {
			return &market.Spec.Tokens[i]
		}
	}
	return nil
}
