// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/stake"
)

// ErrNoStake says that a market has nothing that could be staked as it was asked for.
var ErrNoStake = errors.New("no such stake")

// StakePlace is where a stake is on chain, and what it is counted in.
type StakePlace struct {
	Pool      stake.Pool
	Authority chain.Address
	Token     money.Token
}

// Stake returns where the stake of a pool's owner is in a market.
func Stake(market *boursev1.Market, symbol boursev1.TokenSymbol, owner boursev1.SolanaAddress) (StakePlace, error) {
	place := StakePlace{}
	var mint boursev1.SolanaAddress
	for i := range market.Spec.Tokens {
		if token := &market.Spec.Tokens[i]; token.Symbol == symbol && token.Decimals != nil {
			mint = token.Mint
			place.Token = money.Token{Symbol: string(symbol), Decimals: uint8(*token.Decimals)} //nolint:gosec // at most 12
		}
	}
	if mint == "" {
		return StakePlace{}, fmt.Errorf("%w: the market %s has no token %s", ErrNoStake, market.Name, symbol)
	}
	for _, address := range []struct {
		into *chain.Address
		name string
		text boursev1.SolanaAddress
	}{
		{&place.Pool.Program, "programID", market.Spec.ProgramID},
		{&place.Authority, "authority", market.Spec.Authority},
		{&place.Pool.Owner, "the pool's owner", owner},
		{&place.Pool.Mint, "mint", mint},
	} {
		parsed, err := chain.ParseAddress(string(address.text))
		if err != nil {
			return StakePlace{}, fmt.Errorf("%w: %s: %w", ErrNoStake, address.name, err)
		}
		*address.into = parsed
	}
	config, _, err := escrow.ConfigAddress(place.Pool.Program, place.Authority)
	place.Pool.Config = config
	return place, err
}

// Multiplier returns the weight of a model: that of the longest entry that is the model's name or how it begins.
func Multiplier(of *boursev1.MarketStake, model boursev1.GPUModel) (stake.Multiplier, error) {
	var found *boursev1.StakeMultiplier
	for i := range of.Multipliers {
		entry := &of.Multipliers[i]
		fits := entry.Model == model || strings.HasPrefix(string(model), string(entry.Model)+"-")
		if fits && (found == nil || len(entry.Model) > len(found.Model)) {
			found = entry
		}
	}
	if found == nil {
		return 0, nil
	}
	const thousandths = 3
	value, err := money.Token{Symbol: "multiplier", Decimals: thousandths}.Parse(found.Multiplier)
	if err != nil {
		return 0, fmt.Errorf("%w: multiplier of %s: %w", ErrNoStake, found.Model, err)
	}
	return stake.Multiplier(value), nil //nolint:gosec // at most 9999.999
}

// Cause returns how the chain records a reason.
func Cause(reason boursev1.SlashReason) (stake.Cause, bool) {
	for cause, name := range reasons() {
		if name == reason {
			return cause, true
		}
	}
	return 0, false
}

// SlashReason returns the reason that the chain records; an unknown one is empty.
func SlashReason(cause stake.Cause) boursev1.SlashReason { return reasons()[cause] }

func reasons() map[stake.Cause]boursev1.SlashReason {
	return map[stake.Cause]boursev1.SlashReason{
		stake.IdleOffline: boursev1.SlashIdleOffline, stake.RentedOffline: boursev1.SlashRentedOffline,
		stake.Unreachable: boursev1.SlashUnreachable, stake.HardwareFault: boursev1.SlashHardwareFault,
		stake.Counterfeit: boursev1.SlashCounterfeit,
	}
}

// Evidence reads a digest.
func Evidence(text boursev1.SHA256) (stake.Evidence, error) {
	raw, err := hex.DecodeString(string(text))
	if err != nil || len(raw) != len(stake.Evidence{}) {
		return stake.Evidence{}, fmt.Errorf("%w: evidence %.80q is not 32 bytes in hexadecimal", ErrUnreadable, text)
	}
	return stake.Evidence(raw), nil
}

// EvidenceText writes a digest.
func EvidenceText(evidence stake.Evidence) boursev1.SHA256 {
	return boursev1.SHA256(hex.EncodeToString(evidence[:]))
}
