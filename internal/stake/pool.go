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

// Pool names one owner's pool in one market. With it, every address follows.
type Pool struct {
	Program chain.Address
	Config  chain.Address // the market's configuration account
	Owner   chain.Address
}

// Place is an address that follows from others, and its canonical bump.
type Place struct {
	Address chain.Address
	Bump    uint8
}

// Account returns where the pool is.
func (p Pool) Account() (Place, error) {
	return derive("pool", p.Program, []byte("pool"), p.Config[:], p.Owner[:])
}

// Vault returns where the pool's tokens are.
func (p Pool) Vault() (Place, error) {
	pool, err := p.Account()
	if err != nil {
		return Place{}, err
	}
	return derive("pool vault", p.Program, []byte("pool-vault"), pool.Address[:])
}

// Position returns where a staker's part of the pool is.
func (p Pool) Position(staker chain.Address) (Place, error) {
	pool, err := p.Account()
	if err != nil {
		return Place{}, err
	}
	return derive("position", p.Program, []byte("position"), pool.Address[:], staker[:])
}

func derive(what string, program chain.Address, seeds ...[]byte) (Place, error) {
	address, bump, err := chain.Derive(program, seeds...)
	if err != nil {
		return Place{}, fmt.Errorf("derive %s: %w", what, err)
	}
	return Place{Address: address, Bump: bump}, nil
}
