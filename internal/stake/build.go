// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"encoding/binary"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Evidence is the digest of what a slash is for.
type Evidence = Digest

// CreatePool returns the instructions by which an owner makes its pool, which holds nothing yet.
func CreatePool(p Pool) ([]chain.Instruction, error) {
	at, err := p.spots()
	if err != nil {
		return nil, fmt.Errorf("build pool: %w", err)
	}
	data := []byte{opCreatePool, at.pool.bump, at.vault.bump}
	return []chain.Instruction{instruction(p.Program, data, p.Owner, p.Config, at.pool.address, at.vault.address, p.Mint)}, nil
}

// Bond returns the instructions by which a staker puts an amount of its associated token account at stake: for itself if it owns the
// pool, else as a delegation.
func Bond(p Pool, staker chain.Address, amount money.Amount) ([]chain.Instruction, error) {
	at, err := p.spotsOf(staker)
	if err != nil {
		return nil, fmt.Errorf("build bond: %w", err)
	}
	tokens, err := chain.TokenAddress(staker, p.Mint)
	if err != nil {
		return nil, fmt.Errorf("build bond: %w", err)
	}
	if amount == 0 {
		return nil, fmt.Errorf("build bond: %w: the amount is zero", ErrTerms)
	}
	data := append(binary.LittleEndian.AppendUint64([]byte{opBond}, uint64(amount)), at.position.bump)
	return []chain.Instruction{
		instruction(p.Program, data, staker, p.Config, at.pool.address, at.position.address, at.vault.address, p.Mint, tokens),
	}, nil
}

// Unbond returns the instructions by which a staker asks for shares back. The time that they wait begins anew for all that wait.
func Unbond(p Pool, staker chain.Address, shares uint64) ([]chain.Instruction, error) {
	at, err := p.spotsOf(staker)
	if err != nil {
		return nil, fmt.Errorf("build unbond: %w", err)
	}
	if shares == 0 {
		return nil, fmt.Errorf("build unbond: %w: no shares", ErrTerms)
	}
	data := binary.LittleEndian.AppendUint64([]byte{opUnbond}, shares)
	return []chain.Instruction{instruction(p.Program, data, staker, p.Config, at.pool.address, at.position.address)}, nil
}

// Withdraw returns the instructions by which a staker takes all that it unbonded, once that has waited for long enough. Its associated
// token account is made first if it is missing.
func Withdraw(p Pool, staker chain.Address) ([]chain.Instruction, error) {
	at, err := p.spotsOf(staker)
	if err != nil {
		return nil, fmt.Errorf("build withdrawal: %w", err)
	}
	tokens, create, err := chain.TokenAccount(staker, staker, p.Mint)
	if err != nil {
		return nil, fmt.Errorf("build withdrawal: %w", err)
	}
	return []chain.Instruction{
		create,
		instruction(p.Program, []byte{opWithdraw}, staker, at.pool.address, at.position.address, at.vault.address, p.Mint, tokens),
	}, nil
}

// ProposeSlash returns the instructions by which the market's authority proposes to slash a pool.
func ProposeSlash(p Pool, authority chain.Address, amount money.Amount, cause Cause, evidence Evidence) ([]chain.Instruction, error) {
	at, err := p.spots()
	switch {
	case err != nil:
		return nil, fmt.Errorf("build slash: %w", err)
	case amount == 0 || evidence == Evidence{}:
		return nil, fmt.Errorf("build slash: %w: no amount or no evidence", ErrTerms)
	}
	data := append(binary.LittleEndian.AppendUint64([]byte{opProposeSlash}, uint64(amount)), byte(cause))
	return []chain.Instruction{instruction(p.Program, append(data, evidence[:]...), authority, p.Config, at.pool.address)}, nil
}

// Appeal returns the instructions by which a pool's owner takes the pending slash of that number to the market's arbiter.
func Appeal(p Pool, number uint32) ([]chain.Instruction, error) {
	at, err := p.spots()
	if err != nil {
		return nil, fmt.Errorf("build appeal: %w", err)
	}
	return []chain.Instruction{instruction(p.Program, numbered(opAppeal, number), p.Owner, at.pool.address)}, nil
}

// ExecuteSlash returns the instructions by which the pending slash of that number is burned: by anybody once nobody has appealed in
// time, by the arbiter once the owner has.
func ExecuteSlash(p Pool, submitter chain.Address, number uint32) ([]chain.Instruction, error) {
	at, err := p.spots()
	if err != nil {
		return nil, fmt.Errorf("build execution: %w", err)
	}
	data := numbered(opExecuteSlash, number)
	return []chain.Instruction{instruction(p.Program, data, submitter, at.pool.address, at.vault.address, p.Mint)}, nil
}

// DropSlash returns the instructions by which the pending slash of that number is taken back: by the market's authority at any time,
// by the arbiter of an appeal, by anybody once the time to decide is over.
func DropSlash(p Pool, submitter chain.Address, number uint32) ([]chain.Instruction, error) {
	at, err := p.spots()
	if err != nil {
		return nil, fmt.Errorf("build drop: %w", err)
	}
	return []chain.Instruction{instruction(p.Program, numbered(opDropSlash, number), submitter, p.Config, at.pool.address)}, nil
}

func numbered(op byte, number uint32) []byte {
	return binary.LittleEndian.AppendUint32([]byte{op}, number)
}
