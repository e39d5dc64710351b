// SPDX-License-Identifier: Apache-2.0

package money

import (
	"errors"
	"fmt"
)

// ErrNoWeight says that there is something to share and nobody who has a share in it.
var ErrNoWeight = errors.New("nobody has a share")

// Share divides an amount in proportion to the weights. The parts always sum to the whole; each is its exact share rounded down or
// up to a base unit, and nobody without weight gets anything. The cumulative share is what is rounded, down, and differenced: where
// the remainders go depends on nothing but the order of the weights.
func Share(whole Amount, weights ...uint64) ([]Amount, error) {
	var total Amount
	for _, weight := range weights {
		var err error
		if total, err = total.Add(Amount(weight)); err != nil {
			return nil, fmt.Errorf("sum weights: %w", err)
		}
	}
	if total == 0 && whole > 0 {
		return nil, fmt.Errorf("share %s: %w", whole, ErrNoWeight)
	}
	parts := make([]Amount, len(weights))
	var sum, given uint64
	for i, weight := range weights {
		if weight == 0 {
			continue
		}
		sum += weight
		due, _, err := mulDiv(uint64(whole), sum, uint64(total))
		if err != nil {
			return nil, fmt.Errorf("share %s: %w", whole, err)
		}
		parts[i] = Amount(due - given)
		given = due
	}
	return parts, nil
}
