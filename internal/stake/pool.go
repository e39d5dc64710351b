// SPDX-License-Identifier: Apache-2.0

// Package stake knows the stakes and rewards of the on-chain program: it builds their instructions, verifies what a pool, a position, a
// slash and a reward account really are, and computes what stake is worth, required and at risk. It never trusts a field that it can
// recompute. It sends nothing and knows nothing of Kubernetes.
package stake

import (
	"errors"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
)

// ErrTerms says that something could not be on the chain at all.
var ErrTerms = errors.New("invalid stake terms")

// Pool names one owner's pool in one market, and the market's token. With it, every address follows.
type Pool struct {
	Program chain.Address
	Config  chain.Address // the market's configuration account
	Owner   chain.Address
	Mint    chain.Address // the configuration's
}

// place is an address that follows from others, and its canonical bump.
type place struct {
	address chain.Address
	bump    uint8
}

// spots are the places of a pool, and of one staker's position in it where one is asked for.
type spots struct{ pool, vault, position place }

// Account returns where the pool is.
func (p Pool) Account() (chain.Address, error) {
	at, err := p.account()
	return at.address, err
}

// Vault returns where the pool's tokens are.
func (p Pool) Vault() (chain.Address, error) {
	at, err := p.spots()
	return at.vault.address, err
}

// Position returns where a staker's part of the pool is.
func (p Pool) Position(staker chain.Address) (chain.Address, error) {
	at, err := p.spotsOf(staker)
	return at.position.address, err
}

func (p Pool) account() (place, error) {
	return derive("pool", p.Program, []byte("pool"), p.Config[:], p.Owner[:])
}

func (p Pool) spots() (at spots, err error) {
	if err := p.Validate(); err != nil {
		return spots{}, err
	}
	if at.pool, err = p.account(); err != nil {
		return spots{}, err
	}
	at.vault, err = vaultOf(p.Program, at.pool.address)
	return at, err
}

func (p Pool) spotsOf(staker chain.Address) (spots, error) {
	at, err := p.spots()
	if err != nil {
		return spots{}, err
	}
	at.position, err = positionOf(p.Program, at.pool.address, staker)
	return at, err
}

// vaultOf is where the tokens of a pool are.
func vaultOf(program, pool chain.Address) (place, error) {
	return derive("pool's vault", program, []byte("pool-vault"), pool[:])
}

// positionOf is where a staker's part of a pool is.
func positionOf(program, pool, staker chain.Address) (place, error) {
	return derive("position", program, []byte("position"), pool[:], staker[:])
}

// Validate says whether such a pool could be on the chain.
func (p Pool) Validate() error {
	for _, part := range []struct {
		name    string
		address chain.Address
	}{{"program", p.Program}, {"configuration", p.Config}, {"owner", p.Owner}, {"mint", p.Mint}} {
		if part.address.IsZero() {
			return fmt.Errorf("%w: %s is missing", ErrTerms, part.name)
		}
	}
	return nil
}

func derive(what string, program chain.Address, seeds ...[]byte) (place, error) {
	address, bump, err := chain.Derive(program, seeds...)
	if err != nil {
		return place{}, fmt.Errorf("derive %s: %w", what, err)
	}
	return place{address, bump}, nil
}
