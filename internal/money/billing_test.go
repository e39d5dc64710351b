// SPDX-License-Identifier: Apache-2.0

package money

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"
)

// billing says what usage between two cumulative figures costs, in GPU-milliseconds, before fees.
type billing func(price Amount, from, to uint64) (Amount, error)

// cumulative is the market's rule, as controllers use it: the cost of the usage until now, less the cost of the usage before.
func cumulative(price Amount, from, to uint64) (Amount, error) {
	now, err := Gross(price, to)
	if err != nil {
		return 0, err
	}
	before, err := Gross(price, from)
	if err != nil {
		return 0, err
	}
	return now.Sub(before)
}

// truncatedRate is the rule of a market that fixes a whole number of base units per step of time, and multiplies: here per second.
func truncatedRate(price Amount, from, to uint64) (Amount, error) {
	perSecond := uint64(price) / 3_600
	cost, _, err := mulDiv(perSecond, to-from, 1_000)
	return Amount(cost), err
}

// roundedDown and roundedUp bill each period by itself.
func roundedDown(price Amount, from, to uint64) (Amount, error) { return Gross(price, to-from) }

func roundedUp(price Amount, from, to uint64) (Amount, error) {
	cost, rest, err := mulDiv(uint64(price), to-from, msPerHour)
	if err == nil && rest > 0 {
		cost++
	}
	return Amount(cost), err
}

// wrapping multiplies in 64 bits.
func wrapping(price Amount, from, to uint64) (Amount, error) {
	return (price*Amount(to) - price*Amount(from)) / msPerHour, nil
}

// checkBilling is the suite that a billing rule must pass, for one price and three moments a ≤ b ≤ c:
//
//  1. Path: settle(a,c) = settle(a,b) + settle(b,c), so when periods end cannot change what is paid.
//  2. Conservation: from the start, what is paid is the exact price of the usage, less than one base unit short, and never above it.
//  3. Overflow is an error, and only where the exact amount does not fit.
func checkBilling(bill billing, price Amount, a, b, c uint64) error {
	exact := new(big.Int).Mul(new(big.Int).SetUint64(uint64(price)), new(big.Int).SetUint64(c))
	exact.Quo(exact, big.NewInt(msPerHour))
	whole, err := bill(price, 0, c)
	if !exact.IsUint64() {
		if !errors.Is(err, ErrOverflow) {
			return fmt.Errorf("price %d until %d is billed %d, though the exact amount does not fit 64 bits", price, c, whole)
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("price %d until %d, which costs %s: %w", price, c, exact, err)
	}
	if uint64(whole) != exact.Uint64() {
		return fmt.Errorf("price %d until %d is billed %d; the exact amount is %s", price, c, whole, exact)
	}
	var parts [4]Amount
	for i, period := range [][2]uint64{{0, a}, {a, b}, {b, c}, {a, c}} {
		if parts[i], err = bill(price, period[0], period[1]); err != nil {
			return fmt.Errorf("price %d over %v: %w", price, period, err)
		}
	}
	if parts[3] != parts[1]+parts[2] {
		return fmt.Errorf("price %d: settle(%d,%d) is %d, but over %d it is %d + %d", price, a, c, parts[3], b, parts[1], parts[2])
	}
	if whole != parts[0]+parts[3] {
		return fmt.Errorf("price %d: settle(0,%d) is %d, but over %d it is %d + %d", price, c, whole, a, parts[0], parts[3])
	}
	return nil
}

// property plays the suite at its edges and at random, and returns the first violation.
func property(bill billing) error {
	edges := []uint64{0, 1, 999, 1_000, msPerHour - 1, msPerHour, msPerHour + 1, math.MaxUint64 / msPerHour, math.MaxUint64 - 1, math.MaxUint64}
	for _, price := range edges {
		for i, a := range edges {
			for j, b := range edges[i:] {
				for _, c := range edges[i+j:] {
					if err := checkBilling(bill, Amount(price), a, b, c); err != nil {
						return err
					}
				}
			}
		}
	}
	random := rand.New(rand.NewPCG(7, 8))
	for range 20_000 {
		price := Amount(random.Uint64() >> random.UintN(64))
		a := random.Uint64() >> (2 + random.UintN(62))
		b := a + random.Uint64()>>(2+random.UintN(62))
		c := b + random.Uint64()>>(2+random.UintN(62))
		if err := checkBilling(bill, price, a, b, c); err != nil {
			return err
		}
	}
	return nil
}

func TestBillingIsExactHoweverItIsCut(t *testing.T) {
	if err := property(cumulative); err != nil {
		t.Error(err)
	}
}

// The suite must reject the rules that lose or invent money, or it proves nothing.
func TestBillingMutantsAreCaught(t *testing.T) {
	for name, bill := range map[string]billing{
		"a truncated rate":         truncatedRate,
		"each period rounded down": roundedDown,
		"each period rounded up":   roundedUp,
		"64 bits that wrap":        wrapping,
	} {
		t.Run(name, func(t *testing.T) {
			err := property(bill)
			if err == nil {
				t.Fatal("not caught")
			}
			t.Log(err)
		})
	}
}

// How much the truncated rate loses on an ordinary lease: 1.85 USDC an hour is 513.8 base units a second.
func TestATruncatedRateUnderpays(t *testing.T) {
	const price, month = Amount(1_850000), uint64(30 * 24 * msPerHour)
	truncated, err := truncatedRate(price, 0, month)
	if err != nil {
		t.Fatal(err)
	}
	exact, err := Gross(price, month)
	if err != nil || exact != 1_332_000000 || truncated != 1_329_696000 {
		t.Errorf("exact %d, %v; truncated %d", exact, err, truncated)
	}
}

func FuzzBilling(f *testing.F) {
	f.Add(uint64(1_850_000), uint64(0), uint64(1), uint64(3_600_000))
	f.Add(uint64(math.MaxUint64), uint64(1), uint64(2), uint64(3))
	f.Fuzz(func(t *testing.T, price, a, b, c uint64) {
		b = max(a, b)
		c = max(b, c)
		if err := checkBilling(cumulative, Amount(price), a, b, c); err != nil {
			t.Fatal(err)
		}
	})
}

// Both conversions of dollars are exact to one base unit, on the side that their callers need, or an overflow.
func FuzzDollarsInTokens(f *testing.F) {
	f.Add(uint64(1_850_000_000), uint64(1_000_000_000), uint8(6))
	f.Add(uint64(1), uint64(math.MaxUint64), uint8(0))
	f.Add(uint64(math.MaxUint64), uint64(1), uint8(19))
	f.Fuzz(func(t *testing.T, usd, per uint64, decimals uint8) {
		token := Token{Symbol: "T", Decimals: decimals % 20}
		price, priceErr := PriceInToken(USD(usd), USD(per), token)
		worth, worthErr := WorthInToken(USD(usd), USD(per), token)
		if per == 0 {
			if !errors.Is(priceErr, ErrNoPrice) || !errors.Is(worthErr, ErrNoPrice) {
				t.Fatalf("without a price: %v, %v", priceErr, worthErr)
			}
			return
		}
		exact := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(token.Decimals)), nil)
		down, rest := exact.Mul(exact, new(big.Int).SetUint64(usd)).QuoRem(exact, new(big.Int).SetUint64(per), new(big.Int))
		up := new(big.Int).Add(down, big.NewInt(int64(rest.Sign())))
		for _, side := range []struct {
			got  Amount
			err  error
			want *big.Int
		}{{worth, worthErr, down}, {price, priceErr, up}} {
			fits := side.want.IsUint64()
			if fits && (side.err != nil || uint64(side.got) != side.want.Uint64()) || !fits && !errors.Is(side.err, ErrOverflow) {
				t.Fatalf("$%d at $%d in %d decimals: got %d, %v; want %s", usd, per, token.Decimals, side.got, side.err, side.want)
			}
		}
	})
}
