// SPDX-License-Identifier: Apache-2.0

package solana_test

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/hack/lab/solana"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/chaintest"
)

func TestNewWallet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "wallet.json")
	made, err := solana.NewWallet(path)
	if err != nil {
		t.Fatal(err)
	}
	read, err := signer.FromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(made.PublicKey(), read.PublicKey()); diff != "" {
		t.Errorf("address read back (-want +got):\n%s", diff)
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o600 {
		t.Errorf("mode of key file is %o, want 600", got)
	}
	if _, err := solana.NewWallet(path); !errors.Is(err, os.ErrExist) {
		t.Errorf("NewWallet over a file: error %v, want %v", err, os.ErrExist)
	}
}

func TestSetUpOnTheLocalChain(t *testing.T) {
	ctx := t.Context()
	process := chaintest.Run(t, chaintest.Config{})
	network := solana.Connect(process.RPC)
	client := chain.NewClient(process.RPC, chain.Options{})
	authority, err := solana.NewWallet(filepath.Join(t.TempDir(), "authority.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := network.Airdrop(ctx, authority.PublicKey(), 10); err != nil {
		t.Fatal(err)
	}
	owner := signer.FromSeed([32]byte{1}).PublicKey()

	mint, err := network.CreateMint(ctx, authority, 6, true)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := network.MintTo(ctx, mint, owner, 1_500_000); err != nil {
			t.Fatal(err)
		}
	}
	tokens, err := chain.TokenAddress(owner, mint.Address)
	if err != nil {
		t.Fatal(err)
	}
	account, err := client.Account(ctx, tokens, chain.Confirmed)
	if err != nil {
		t.Fatal(err)
	}
	const amountOffset = 64
	if got := binary.LittleEndian.Uint64(account.Data[amountOffset:]); got != 3_000_000 {
		t.Errorf("balance is %d, want 3000000", got)
	}
	minted, err := client.Account(ctx, mint.Address, chain.Confirmed)
	if err != nil {
		t.Fatal(err)
	}
	const freezeOption = 46
	if got := minted.Data[freezeOption]; got != 1 {
		t.Errorf("mint has freeze option %d, want 1", got)
	}

	elf, err := os.ReadFile("../../../program/bourse.so")
	if err != nil {
		t.Fatal(err)
	}
	program, err := network.Deploy(ctx, authority, elf)
	if err != nil {
		t.Fatal(err)
	}
	deployed, err := client.Account(ctx, program, chain.Confirmed)
	if err != nil {
		t.Fatal(err)
	}
	if !deployed.Executable {
		t.Error("the deployed program is not executable")
	}
}

func TestAFailedTransactionIsAnError(t *testing.T) {
	process := chaintest.Run(t, chaintest.Config{})
	network := solana.Connect(process.RPC)
	authority := signer.FromSeed([32]byte{2})
	if err := network.Airdrop(t.Context(), authority.PublicKey(), 1); err != nil {
		t.Fatal(err)
	}
	mint := solana.Mint{Address: signer.FromSeed([32]byte{3}).PublicKey(), Decimals: 6, Authority: authority}
	err := network.MintTo(t.Context(), mint, authority.PublicKey(), 1)
	if failure := (*chain.Failure)(nil); !errors.As(err, &failure) {
		t.Errorf("MintTo of a mint that does not exist: error %v, want a failure of the chain", err)
	}
}
