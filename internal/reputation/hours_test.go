// SPDX-License-Identifier: Apache-2.0

package reputation

import (
	"math"
	"testing"

	"github.com/bourse-dev/bourse/internal/money"
)

func TestHours(t *testing.T) {
	cases := map[string]struct{ milliseconds, want uint64 }{
		"nothing":                  {0, 0},
		"an hour":                  {3_600_000, PPM},
		"ninety seconds":           {90_000, 25_000},
		"less than a millionth":    {3, 0},
		"a millionth":              {4, 1},
		"as much as can be stored": {math.MaxUint64, 5_124_095_576_030_431_004},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Hours(tc.milliseconds); got != tc.want {
				t.Errorf("%d ms are %d millionths of an hour, want %d", tc.milliseconds, got, tc.want)
			}
		})
	}
}

func TestBought(t *testing.T) {
	cases := map[string]struct {
		gross, price money.Amount
		want         uint64
	}{
		"nothing":                   {0, 185, 0},
		"one hour":                  {185, 185, PPM},
		"a third, rounded down":     {1, 3, 333_333},
		"more than can be counted":  {math.MaxUint64, 1, math.MaxUint64},
		"anything at a price of 0":  {0, 0, math.MaxUint64},
		"a large amount, at a cost": {math.MaxUint64, math.MaxUint64, PPM},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Bought(tc.gross, tc.price); got != tc.want {
				t.Errorf("%d at %d buy %d millionths of an hour, want %d", tc.gross, tc.price, got, tc.want)
			}
		})
	}
}

// What a lease costs buys what it used, but for what rounding the price takes.
func TestWhatUsageCostsBuysIt(t *testing.T) {
	const price = 185_000_000
	for _, milliseconds := range []uint64{0, 1_000, 90_000, 3_600_000, 1_234_567_000} {
		gross, err := money.Gross(price, milliseconds)
		if err != nil {
			t.Fatal(err)
		}
		used, bought := Hours(milliseconds), Bought(gross, price)
		if bought > used || bought+1 < used {
			t.Errorf("%d ms are %d, and what they cost buys %d", milliseconds, used, bought)
		}
	}
}
