// SPDX-License-Identifier: Apache-2.0

package settlement

import (
	"context"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/test/builders"
)

// history is a chain that knows one escrow's transactions, with the token calls that the program makes.
type history struct {
	t      *testing.T
	terms  escrow.Terms
	vault  chain.Address
	paid   money.Amount
	added  money.Amount
	landed []chain.Transaction
	reads  int
	err    error
}

func newHistory(t *testing.T, lease *boursev1.GPULease) *history {
	t.Helper()
	terms, err := contract.Escrow(lease)
	if err != nil {
		t.Fatal(err)
	}
	vault, err := terms.Vault()
	if err != nil {
		t.Fatal(err)
	}
	return &history{t: t, terms: terms, vault: vault}
}

func (h *history) Signatures(_ context.Context, _ chain.Address, until chain.Signature) ([]chain.SignatureInfo, error) {
	h.reads++
	var infos []chain.SignatureInfo
	for _, one := range slices.Backward(h.landed) {
		if one.Signature == until {
			break
		}
		infos = append(infos, chain.SignatureInfo{Signature: one.Signature, Slot: one.Slot, Time: one.Time, Failed: one.Failure != nil})
	}
	return infos, h.err
}

func (h *history) Transaction(_ context.Context, signature chain.Signature) (chain.Transaction, error) {
	for _, one := range h.landed {
		if one.Signature == signature {
			return one, nil
		}
	}
	return chain.Transaction{}, chain.ErrUnknown
}

// land adds a transaction of the instructions, with token calls behind the last of them.
func (h *history) land(instructions []chain.Instruction, err error, inner ...chain.Call) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	slot := uint64(len(h.landed) + 1)
	transaction := chain.Transaction{
		Signature: chain.Signature{byte(slot)}, Slot: slot, Time: builders.Start.Add(time.Duration(slot) * time.Minute),
	}
	for _, instruction := range instructions {
		call := chain.Call{Program: instruction.Program, Data: instruction.Data, Depth: 1}
		for _, meta := range instruction.Accounts {
			call.Accounts = append(call.Accounts, meta.Address)
		}
		transaction.Calls = append(transaction.Calls, call)
	}
	transaction.Calls = append(transaction.Calls, inner...)
	h.landed = append(h.landed, transaction)
}

func (h *history) open() {
	h.t.Helper()
	instructions, err := escrow.Open(h.terms)
	if err != nil {
		h.t.Fatal(err)
	}
	from := instructions[0].Accounts[4].Address
	h.land(instructions, err,
		tokenCall(18, 0, 33, h.vault, h.terms.Mint),
		tokenCall(12, h.terms.Deposit, 10, from, h.terms.Mint, h.vault, h.terms.Buyer))
}

// claim pays up to the cumulative gross amount.
func (h *history) claim(gross money.Amount) {
	h.t.Helper()
	address, err := h.terms.Address()
	if err != nil {
		h.t.Fatal(err)
	}
	voucher, err := builders.Wallet(builders.Buyer).Sign(h.t.Context(), escrow.VoucherMessage(h.terms.Program, address, gross))
	if err != nil {
		h.t.Fatal(err)
	}
	instructions, err := escrow.Claim(h.terms, h.terms.Supplier, gross, voucher)
	h.pay(instructions, err, gross)
}

// award pays up to the cumulative gross amount without a voucher.
func (h *history) award(gross money.Amount) {
	h.t.Helper()
	instructions, err := escrow.Award(h.terms, gross)
	h.pay(instructions, err, gross)
}

// pay lands a payment with the token calls that it makes.
func (h *history) pay(instructions []chain.Instruction, err error, gross money.Amount) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	due := h.split(gross)
	last := instructions[len(instructions)-1]
	lease := last.Accounts[1].Address
	var inner []chain.Call
	for _, pay := range []struct {
		amount money.Amount
		to     chain.Address
	}{{due.Supplier, last.Accounts[4].Address}, {due.Treasury, last.Accounts[5].Address}} {
		if pay.amount > 0 {
			inner = append(inner, tokenCall(12, pay.amount, 10, h.vault, h.terms.Mint, pay.to, lease))
		}
	}
	if due.Burn > 0 {
		inner = append(inner, tokenCall(15, due.Burn, 10, h.vault, h.terms.Mint, lease))
	}
	h.land(instructions, nil, inner...)
	h.paid = gross
}

func (h *history) topUp(amount money.Amount) {
	h.t.Helper()
	instructions, err := escrow.TopUp(h.terms, amount)
	if err != nil {
		h.t.Fatal(err)
	}
	h.land(instructions, err, tokenCall(12, amount, 10, instructions[0].Accounts[4].Address, h.terms.Mint, h.vault, h.terms.Buyer))
	h.added += amount
}

func (h *history) extend(deadline time.Time) {
	h.t.Helper()
	instructions, err := escrow.Extend(h.terms, deadline)
	h.land(instructions, err)
}

func (h *history) dispute(gross money.Amount) {
	h.t.Helper()
	instructions, err := escrow.Dispute(h.terms, gross)
	h.land(instructions, err)
}

func (h *history) split(gross money.Amount) money.Split {
	h.t.Helper()
	before, err := h.terms.Fees.Split(h.paid)
	if err != nil {
		h.t.Fatal(err)
	}
	now, err := h.terms.Fees.Split(gross)
	if err != nil {
		h.t.Fatal(err)
	}
	due, err := now.Sub(before)
	if err != nil {
		h.t.Fatal(err)
	}
	return due
}

func (h *history) close() {
	h.t.Helper()
	paid, err := h.terms.Fees.Split(h.paid)
	if err != nil {
		h.t.Fatal(err)
	}
	address, err := h.terms.Address()
	if err != nil {
		h.t.Fatal(err)
	}
	instructions, err := escrow.Close(h.terms, h.terms.Supplier)
	if err != nil {
		h.t.Fatal(err)
	}
	to := instructions[len(instructions)-1].Accounts[4].Address
	h.land(instructions, nil,
		tokenCall(12, h.terms.Deposit+h.added-paid.Debit, 10, h.vault, h.terms.Mint, to, address),
		tokenCall(9, 0, 1, h.vault, h.terms.Buyer, address))
}

func tokenCall(op byte, amount money.Amount, size int, accounts ...chain.Address) chain.Call {
	data := make([]byte, size)
	data[0] = op
	if size == 10 {
		binary.LittleEndian.PutUint64(data[1:], uint64(amount))
	}
	return chain.Call{Program: chain.TokenProgram, Accounts: accounts, Data: data, Depth: 2}
}
