// SPDX-License-Identifier: Apache-2.0

package money

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// ErrNoPrice says that a token has no dollar price, so nothing can be priced in it.
var ErrNoPrice = errors.New("token has no price")

// usdDecimals makes one USD unit a nano-dollar: exact for every published price, and 18 billion dollars still fit.
const usdDecimals = 9

// msPerHour is the number of GPU-milliseconds in one GPU-hour.
const msPerHour = 3_600_000

// USD is a dollar price in nano-dollars (10^-9 dollar).
type USD uint64

// ParseUSD reads a decimal price such as "1.85": digits, at most nine decimals, no sign, no exponent, no leading zero.
func ParseUSD(text string) (USD, error) {
	value, err := parseDecimal(text, usdDecimals)
	if err != nil {
		return 0, fmt.Errorf("parse dollar price: %w", err)
	}
	return USD(value), nil
}

// String writes the price as ParseUSD reads it, with at least two decimals.
func (u USD) String() string {
	digits := strconv.FormatUint(uint64(u), 10)
	if missing := usdDecimals + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	point := len(digits) - usdDecimals
	return digits[:point] + "." + digits[point:point+2] + strings.TrimRight(digits[point+2:], "0")
}

// PriceInToken converts a dollar price per GPU-hour into base units of the token per GPU-hour at the given price of one whole token.
// It rounds up, so that a GPU with a price is never free: the buyer pays less than one base unit per GPU-hour more.
func PriceInToken(usdPerHour, usdPerToken USD, token Token) (Amount, error) {
	if usdPerToken == 0 {
		return 0, fmt.Errorf("price in %s: %w", token.Symbol, ErrNoPrice)
	}
	one, err := token.one()
	if err != nil {
		return 0, fmt.Errorf("price in %s: %w", token.Symbol, err)
	}
	price, remainder, err := mulDiv(uint64(usdPerHour), one, uint64(usdPerToken))
	if err != nil {
		return 0, fmt.Errorf("price in %s: %w", token.Symbol, err)
	}
	if remainder == 0 {
		return Amount(price), nil
	}
	return Amount(price).Add(1)
}

// Gross returns what cumulative usage costs before fees: floor(price × GPU-milliseconds / 3 600 000).
// A period costs the difference of two cumulative figures, so when periods end cannot change what is paid.
func Gross(pricePerGPUHour Amount, gpuMilliseconds uint64) (Amount, error) {
	gross, _, err := mulDiv(uint64(pricePerGPUHour), gpuMilliseconds, msPerHour)
	if err != nil {
		return 0, fmt.Errorf("price %d GPU-ms: %w", gpuMilliseconds, err)
	}
	return Amount(gross), nil
}
