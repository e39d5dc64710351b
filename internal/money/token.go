// SPDX-License-Identifier: Apache-2.0

package money

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Token is what an amount counts: its symbol, and how many decimals one whole token has.
type Token struct {
	Symbol   string
	Decimals uint8
}

// Format writes the amount for people, as in "12.34 IO": all significant decimals, at least two where the token has them.
func (t Token) Format(a Amount) string {
	digits := strconv.FormatUint(uint64(a), 10)
	if t.Decimals == 0 {
		return digits + " " + t.Symbol
	}
	places := int(t.Decimals)
	if missing := places + 1 - len(digits); missing > 0 {
		digits = strings.Repeat("0", missing) + digits
	}
	whole, fraction := digits[:len(digits)-places], digits[len(digits)-places:]
	keep := min(places, 2)
	fraction = fraction[:keep] + strings.TrimRight(fraction[keep:], "0")
	return whole + "." + fraction + " " + t.Symbol
}

// Parse reads a decimal number of whole tokens, as in "12.34", without a sign, a symbol, an exponent or surplus decimals.
func (t Token) Parse(text string) (Amount, error) {
	value, err := parseDecimal(text, t.Decimals)
	if err != nil {
		return 0, fmt.Errorf("parse amount of %s: %w", t.Symbol, err)
	}
	return Amount(value), nil
}

// one returns the base units of one whole token.
func (t Token) one() (uint64, error) { return pow10(t.Decimals) }

// pow10 returns 10^n, or ErrOverflow when 64 bits do not hold it.
func pow10(n uint8) (uint64, error) {
	const most = 19 // 10^19 < 2^64 < 10^20
	if n > most {
		return 0, ErrOverflow
	}
	power := uint64(1)
	for range n {
		power *= 10
	}
	return power, nil
}

// parseDecimal reads digits with at most the given decimals into a scaled integer, and refuses everything that is not exact.
func parseDecimal(text string, decimals uint8) (uint64, error) {
	whole, fraction, dotted := strings.Cut(text, ".")
	if whole == "" || dotted && fraction == "" {
		return 0, fmt.Errorf("%q is not a decimal number", text)
	}
	if len(whole) > 1 && whole[0] == '0' {
		return 0, fmt.Errorf("%q has a leading zero", text)
	}
	if len(fraction) > int(decimals) {
		return 0, fmt.Errorf("%q has more than %d decimals", text, decimals)
	}
	var value uint64
	for _, digit := range []byte(whole + fraction + strings.Repeat("0", int(decimals)-len(fraction))) {
		if digit < '0' || digit > '9' {
			return 0, fmt.Errorf("%q is not a decimal number", text)
		}
		next := uint64(digit - '0')
		if value > (math.MaxUint64-next)/10 {
			return 0, fmt.Errorf("%q: %w", text, ErrOverflow)
		}
		value = value*10 + next
	}
	return value, nil
}
