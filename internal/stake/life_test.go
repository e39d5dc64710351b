// SPDX-License-Identifier: Apache-2.0

package stake_test

import (
	"errors"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/stake"
)

// The whole life of a pool, to the base unit: bond, delegate, slash pro rata, unbond, wait, withdraw.
func TestStakeLife(t *testing.T) {
	worlds(t, func(w *world) {
		w.open(1_000)
		w.bond(w.delegator, 500)
		facts := w.facts()
		effective, err := facts.Effective(10_000)
		w.must(err)
		if facts.Total != 1_500 || facts.Own != 1_000 || effective != 1_500 || facts.Balance != 1_500 {
			w.t.Fatalf("bonded: %+v, effective %s", facts, effective)
		}
		w.propose(300)
		pending := w.facts().Slash
		if pending == nil || pending.Amount != 300 || pending.Cause != stake.RentedOffline || pending.Evidence != (stake.Evidence{1}) ||
			pending.Number != 1 || pending.Appealed || !pending.AppealUntil.Equal(pending.ProposedAt.Add(window)) ||
			!pending.DecideUntil.Equal(pending.AppealUntil.Add(hold)) || pending.Arbiter != w.arbiter.PublicKey() {
			w.t.Fatalf("proposed: %+v", pending)
		}
		w.unbond(w.delegator, 250) // in time to be slashed all the same
		instructions, err := stake.ExecuteSlash(w.pool, w.stranger.PublicKey(), 1)
		w.refused(escrow.CodeTime, w.stranger, instructions, err)
		w.warp(window + time.Second)
		w.land(w.stranger, instructions, err)

		facts = w.facts()
		if facts.Total != 1_200 || facts.Slashed != 300 || facts.Slash != nil || facts.SlashNumber != 1 || facts.Balance != 1_200 {
			w.t.Fatalf("slashed: %+v", facts)
		}
		owner, delegator := w.position(w.owner), w.position(w.delegator)
		checkWorth(w, facts, owner.Shares, 800)
		checkWorth(w, facts, delegator.Shares, 200)
		checkWorth(w, facts, delegator.Unbonding, 200)
		if effective, err = facts.Effective(10_000); err != nil || effective != 1_000 {
			w.t.Errorf("effective %s (%v), want 1000: what is on its way back does not count", effective, err)
		}

		early, err := stake.Withdraw(w.pool, w.delegator.PublicKey())
		w.refused(escrow.CodeTime, w.delegator, early, err)
		w.unbond(w.owner, 1_000)
		w.warp(cooldown + time.Second)
		w.withdraw(w.delegator)
		w.withdraw(w.owner)
		facts = w.facts()
		if facts.Total != 200 || facts.Own != 0 || facts.Unbonding != 0 {
			w.t.Fatalf("withdrawn: %+v", facts)
		}
		if got := w.balance(w.owner); got != allTokens-200 {
			w.t.Errorf("the owner has %s", got)
		}
		if got := w.balance(w.delegator); got != allTokens-300 {
			w.t.Errorf("the delegator has %s", got)
		}
		if effective, err = facts.Effective(10_000); err != nil || effective != 0 {
			w.t.Errorf("effective %s (%v), want none: nothing is the owner's own", effective, err)
		}
	})
}

func checkWorth(w *world, facts stake.PoolFacts, shares uint64, want money.Amount) {
	w.t.Helper()
	if got, err := facts.Worth(shares); err != nil || got != want {
		w.t.Errorf("%d shares are worth %s (%v), want %s", shares, got, err, want)
	}
}

func TestTheProgramRefuses(t *testing.T) {
	worlds(t, func(w *world) {
		w.open(1_000)
		again, err := stake.CreatePool(w.pool)
		w.refused(escrow.CodeState, w.owner, again, err)
		much, err := stake.Bond(w.pool, w.delegator.PublicKey(), 1_001)
		w.refused(escrow.CodeCap, w.delegator, much, err)
		w.bond(w.delegator, 1_000)
		over, err := stake.Unbond(w.pool, w.delegator.PublicKey(), 1_001)
		w.refused(escrow.CodeAmount, w.delegator, over, err)
		none, err := stake.Withdraw(w.pool, w.owner.PublicKey())
		w.refused(escrow.CodeAmount, w.owner, none, err)

		foreign, err := stake.ProposeSlash(w.pool, w.stranger.PublicKey(), 10, stake.Counterfeit, stake.Evidence{1})
		w.refused(escrow.CodeSigner, w.stranger, foreign, err)
		facts := w.facts()
		left, err := facts.CapLeft(w.config.Terms.MaxSlashBps, w.now())
		w.must(err)
		if left != 600 {
			w.t.Errorf("%s can be slashed, want 600", left)
		}
		harsh, err := stake.ProposeSlash(w.pool, w.authority.PublicKey(), left+1, stake.Counterfeit, stake.Evidence{1})
		w.refused(escrow.CodeCap, w.authority, harsh, err)
		w.propose(left)
		second, err := stake.ProposeSlash(w.pool, w.authority.PublicKey(), 1, stake.Counterfeit, stake.Evidence{2})
		w.refused(escrow.CodeHeld, w.authority, second, err)
		late, err := stake.Bond(w.pool, w.delegator.PublicKey(), 1)
		w.refused(escrow.CodeHeld, w.delegator, late, err)
		wrong, err := stake.Appeal(w.pool, 2)
		w.refused(escrow.CodeState, w.owner, wrong, err)
	})
}

// After an appeal only the arbiter executes; if it does not, the slash falls and the calm day begins.
func TestAnAppealIsForTheArbiter(t *testing.T) {
	worlds(t, func(w *world) {
		w.open(1_000)
		w.propose(100)
		appeal, err := stake.Appeal(w.pool, 1)
		w.land(w.owner, appeal, err)
		if slash := w.facts().Slash; slash == nil || !slash.Appealed {
			w.t.Fatalf("appealed: %+v", slash)
		}
		w.warp(window + time.Second)
		execute, err := stake.ExecuteSlash(w.pool, w.authority.PublicKey(), 1)
		w.refused(escrow.CodeSigner, w.authority, execute, err)
		drop, err := stake.DropSlash(w.pool, w.stranger.PublicKey(), 1)
		w.refused(escrow.CodeTime, w.stranger, drop, err)
		w.warp(hold)
		w.land(w.stranger, drop, err)
		facts := w.facts()
		if facts.Slash != nil || facts.Total != 1_000 || facts.Slashed != 0 || !facts.CalmUntil.After(w.now()) {
			w.t.Fatalf("dropped: %+v", facts)
		}
		hasty, err := stake.ProposeSlash(w.pool, w.authority.PublicKey(), 1, stake.Counterfeit, stake.Evidence{2})
		w.refused(escrow.CodeTime, w.authority, hasty, err)
		w.warp(25 * time.Hour)
		w.propose(100)
		appeal, err = stake.Appeal(w.pool, 2)
		w.land(w.owner, appeal, err)
		execute, err = stake.ExecuteSlash(w.pool, w.arbiter.PublicKey(), 2)
		w.land(w.arbiter, execute, err)
		if facts = w.facts(); facts.Total != 900 || facts.Slashed != 100 {
			w.t.Errorf("executed by the arbiter: %+v", facts)
		}
	})
}

func TestWhatWasNeverMadeIsAbsent(t *testing.T) {
	worlds(t, func(w *world) {
		account, err := w.pool.Account()
		w.must(err)
		vault, err := w.pool.Vault()
		w.must(err)
		accounts := w.read(account, vault)
		if _, err := stake.VerifyPool(w.pool, accounts[0], accounts[1]); !errors.Is(err, escrow.Absent) {
			w.t.Errorf("pool: %v, want %v", err, escrow.Absent)
		}
		position, err := w.pool.Position(w.owner.PublicKey())
		w.must(err)
		if _, err := stake.VerifyPosition(w.pool, w.owner.PublicKey(), w.read(position)[0]); !errors.Is(err, escrow.Absent) {
			w.t.Errorf("position: %v, want %v", err, escrow.Absent)
		}
	})
}
