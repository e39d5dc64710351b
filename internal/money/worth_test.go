// SPDX-License-Identifier: Apache-2.0

package money

import (
	"errors"
	"math"
	"testing"
)

func TestWorthInTokenRoundsDown(t *testing.T) {
	io := Token{Symbol: "IO", Decimals: 8}
	cases := map[string]struct {
		usd, per USD
		token    Token
		want     Amount
		wantErr  error
	}{
		"an exact worth":                {100_000_000_000, 1_000_000_000, io, 100_0000_0000, nil},
		"a third is cut":                {1_000_000_000, 3_000_000_000, io, 3333_3333, nil},
		"less than a base unit":         {1, 1_000_000_000, io, 0, nil},
		"a token without a price":       {1, 0, io, 0, ErrNoPrice},
		"more than 64 bits hold":        {math.MaxUint64, 1, io, 0, ErrOverflow},
		"more decimals than 64 bits do": {1, 1, Token{Symbol: "X", Decimals: 20}, 0, ErrOverflow},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := WorthInToken(tc.usd, tc.per, tc.token)
			if got != tc.want || !errors.Is(err, tc.wantErr) {
				t.Errorf("got %d, %v; want %d, %v", got, err, tc.want, tc.wantErr)
			}
		})
	}
}
