// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"fmt"
	"math/bits"

	"github.com/bourse-dev/bourse/internal/money"
)

// multiplierUnit is a multiplier of one: multipliers are counted in thousandths.
const multiplierUnit = 1000

// Multiplier weighs a model of GPU against others, in thousandths.
type Multiplier uint32

// Required returns the stake that GPUs of one model need: per GPU × max(1, multiplier) × GPUs, rounded up to a base unit. It is
// io.net's published rule, with 200 IO per GPU there: 8 GPUs with a multiplier of 10 need 16 000 IO.
func Required(perGPU money.Amount, multiplier Multiplier, gpus uint32) (money.Amount, error) {
	weight := uint64(max(multiplier, multiplierUnit)) * uint64(gpus)
	whole, rest, err := mulDiv(uint64(perGPU), weight, multiplierUnit)
	if err != nil {
		return 0, fmt.Errorf("weigh %d GPUs: %w", gpus, err)
	}
	if rest > 0 {
		whole++ // the product before the division was larger still, so this cannot wrap
	}
	return money.Amount(whole), nil
}

// Effective returns what of a pool counts as its owner's stake: the owner's own, and of what others delegated at most maxDelegationBps
// of the owner's own. So with 10 000 at most half of it is other people's.
func Effective(own, delegated money.Amount, maxDelegationBps uint16) (money.Amount, error) {
	return own.Add(min(delegated, money.Portion(own, maxDelegationBps)))
}

// Value returns what shares of a pool are worth: their part of its total, rounded down. All shares together are worth all of it.
func Value(shares, allShares uint64, total money.Amount) (money.Amount, error) {
	if shares == 0 {
		return 0, nil
	}
	if shares > allShares {
		return 0, fmt.Errorf("value %d of %d shares: %w", shares, allShares, money.ErrOverflow)
	}
	value, _, err := mulDiv(uint64(total), shares, allShares)
	return money.Amount(value), err
}

// SharesFor returns the fewest shares that are worth at least the amount, or all of them when even they are not.
func SharesFor(amount money.Amount, allShares uint64, total money.Amount) (uint64, error) {
	if amount == 0 {
		return 0, nil
	}
	if amount >= total {
		return allShares, nil
	}
	shares, rest, err := mulDiv(uint64(amount), allShares, uint64(total))
	if err != nil {
		return 0, fmt.Errorf("count shares for %s: %w", amount, err)
	}
	if rest > 0 {
		shares++
	}
	return shares, nil
}

// mulDiv returns floor(a × b / c) and the remainder through 128 bits; a quotient beyond 64 bits, or c = 0, is an error.
func mulDiv(a, b, c uint64) (quotient, remainder uint64, err error) {
	high, low := bits.Mul64(a, b)
	if high >= c {
		return 0, 0, money.ErrOverflow
	}
	quotient, remainder = bits.Div64(high, low, c)
	return quotient, remainder, nil
}
