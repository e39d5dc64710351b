// SPDX-License-Identifier: Apache-2.0

package oracle

import (
	"errors"
	"fmt"
	"math/big"

	"github.com/bourse-dev/bourse/internal/money"
)

// usdDecimals is how many decimals money.USD has.
const usdDecimals = 9

// ErrNoBound says that no honest exchange of so little, or so much, can be bounded.
var ErrNoBound = errors.New("amount cannot be bounded")

// Sale is what is given away for a token: so many base units of another one, at a price of its own.
type Sale struct {
	Amount money.Amount
	Token  money.Token
	Price  money.USD // of one whole token
}

// Bound is what an exchange must yield, in base units of what is bought: less is a loss, and more means that either price is wrong.
type Bound struct{ Least, Most money.Amount }

// Bound returns what the sale must yield of the priced token: what it is worth at both prices, less and more the given basis points.
// The least is rounded up and the most down, so that rounding never widens the bound.
func (p Price) Bound(sale Sale, bought money.Token, maxBps uint16) (Bound, error) {
	if p.Value == 0 || sale.Price == 0 || maxBps > basisPoints {
		return Bound{}, fmt.Errorf("bound %s: %w", sale.Token.Format(sale.Amount), ErrNoBound)
	}
	// worth = amount/10^decimals × sale price/10^9 ÷ (value × 10^exponent) × 10^bought decimals, kept as one fraction
	worth, divisor := new(big.Int).SetUint64(uint64(sale.Amount)), new(big.Int).SetUint64(p.Value)
	worth.Mul(worth, new(big.Int).SetUint64(uint64(sale.Price)))
	worth.Mul(worth, power(int64(bought.Decimals)))
	divisor.Mul(divisor, power(int64(sale.Token.Decimals)+usdDecimals))
	if p.Exponent < 0 {
		worth.Mul(worth, power(-int64(p.Exponent)))
	} else {
		divisor.Mul(divisor, power(int64(p.Exponent)))
	}
	divisor.Mul(divisor, big.NewInt(basisPoints))
	least := new(big.Int).Mul(worth, big.NewInt(basisPoints-int64(maxBps)))
	least.Add(least, divisor).Sub(least, big.NewInt(1)).Quo(least, divisor)
	most := new(big.Int).Mul(worth, big.NewInt(basisPoints+int64(maxBps)))
	most.Quo(most, divisor)
	if !most.IsUint64() || least.Sign() == 0 || least.Cmp(most) > 0 {
		return Bound{}, fmt.Errorf("bound %s: %w", sale.Token.Format(sale.Amount), ErrNoBound)
	}
	return Bound{Least: money.Amount(least.Uint64()), Most: money.Amount(most.Uint64())}, nil
}

func power(of int64) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(of), nil) }

// Contains says whether an amount is inside the bound.
func (b Bound) Contains(amount money.Amount) bool { return amount >= b.Least && amount <= b.Most }
