// SPDX-License-Identifier: Apache-2.0

// Package price moves an advisory price index for a family of GPUs in a group of regions, by how many of the GPUs on offer are leased.
// It knows nothing of the jobs that wait: demand that cannot pay, or that fits nowhere, would drive the index to its cap and hold it
// there while GPUs stand idle. Integers only; a share is in parts per million.
package price

import (
	"errors"
	"fmt"

	"github.com/bourse-dev/bourse/internal/money"
)

// PPM is a share or a factor in parts per million.
type PPM int64

// One is the whole, and the index at which a reference price is what it says.
const One PPM = 1_000_000

// Rule says how the index follows utilisation. With the index i and the utilisation u, one step is
//
//	i + i·(u − Target)·Gain, no further from i than i·Step, and within Low and High,
//
// each product rounded towards zero.
type Rule struct {
	Target PPM // the utilisation at which the index rests
	Gain   PPM // how strongly it moves, as a share of the deviation
	Step   PPM // the most that it moves in one step, as a share of itself
	Low    PPM // the least that it becomes
	High   PPM // the most that it becomes
}

// Default is the rule of a market that names no other. A simulation on a trace of 15,264 real jobs found its shape: a target of 90 %
// keeps the sales of fixed prices, where one of 75 % loses an eighth of them, and counting queued demand loses most of them.
func Default() Rule {
	return Rule{Target: 900_000, Gain: 20_000, Step: 20_000, Low: 600_000, High: 2_500_000}
}

// Check says what is wrong with the rule. Its errors name the field.
func (r Rule) Check() error {
	switch {
	case r.Target <= 0 || r.Target > One:
		return fmt.Errorf("target %d: must be over 0 and at most %d", r.Target, One)
	case r.Gain < 0 || r.Gain > One:
		return fmt.Errorf("gain %d: must be from 0 to %d", r.Gain, One)
	case r.Step < 0 || r.Step > One/2:
		return fmt.Errorf("step %d: must be from 0 to %d", r.Step, One/2)
	case r.Low <= 0 || r.Low > One:
		return fmt.Errorf("low %d: must be over 0 and at most %d", r.Low, One)
	case r.High < One || r.High > 100*One:
		return fmt.Errorf("high %d: must be from %d to %d", r.High, One, 100*One)
	default:
		return nil
	}
}

// Use is how the GPUs of one family in one group of regions stand.
type Use struct {
	Leased int64 // those that leases hold
	Free   int64 // those on offer
}

// ErrNegative says that a count is below zero.
var ErrNegative = errors.New("a count of GPUs is negative")

// Next returns the index after one step. Where nothing is on offer and nothing leased, there is nothing to follow and it stays.
func (r Rule) Next(index PPM, use Use) (PPM, error) {
	if use.Leased < 0 || use.Free < 0 {
		return 0, ErrNegative
	}
	index = r.within(index)
	total := use.Leased + use.Free
	if total == 0 {
		return index, nil
	}
	deviation := PPM(use.Leased*int64(One)/total) - r.Target
	move := index * deviation / One * r.Gain / One
	most := index * r.Step / One
	return r.within(index + max(-most, min(move, most))), nil
}

func (r Rule) within(index PPM) PPM { return max(r.Low, min(index, r.High)) }

// Limits are what a supplier lets its price be when it follows the index.
type Limits struct {
	Reference money.USD // the price at an index of one
	Least     money.USD
	Most      money.USD
}

// Ask returns the price at the index: the reference times the index, rounded down to the smallest unit, within the limits.
func (l Limits) Ask(index PPM) money.USD {
	ask := l.Reference
	if index >= 0 {
		whole, rest := ask/money.USD(One), ask%money.USD(One)
		ask = whole*money.USD(index) + rest*money.USD(index)/money.USD(One)
	}
	return max(l.Least, min(ask, l.Most))
}
