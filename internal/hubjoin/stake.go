// SPDX-License-Identifier: Apache-2.0

package hubjoin

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"golang.org/x/time/rate"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/stake"
)

// How often the chain is asked for the stakes of those who are not yet members. Each costs a request to every endpoint.
const (
	stakesEvery = time.Second
	stakesBurst = 20
)

// errNoMarket says that the hub cannot tell what is staked.
var errNoMarket = errors.New("no Market that is ready names a stake: set spec.stake, or ask new members for none")

// StakeRule is what new members must have at stake. Those who are members already are not asked again.
type StakeRule struct {
	Least uint32       // whole tokens of the market's spec.stake
	Chain stake.Reader // it returns an error whenever it cannot tell
}

// staker is what a hub asks new members' wallets for.
type staker struct {
	rule  StakeRule
	asked *rate.Limiter
}

func newStaker(rule StakeRule) *staker {
	return &staker{rule: rule, asked: rate.NewLimiter(rate.Every(stakesEvery), stakesBurst)}
}

// staked refuses a new member whose wallet has too little at stake. What the chain or the hub does not say is no refusal, but an error.
func (h *Hub) staked(ctx context.Context, wallet join.Key, namespace string) error {
	if h.stakes.rule.Least == 0 {
		return nil
	}
	err := h.o.Live.Get(ctx, client.ObjectKey{Namespace: namespace, Name: boursev1.MemberName}, &boursev1.Member{})
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return fmt.Errorf("get member: %w", err)
	}
	var markets boursev1.MarketList
	if err := h.o.Client.List(ctx, &markets); err != nil {
		return fmt.Errorf("list markets: %w", err)
	}
	market := contract.Serving(markets.Items)
	if market == nil || market.Spec.Stake == nil {
		return errNoMarket
	}
	if !h.stakes.asked.AllowN(h.o.Now(), 1) {
		return join.Refuse(join.Busy, "Too many who are not yet members ask to join; come back in a minute")
	}
	return h.stakes.rule.check(ctx, market, wallet)
}

// check compares what the rule asks for with what is bonded in the wallet's own pool, as the finalized chain says.
func (s StakeRule) check(ctx context.Context, market *boursev1.Market, wallet join.Key) error {
	place, err := contract.Stake(market, market.Spec.Stake.Token, boursev1.SolanaAddress(address(wallet)))
	if err != nil {
		return fmt.Errorf("find stake: %w", err)
	}
	least, err := place.Token.Parse(strconv.FormatUint(uint64(s.Least), 10))
	if err != nil {
		return fmt.Errorf("read least stake: %w", err)
	}
	view, err := stake.Look(ctx, s.Chain, place.Pool, place.Authority, chain.Address(wallet))
	if err != nil {
		return fmt.Errorf("look at stake: %w", err)
	}
	bonded, err := view.Bonded()
	if err != nil {
		return fmt.Errorf("read stake: %w", err)
	}
	if bonded >= least {
		return nil
	}
	return short(place.Token, least, bonded)
}

func short(token money.Token, least, bonded money.Amount) error {
	return join.Refuse(join.StakeRequired, "New members of this hub have %s at stake, and this wallet's own pool has %s: bond %s more, and join then",
		token.Format(least), token.Format(bonded), token.Format(least-bonded))
}
