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
	Lease    chain.Address
	Vault    chain.Address
	Deposit  money.Amount
	Paid     money.Amount // the cumulative gross amount claimed so far
	Balance  money.Amount // what the vault holds, dust included; zero once closed
	Deadline time.Time
	Closed   bool
	Slot     uint64 // when this was so
}

// Verify says whether the two accounts, read in one slot, are an open escrow with exactly these terms that still holds what it must.
// Anything else is a *Refusal. The facts are complete also when the refusal is Closed.
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
	facts := Facts{
		Lease: at.lease, Vault: at.vault, Deposit: t.Deposit, Paid: record.paid, Deadline: t.Deadline, Closed: record.closed, Slot: lease.Slot,
	}
	split, err := t.Fees.Split(record.paid)
	if err != nil || split.Debit > t.Deposit {
		return Facts{}, refuse(Overpaid, "paid %s of a deposit of %s", record.paid, t.Deposit)
	}
	if record.closed {
		return facts, refuse(Closed, "lease %s was closed with %s paid", at.lease, record.paid)
	}
	facts.Balance, err = checkVault(t, at, vault)
	if err != nil {
		return Facts{}, err
	}
	if rest := t.Deposit - split.Debit; facts.Balance < rest {
		return Facts{}, refuse(Underfunded, "vault %s holds %s of %s", at.vault, facts.Balance, rest)
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
		{"mint", r.mint, t.Mint},
		{"id", r.id, t.ID},
		{"deposit", r.deposit, t.Deposit},
		{"deadline", r.deadline, t.Deadline.Unix()},
		{"fees", r.fees, t.Fees},
		{"decimals", r.decimals, t.Decimals},
		{"bump", r.bump, at.leaseBump},
		{"vault bump", r.vaultBump, at.vaultBump},
	} {
		if field.found != field.want {
			return refuse(WrongTerms, "%s is %v instead of %v", field.name, field.found, field.want)
		}
	}
	return nil
}

// checkVault refuses a vault that is not the lease's alone, and returns what it holds.
func checkVault(t Terms, at places, vault chain.Account) (money.Amount, error) {
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
