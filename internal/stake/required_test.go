// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

const io = 100_000_000 // base units of one IO

func TestRequired(t *testing.T) {
	cases := map[string]struct {
		perGPU     money.Amount
		multiplier Multiplier
		gpus       uint32
		want       money.Amount
		err        error
	}{
		"8 H100":                             {perGPU: 200 * io, multiplier: 10_000, gpus: 8, want: 16_000 * io},
		"8 H200":                             {perGPU: 200 * io, multiplier: 12_000, gpus: 8, want: 19_200 * io},
		"8 B200":                             {perGPU: 200 * io, multiplier: 30_000, gpus: 8, want: 48_000 * io},
		"4 RTX 4070 at a quarter count as 1": {perGPU: 200 * io, multiplier: 250, gpus: 4, want: 800 * io},
		"4 RTX 4070 at one and a half":       {perGPU: 200 * io, multiplier: 1_500, gpus: 4, want: 1_200 * io},
		"a model without a multiplier":       {perGPU: 200 * io, gpus: 1, want: 200 * io},
		"no GPUs":                            {perGPU: 200 * io, multiplier: 10_000, want: 0},
		"a fraction of a base unit is one":   {perGPU: 1, multiplier: 1_001, gpus: 1, want: 2},
		"more than there can be":             {perGPU: math.MaxUint64, multiplier: 1_001, gpus: 1, err: money.ErrOverflow},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Required(tc.perGPU, tc.multiplier, tc.gpus)
			if !errors.Is(err, tc.err) || got != tc.want {
				t.Errorf("Required = %s, %v; want %s, %v", got, err, tc.want, tc.err)
			}
		})
	}
}

func TestEffective(t *testing.T) {
	cases := map[string]struct {
		own, delegated, want money.Amount
		bps                  uint16
	}{
		"nothing delegated":              {own: 100, bps: 10_000, want: 100},
		"as much as one's own":           {own: 100, delegated: 100, bps: 10_000, want: 200},
		"more than one's own":            {own: 100, delegated: 101, bps: 10_000, want: 200},
		"no delegation counts":           {own: 100, delegated: 100, want: 100},
		"half of one's own, rounded off": {own: 101, delegated: 100, bps: 5_000, want: 151},
		"nothing of one's own":           {delegated: 100, bps: 10_000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Effective(tc.own, tc.delegated, tc.bps)
			if err != nil || got != tc.want {
				t.Errorf("Effective = %s, %v; want %s", got, err, tc.want)
			}
		})
	}
	if _, err := Effective(math.MaxUint64, math.MaxUint64, wholeBps); !errors.Is(err, money.ErrOverflow) {
		t.Errorf("twice the greatest amount: %v", err)
	}
}

// At most half of what counts can be other people's, whatever they delegate.
func TestADelegationCountsAtMostAsOnesOwn(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		own, delegated, bps := money.Amount(rng.Uint64()>>1), money.Amount(rng.Uint64()>>1), uint16(rng.IntN(wholeBps+1))
		got, err := Effective(own, delegated, bps)
		if err != nil || got < own || got-own > own || got-own > delegated {
			t.Fatalf("Effective(%s, %s, %d) = %s, %v", own, delegated, bps, got, err)
		}
	}
}

// Parts of a pool never sum to more than the pool, and what is asked for in shares is worth what was asked for.
func TestValueAndShares(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 10_000 {
		all, total := rng.Uint64N(1<<rng.UintN(60)+1)+1, money.Amount(rng.Uint64N(1<<rng.UintN(60)+1)+1)
		some := rng.Uint64N(all + 1)
		a, errA := Value(some, all, total)
		b, errB := Value(all-some, all, total)
		if errA != nil || errB != nil || a+b > total || a+b+1 < total {
			t.Fatalf("%d of %d shares of %s are worth %s and the others %s (%v, %v)", some, all, total, a, b, errA, errB)
		}
		amount := money.Amount(rng.Uint64N(uint64(total) + 1))
		shares, err := SharesFor(amount, all, total)
		worth, errWorth := Value(shares, all, total)
		if err != nil || errWorth != nil || worth < amount {
			t.Fatalf("%d of %d shares of %s are worth %s, less than %s (%v, %v)", shares, all, total, worth, amount, err, errWorth)
		}
		if shares > 0 {
			if less, _ := Value(shares-1, all, total); less >= amount {
				t.Fatalf("%d of %d shares of %s for %s are one too many", shares, all, total, amount)
			}
		}
	}
	if _, err := Value(2, 1, 5); err == nil {
		t.Error("two of one share have a value")
	}
}

func TestPenalty(t *testing.T) {
	cases := map[string]struct {
		cause  Cause
		lasted time.Duration
		want   uint16
		ok     bool
	}{
		"a leased node away for five minutes":     {cause: RentedOffline, lasted: 5 * time.Minute, want: 200, ok: true},
		"exactly seven minutes":                   {cause: RentedOffline, lasted: 7 * time.Minute, want: 200, ok: true},
		"a second more":                           {cause: RentedOffline, lasted: 7*time.Minute + time.Second, want: 400, ok: true},
		"a leased node away for a week":           {cause: RentedOffline, lasted: 168 * time.Hour, want: 5_000, ok: true},
		"an idle node away for a week":            {cause: IdleOffline, lasted: 168 * time.Hour, want: 3_000, ok: true},
		"an unreachable node for a year":          {cause: Unreachable, lasted: 8_760 * time.Hour, want: 10_000, ok: true},
		"broken hardware for two days":            {cause: HardwareFault, lasted: 48 * time.Hour, want: 1_600, ok: true},
		"counterfeit hardware, found out at once": {cause: Counterfeit, want: 1_200, ok: true},
		"no cause":         {lasted: time.Hour},
		"an unknown cause": {cause: Counterfeit + 1, lasted: time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got, ok := Penalty(tc.cause, tc.lasted); got != tc.want || ok != tc.ok {
				t.Errorf("Penalty = %d, %v; want %d, %v", got, ok, tc.want, tc.ok)
			}
		})
	}
}

// The longer, the dearer, and nothing costs more than everything.
func TestPenaltiesOnlyGrow(t *testing.T) {
	for cause := IdleOffline; cause <= Counterfeit; cause++ {
		var last uint16
		for lasted := time.Duration(0); lasted < 300*time.Hour; lasted += 7 * time.Minute {
			bps, ok := Penalty(cause, lasted)
			if !ok || bps < last || bps == 0 || bps > wholeBps {
				t.Fatalf("cause %d after %s: %d (%v) after %d", cause, lasted, bps, ok, last)
			}
			last = bps
		}
	}
}
