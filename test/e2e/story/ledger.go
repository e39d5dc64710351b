// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/gagliardetto/solana-go"
	"github.com/gagliardetto/solana-go/rpc"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// Flow is where a lease's deposit went, in base units, read from the balances that the chain shows before and after each
// transaction of the lease's vault. It shares no code with what builds or records those transactions.
type Flow struct {
	Deposit, Supplier, Treasury, Burn, Refund uint64
	// Claims counts the transactions that paid the supplier.
	Claims int
}

// Ledger reads the finalized chain.
type Ledger struct {
	client *rpc.Client
}

// NewLedger reads the chain behind the lab's endpoint.
func NewLedger(l *Lab) *Ledger { return &Ledger{client: rpc.New(l.Chain.RPC)} }

// Supply is how much of the mint there is.
func (l *Ledger) Supply(ctx context.Context, mint string) (uint64, error) {
	key, err := solana.PublicKeyFromBase58(mint)
	if err != nil {
		return 0, fmt.Errorf("parse mint: %w", err)
	}
	supply, err := l.client.GetTokenSupply(ctx, key, rpc.CommitmentFinalized)
	if err != nil {
		return 0, fmt.Errorf("read supply: %w", err)
	}
	return strconv.ParseUint(supply.Value.Amount, 10, 64)
}

// Flow follows the lease's deposit through every finalized transaction of its vault.
func (l *Ledger) Flow(ctx context.Context, lease *boursev1.GPULease) (Flow, error) {
	var flow Flow
	program, err := solana.PublicKeyFromBase58(string(lease.Spec.Escrow.ProgramID))
	if err != nil {
		return flow, fmt.Errorf("parse program: %w", err)
	}
	account, err := solana.PublicKeyFromBase58(string(lease.Spec.Escrow.Address))
	if err != nil {
		return flow, fmt.Errorf("parse lease account: %w", err)
	}
	vault, _, err := solana.FindProgramAddress([][]byte{[]byte("vault"), account[:]}, program)
	if err != nil {
		return flow, fmt.Errorf("derive vault: %w", err)
	}
	signatures, err := l.client.GetSignaturesForAddressWithOpts(ctx, vault, &rpc.GetSignaturesForAddressOpts{Commitment: rpc.CommitmentFinalized})
	if err != nil {
		return flow, fmt.Errorf("list the vault's transactions: %w", err)
	}
	slices.Reverse(signatures) // oldest first
	for _, entry := range signatures {
		if entry.Err != nil {
			continue // a failed transaction moves nothing
		}
		changes, err := l.changes(ctx, entry.Signature)
		if err != nil {
			return flow, err
		}
		flow.add(lease, vault, changes)
	}
	return flow, nil
}

// add books one transaction by the signs of its changes: the vault gains once, then gives.
func (f *Flow) add(lease *boursev1.GPULease, vault solana.PublicKey, changes map[owned]int64) {
	moved := int64(0)
	received := map[string]int64{}
	for who, change := range changes {
		if who.account == vault {
			moved = change
			continue
		}
		received[who.owner] += change
	}
	supplier := received[string(lease.Spec.Supplier)]
	treasury := received[string(lease.Spec.Payment.Treasury)]
	buyer := received[string(lease.Spec.Buyer)]
	switch {
	case moved > 0:
		f.Deposit += uint64(moved)
	case moved == 0:
		// The close of a vault that was spent to its end, or a stranger's empty transaction.
	case buyer > 0:
		f.Refund += uint64(buyer)
	default:
		f.Claims++
		f.Supplier += uint64(supplier)
		f.Treasury += uint64(treasury)
		f.Burn += uint64(-moved - supplier - treasury)
	}
}

// owned is a token account and the wallet that owns it.
type owned struct {
	account solana.PublicKey
	owner   string
}

// changes are what a transaction changed in every token account that it touched.
func (l *Ledger) changes(ctx context.Context, signature solana.Signature) (map[owned]int64, error) {
	version := uint64(0)
	result, err := l.client.GetTransaction(ctx, signature, &rpc.GetTransactionOpts{
		Encoding: solana.EncodingBase64, Commitment: rpc.CommitmentFinalized, MaxSupportedTransactionVersion: &version,
	})
	if err != nil {
		return nil, fmt.Errorf("read transaction %s: %w", signature, err)
	}
	tx, err := result.Transaction.GetTransaction()
	if err != nil {
		return nil, fmt.Errorf("decode transaction %s: %w", signature, err)
	}
	if err := tx.Message.Sanitize(); err != nil {
		return nil, fmt.Errorf("check transaction %s: %w", signature, err)
	}
	changes := map[owned]int64{}
	for sign, balances := range map[int64][]rpc.TokenBalance{-1: result.Meta.PreTokenBalances, 1: result.Meta.PostTokenBalances} {
		for _, balance := range balances {
			amount, err := strconv.ParseInt(balance.UiTokenAmount.Amount, 10, 64)
			if err != nil {
				return nil, fmt.Errorf("parse balance in %s: %w", signature, err)
			}
			if int(balance.AccountIndex) >= len(tx.Message.AccountKeys) {
				return nil, fmt.Errorf("a balance in %s is of account %d of %d", signature, balance.AccountIndex, len(tx.Message.AccountKeys))
			}
			changes[owned{account: tx.Message.AccountKeys[balance.AccountIndex], owner: balance.Owner.String()}] += sign * amount
		}
	}
	return changes, nil
}

// Check says what is wrong with the flow: nothing, when the deposit is fully accounted for.
func (f Flow) Check() error {
	if sum := f.Supplier + f.Treasury + f.Burn + f.Refund; sum != f.Deposit {
		return fmt.Errorf("deposit %d is not supplier %d + treasury %d + burn %d + refund %d = %d", f.Deposit, f.Supplier, f.Treasury, f.Burn, f.Refund, sum)
	}
	return nil
}
