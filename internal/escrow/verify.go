// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Facts is what an escrow on the chain says of itself, once its terms were found to be the agreed ones.
type Facts struct {
	Lease      chain.Address
	Vault      chain.Address
	Deposit    money.Amount // top-ups included
	Paid       money.Amount // the cumulative gross amount claimed so far
	Balance    money.Amount // what the vault holds, dust included; zero once closed
	Deadline   time.Time    // extensions included
	DisputedAt time.Time    // when the supplier disputed; zero if it never did
	Disputed   money.Amount // the cumulative gross amount of the open dispute; zero if none is open
	Held       time.Time    // until when the open dispute keeps the escrow open; zero if none is open
	Closed     bool
	Slot       uint64 // when this was so
}

// Verify says whether the two accounts, read in one slot, are an open escrow with exactly these terms that still holds what it must.
// Only the deposit and the deadline may have grown since it was opened. Anything else is a *Refusal. The facts are complete also when
// the refusal is Closed.
func Verify(t Terms, lease, vault chain.Account) (Facts, error) {
	if err := t.Validate(); err != nil {
		return Facts{}, fmt.Errorf("verify escrow: %w", err)
	}
	at, err := t.places()
	if err != nil {
		return Facts{}, fmt.Errorf("verify escrow: %w", err)
	}
	if lease.Address != at.lease || vault.Address != at.vault {
		return Facts{}, refuse(WrongAddress, "lease %s and vault %s instead of %s and %s", lease.Address, vault.Address, at.lease, at.vault)
	}
	record, err := readLease(t.Program, lease)
	if err != nil {
		return Facts{}, err
	}
	if err := record.matches(t, at); err != nil {
		return Facts{}, err
	}
	split, err := t.Fees.Split(record.paid)
	if err != nil || split.Debit > record.deposit {
		return Facts{}, refuse(Overpaid, "paid %s of a deposit of %s", record.paid, record.deposit)
	}
	if err := record.checkDispute(t); err != nil {
		return Facts{}, err
	}
	facts := record.facts(at, lease.Slot)
	if record.closed {
		return facts, refuse(Closed, "lease %s was closed with %s paid", at.lease, record.paid)
	}
	if facts.Balance, err = checkVault(t, at, vault, record.deposit-split.Debit); err != nil {
		return Facts{}, err
	}
	return facts, nil
}

// matches refuses a record that differs from the terms, naming the first field that does.
func (r record) matches(t Terms, at places) error {
	for _, field := range []struct {
		name        string
		found, want any
	}{
		{"buyer", r.buyer, t.Buyer},
		{"supplier", r.supplier, t.Supplier},
		{"treasury", r.treasury, t.Treasury},
		{"arbiter", r.arbiter, t.Arbiter},
		{"mint", r.mint, t.Mint},
		{"id", r.id, t.ID},
		{"fees", r.fees, t.Fees},
		{"arbiter's cap", r.arbiterCap, t.ArbiterCapBps},
		{"dispute's delay", r.disputeDelay, t.DisputeDelay},
		{"decimals", r.decimals, t.Decimals},
		{"bump", r.bump, at.leaseBump},
		{"vault bump", r.vaultBump, at.vaultBump},
	} {
		if field.found != field.want {
			return refuse(WrongTerms, "%s is %v instead of %v", field.name, field.found, field.want)
		}
	}
	if r.deposit < t.Deposit {
		return refuse(WrongTerms, "deposit is %v instead of %v or more", r.deposit, t.Deposit)
	}
	if r.deadline < t.Deadline.Unix() {
		return refuse(WrongTerms, "deadline is %v instead of %v or later", r.deadline, t.Deadline.Unix())
	}
	return nil
}

// checkDispute refuses a dispute that the program could not have written.
func (r record) checkDispute(t Terms) error {
	split, err := t.Fees.Split(r.disputed)
	switch {
	case r.disputedAt < 0, r.disputedAt == 0 && r.disputed > 0, t.ArbiterCapBps == 0 && r.disputedAt > 0:
		return refuse(Inconsistent, "a dispute of %s at %d with a cap of %d bps", r.disputed, r.disputedAt, t.ArbiterCapBps)
	case err != nil, split.Debit > r.deposit:
		return refuse(Inconsistent, "a dispute of %s about a deposit of %s", r.disputed, r.deposit)
	}
	return nil
}

// facts tells what the record says of itself.
func (r record) facts(at places, slot uint64) Facts {
	facts := Facts{
		Lease: at.lease, Vault: at.vault, Deposit: r.deposit, Paid: r.paid, Deadline: time.Unix(r.deadline, 0).UTC(),
		Disputed: r.disputed, DisputedAt: moment(r.disputedAt), Closed: r.closed, Slot: slot,
	}
	if r.disputed > 0 {
		const delays = 2
		facts.Held = facts.DisputedAt.Add(delays * r.disputeDelay)
	}
	return facts
}

// checkVault refuses a vault that is not the lease's alone, and returns what it holds.
func checkVault(t Terms, at places, vault chain.Account, least money.Amount) (money.Amount, error) {
	tokens, err := readTokens(vault)
	if err != nil {
		return 0, err
	}
	switch {
	case tokens.mint != t.Mint:
		return 0, refuse(WrongVault, "vault %s holds mint %s", at.vault, tokens.mint)
	case tokens.owner != at.lease:
		return 0, refuse(WrongVault, "vault %s belongs to %s", at.vault, tokens.owner)
	case tokens.delegated || tokens.closeAuthority:
		return 0, refuse(WrongVault, "vault %s can be used by a delegate", at.vault)
	case tokens.frozen:
		return 0, refuse(Frozen, "vault %s is frozen by the issuer of %s", at.vault, t.Mint)
	case tokens.amount < least:
		return 0, refuse(Underfunded, "vault %s holds %s of %s", at.vault, tokens.amount, least)
	}
	return tokens.amount, nil
}

// MintPolicy is what the market accepts of a token's mint.
type MintPolicy struct {
	AcceptFreeze bool // the issuer may freeze accounts, as USDC's can
}

// VerifyMint refuses a mint that could break "what goes in comes out": one that is not of the classic Token program, has other
// decimals, or can be frozen by its issuer without the market having accepted that.
func VerifyMint(account chain.Account, decimals uint8, policy MintPolicy) error {
	found, err := readMint(account)
	switch {
	case err != nil:
		return err
	case found.decimals != decimals:
		return refuse(WrongDecimals, "mint %s has %d decimals instead of %d", account.Address, found.decimals, decimals)
	case found.freezable && !policy.AcceptFreeze:
		return refuse(Freezable, "the issuer of mint %s can freeze accounts", account.Address)
	}
	return nil
}

// Supply returns how many base units of a mint exist.
func Supply(account chain.Account) (money.Amount, error) {
	found, err := readMint(account)
	return found.supply, err
}

// Balance returns what a token account holds.
func Balance(account chain.Account) (money.Amount, error) {
	found, err := readTokens(account)
	return found.amount, err
}
