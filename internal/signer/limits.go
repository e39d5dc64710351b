// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// ErrLimits says that a text is not a daily cap.
var ErrLimits = errors.New("not a daily cap")

// sol is the chain's own coin.
var sol = money.Token{Symbol: "SOL", Decimals: 9} //nolint:gochecknoglobals // a fact of the chain, never written

// mostDecimals is what the market accepts of a mint.
const mostDecimals = 12

// Limits are the most that a wallet may spend in one day (UTC). The zero Limits limit nothing.
type Limits struct {
	// Lamports covers fees of the chain and rents; nil: no limit.
	Lamports *money.Amount
	// Tokens are per mint. Once one is limited, the wallet spends no token that is not.
	Tokens map[chain.Address]Cap
}

// Cap is the most of one token.
type Cap struct {
	Units    money.Amount
	Decimals uint8
}

// ParseLimits reads caps as people write them: "SOL=0.5", and "MINT:DECIMALS=AMOUNT" such as "EPjF…Dt1v:6=500" for 500 whole tokens.
func ParseLimits(texts []string) (Limits, error) {
	var limits Limits
	for _, text := range texts {
		if err := limits.add(strings.TrimSpace(text)); err != nil {
			return Limits{}, fmt.Errorf("%w: %q: %w; write SOL=0.5, or MINT:DECIMALS=500", ErrLimits, text, err)
		}
	}
	return limits, nil
}

func (l *Limits) add(text string) error {
	what, most, found := strings.Cut(text, "=")
	if !found {
		return errors.New("there is no amount")
	}
	if what == sol.Symbol {
		lamports, err := sol.Parse(most)
		if err != nil {
			return err
		}
		if l.Lamports != nil {
			return errors.New("SOL is there twice")
		}
		l.Lamports = &lamports
		return nil
	}
	name, places, found := strings.Cut(what, ":")
	if !found {
		return errors.New("the mint's decimals are missing")
	}
	mint, err := chain.ParseAddress(name)
	if err != nil {
		return errors.New("the mint is not an address")
	}
	decimals, err := strconv.ParseUint(places, 10, 8)
	if err != nil || decimals > mostDecimals {
		return fmt.Errorf("the decimals are not a number up to %d", mostDecimals)
	}
	if _, twice := l.Tokens[mint]; twice {
		return errors.New("the mint is there twice")
	}
	units, err := money.Token{Symbol: "tokens", Decimals: uint8(decimals)}.Parse(most)
	if err != nil {
		return err
	}
	if l.Tokens == nil {
		l.Tokens = map[chain.Address]Cap{}
	}
	l.Tokens[mint] = Cap{Units: units, Decimals: uint8(decimals)}
	return nil
}

// None says whether nothing is limited.
func (l Limits) None() bool { return l.Lamports == nil && len(l.Tokens) == 0 }

// concern says whether anything that the intent spends is limited.
func (l Limits) concern(intent Intent) bool {
	return l.Lamports != nil && intent.Lamports > 0 || len(l.Tokens) > 0 && len(intent.Tokens) > 0
}

// check says why a day's spending is too much, or nothing. It repeats no figure that moves, because the text goes into conditions.
func (l Limits) check(spent Spending, intent Intent) string {
	if l.Lamports != nil && spent.Lamports > *l.Lamports {
		return fmt.Sprintf("it would pass the daily cap of %s", sol.Format(*l.Lamports))
	}
	if len(l.Tokens) == 0 {
		return ""
	}
	for mint := range intent.Tokens {
		most, capped := l.Tokens[mint]
		if !capped {
			return fmt.Sprintf("the token of mint %s has no daily cap while others have", mint)
		}
		if spent.Tokens[mint.String()] > most.Units {
			return "it would pass the daily cap of " + money.Token{Symbol: "of mint " + mint.String(), Decimals: most.Decimals}.Format(most.Units)
		}
	}
	return ""
}
