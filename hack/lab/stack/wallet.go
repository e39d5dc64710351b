// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/bourse-dev/bourse/hack/lab/solana"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Wallet returns a wallet of the running lab, which it makes if there is none of that name.
func (l *Lab) Wallet(name string) (Wallet, error) {
	if err := l.load(); err != nil {
		return Wallet{}, err
	}
	if !partName.MatchString(name) {
		return Wallet{}, fmt.Errorf("wallet name %q: use lower-case letters, digits and dashes", name)
	}
	if wallet, ok := l.state.Wallets[name]; ok {
		return wallet, nil
	}
	if _, err := l.makeWallet(name); err != nil {
		return Wallet{}, err
	}
	return l.state.Wallets[name], nil
}

// Fund gives a wallet SOL and tokens, each grant as SYMBOL=AMOUNT, by transactions of the lab's authority.
func (l *Lab) Fund(ctx context.Context, name string, sol uint64, grants []string) error {
	if err := l.load(); err != nil {
		return err
	}
	wallet, ok := l.state.Wallets[name]
	if !ok {
		return fmt.Errorf("no wallet %s: make it with `lab wallet %s`", name, name)
	}
	if l.state.Chain == nil {
		return errors.New("this lab has no chain")
	}
	owner, err := chain.ParseAddress(wallet.Address)
	if err != nil {
		return fmt.Errorf("parse address: %w", err)
	}
	authority, err := signer.FromFile(l.state.Wallets[Authority].Keypair)
	if err != nil {
		return fmt.Errorf("read authority: %w", err)
	}
	network := solana.Connect(l.state.Chain.RPC)
	if sol > 0 {
		if err := network.Airdrop(ctx, owner, sol); err != nil {
			return err
		}
	}
	for _, text := range grants {
		mint, amount, err := l.state.Chain.grant(text)
		if err != nil {
			return fmt.Errorf("read token %q: %w", text, err)
		}
		mint.Authority = authority
		if err := network.MintTo(ctx, mint, owner, uint64(amount)); err != nil {
			return err
		}
	}
	return nil
}

// grant reads SYMBOL=AMOUNT.
func (c Chain) grant(text string) (solana.Mint, money.Amount, error) {
	symbol, number, ok := strings.Cut(text, "=")
	if !ok {
		return solana.Mint{}, 0, errors.New("write it as SYMBOL=AMOUNT")
	}
	known, ok := c.Mints[symbol]
	if !ok {
		return solana.Mint{}, 0, errors.New("the lab has no such token")
	}
	address, err := chain.ParseAddress(known.Address)
	if err != nil {
		return solana.Mint{}, 0, fmt.Errorf("parse mint: %w", err)
	}
	amount, err := money.Token{Symbol: symbol, Decimals: known.Decimals}.Parse(number)
	if err != nil {
		return solana.Mint{}, 0, fmt.Errorf("parse amount: %w", err)
	}
	return solana.Mint{Address: address, Decimals: known.Decimals}, amount, nil
}

// load reads the state of the lab that runs in the folder.
func (l *Lab) load() error {
	state, err := Read(l.Dir)
	if err != nil {
		return err
	}
	l.state = state
	return nil
}
