// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// wholeBps is all of a thing, in basis points.
const wholeBps = 10_000

// capPeriod is the time in which a share can lose no more than the market's cap.
const capPeriod = 30 * 24 * time.Hour

// PoolFacts is what a pool on the chain says of itself, once it was found to be the one that it should be.
type PoolFacts struct {
	Account     chain.Address
	Total       money.Amount // what all shares are worth together
	Shares      uint64       // all of them, those on their way back included
	Own         uint64       // the owner's that are bonded
	Unbonding   uint64       // everybody's on their way back
	Slashed     money.Amount // ever
	SlashedAt   time.Time    // when last; zero if never
	CalmUntil   time.Time    // no slash can be proposed before
	Slash       *SlashFacts  // the pending one
	SlashNumber uint32       // of the last proposal ever, zero if there was none
	Decimals    uint8
	Balance     money.Amount // what the vault holds, strangers' gifts included
	Slot        uint64       // when this was so

	markTotal  money.Amount // with the next: what a share was worth when the running period of slashes began
	markShares uint64
}

// SlashFacts is a slash that is pending on the chain.
type SlashFacts struct {
	Number      uint32
	Amount      money.Amount
	Cause       Cause
	Evidence    Evidence
	ProposedAt  time.Time
	AppealUntil time.Time // afterwards anybody can execute it, unless it was appealed
	DecideUntil time.Time // afterwards it can only be dropped
	Arbiter     chain.Address
	Appealed    bool
}

// VerifyPool says what two accounts, read in one slot, are of the pool, or refuses them: Absent if the pool was never made.
func VerifyPool(p Pool, account, vault chain.Account) (PoolFacts, error) {
	at, err := p.spots()
	if err != nil {
		return PoolFacts{}, err
	}
	in, err := open("pool", p.Program, at.pool, account, poolSize, markPool)
	if err != nil {
		return PoolFacts{}, err
	}
	if err := p.owns(&in); err != nil {
		return PoolFacts{}, err
	}
	facts := PoolFacts{Account: at.pool.address, Slot: account.Slot}
	facts.Total, facts.Shares, facts.Own, facts.Unbonding = in.amount(), in.uint64(), in.uint64(), in.uint64()
	facts.Slashed, facts.SlashedAt, facts.markTotal, facts.markShares, facts.CalmUntil = in.amount(), in.when(), in.amount(), in.uint64(), in.when()
	state := facts.readSlash(&in)
	facts.Decimals = in.byte()
	bump, vaultBump, version := in.byte(), in.byte(), in.byte()
	if bump != at.pool.bump || vaultBump != at.vault.bump || version != layout || !in.zero() || state > slashAppealed {
		return PoolFacts{}, refuse(escrow.WrongLayout, "pool %s has layout %d, or uses reserved bytes", at.pool.address, version)
	}
	if err := facts.check(); err != nil {
		return PoolFacts{}, err
	}
	if facts.Balance, err = vaultBalance(vault, at.vault, p.Mint, at.pool.address); err != nil {
		return PoolFacts{}, err
	}
	if facts.Balance < facts.Total {
		return PoolFacts{}, refuse(escrow.Underfunded, "vault %s holds %s of %s", at.vault.address, facts.Balance, facts.Total)
	}
	return facts, nil
}

// owns refuses a pool of another configuration, owner or mint.
func (p Pool) owns(in *fields) error {
	for _, part := range []struct {
		name string
		want chain.Address
	}{{"configuration", p.Config}, {"owner", p.Owner}, {"mint", p.Mint}} {
		if err := belongs("pool", part.name, in.key(), part.want); err != nil {
			return err
		}
	}
	return nil
}

// readSlash reads what is pending, and returns the state.
func (f *PoolFacts) readSlash(in *fields) uint8 {
	slash := SlashFacts{Amount: in.amount(), ProposedAt: in.when(), AppealUntil: in.when(), DecideUntil: in.when()}
	slash.Evidence, slash.Arbiter = Evidence(in.key()), in.key()
	f.SlashNumber = in.uint32()
	state := in.byte()
	slash.Cause = Cause(in.byte())
	slash.Number, slash.Appealed = f.SlashNumber, state == slashAppealed
	if state != slashNone {
		f.Slash = &slash
	}
	return state
}

// check refuses what the program could not have written.
func (f *PoolFacts) check() error {
	active := f.Shares - f.Unbonding
	switch {
	case f.Unbonding > f.Shares, f.Own > active, uint64(f.Total) > f.Shares, (f.Total == 0) != (f.Shares == 0):
		return refuse(escrow.Inconsistent, "pool %s is worth %s in %d shares, %d own and %d unbonding", f.Account, f.Total, f.Shares, f.Own, f.Unbonding)
	case f.Slash != nil && (f.Slash.Amount == 0 || f.Slash.AppealUntil.After(f.Slash.DecideUntil)):
		return refuse(escrow.Inconsistent, "pool %s has a slash of %s", f.Account, f.Slash.Amount)
	}
	return nil
}

// Worth returns what shares of the pool are worth.
func (f *PoolFacts) Worth(shares uint64) (money.Amount, error) {
	return Value(shares, f.Shares, f.Total)
}

// Delegated returns what others than the owner have bonded.
func (f *PoolFacts) Delegated() (money.Amount, error) { return f.Worth(f.Shares - f.Unbonding - f.Own) }

// Effective returns what of the pool counts as its owner's stake. What is on its way back does not count.
func (f *PoolFacts) Effective(maxDelegationBps uint16) (money.Amount, error) {
	own, err := f.Worth(f.Own)
	if err != nil {
		return 0, err
	}
	delegated, err := f.Delegated()
	if err != nil {
		return 0, err
	}
	return Effective(own, delegated, maxDelegationBps)
}

// CapLeft returns the most that could be proposed to be slashed at a time: a share can lose so many basis points of what it was worth
// when the running 30 days began, and one base unit always stays.
func (f *PoolFacts) CapLeft(maxSlashBps uint16, now time.Time) (money.Amount, error) {
	if f.Total == 0 {
		return 0, nil
	}
	markTotal, markShares := f.markTotal, f.markShares
	if markShares == 0 || !now.Before(f.SlashedAt.Add(capPeriod)) {
		markTotal, markShares = f.Total, f.Shares
	}
	keep := markTotal - money.Portion(markTotal, min(maxSlashBps, wholeBps))
	least, rest, err := mulDiv(f.Shares, uint64(keep), markShares)
	if err != nil {
		return 0, err
	}
	if rest > 0 {
		least++
	}
	least = max(least, 1)
	if uint64(f.Total) <= least {
		return 0, nil
	}
	return f.Total - money.Amount(least), nil
}

// Proposable returns how much may be proposed to be slashed at a time for a cause that lasted so long: the cause's part of what is in
// the pool, and no more than the market's cap leaves.
func (f *PoolFacts) Proposable(cause Cause, lasted time.Duration, maxSlashBps uint16, now time.Time) (money.Amount, error) {
	bps, ok := Penalty(cause, lasted)
	if !ok {
		return 0, refuse(escrow.WrongTerms, "cause %d is unknown", cause)
	}
	left, err := f.CapLeft(maxSlashBps, now)
	return min(money.Portion(f.Total, bps), left), err
}

// PositionFacts is what a staker's position on the chain says of itself.
type PositionFacts struct {
	Account   chain.Address
	Shares    uint64    // bonded
	Unbonding uint64    // on their way back
	UnlockAt  time.Time // when they can be withdrawn; zero if there are none
	Slot      uint64    // when this was so
}

// VerifyPosition says what an account is of the staker's position, or refuses it: Absent if the staker never bonded.
func VerifyPosition(p Pool, staker chain.Address, account chain.Account) (PositionFacts, error) {
	at, err := p.spotsOf(staker)
	if err != nil {
		return PositionFacts{}, err
	}
	in, err := open("position", p.Program, at.position, account, positionSize, markPosition)
	if err != nil {
		return PositionFacts{}, err
	}
	if err := belongs("position", "pool", in.key(), at.pool.address); err != nil {
		return PositionFacts{}, err
	}
	if err := belongs("position", "staker", in.key(), staker); err != nil {
		return PositionFacts{}, err
	}
	facts := PositionFacts{Account: at.position.address, Shares: in.uint64(), Unbonding: in.uint64(), UnlockAt: in.when(), Slot: account.Slot}
	bump, version := in.byte(), in.byte()
	if bump != at.position.bump || version != layout || !in.zero() {
		return PositionFacts{}, refuse(escrow.WrongLayout, "position %s has layout %d, or uses reserved bytes", at.position.address, version)
	}
	if facts.UnlockAt.IsZero() != (facts.Unbonding == 0) {
		return PositionFacts{}, refuse(escrow.Inconsistent, "position %s unbonds %d shares until %s", at.position.address, facts.Unbonding, facts.UnlockAt)
	}
	return facts, nil
}
