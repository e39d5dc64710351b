// SPDX-License-Identifier: Apache-2.0

package escrow_test

import (
	"context"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// recorded is a history made by hand: transactions, oldest first.
type recorded []chain.Transaction

func (r recorded) Signatures(_ context.Context, _ chain.Address, until chain.Signature) ([]chain.SignatureInfo, error) {
	var infos []chain.SignatureInfo
	for _, transaction := range slices.Backward(r) {
		if transaction.Signature == until {
			break
		}
		infos = append(infos, chain.SignatureInfo{Signature: transaction.Signature})
	}
	return infos, nil
}

func (r recorded) Transaction(_ context.Context, signature chain.Signature) (chain.Transaction, error) {
	for _, transaction := range r {
		if transaction.Signature == signature {
			return transaction, nil
		}
	}
	return chain.Transaction{}, chain.ErrUnknown
}

// script writes histories of one escrow.
type script struct {
	t            *testing.T
	terms        escrow.Terms
	lease, vault chain.Address
	history      recorded
}

func newScript(t *testing.T) *script {
	t.Helper()
	terms := someTerms()
	lease, err := terms.Address()
	if err != nil {
		t.Fatal(err)
	}
	vault, err := terms.Vault()
	if err != nil {
		t.Fatal(err)
	}
	return &script{t: t, terms: terms, lease: lease, vault: vault}
}

// add appends a transaction whose program call made the given token calls.
func (s *script) add(instructions []chain.Instruction, err error, made ...chain.Call) *chain.Transaction {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
	transaction := chain.Transaction{Signature: chain.Signature{byte(len(s.history) + 1)}, Slot: uint64(len(s.history) + 1)}
	for _, instruction := range instructions {
		call := chain.Call{Program: instruction.Program, Data: instruction.Data, Depth: 1}
		for _, meta := range instruction.Accounts {
			call.Accounts = append(call.Accounts, meta.Address)
		}
		transaction.Calls = append(transaction.Calls, call)
	}
	transaction.Calls = append(transaction.Calls, made...)
	s.history = append(s.history, transaction)
	return &s.history[len(s.history)-1]
}

func token(data []byte, accounts ...chain.Address) chain.Call {
	return chain.Call{Program: chain.TokenProgram, Accounts: accounts, Data: data, Depth: 2}
}

func amountData(op byte, amount money.Amount) []byte {
	return append(binary.LittleEndian.AppendUint64([]byte{op}, uint64(amount)), 8)
}

func (s *script) tokensOf(owner chain.Address) chain.Address {
	address, err := chain.TokenAddress(owner, s.terms.Mint)
	if err != nil {
		s.t.Fatal(err)
	}
	return address
}

func (s *script) transfer(amount money.Amount, to chain.Address) chain.Call {
	return token(amountData(12, amount), s.vault, s.terms.Mint, s.tokensOf(to), s.lease)
}

func (s *script) open() *chain.Transaction {
	instructions, err := escrow.Open(s.terms)
	return s.add(instructions, err,
		token(append([]byte{18}, s.lease[:]...), s.vault, s.terms.Mint),
		token(amountData(12, s.terms.Deposit), s.tokensOf(s.terms.Buyer), s.terms.Mint, s.vault, s.terms.Buyer))
}

func (s *script) claim(gross money.Amount, paid ...money.Amount) *chain.Transaction {
	signature, err := wallet("buyer").Sign(s.t.Context(), escrow.VoucherMessage(s.terms.Program, s.lease, gross))
	if err != nil {
		s.t.Fatal(err)
	}
	instructions, err := escrow.Claim(s.terms, s.terms.Supplier, gross, signature)
	made := []chain.Call{s.transfer(paid[0], s.terms.Supplier)}
	if len(paid) > 1 {
		made = append(made, s.transfer(paid[1], s.terms.Treasury), token(amountData(15, paid[2]), s.vault, s.terms.Mint, s.lease))
	}
	return s.add(instructions, err, made...)
}

func (s *script) close(refund money.Amount) {
	instructions, err := escrow.Close(s.terms, s.terms.Supplier)
	s.add(instructions, err, s.transfer(refund, s.terms.Buyer), token([]byte{9}, s.vault, s.terms.Buyer, s.lease))
}

func (s *script) topUp(amount money.Amount) *chain.Transaction {
	instructions, err := escrow.TopUp(s.terms, amount)
	return s.add(instructions, err, token(amountData(12, amount), s.tokensOf(s.terms.Buyer), s.terms.Mint, s.vault, s.terms.Buyer))
}

func (s *script) extend(by time.Duration) *chain.Transaction {
	instructions, err := escrow.Extend(s.terms, s.terms.Deadline.Add(by))
	return s.add(instructions, err)
}

func (s *script) dispute(gross money.Amount) *chain.Transaction {
	instructions, err := escrow.Dispute(s.terms, gross)
	return s.add(instructions, err)
}

func (s *script) award(gross money.Amount, paid ...money.Amount) *chain.Transaction {
	instructions, err := escrow.Award(s.terms, gross)
	return s.add(instructions, err, s.transfer(paid[0], s.terms.Supplier), s.transfer(paid[1], s.terms.Treasury),
		token(amountData(15, paid[2]), s.vault, s.terms.Mint, s.lease))
}

// A claim of 1 000 000 on the terms of the tests pays 997 500, 2 000 and burns 3 000.
func TestReadMovementsRefusesWhatDoesNotAddUp(t *testing.T) {
	claim := func(s *script) *chain.Transaction { return s.claim(1_000_000, 997_500, 2_000, 3_000) }
	last := func(transaction *chain.Transaction, back int) *chain.Call {
		return &transaction.Calls[len(transaction.Calls)-1-back]
	}
	cases := map[string]history{
		"a whole life":       {func(s *script) { s.open(); claim(s); s.close(100_250_000 - 1_002_500) }, nil},
		"dust goes back too": {func(s *script) { s.open(); s.close(100_250_001) }, nil},
		"a failed transaction counts nothing": {func(s *script) {
			s.open()
			s.claim(5, 5).Failure = &chain.Failure{Kind: "InstructionError"}
			claim(s)
		}, nil},
		"the program called by another": {func(s *script) {
			s.open()
			transaction := claim(s)
			wrapper := chain.Call{Program: wallet("wrapper").PublicKey(), Depth: 1}
			for i := range transaction.Calls {
				transaction.Calls[i].Depth++
			}
			transaction.Calls = append([]chain.Call{wrapper}, transaction.Calls...)
			transaction.Calls = append(transaction.Calls, s.transfer(7, s.terms.Supplier)) // somebody's own transfer, not the program's
		}, nil},
		"another lease's claim in between": {func(s *script) {
			s.open()
			transaction := claim(s)
			transaction.Calls[3].Accounts[1] = wallet("other").PublicKey()
		}, nil},
		"the supplier got one unit less": {func(s *script) { s.open(); s.claim(1_000_000, 997_499, 2_001, 3_000) }, escrow.ErrMismatch},
		"the treasury got one unit more": {func(s *script) { s.open(); s.claim(1_000_000, 997_500, 2_001, 3_000) }, escrow.ErrMismatch},
		"less was burned":                {func(s *script) { s.open(); s.claim(1_000_000, 997_500, 2_000, 2_999) }, escrow.ErrMismatch},
		"nothing was burned":             {func(s *script) { s.open(); s.claim(1_000_000, 997_500) }, escrow.ErrMismatch},
		"a payment to somebody else": {func(s *script) {
			s.open()
			last(claim(s), 2).Accounts[2] = wallet("thief").PublicKey()
		}, escrow.ErrMismatch},
		"a payment out of another account": {func(s *script) {
			s.open()
			last(claim(s), 2).Accounts[0] = wallet("other").PublicKey()
		}, escrow.ErrMismatch},
		"a surplus payment": {func(s *script) {
			s.open()
			transaction := claim(s)
			transaction.Calls = append(transaction.Calls, s.transfer(1, s.terms.Supplier))
		}, escrow.ErrMismatch},
		"an unchecked transfer": {func(s *script) {
			s.open()
			last(claim(s), 2).Data = binary.LittleEndian.AppendUint64([]byte{3}, 997_500)
		}, escrow.ErrMismatch},
		"a token call cut short": {func(s *script) { s.open(); last(claim(s), 2).Data = []byte{12, 1} }, escrow.ErrMismatch},
		"an empty token call":    {func(s *script) { s.open(); last(claim(s), 2).Data = nil }, escrow.ErrMismatch},
		"the same claim twice":   {func(s *script) { s.open(); claim(s); claim(s) }, escrow.ErrMismatch},
		"a claim beyond the deposit": {func(s *script) {
			s.open()
			transaction := claim(s)
			binary.LittleEndian.PutUint64(transaction.Calls[3].Data[1:], 100_000_001)
		}, escrow.ErrMismatch},
		"a claim before the escrow was opened": {func(s *script) { claim(s) }, escrow.ErrMismatch},
		"opened twice":                         {func(s *script) { s.open(); s.open() }, escrow.ErrMismatch},
		"opened with other terms":              {func(s *script) { s.open().Calls[0].Data[33]++ }, escrow.ErrMismatch},
		"opened for another treasury":          {func(s *script) { s.open().Calls[0].Accounts[6] = wallet("other").PublicKey() }, escrow.ErrMismatch},
		"opened without a deposit":             {func(s *script) { o := s.open(); o.Calls = o.Calls[:len(o.Calls)-1] }, escrow.ErrMismatch},
		"less went back":                       {func(s *script) { s.open(); s.close(100_249_999) }, escrow.ErrMismatch},
		"closed twice":                         {func(s *script) { s.open(); s.close(100_250_000); s.close(100_250_000) }, escrow.ErrMismatch},
		"a claim after the end":                {func(s *script) { s.open(); s.close(100_250_000); claim(s) }, escrow.ErrMismatch},
		"an unknown instruction":               {func(s *script) { s.open().Calls[0].Data[0] = 99 }, escrow.ErrMismatch},
		"opened with another arbiter":          {func(s *script) { s.open().Calls[0].Accounts[7] = wallet("other").PublicKey() }, escrow.ErrMismatch},
		"opened under another configuration":   {func(s *script) { s.open().Calls[0].Accounts[8] = wallet("other").PublicKey() }, escrow.ErrMismatch},
		"accounts cut short": {func(s *script) {
			call := &s.open().Calls[0]
			call.Accounts = call.Accounts[:7]
		}, escrow.ErrMismatch},
	}
	checkHistories(t, cases)
}

// Top-ups, extensions, disputes and awards. The arbiter's cap is 20 050 000 of the deposit of the tests.
func TestReadMovementsRefusesWhatDoesNotAddUpLater(t *testing.T) {
	award := func(s *script) *chain.Transaction { return s.award(1_000_000, 997_500, 2_000, 3_000) }
	cases := map[string]history{
		"a long life": {func(s *script) {
			s.open()
			s.topUp(5)
			s.extend(time.Hour)
			s.dispute(2_000_000)
			award(s)
			s.extend(2 * time.Hour)
			s.close(100_250_005 - 1_002_500)
		}, nil},
		"a claim beyond the first deposit": {func(s *script) {
			s.open()
			s.topUp(100_250_000)
			s.terms.Deposit *= 2 // to build it
			s.claim(200_000_000, 199_500_000, 400_000, 600_000)
			s.terms.Deposit /= 2
			s.close(0)
			last := &s.history[3]
			last.Calls = slices.Delete(last.Calls, 2, 3) // nothing is left, and so nothing transferred
		}, nil},
		"a top-up that did not go in":    {func(s *script) { s.open(); c := s.topUp(5); c.Calls = c.Calls[:1] }, escrow.ErrMismatch},
		"a top-up of less":               {func(s *script) { s.open(); s.topUp(5).Calls[0].Data[1]++ }, escrow.ErrMismatch},
		"a top-up of nothing":            {func(s *script) { s.open(); c := s.topUp(1); c.Calls[0].Data[1], c.Calls = 0, c.Calls[:1] }, escrow.ErrMismatch},
		"a top-up by somebody else":      {func(s *script) { s.open(); s.topUp(5).Calls[0].Accounts[0] = wallet("other").PublicKey() }, escrow.ErrMismatch},
		"a top-up beyond 64 bits":        {func(s *script) { s.open(); s.topUp(math.MaxUint64) }, escrow.ErrMismatch},
		"a top-up before it was opened":  {func(s *script) { s.topUp(5); s.open() }, escrow.ErrMismatch},
		"a refund that forgets a top-up": {func(s *script) { s.open(); s.topUp(5); s.close(100_250_000) }, escrow.ErrMismatch},
		"an extension that moves money": {func(s *script) {
			s.open()
			c := s.extend(1 * time.Hour)
			c.Calls = append(c.Calls, s.transfer(1, s.terms.Supplier))
		}, escrow.ErrMismatch},
		"an extension to before":        {func(s *script) { s.open(); s.extend(2 * time.Hour); s.extend(time.Hour) }, escrow.ErrMismatch},
		"an extension by somebody else": {func(s *script) { s.open(); s.extend(time.Hour).Calls[0].Accounts[0] = wallet("other").PublicKey() }, escrow.ErrMismatch},
		"a dispute by somebody else":    {func(s *script) { s.open(); s.dispute(5).Calls[0].Accounts[0] = wallet("other").PublicKey() }, escrow.ErrMismatch},
		"a dispute without arbitration": {func(s *script) {
			s.dispute(5)
			withoutArbiter(s)
			s.history[0], s.history[1] = s.history[1], s.history[0]
		}, escrow.ErrMismatch},
		"a second dispute":                   {func(s *script) { s.open(); s.dispute(5); s.dispute(6) }, escrow.ErrMismatch},
		"a second dispute after an award":    {func(s *script) { s.open(); s.dispute(2_000_000); award(s); s.dispute(3_000_000) }, escrow.ErrMismatch},
		"a dispute of what is paid":          {func(s *script) { s.open(); s.claim(5, 5); s.dispute(5) }, escrow.ErrMismatch},
		"a dispute of more than the deposit": {func(s *script) { s.open(); s.dispute(5).Calls[0].Data[8] = 1 }, escrow.ErrMismatch},
		"an award without a dispute":         {func(s *script) { s.open(); award(s) }, escrow.ErrMismatch},
		"an award of more than disputed":     {func(s *script) { s.open(); s.dispute(999_999); award(s) }, escrow.ErrMismatch},
		"a second award":                     {func(s *script) { s.open(); s.dispute(2_000_000); award(s); s.award(2_000_000, 997_500, 2_000, 3_000) }, escrow.ErrMismatch},
		"an award by somebody else": {func(s *script) {
			s.open()
			s.dispute(1_000_000)
			last := award(s).Calls
			last[2].Accounts[0] = s.terms.Supplier
		}, escrow.ErrMismatch},
		"an award that pays one unit more":       {func(s *script) { s.open(); s.dispute(1_000_000); s.award(1_000_000, 997_501, 2_000, 3_000) }, escrow.ErrMismatch},
		"an award within the arbiter's cap":      {func(s *script) { s.open(); s.dispute(50_000_000); s.award(20_000_000, 19_950_000, 40_000, 60_000) }, nil},
		"an award beyond the arbiter's cap":      {func(s *script) { s.open(); s.dispute(50_000_000); s.award(20_000_001, 19_950_001, 40_000, 60_000) }, escrow.ErrMismatch},
		"a claim after an award":                 {func(s *script) { s.open(); s.dispute(1_000_000); award(s); s.claim(1_000_001, 1) }, nil},
		"anything after the end":                 {func(s *script) { s.open(); s.close(100_250_000); s.topUp(5) }, escrow.ErrMismatch},
		"an instruction of a configuration here": {func(s *script) { s.open(); s.extend(time.Hour).Calls[0].Data[0] = 8 }, escrow.ErrMismatch},
	}
	checkHistories(t, cases)
}

// withoutArbiter opens a lease that has no arbiter.
func withoutArbiter(s *script) {
	s.terms.Arbiter, s.terms.ArbiterCapBps, s.terms.DisputeDelay = chain.Address{}, 0, 0
	s.open()
}

// history is what happened, and what a reader must say to it.
type history struct {
	play func(*script)
	want error
}

func checkHistories(t *testing.T, cases map[string]history) {
	t.Helper()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := newScript(t)
			tc.play(s)
			movements, err := escrow.ReadMovements(t.Context(), s.history, s.terms)
			if !errors.Is(err, tc.want) {
				t.Fatalf("got %v, want %v", err, tc.want)
			}
			if err != nil && movements != nil {
				t.Errorf("a refused history still gave %+v", movements)
			}
		})
	}
}

// forgetful is a history that knows signatures but not their transactions.
type forgetful struct{ recorded }

func (forgetful) Transaction(context.Context, chain.Signature) (chain.Transaction, error) {
	return chain.Transaction{}, chain.ErrUnknown
}

func TestReadMovementsNeedsTheWholeHistory(t *testing.T) {
	s := newScript(t)
	s.open()
	if _, err := escrow.ReadMovements(t.Context(), forgetful{s.history}, s.terms); !errors.Is(err, chain.ErrUnknown) {
		t.Errorf("got %v, want %v", err, chain.ErrUnknown)
	}
}
