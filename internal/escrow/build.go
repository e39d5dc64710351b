// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"encoding/binary"
	"fmt"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Open returns the instructions by which the buyer makes the escrow and deposits from its associated token account.
func Open(t Terms) ([]chain.Instruction, error) {
	if err := t.Validate(); err != nil {
		return nil, fmt.Errorf("build open: %w", err)
	}
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("build open: %w", err)
	}
	tokens, err := chain.TokenAddress(t.Buyer, t.Mint)
	if err != nil {
		return nil, fmt.Errorf("build open: %w", err)
	}
	return []chain.Instruction{
		instruction(t.Program, openData(t, at), t.Buyer, at.lease, at.vault, t.Mint, tokens, t.Supplier, t.Treasury),
	}, nil
}

func openData(t Terms, at places) []byte {
	data := append([]byte{opOpen}, t.ID[:]...)
	data = binary.LittleEndian.AppendUint64(data, uint64(t.Deposit))
	data = binary.LittleEndian.AppendUint64(data, uint64(t.Deadline.Unix())) //nolint:gosec // Validate wants it positive
	data = binary.LittleEndian.AppendUint16(data, t.Fees.BuyerBps)
	data = binary.LittleEndian.AppendUint16(data, t.Fees.SupplierBps)
	data = binary.LittleEndian.AppendUint16(data, t.Fees.BurnBps)
	return append(data, t.Decimals, at.leaseBump, at.vaultBump)
}

func claimData(gross money.Amount) []byte {
	return binary.LittleEndian.AppendUint64([]byte{opClaim}, uint64(gross))
}

// Claim returns the instructions by which anybody turns the buyer's voucher for a cumulative gross amount into pay, fee and burn.
// The supplier's and the treasury's associated token accounts are made first where they are missing; the submitter pays for that.
// The voucher is verified here as the chain will.
func Claim(t Terms, submitter chain.Address, gross money.Amount, voucher chain.Signature) ([]chain.Instruction, error) {
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	if err := VerifyVoucher(t.Program, at.lease, t.Buyer, gross, voucher); err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	split, err := t.Fees.Split(gross)
	if err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	if split.Debit > t.Deposit {
		return nil, fmt.Errorf("build claim: %w: gross %s costs %s of a deposit of %s", ErrTerms, gross, split.Debit, t.Deposit)
	}
	supplier, createSupplier, err := tokensOf(submitter, t.Supplier, t.Mint)
	if err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	treasury, createTreasury, err := tokensOf(submitter, t.Treasury, t.Mint)
	if err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	claim := instruction(t.Program, claimData(gross), submitter, at.lease, at.vault, t.Mint, supplier, treasury)
	check := voucherCheck(t.Buyer, VoucherMessage(t.Program, at.lease, gross), voucher)
	return []chain.Instruction{createSupplier, createTreasury, check, claim}, nil
}

// Close returns the instructions that give the rest of the deposit back to the buyer: by the supplier at any time, by anybody after
// the deadline. The buyer's associated token account is made first if it is missing; the submitter pays for that.
func Close(t Terms, submitter chain.Address) ([]chain.Instruction, error) {
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("build close: %w", err)
	}
	tokens, create, err := tokensOf(submitter, t.Buyer, t.Mint)
	if err != nil {
		return nil, fmt.Errorf("build close: %w", err)
	}
	return []chain.Instruction{
		create, instruction(t.Program, []byte{opClose}, submitter, at.lease, at.vault, t.Mint, tokens, t.Buyer),
	}, nil
}

// tokensOf returns a wallet's associated token account and the instruction that makes it if it is missing.
func tokensOf(payer, wallet, mint chain.Address) (chain.Address, chain.Instruction, error) {
	tokens, err := chain.TokenAddress(wallet, mint)
	if err != nil {
		return chain.Address{}, chain.Instruction{}, err
	}
	return tokens, createForm().build(chain.AssociatedProgram, []byte{createIdempotent}, payer, tokens, wallet, mint), nil
}
