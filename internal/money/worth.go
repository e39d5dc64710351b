// SPDX-License-Identifier: Apache-2.0

package money

import "fmt"

// WorthInToken converts a dollar amount into the base units that it is worth at the given price of one whole token.
// It rounds down, so that a budget in the token is never more than the budget in dollars.
func WorthInToken(usd, usdPerToken USD, token Token) (Amount, error) {
	if usdPerToken == 0 {
		return 0, fmt.Errorf("worth in %s: %w", token.Symbol, ErrNoPrice)
	}
	one, err := token.one()
	if err != nil {
		return 0, fmt.Errorf("worth in %s: %w", token.Symbol, err)
	}
	worth, _, err := mulDiv(uint64(usd), one, uint64(usdPerToken))
	if err != nil {
		return 0, fmt.Errorf("worth in %s: %w", token.Symbol, err)
	}
	return Amount(worth), nil
}
