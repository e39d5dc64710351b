// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// ErrConflict says that somebody else has saved since, so that nothing was stored.
var ErrConflict = errors.New("the spending record has changed")

// mostOnce is how many effects that the chain allows only once are remembered. A transaction is signed anew within minutes, if at all.
const mostOnce = 64

// Spending is what a wallet has signed for in one day. It is kept where a restart cannot reset it.
type Spending struct {
	Day      string                  `json:"day"` // UTC, as in 2027-03-01
	Lamports money.Amount            `json:"lamports"`
	Tokens   map[string]money.Amount `json:"tokens,omitempty"` // base units by mint
	Once     []string                `json:"once,omitempty"`   // the newest effects that count once
	Version  string                  `json:"-"`                // the store's own
}

// Store keeps one wallet's Spending. Load returns the zero Spending when there is none yet. Save returns ErrConflict, and stores
// nothing, when somebody else has saved since the Load that Version came from.
type Store interface {
	Load(ctx context.Context) (Spending, error)
	Save(ctx context.Context, spending Spending) error
}

// with returns the day's spending with one more message. A new day begins from nothing; a clock that goes back stays in its day.
// An effect that the chain allows only once spends its tokens once, however often it is signed.
func (s Spending) with(intent Intent, now time.Time) (Spending, error) {
	next := Spending{Day: now.UTC().Format(time.DateOnly), Version: s.Version}
	if next.Day <= s.Day {
		next.Day, next.Lamports = s.Day, s.Lamports
		next.Tokens, next.Once = maps.Clone(s.Tokens), slices.Clone(s.Once)
	}
	var err error
	if next.Lamports, err = next.Lamports.Add(intent.Lamports); err != nil {
		return Spending{}, err
	}
	if intent.Once != "" && slices.Contains(next.Once, intent.Once) {
		return next, nil
	}
	for mint, units := range intent.Tokens {
		if next.Tokens == nil {
			next.Tokens = map[string]money.Amount{}
		}
		if next.Tokens[mint.String()], err = next.Tokens[mint.String()].Add(units); err != nil {
			return Spending{}, err
		}
	}
	if intent.Once != "" {
		next.Once = append(next.Once, intent.Once)
		next.Once = next.Once[max(0, len(next.Once)-mostOnce):]
	}
	return next, nil
}
