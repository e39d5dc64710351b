// SPDX-License-Identifier: Apache-2.0

// Package buyback turns a swap's route into one transaction that buys a token back and burns it, at most once an epoch, and reads from the
// chain what such a transaction did. What must not happen, the chain itself refuses: a second transaction for an epoch, and a burn of
// anything but what the swap yielded. It decides neither how much is spent nor at which price.
package buyback

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// Seeds of the accounts that belong to a treasury; each address is the hash of the treasury, the seed and the owning program.
const (
	receiptPrefix = "bourse "
	maxSeed       = 32
)

// ErrEpoch says that an epoch's name cannot name a receipt.
var ErrEpoch = errors.New("epoch's name is too long")

// Terms are one epoch's buy-back.
type Terms struct {
	Treasury chain.Address // the wallet whose fees are spent
	Paid     chain.Address // the mint that is spent
	Burned   chain.Address // the mint that is bought and burned
	Decimals uint8         // of the burned mint
	Epoch    string        // such as "usdc-2027-03-01"
}

// Places are the accounts of a buy-back. Into is the treasury's too, but nothing else uses it, so that a burn from it can only burn what
// swaps yielded. Receipt is made by the epoch's transaction, and can be made only once.
type Places struct {
	From, Into, Receipt chain.Address
}

// Places returns the accounts.
func (t Terms) Places() (Places, error) {
	if len(t.Epoch) == 0 || len(receiptPrefix)+len(t.Epoch) > maxSeed {
		return Places{}, fmt.Errorf("derive receipt of %.40q: %w", t.Epoch, ErrEpoch)
	}
	from, err := chain.TokenAddress(t.Treasury, t.Paid)
	if err != nil {
		return Places{}, fmt.Errorf("derive places of %s: %w", t.Epoch, err)
	}
	return Places{
		From:    from,
		Into:    seeded(t.Treasury, t.intoSeed(), chain.TokenProgram),
		Receipt: seeded(t.Treasury, t.receiptSeed(), chain.SystemProgram),
	}, nil
}

func (t Terms) receiptSeed() string { return receiptPrefix + t.Epoch }

// intoSeed is as much of the mint's address as a seed holds.
func (t Terms) intoSeed() string { return t.Burned.String()[:maxSeed] }

// seeded is the address that the System program derives for a base wallet, without a key of its own.
func seeded(base chain.Address, seed string, owner chain.Address) chain.Address {
	hash := sha256.New()
	hash.Write(base[:])
	hash.Write([]byte(seed))
	hash.Write(owner[:])
	return chain.Address(hash.Sum(nil))
}

// Spell takes the accounts of the buy-back itself out of lookup tables, so that a message spells them out for whoever reads it before
// signing. The tables' other entries keep their places.
func (t Terms) Spell(tables []chain.LookupTable) ([]chain.LookupTable, error) {
	watched, err := t.Watched()
	if err != nil {
		return nil, err
	}
	spelled := make([]chain.LookupTable, 0, len(tables))
	for _, table := range tables {
		table.Addresses = slices.Clone(table.Addresses)
		for i, address := range table.Addresses {
			if slices.Contains(watched, address) {
				table.Addresses[i] = chain.Address{}
			}
		}
		spelled = append(spelled, table)
	}
	return spelled, nil
}

// Holdings are what a buy-back changes.
type Holdings struct {
	Paid     money.Amount // what the treasury holds of the paid mint
	Left     money.Amount // what earlier swaps yielded beyond what was burned
	Supply   money.Amount // of the burned mint
	Lamports uint64       // of the treasury
	Opened   bool         // whether the account that swaps pay into is there
	Done     bool         // whether the epoch's receipt is there
}

// Watched returns the accounts that ReadHoldings wants, in its order.
func (t Terms) Watched() ([]chain.Address, error) {
	at, err := t.Places()
	if err != nil {
		return nil, err
	}
	return []chain.Address{at.From, at.Into, t.Burned, t.Treasury, at.Receipt}, nil
}

// ReadHoldings reads the watched accounts. It refuses token accounts that are not the treasury's alone, by an *escrow.Refusal.
func (t Terms) ReadHoldings(accounts []chain.Account) (Holdings, error) {
	watched, err := t.Watched()
	if err != nil {
		return Holdings{}, err
	}
	if len(accounts) != len(watched) {
		return Holdings{}, fmt.Errorf("read holdings: %d accounts instead of %d", len(accounts), len(watched))
	}
	from, into, mint, wallet, receipt := accounts[0], accounts[1], accounts[2], accounts[3], accounts[4]
	held := Holdings{Lamports: wallet.Lamports, Done: len(receipt.Data) > 0}
	held.Paid, err = escrow.WalletTokens(from, t.Treasury, t.Paid)
	if err != nil && !errors.Is(err, escrow.Absent) {
		return Holdings{}, fmt.Errorf("read treasury: %w", err)
	}
	held.Left, err = escrow.WalletTokens(into, t.Treasury, t.Burned)
	if err != nil && !errors.Is(err, escrow.Absent) {
		return Holdings{}, fmt.Errorf("read what swaps yielded: %w", err)
	}
	held.Opened = err == nil
	if held.Supply, err = escrow.Supply(mint); err != nil {
		return Holdings{}, fmt.Errorf("read supply: %w", err)
	}
	return held, nil
}
