// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"testing"

	"github.com/gagliardetto/solana-go"
	ata "github.com/gagliardetto/solana-go/programs/associated-token-account"
	"github.com/gagliardetto/solana-go/programs/system"
	"github.com/gagliardetto/solana-go/programs/token"
	"github.com/gagliardetto/solana-go/rpc"
	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/test/chaintest"
)

// newMint makes a mint of the classic token program.
func (w *world) newMint(authority solana.PrivateKey, decimals uint8, freeze solana.PublicKey) solana.PublicKey {
	w.t.Helper()
	mint := newKey(w.t)
	rent, err := w.rpc.GetMinimumBalanceForRentExemption(w.ctx(), token.MINT_SIZE, rpc.CommitmentConfirmed)
	w.check(err)
	initialize := token.NewInitializeMint2InstructionBuilder().
		SetDecimals(decimals).SetMintAuthority(authority.PublicKey()).SetMintAccount(mint.PublicKey())
	if !freeze.IsZero() {
		initialize.SetFreezeAuthority(freeze)
	}
	w.land([]solana.PrivateKey{authority, mint},
		system.NewCreateAccountInstruction(rent, token.MINT_SIZE, solana.TokenProgramID, authority.PublicKey(), mint.PublicKey()).Build(),
		initialize.Build())
	return mint.PublicKey()
}

// holding is the associated token account of an owner.
func (w *world) holding(owner, mint solana.PublicKey) solana.PublicKey {
	w.t.Helper()
	account, _, err := solana.FindAssociatedTokenAddress(owner, mint)
	w.check(err)
	return account
}

func TestTokensOfEightAndSixDecimals(t *testing.T) {
	cases := map[string]struct {
		decimals              uint8
		minted, paid, burned  uint64
		wantSupply, wantBuyer string
		wantSeller            string
	}{
		"eight decimals": {8, 100_000_000_000, 1_234_567_891, 1, "999.99999999", "987.65432108", "12.34567891"},
		"six decimals":   {6, 100_000_000, 2_500_000, 500_000, "99.5", "97", "2.5"},
	}
	w := start(t, chaintest.Config{})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			buyer, seller := w.funded(solana.LAMPORTS_PER_SOL), newKey(t).PublicKey()
			mint := w.newMint(buyer, tc.decimals, solana.PublicKey{})
			from, to := w.holding(buyer.PublicKey(), mint), w.holding(seller, mint)
			w.land([]solana.PrivateKey{buyer},
				ata.NewCreateIdempotentInstruction(buyer.PublicKey(), buyer.PublicKey(), mint).Build(),
				ata.NewCreateIdempotentInstruction(buyer.PublicKey(), seller, mint).Build(),
				token.NewMintToInstruction(tc.minted, mint, from, buyer.PublicKey(), nil).Build())
			w.land([]solana.PrivateKey{buyer},
				ata.NewCreateIdempotentInstruction(buyer.PublicKey(), seller, mint).Build(),
				token.NewTransferCheckedInstruction(tc.paid, tc.decimals, from, mint, to, buyer.PublicKey(), nil).Build(),
				token.NewBurnCheckedInstruction(tc.burned, tc.decimals, from, mint, buyer.PublicKey(), nil).Build())
			supply, err := w.rpc.GetTokenSupply(w.ctx(), mint, rpc.CommitmentConfirmed)
			w.check(err)
			got := []string{supply.Value.UiAmountString, w.tokens(from), w.tokens(to)}
			if diff := cmp.Diff([]string{tc.wantSupply, tc.wantBuyer, tc.wantSeller}, got); diff != "" {
				t.Errorf("supply, buyer, seller (-want +got):\n%s", diff)
			}
			owned, err := w.rpc.GetTokenAccountsByOwner(w.ctx(), seller, &rpc.GetTokenAccountsConfig{Mint: &mint},
				&rpc.GetTokenAccountsOpts{Commitment: rpc.CommitmentConfirmed, Encoding: solana.EncodingBase64})
			w.check(err)
			if len(owned.Value) != 1 || owned.Value[0].Pubkey != to {
				t.Errorf("accounts of the seller = %v, want %s", owned.Value, to)
			}
			w.wantHolders(mint, from, to)
		})
	}
}

// wantHolders finds the token accounts of a mint by their bytes.
func (w *world) wantHolders(mint solana.PublicKey, want ...solana.PublicKey) {
	w.t.Helper()
	found, err := w.rpc.GetProgramAccountsWithOpts(w.ctx(), solana.TokenProgramID, &rpc.GetProgramAccountsOpts{
		Commitment: rpc.CommitmentConfirmed, Encoding: solana.EncodingBase64,
		Filters: []rpc.RPCFilter{{DataSize: 165}, {Memcmp: &rpc.RPCFilterMemcmp{Offset: 0, Bytes: mint.Bytes()}}},
	})
	w.check(err)
	got := map[solana.PublicKey]bool{}
	for _, entry := range found {
		got[entry.Pubkey] = true
	}
	for _, key := range want {
		if !got[key] {
			w.t.Errorf("%s is not among the accounts of the mint", key)
		}
	}
	if len(found) != len(want) {
		w.t.Errorf("the mint has %d accounts, want %d", len(found), len(want))
	}
}

func (w *world) tokens(account solana.PublicKey) string {
	w.t.Helper()
	balance, err := w.rpc.GetTokenAccountBalance(w.ctx(), account, rpc.CommitmentConfirmed)
	w.check(err)
	return balance.Value.UiAmountString
}

func TestAFrozenAccountRefusesPayments(t *testing.T) {
	w := start(t, chaintest.Config{})
	issuer := w.funded(solana.LAMPORTS_PER_SOL)
	mint := w.newMint(issuer, 6, issuer.PublicKey())
	account := w.holding(issuer.PublicKey(), mint)
	w.land([]solana.PrivateKey{issuer},
		ata.NewCreateInstruction(issuer.PublicKey(), issuer.PublicKey(), mint).Build(),
		token.NewMintToInstruction(1000, mint, account, issuer.PublicKey(), nil).Build(),
		token.NewFreezeAccountInstruction(account, mint, issuer.PublicKey(), nil).Build())
	tx := w.signed(w.blockhash(rpc.CommitmentConfirmed).Blockhash, []solana.PrivateKey{issuer},
		token.NewTransferCheckedInstruction(1, 6, account, mint, account, issuer.PublicKey(), nil).Build())
	if got, want := cause(t, w.send(tx)), "map[InstructionError:[0 map[Custom:17]]]"; got != want {
		t.Errorf("cause = %s, want %s", got, want)
	}
}

func TestATokenReadOfSomethingElseIsRefused(t *testing.T) {
	w := start(t, chaintest.Config{})
	payer := w.funded(solana.LAMPORTS_PER_SOL)
	if _, err := w.rpc.GetTokenAccountBalance(w.ctx(), payer.PublicKey(), rpc.CommitmentConfirmed); code(err) != codeParams {
		t.Errorf("balance of a wallet: %v", err)
	}
	if _, err := w.rpc.GetTokenSupply(w.ctx(), payer.PublicKey(), rpc.CommitmentConfirmed); code(err) != codeParams {
		t.Errorf("supply of a wallet: %v", err)
	}
}
