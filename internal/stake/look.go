// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"context"
	"errors"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// Reader is what is read of the chain. It returns an error whenever it cannot tell.
type Reader interface {
	Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error)
}

// View is one staker's part of one pool, as it was finalized in one slot.
type View struct {
	Config   escrow.ConfigFacts
	Pool     *PoolFacts     // nil: the pool was never made
	Position *PositionFacts // nil: the staker never bonded
	Wallet   money.Amount   // what the staker's associated token account holds; nothing if there is none
	Slot     uint64
}

// Look reads a staker's part of a pool of the market whose configuration an authority controls. What stands on the chain in the place
// of something else is a *escrow.Refusal; any other error means that nothing was learned.
func Look(ctx context.Context, on Reader, p Pool, authority, staker chain.Address) (View, error) {
	at, err := p.spotsOf(staker)
	if err != nil {
		return View{}, err
	}
	tokens, err := chain.TokenAddress(staker, p.Mint)
	if err != nil {
		return View{}, err
	}
	accounts, err := on.Accounts(ctx, chain.Finalized, p.Config, at.pool.address, at.vault.address, at.position.address, tokens)
	if err != nil {
		return View{}, fmt.Errorf("read stake: %w", err)
	}
	view := View{Slot: accounts[0].Slot}
	if view.Config, err = escrow.VerifyConfig(p.Program, authority, accounts[0]); err != nil {
		return View{}, err
	}
	if err := belongs("configuration", "mint", view.Config.Mint, p.Mint); err != nil {
		return View{}, err
	}
	if view.Pool, err = present(VerifyPool(p, accounts[1], accounts[2])); err != nil {
		return View{}, err
	}
	if view.Position, err = present(VerifyPosition(p, staker, accounts[3])); err != nil {
		return View{}, err
	}
	if view.Pool == nil && view.Position != nil {
		return View{}, refuse(escrow.Absent, "no pool at %s, and a position in it", at.pool.address)
	}
	if view.Wallet, err = escrow.Balance(accounts[4]); err != nil && !errors.Is(err, escrow.Absent) {
		return View{}, err
	}
	return view, nil
}

// present turns what is absent into nil.
func present[T any](facts T, err error) (*T, error) {
	if errors.Is(err, escrow.Absent) {
		return nil, nil //nolint:nilnil // that nothing is there is an answer
	}
	if err != nil {
		return nil, err
	}
	return &facts, nil
}

// Bonded returns what the staker's bonded shares are worth.
func (v *View) Bonded() (money.Amount, error) {
	if v.Position == nil {
		return 0, nil
	}
	return v.Pool.Worth(v.Position.Shares)
}

// Unbonding returns what the staker's shares on their way back are worth.
func (v *View) Unbonding() (money.Amount, error) {
	if v.Position == nil {
		return 0, nil
	}
	return v.Pool.Worth(v.Position.Unbonding)
}
