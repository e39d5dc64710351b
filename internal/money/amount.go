// SPDX-License-Identifier: Apache-2.0

// Package money owns the market's arithmetic: token amounts, dollar prices, the price of GPU time and how a payment is split.
// Everything is an unsigned integer with checked arithmetic and 128-bit intermediates, and every split sums to its whole.
// It knows nothing of chains, leases or Kubernetes.
package money

import (
	"errors"
	"math/bits"
	"strconv"
)

// ErrOverflow says that a result does not fit 64 bits.
var ErrOverflow = errors.New("amount overflows 64 bits")

// ErrUnderflow says that more would be taken than there is.
var ErrUnderflow = errors.New("amount would be negative")

// Amount counts base units of one token: the smallest unit the chain knows.
type Amount uint64

// Add returns a + b, or ErrOverflow.
func (a Amount) Add(b Amount) (Amount, error) {
	sum, carry := bits.Add64(uint64(a), uint64(b), 0)
	if carry != 0 {
		return 0, ErrOverflow
	}
	return Amount(sum), nil
}

// Sub returns a - b, or ErrUnderflow.
func (a Amount) Sub(b Amount) (Amount, error) {
	if b > a {
		return 0, ErrUnderflow
	}
	return a - b, nil
}

// String returns the bare number of base units.
func (a Amount) String() string { return strconv.FormatUint(uint64(a), 10) }

// Sum adds all amounts, or returns ErrOverflow.
func Sum(amounts ...Amount) (Amount, error) {
	var total Amount
	for _, amount := range amounts {
		var err error
		if total, err = total.Add(amount); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// mulDiv returns floor(a × b / c) and the remainder through 128 bits; a quotient beyond 64 bits, or c = 0, is ErrOverflow.
func mulDiv(a, b, c uint64) (quotient, remainder uint64, err error) {
	high, low := bits.Mul64(a, b)
	if high >= c { // also when c is 0
		return 0, 0, ErrOverflow
	}
	quotient, remainder = bits.Div64(high, low, c)
	return quotient, remainder, nil
}
