// SPDX-License-Identifier: Apache-2.0

package feeburn

import (
	"context"
	"fmt"
	"math"
	"slices"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/money"
)

// rule is what the markets say about an epoch's token.
type rule struct {
	market *boursev1.Market      // that lists the token; nil when none does
	token  *boursev1.MarketToken // as that market lists it
	twice  bool                  // two markets would buy back the same fees
}

// rule finds the market that an epoch's fees belong to. Settlements do not name it, so two that buy back the same token are too many.
func (r *Reconciler) rule(ctx context.Context, burn *boursev1.FeeBurn) (rule, error) {
	var markets boursev1.MarketList
	if err := r.Hub.List(ctx, &markets); err != nil {
		return rule{}, fmt.Errorf("list markets: %w", err)
	}
	var found rule
	for i := range markets.Items {
		market := &markets.Items[i]
		at := slices.IndexFunc(market.Spec.Tokens, func(token boursev1.MarketToken) bool {
			return token.Mint == burn.Spec.Mint && token.Decimals != nil
		})
		if at < 0 {
			continue
		}
		buys := market.Spec.BuyBack != nil
		if found.market != nil && found.market.Spec.BuyBack != nil {
			found.twice = found.twice || buys
			continue
		}
		if found.market == nil || buys {
			found.market, found.token = market, &market.Spec.Tokens[at]
		}
	}
	return found, nil
}

// waits says whether what claims pay to the treasury in this token waits for a buy-back: it is not burned by the claims, and it is not the
// token that is bought.
func (r rule) waits() bool {
	if r.token == nil || units32(r.token.BurnBps) > 0 {
		return false
	}
	return r.market.Spec.BuyBack == nil || r.market.Spec.BuyBack.Token != r.token.Symbol
}

func units32(value *int32) int32 {
	if value == nil {
		return 0
	}
	return *value
}

// paid is the epoch's token, or nil when no market says how many decimals it has.
func (r rule) paid(burn *boursev1.FeeBurn) *money.Token {
	if r.token == nil {
		return nil
	}
	return tokenOf(burn.Spec.Token, r.token)
}

// bought is the token that was bought back, or nil when the market does not list it any more.
func (r rule) bought(back *boursev1.FeeBurnBuyBack) *money.Token {
	if r.market == nil {
		return nil
	}
	for i := range r.market.Spec.Tokens {
		if token := &r.market.Spec.Tokens[i]; token.Mint == back.Mint && token.Decimals != nil {
			return tokenOf(back.Token, token)
		}
	}
	return nil
}

func tokenOf(symbol boursev1.TokenSymbol, token *boursev1.MarketToken) *money.Token {
	return &money.Token{Symbol: string(symbol), Decimals: uint8(min(max(0, *token.Decimals), math.MaxUint8))}
}
