// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/process"
	"github.com/bourse-dev/bourse/hack/lab/solana"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/chaintest"
)

// The wallets that every lab with a chain has. The authority pays for the
// set-up, may make test tokens, may upgrade the program and controls the
// market's configuration; the arbiter decides disputes.
const (
	Authority = "authority"
	Treasury  = "treasury"
	Arbiter   = "arbiter"
	Supplier  = "supplier"
	Buyer     = "buyer"
)

const (
	chainWithin  = time.Minute
	programFile  = "program/bourse.so"
	authoritySOL = 100
	walletSOL    = 10
	// stakeToken is what stakes are in.
	stakeToken = "IO"
	// The most that an award takes of a deposit, and slashes of a pool.
	arbiterCapBps = 2_000
	slashCapBps   = 1_000
	wholeBps      = 10_000
	// buyerTokens is what the buyer has of each token.
	buyerTokens = "100000"
)

// tokens are the lab's test tokens. Like the real ones, the IO token has 8
// decimals and no freeze authority, USDC has 6 and one.
var tokens = []struct {
	money.Token

	freezable bool
}{
	{money.Token{Symbol: "IO", Decimals: 8}, false},
	{money.Token{Symbol: "USDC", Decimals: 6}, true},
}

// startChain starts the local chain and sets up what Bourse needs on it.
func (l *Lab) startChain(ctx context.Context, o Options) error {
	command, err := chaintest.Command(ctx, chaintest.Config{Dir: l.path("chain"), Port: l.chainPort(), SlotMS: o.SlotMS, Progress: l.Cache.Out})
	if err != nil {
		return fmt.Errorf("prepare chain: %w", err)
	}
	record, err := l.table().Start(process.Spec{Name: "chain", Args: l.place(Hub).enter(command.Args...), Env: command.Env})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, chainWithin)
	defer cancel()
	var urls chaintest.URLs
	err = record.Await(ctx, func() (bool, error) {
		output, err := os.ReadFile(record.Log)
		if err != nil {
			return false, fmt.Errorf("read log: %w", err)
		}
		urls, err = chaintest.Listening(bytes.NewReader(output))
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return false, nil
		}
		return err == nil, err
	})
	if err != nil {
		return err
	}
	l.step("chain is ready at %s", urls.RPC)
	if err := l.setUpChain(ctx, o, urls); err != nil {
		return fmt.Errorf("set up chain: %w", err)
	}
	l.step("chain has the program, the test tokens and funded wallets")
	return nil
}

// setUpChain makes the wallets, tokens and program.
func (l *Lab) setUpChain(ctx context.Context, o Options, urls chaintest.URLs) error {
	network := solana.Connect(urls.RPC)
	genesis, err := network.Genesis(ctx)
	if err != nil {
		return err
	}
	authority, wallets, err := l.makeWallets(ctx, network, o.suppliers())
	if err != nil {
		return err
	}
	elf, err := os.ReadFile(filepath.Join(l.Repo, programFile))
	if err != nil {
		return fmt.Errorf("read program: %w", err)
	}
	program, err := network.Deploy(ctx, authority, elf)
	if err != nil {
		return fmt.Errorf("deploy program: %w", err)
	}
	mints := map[string]Mint{}
	for _, token := range tokens {
		mint, err := network.CreateMint(ctx, authority, token.Decimals, token.freezable)
		if err != nil {
			return err
		}
		amount, err := token.Parse(buyerTokens)
		if err != nil {
			return fmt.Errorf("parse amount: %w", err)
		}
		mints[token.Symbol] = Mint{Address: mint.Address.String(), Decimals: token.Decimals}
		payouts := map[string]money.Amount{Treasury: 0, Buyer: amount}
		for name, amount := range payouts {
			if err := network.MintTo(ctx, mint, wallets[name], uint64(amount)); err != nil {
				return fmt.Errorf("give %s to %s: %w", token.Symbol, name, err)
			}
		}
	}
	config, err := configure(ctx, network, authority, program, wallets, mints)
	if err != nil {
		return fmt.Errorf("make configuration: %w", err)
	}
	return l.note(func(s *State) {
		s.Chain = &Chain{
			RPC: urls.RPC, WS: urls.WS, GenesisHash: genesis, ProgramID: program.String(), Config: config.String(),
			Treasury: wallets[Treasury].String(), Mints: mints,
		}
	})
}

// configure makes the market's configuration on the chain: what its authority binds the market to. Its times are the shortest that the
// program allows, so that a demo can see them pass.
func configure(
	ctx context.Context, network *solana.Network, authority signer.Signer, program chain.Address, wallets map[string]chain.Address, mints map[string]Mint,
) (chain.Address, error) {
	stakes, err := chain.ParseAddress(mints[stakeToken].Address)
	if err != nil {
		return chain.Address{}, fmt.Errorf("parse mint: %w", err)
	}
	instructions, err := escrow.CreateConfig(escrow.Config{
		Program: program, Authority: authority.PublicKey(), Mint: stakes, Delay: time.Hour, Terms: escrow.ConfigTerms{
			Treasury: wallets[Treasury], Arbiter: wallets[Arbiter],
			MaxBuyerFeeBps:    money.ReservationBps + money.FacilitationBps,
			MaxSupplierFeeBps: money.ReservationBps,
			MaxArbiterCapBps:  arbiterCapBps,
			MaxSlashBps:       slashCapBps,
			MaxDelegationBps:  wholeBps,
			MinDisputeDelay:   time.Minute,
			SlashWindow:       time.Hour,
			SlashHold:         time.Hour,
			Cooldown:          time.Minute,
		},
	})
	if err != nil {
		return chain.Address{}, err
	}
	if err := network.Run(ctx, instructions, authority); err != nil {
		return chain.Address{}, err
	}
	address, _, err := escrow.ConfigAddress(program, authority.PublicKey())
	return address, err
}

// makeWallets makes the wallets that every lab has, and those of the suppliers that have clusters of their own.
func (l *Lab) makeWallets(
	ctx context.Context, network *solana.Network, suppliers []string,
) (signer.Signer, map[string]chain.Address, error) {
	var authority signer.Signer
	addresses := map[string]chain.Address{}
	for _, name := range append([]string{Authority, Treasury, Arbiter, Supplier, Buyer}, suppliers...) {
		key, err := l.makeWallet(name)
		if err != nil {
			return nil, nil, err
		}
		sol := uint64(walletSOL)
		if name == Authority {
			authority, sol = key, authoritySOL
		}
		if err := network.Airdrop(ctx, key.PublicKey(), sol); err != nil {
			return nil, nil, fmt.Errorf("fund wallet %s: %w", name, err)
		}
		addresses[name] = key.PublicKey()
	}
	return authority, addresses, nil
}

// makeWallet makes a keypair in the lab's folder and remembers it.
func (l *Lab) makeWallet(name string) (*signer.Keypair, error) {
	if err := os.MkdirAll(l.path("wallets"), 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	path := l.path("wallets", name+".json")
	key, err := solana.NewWallet(path)
	if err != nil {
		return nil, fmt.Errorf("make wallet %s: %w", name, err)
	}
	wallet := Wallet{Address: key.PublicKey().String(), Keypair: path}
	return key, l.note(func(s *State) { s.Wallets[name] = wallet })
}
