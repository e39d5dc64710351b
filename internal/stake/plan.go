// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

const (
	// slack is by how many base units a bond may fall short of its amount: shares and what they are worth are rounded down.
	slack = 2
	// late is how long after its time something is begun: the chain's clock may be behind ours.
	late = 2 * time.Minute
)

// Want is what a staker wants of a pool.
type Want struct {
	Staker  chain.Address
	Amount  money.Amount  // to have at stake
	Reached *money.Amount // the amount that was last acted upon; nil if none was
	Appeal  *Evidence     // of the slash to appeal against
}

// Move is what is to be done next.
type Move string

// The moves.
const (
	MoveNone     Move = ""         // nothing
	MoveReached  Move = "Reached"  // nothing on the chain: what is wanted is there
	MoveBond     Move = "Bond"     // put the step's amount at stake
	MoveUnbond   Move = "Unbond"   // begin to take the step's shares back
	MoveWithdraw Move = "Withdraw" // take what has waited for long enough
	MoveAppeal   Move = "Appeal"   // appeal against the pending slash
)

// Step is one move and what it needs.
type Step struct {
	Move   Move
	Amount money.Amount  // MoveBond
	Shares uint64        // MoveUnbond
	Again  time.Duration // when to look again although nothing changes; zero: never
}

// Obstacle says why what is wanted cannot be done. It is a fact about the wish, not a fault.
//
//nolint:errname // a verdict, and an error only to whoever expected a step
type Obstacle string

// Error says why.
func (o Obstacle) Error() string { return string(o) }

// Next says what a staker is to do next: one thing at a time, what cannot wait first. What a slash took is not replaced, because only an
// amount that was not acted upon yet is; so a market can never slash the same wish twice.
func Next(p Pool, want Want, view View, token money.Token, now time.Time) (Step, error) {
	appeal, err := nextAppeal(p, want, view, now)
	if err != nil || appeal.Move != MoveNone {
		return appeal, err
	}
	step := nextWithdrawal(view, now)
	if step.Move == MoveNone && (want.Reached == nil || *want.Reached != want.Amount) {
		again := step.Again
		if step, err = nextAmount(p, want, view, token); err != nil {
			return Step{}, err
		}
		step.Again = again
	}
	if appeal.Again > 0 && (step.Again == 0 || appeal.Again < step.Again) {
		step.Again = appeal.Again
	}
	return step, nil
}

// nextAppeal appeals against the slash with the evidence, and looks for it again while it is not there.
func nextAppeal(p Pool, want Want, view View, now time.Time) (Step, error) {
	if want.Appeal == nil {
		return Step{}, nil
	}
	if view.Pool == nil || view.Pool.Slash == nil || view.Pool.Slash.Evidence != *want.Appeal {
		return Step{Again: late}, nil
	}
	slash := view.Pool.Slash
	switch {
	case slash.Appealed:
		return Step{}, nil
	case want.Staker != p.Owner:
		return Step{}, Obstacle("Only the owner of a pool can appeal against a slash: take spec.appeal out")
	case !now.Before(slash.AppealUntil):
		return Step{}, Obstacle("The time for an appeal is over: take spec.appeal out")
	}
	return Step{Move: MoveAppeal}, nil
}

// nextWithdrawal says when what is on its way back can be taken. A pending slash holds it.
func nextWithdrawal(view View, now time.Time) Step {
	if view.Position == nil || view.Position.Unbonding == 0 {
		return Step{}
	}
	if wait := view.Position.UnlockAt.Add(late).Sub(now); wait > 0 {
		return Step{Again: wait}
	}
	if view.Pool.Slash != nil {
		return Step{Again: late}
	}
	return Step{Move: MoveWithdraw}
}

// nextAmount compares what is bonded with what is wanted.
func nextAmount(p Pool, want Want, view View, token money.Token) (Step, error) {
	bonded, err := view.Bonded()
	if err != nil {
		return Step{}, err
	}
	switch {
	case bonded < want.Amount && want.Amount-bonded > slack:
		return nextBond(p, want, view, want.Amount-bonded, token)
	case bonded > want.Amount && bonded-want.Amount > slack, want.Amount == 0 && view.Position != nil && view.Position.Shares > 0:
		keep, err := SharesFor(want.Amount, view.Pool.Shares, view.Pool.Total)
		if err != nil || keep >= view.Position.Shares {
			return Step{Move: MoveReached}, err
		}
		return Step{Move: MoveUnbond, Shares: view.Position.Shares - keep}, nil
	default:
		return Step{Move: MoveReached}, nil
	}
}

// nextBond bonds what is missing, unless the chain is bound to refuse it.
func nextBond(p Pool, want Want, view View, missing money.Amount, token money.Token) (Step, error) {
	delegates := want.Staker != p.Owner
	switch {
	case delegates && view.Pool == nil:
		return Step{}, Obstacle(fmt.Sprintf("%s has no pool in this market yet: nothing can be delegated to it", p.Owner))
	case delegates && view.Pool.Slash != nil:
		return Step{}, Obstacle("A slash of the pool is pending: nothing can be delegated to it until that is decided")
	case view.Wallet < missing:
		return Step{}, Obstacle(fmt.Sprintf("%s are missing at stake, and the wallet holds %s: add to the wallet, or lower spec.amount",
			token.Format(missing), token.Format(view.Wallet)))
	}
	return Step{Move: MoveBond, Amount: missing}, nil
}

// Instructions returns what the step does on the chain. The first bond of a pool's owner makes the pool too.
func (s Step) Instructions(p Pool, staker chain.Address, view View) ([]chain.Instruction, error) {
	switch s.Move {
	case MoveBond:
		bond, err := Bond(p, staker, s.Amount)
		if err != nil || view.Pool != nil {
			return bond, err
		}
		create, err := CreatePool(p)
		return append(create, bond...), err
	case MoveUnbond:
		return Unbond(p, staker, s.Shares)
	case MoveWithdraw:
		return Withdraw(p, staker)
	case MoveAppeal:
		return Appeal(p, view.Pool.SlashNumber)
	default:
		return nil, fmt.Errorf("%w: the move %q is not one on the chain", ErrTerms, s.Move)
	}
}
