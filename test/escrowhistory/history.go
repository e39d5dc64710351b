// SPDX-License-Identifier: Apache-2.0

// Package escrowhistory writes the finalized history of one escrow for tests: the transactions of its life, with the token calls that the
// real program makes for them. It checks nothing; the real program is tested on a real runtime.
package escrowhistory

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

// History is a chain that knows one escrow's transactions, with the token calls that the program makes.
type History struct {
	t      *testing.T
	terms  escrow.Terms
	vault  chain.Address
	paid   money.Amount
	added  money.Amount
	Landed []chain.Transaction
	Reads  int   // how often its transactions were listed
	Err    error // of every listing, nil for none
}

// New returns the history of a lease whose escrow was never opened.
func New(t *testing.T, lease *boursev1.GPULease) *History {
	t.Helper()
	terms, err := contract.Escrow(lease)
	if err != nil {
		t.Fatal(err)
	}
	vault, err := terms.Vault()
	if err != nil {
		t.Fatal(err)
	}
	return &History{t: t, terms: terms, vault: vault}
}

// Signatures lists what landed, newest first, back to but without until.
func (h *History) Signatures(_ context.Context, _ chain.Address, until chain.Signature) ([]chain.SignatureInfo, error) {
	h.Reads++
	var infos []chain.SignatureInfo
	for _, one := range slices.Backward(h.Landed) {
		if one.Signature == until {
			break
		}
		infos = append(infos, chain.SignatureInfo{Signature: one.Signature, Slot: one.Slot, Time: one.Time, Failed: one.Failure != nil})
	}
	return infos, h.Err
}

// Transaction returns one of them.
func (h *History) Transaction(_ context.Context, signature chain.Signature) (chain.Transaction, error) {
	for _, one := range h.Landed {
		if one.Signature == signature {
			return one, nil
		}
	}
	return chain.Transaction{}, chain.ErrUnknown
}

// land adds a transaction of the instructions, with token calls behind the last of them.
func (h *History) land(instructions []chain.Instruction, err error, inner ...chain.Call) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
	slot := uint64(len(h.Landed) + 1)
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
	h.Landed = append(h.Landed, transaction)
}

// Open opens the escrow as its terms say.
func (h *History) Open() {
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

// Claim pays up to the cumulative gross amount.
func (h *History) Claim(gross money.Amount) {
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

// Award pays up to the cumulative gross amount without a voucher.
func (h *History) Award(gross money.Amount) {
	h.t.Helper()
	instructions, err := escrow.Award(h.terms, gross)
	h.pay(instructions, err, gross)
}

// pay lands a payment with the token calls that it makes.
func (h *History) pay(instructions []chain.Instruction, err error, gross money.Amount) {
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

// TopUp adds to the deposit.
func (h *History) TopUp(amount money.Amount) {
	h.t.Helper()
	instructions, err := escrow.TopUp(h.terms, amount)
	if err != nil {
		h.t.Fatal(err)
	}
	h.land(instructions, err, tokenCall(12, amount, 10, instructions[0].Accounts[4].Address, h.terms.Mint, h.vault, h.terms.Buyer))
	h.added += amount
}

// Extend puts off the deadline.
func (h *History) Extend(deadline time.Time) {
	h.t.Helper()
	instructions, err := escrow.Extend(h.terms, deadline)
	h.land(instructions, err)
}

// Dispute says that a cumulative gross amount is owed.
func (h *History) Dispute(gross money.Amount) {
	h.t.Helper()
	instructions, err := escrow.Dispute(h.terms, gross)
	h.land(instructions, err)
}

func (h *History) split(gross money.Amount) money.Split {
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

// Close gives back what is left.
func (h *History) Close() {
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
