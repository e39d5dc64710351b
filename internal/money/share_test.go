// SPDX-License-Identifier: Apache-2.0

package money

import (
	"encoding/binary"
	"errors"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestShare(t *testing.T) {
	cases := map[string]struct {
		whole   Amount
		weights []uint64
		want    []Amount
		wantErr error
	}{
		"even":                              {100, []uint64{1, 1}, []Amount{50, 50}, nil},
		"three that cannot be even":         {100, []uint64{1, 1, 1}, []Amount{33, 33, 34}, nil},
		"one base unit has one owner":       {1, []uint64{3, 3, 3}, []Amount{0, 0, 1}, nil},
		"who has no weight gets nothing":    {10, []uint64{0, 1, 0}, []Amount{0, 10, 0}, nil},
		"nothing to share":                  {0, []uint64{1, 2}, []Amount{0, 0}, nil},
		"nothing among nobody":              {0, nil, []Amount{}, nil},
		"nothing among those without share": {0, []uint64{0, 0}, []Amount{0, 0}, nil},
		"something among nobody":            {1, nil, nil, ErrNoWeight},
		"something without shares":          {1, []uint64{0, 0}, nil, ErrNoWeight},
		"everything to one":                 {most, []uint64{math.MaxUint64}, []Amount{most}, nil},
		"everything by the greatest weight": {most, []uint64{math.MaxUint64 - 1, 1}, []Amount{most - 1, 1}, nil},
		"weights beyond 64 bits":            {1, []uint64{math.MaxUint64, 1}, nil, ErrOverflow},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Share(tc.whole, tc.weights...)
			if !errors.Is(err, tc.wantErr) {
				t.Fatalf("got error %v, want %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("parts (-want +got):\n%s", diff)
			}
		})
	}
}

// checkShare is what every share must satisfy: the parts sum to the whole, and each is its exact share to within one base unit.
func checkShare(t *testing.T, whole Amount, weights []uint64, parts []Amount) {
	t.Helper()
	sum, err := Sum(parts...)
	if err != nil || sum != whole || len(parts) != len(weights) {
		t.Fatalf("%d by %v: %v sums to %d, %v", whole, weights, parts, sum, err)
	}
	var total uint64
	for _, weight := range weights {
		total += weight
	}
	for i, weight := range weights {
		exact := new(big.Int).Mul(new(big.Int).SetUint64(uint64(whole)), new(big.Int).SetUint64(weight))
		least, rest := exact.QuoRem(exact, new(big.Int).SetUint64(max(total, 1)), new(big.Int))
		over := parts[i] - Amount(least.Uint64())
		if over > 1 || rest.Sign() == 0 && over != 0 {
			t.Fatalf("%d by %v: part %d is %d, its exact share is %s and a rest of %s", whole, weights, i, parts[i], least, rest)
		}
	}
}

func TestSharesSumToTheWhole(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 20_000 {
		whole := Amount(random.Uint64() >> random.UintN(64))
		weights := make([]uint64, 1+random.IntN(12))
		for i := range weights {
			weights[i] = random.Uint64() >> (4 + random.UintN(60))
		}
		weights[random.IntN(len(weights))]++ // somebody has a share
		parts, err := Share(whole, weights...)
		if err != nil {
			t.Fatal(err)
		}
		checkShare(t, whole, weights, parts)
	}
}

func FuzzShare(f *testing.F) {
	f.Add(uint64(100), []byte{1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0})
	f.Add(uint64(math.MaxUint64), []byte{255, 255, 255, 255, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, whole uint64, raw []byte) {
		var weights []uint64
		for ; len(raw) >= 8; raw = raw[8:] {
			weights = append(weights, binary.LittleEndian.Uint64(raw))
		}
		parts, err := Share(Amount(whole), weights...)
		if err != nil {
			if !errors.Is(err, ErrNoWeight) && !errors.Is(err, ErrOverflow) {
				t.Fatal(err)
			}
			return
		}
		checkShare(t, Amount(whole), weights, parts)
	})
}
