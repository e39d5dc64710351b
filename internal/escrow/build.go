// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"encoding/binary"
	"fmt"
	"slices"
	"time"

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
		instruction(t.Program, openData(t, at), t.Buyer, at.lease, at.vault, t.Mint, tokens, t.Supplier, t.Treasury, t.Arbiter, t.Config),
	}, nil
}

// MaxOpenings is how many escrows one transaction can open: as many as the network carries in one, with a limit and a price of compute
// units before them, when each pays another supplier.
const MaxOpenings = 4

// OpenAll returns the instructions by which the buyer makes several escrows and deposits into each. In one transaction they all come about,
// or none does. They are of one buyer, under one configuration of one program and in one mint.
func OpenAll(all []Terms) ([]chain.Instruction, error) {
	if len(all) < 1 || len(all) > MaxOpenings {
		return nil, fmt.Errorf("build open: %w: %d escrows, and one transaction opens 1 to %d", ErrTerms, len(all), MaxOpenings)
	}
	instructions := make([]chain.Instruction, 0, len(all))
	for i, terms := range all {
		if first := all[0]; terms.Program != first.Program || terms.Config != first.Config || terms.Buyer != first.Buyer || terms.Mint != first.Mint {
			return nil, fmt.Errorf("build open: %w: escrow %d has another program, configuration, buyer or mint than the first", ErrTerms, i)
		}
		if slices.ContainsFunc(all[:i], func(other Terms) bool { return other.ID == terms.ID }) {
			return nil, fmt.Errorf("build open: %w: escrow %d is there twice", ErrTerms, i)
		}
		open, err := Open(terms)
		if err != nil {
			return nil, err
		}
		instructions = append(instructions, open...)
	}
	return instructions, nil
}

func openData(t Terms, at places) []byte {
	data := append([]byte{opOpen}, t.ID[:]...)
	data = binary.LittleEndian.AppendUint64(data, uint64(t.Deposit))
	data = binary.LittleEndian.AppendUint64(data, uint64(t.Deadline.Unix())) //nolint:gosec // Validate wants it positive
	data = binary.LittleEndian.AppendUint16(data, t.Fees.BuyerBps)
	data = binary.LittleEndian.AppendUint16(data, t.Fees.SupplierBps)
	data = binary.LittleEndian.AppendUint16(data, t.Fees.BurnBps)
	data = binary.LittleEndian.AppendUint16(data, t.ArbiterCapBps)
	data = binary.LittleEndian.AppendUint32(data, seconds(t.DisputeDelay))
	return append(data, t.Decimals, at.leaseBump, at.vaultBump)
}

// numbered is the data of an instruction that takes one amount or time.
func numbered(op byte, value uint64) []byte {
	return binary.LittleEndian.AppendUint64([]byte{op}, value)
}

// seconds is a delay as the program holds it. Whoever calls it has checked the bounds.
func seconds(delay time.Duration) uint32 { return uint32(delay / time.Second) } //nolint:gosec // as said

// Claim returns the instructions by which anybody turns the buyer's voucher for a cumulative gross amount into pay, fee and burn.
// The supplier's and the treasury's associated token accounts are made first where they are missing; the submitter pays for that.
// The voucher is verified here as the chain will. Of an escrow that was topped up, the terms must hold the whole deposit.
func Claim(t Terms, submitter chain.Address, gross money.Amount, voucher chain.Signature) ([]chain.Instruction, error) {
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	if err := VerifyVoucher(t.Program, at.lease, t.Buyer, gross, voucher); err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	if err := t.covers(gross); err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	purses, creates, err := t.payees(submitter)
	if err != nil {
		return nil, fmt.Errorf("build claim: %w", err)
	}
	return append(creates,
		voucherCheck(t.Buyer, VoucherMessage(t.Program, at.lease, gross), voucher),
		instruction(t.Program, numbered(opClaim, uint64(gross)), submitter, at.lease, at.vault, t.Mint, purses[0], purses[1])), nil
}

// Award returns the instructions by which the arbiter pays a disputed lease up to a cumulative gross amount, without a voucher. The
// chain takes it only after the dispute's delay and before twice the delay, and never for more than the arbiter's cap.
func Award(t Terms, gross money.Amount) ([]chain.Instruction, error) {
	at, err := t.arbitrated()
	if err != nil {
		return nil, fmt.Errorf("build award: %w", err)
	}
	if err := t.covers(gross); err != nil {
		return nil, fmt.Errorf("build award: %w", err)
	}
	purses, creates, err := t.payees(t.Arbiter)
	if err != nil {
		return nil, fmt.Errorf("build award: %w", err)
	}
	return append(creates,
		instruction(t.Program, numbered(opAward, uint64(gross)), t.Arbiter, at.lease, at.vault, t.Mint, purses[0], purses[1])), nil
}

// Dispute returns the instruction by which the supplier says, once, that it is owed a cumulative gross amount for which it has no
// voucher. It moves nothing: it holds the deposit until the arbiter has had its time.
func Dispute(t Terms, gross money.Amount) ([]chain.Instruction, error) {
	at, err := t.arbitrated()
	if err != nil {
		return nil, fmt.Errorf("build dispute: %w", err)
	}
	if err := t.covers(gross); err != nil {
		return nil, fmt.Errorf("build dispute: %w", err)
	}
	return []chain.Instruction{instruction(t.Program, numbered(opDispute, uint64(gross)), t.Supplier, at.lease)}, nil
}

// TopUp returns the instruction by which the buyer adds to the deposit from its associated token account.
func TopUp(t Terms, amount money.Amount) ([]chain.Instruction, error) {
	if amount == 0 {
		return nil, fmt.Errorf("build top-up: %w: it adds nothing", ErrTerms)
	}
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("build top-up: %w", err)
	}
	tokens, err := chain.TokenAddress(t.Buyer, t.Mint)
	if err != nil {
		return nil, fmt.Errorf("build top-up: %w", err)
	}
	return []chain.Instruction{
		instruction(t.Program, numbered(opTopUp, uint64(amount)), t.Buyer, at.lease, at.vault, t.Mint, tokens),
	}, nil
}

// Extend returns the instruction by which the buyer puts off the deadline.
func Extend(t Terms, deadline time.Time) ([]chain.Instruction, error) {
	if !deadline.After(t.Deadline) {
		return nil, fmt.Errorf("build extension: %w: the deadline only moves on", ErrTerms)
	}
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("build extension: %w", err)
	}
	//nolint:gosec // after the terms' deadline, which is positive
	return []chain.Instruction{instruction(t.Program, numbered(opExtend, uint64(deadline.Unix())), t.Buyer, at.lease)}, nil
}

// covers refuses a cumulative gross amount that the deposit does not cover.
func (t Terms) covers(gross money.Amount) error {
	split, err := t.Fees.Split(gross)
	if err != nil {
		return err
	}
	if split.Debit > t.Deposit {
		return fmt.Errorf("%w: gross %s costs %s of a deposit of %s", ErrTerms, gross, split.Debit, t.Deposit)
	}
	return nil
}

// arbitrated returns the addresses of a lease that has an arbiter.
func (t Terms) arbitrated() (places, error) {
	if err := t.validateArbitration(); err != nil {
		return places{}, err
	}
	if t.ArbiterCapBps == 0 {
		return places{}, fmt.Errorf("%w: the lease has no arbiter", ErrTerms)
	}
	return t.places()
}

// payees returns the token accounts of the supplier and the treasury, and the instructions that make them where they are missing.
func (t Terms) payees(payer chain.Address) (purses [2]chain.Address, creates []chain.Instruction, err error) {
	for i, wallet := range [2]chain.Address{t.Supplier, t.Treasury} {
		tokens, create, err := chain.TokenAccount(payer, wallet, t.Mint)
		if err != nil {
			return purses, nil, err
		}
		purses[i], creates = tokens, append(creates, create)
	}
	return purses, creates, nil
}

// Close returns the instructions that give the rest of the deposit back to the buyer: by the supplier at any time, by anybody after
// the deadline. The buyer's associated token account is made first if it is missing; the submitter pays for that.
func Close(t Terms, submitter chain.Address) ([]chain.Instruction, error) {
	at, err := t.places()
	if err != nil {
		return nil, fmt.Errorf("build close: %w", err)
	}
	tokens, create, err := chain.TokenAccount(submitter, t.Buyer, t.Mint)
	if err != nil {
		return nil, fmt.Errorf("build close: %w", err)
	}
	return []chain.Instruction{
		create, instruction(t.Program, []byte{opClose}, submitter, at.lease, at.vault, t.Mint, tokens, t.Buyer),
	}, nil
}
