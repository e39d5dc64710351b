// SPDX-License-Identifier: Apache-2.0

package escrow_test

import (
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
)

// Lamports that the chain takes: for a signature, and to keep a lease and a token account.
const (
	perSignature = 5_000
	leaseRent    = (256 + 128) * 6_960
	configRent   = (272 + 128) * 6_960
	tokensRent   = (165 + 128) * 6_960
)

// unitPrice is the instruction that pays for priority, in millionths of a lamport for each compute unit.
func unitPrice(price uint64) chain.Instruction {
	return chain.Instruction{Program: chain.ComputeBudgetProgram, Data: binary.LittleEndian.AppendUint64([]byte{3}, price)}
}

func compile(tb testing.TB, payer chain.Address, instructions ...chain.Instruction) []byte {
	tb.Helper()
	message, err := chain.CompileMessage(payer, instructions, chain.Hash{7})
	if err != nil {
		tb.Fatal(err)
	}
	return message
}

// built are messages of every kind that this package builds, in the clear as instructions.
func built(tb testing.TB) map[escrow.Kind][]chain.Instruction {
	tb.Helper()
	terms := someTerms()
	lease, err := terms.Address()
	if err != nil {
		tb.Fatal(err)
	}
	voucher, err := wallet("buyer").Sign(tb.Context(), escrow.VoucherMessage(terms.Program, lease, 1_000))
	if err != nil {
		tb.Fatal(err)
	}
	all := map[escrow.Kind][]chain.Instruction{}
	add := func(kind escrow.Kind, instructions []chain.Instruction, err error) {
		if err != nil {
			tb.Fatal(err)
		}
		all[kind] = instructions
	}
	open, err := escrow.Open(terms)
	add(escrow.KindOpen, open, err)
	claim, err := escrow.Claim(terms, terms.Supplier, 1_000, voucher)
	add(escrow.KindClaim, claim, err)
	closing, err := escrow.Close(terms, terms.Supplier)
	add(escrow.KindClose, closing, err)
	topUp, err := escrow.TopUp(terms, 77)
	add(escrow.KindTopUp, topUp, err)
	extension, err := escrow.Extend(terms, terms.Deadline.Add(time.Hour))
	add(escrow.KindExtend, extension, err)
	dispute, err := escrow.Dispute(terms, 2_000)
	add(escrow.KindDispute, dispute, err)
	award, err := escrow.Award(terms, 2_000)
	add(escrow.KindAward, award, err)
	config := someConfig()
	creation, err := escrow.CreateConfig(config)
	add(escrow.KindCreateConfig, creation, err)
	proposal, err := escrow.ProposeConfig(config.Program, config.Authority, config.Terms)
	add(escrow.KindProposeConfig, proposal, err)
	change, err := escrow.ApplyConfig(config.Program, config.Authority)
	add(escrow.KindApplyConfig, change, err)
	return all
}

// payerOf is the only signer of the built instructions; anybody applies a configuration.
func payerOf(instructions []chain.Instruction) chain.Address {
	first := instructions[len(instructions)-1].Accounts[0]
	if !first.Signer {
		return wallet("anybody").PublicKey()
	}
	return first.Address
}

func TestReadMessageSaysWhatIsSigned(t *testing.T) {
	terms := someTerms()
	lease, err := terms.Address()
	if err != nil {
		t.Fatal(err)
	}
	config, _, err := escrow.ConfigAddress(terms.Program, someConfig().Authority)
	if err != nil {
		t.Fatal(err)
	}
	common := escrow.Intent{Program: terms.Program, Lease: lease, Mint: terms.Mint}
	with := func(edit func(*escrow.Intent)) escrow.Intent {
		intent := common
		edit(&intent)
		return intent
	}
	want := map[escrow.Kind]escrow.Intent{
		escrow.KindOpen: with(func(i *escrow.Intent) {
			i.Kind, i.Signer, i.Supplier, i.Tokens, i.Deadline = escrow.KindOpen, terms.Buyer, terms.Supplier, terms.Deposit, terms.Deadline
			i.Lamports, i.Config, i.Arbiter = perSignature+leaseRent+tokensRent, terms.Config, terms.Arbiter
		}),
		escrow.KindTopUp: with(func(i *escrow.Intent) {
			i.Kind, i.Signer, i.Tokens, i.Lamports = escrow.KindTopUp, terms.Buyer, 77, perSignature
		}),
		escrow.KindExtend: with(func(i *escrow.Intent) {
			i.Kind, i.Signer, i.Mint, i.Lamports, i.Deadline =
				escrow.KindExtend, terms.Buyer, chain.Address{}, perSignature, terms.Deadline.Add(time.Hour)
		}),
		escrow.KindDispute: with(func(i *escrow.Intent) {
			i.Kind, i.Signer, i.Mint, i.Lamports, i.Gross = escrow.KindDispute, terms.Supplier, chain.Address{}, perSignature, 2_000
		}),
		escrow.KindAward: with(func(i *escrow.Intent) {
			i.Kind, i.Signer, i.Lamports, i.Gross = escrow.KindAward, terms.Arbiter, perSignature+2*tokensRent, 2_000
		}),
		escrow.KindCreateConfig: {
			Kind: escrow.KindCreateConfig, Program: terms.Program, Signer: someConfig().Authority, Config: config, Lamports: perSignature + configRent,
		},
		escrow.KindProposeConfig: {
			Kind: escrow.KindProposeConfig, Program: terms.Program, Signer: someConfig().Authority, Config: config, Lamports: perSignature,
		},
		escrow.KindApplyConfig: {
			Kind: escrow.KindApplyConfig, Program: terms.Program, Signer: wallet("anybody").PublicKey(), Config: config, Lamports: perSignature,
		},
		escrow.KindClaim: with(func(i *escrow.Intent) {
			i.Kind, i.Signer, i.Gross, i.Lamports = escrow.KindClaim, terms.Supplier, 1_000, 2*perSignature+2*tokensRent
		}),
		escrow.KindClose: with(func(i *escrow.Intent) {
			i.Kind, i.Signer, i.Lamports = escrow.KindClose, terms.Supplier, perSignature+tokensRent
		}),
	}
	for kind, instructions := range built(t) {
		t.Run(string(kind), func(t *testing.T) {
			payer := payerOf(instructions)
			got, err := escrow.ReadMessage(compile(t, payer, instructions...), wallet("other").PublicKey(), terms.Program)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want[kind], got); diff != "" {
				t.Errorf("intent (-want +got):\n%s", diff)
			}
			budget := []chain.Instruction{unitPrice(1_000_001), chain.ComputeLimit(50_000)}
			dearer, err := escrow.ReadMessage(compile(t, payer, append(budget, instructions...)...), terms.Program)
			if err != nil {
				t.Fatal(err)
			}
			if fee := dearer.Lamports - got.Lamports; fee != 50_001 { // 50 000.05 lamports, rounded up
				t.Errorf("the priority fee is %d, want 50001", fee)
			}
		})
	}
	voucher, err := escrow.ReadMessage(escrow.VoucherMessage(terms.Program, lease, 7), terms.Program)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(escrow.Intent{Kind: escrow.KindVoucher, Program: terms.Program, Lease: lease, Gross: 7}, voucher); diff != "" {
		t.Errorf("voucher (-want +got):\n%s", diff)
	}
}

// edit changes one built message into one that must be refused.
type edit func([]chain.Instruction) []chain.Instruction

func TestReadMessageRefuses(t *testing.T) {
	last := func(i []chain.Instruction) *chain.Instruction { return &i[len(i)-1] }
	data := func(at int, value byte) edit {
		return func(i []chain.Instruction) []chain.Instruction { last(i).Data[at] ^= value; return i }
	}
	account := func(at int) edit {
		return func(i []chain.Instruction) []chain.Instruction {
			last(i).Accounts[at].Address = wallet("thief").PublicKey()
			return i
		}
	}
	transfer := chain.Instruction{
		Program:  chain.TokenProgram,
		Accounts: []chain.Meta{{Address: wallet("tokens").PublicKey(), Writable: true}, {Address: wallet("thief").PublicKey(), Writable: true}},
		Data:     amountData(12, 5),
	}
	cases := map[string]struct {
		kind escrow.Kind
		edit edit
	}{
		"a second instruction of the program": {escrow.KindOpen, func(i []chain.Instruction) []chain.Instruction { return append(i, i[0]) }},
		"a transfer after it":                 {escrow.KindOpen, func(i []chain.Instruction) []chain.Instruction { return append(i, transfer) }},
		"a transfer before it":                {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction { return slices.Insert(i, 0, transfer) }},
		"an instruction that is not there":    {escrow.KindOpen, data(0, 0x80)},
		"data cut short":                      {escrow.KindOpen, func(i []chain.Instruction) []chain.Instruction { i[0].Data = i[0].Data[:63]; return i }},
		"no data":                             {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction { last(i).Data = nil; return i }},
		"another bump":                        {escrow.KindOpen, data(63, 1)},
		"a fee that nobody may take":          {escrow.KindOpen, data(50, 0xff)},
		"a lease at another address":          {escrow.KindOpen, account(1)},
		"a vault at another address":          {escrow.KindOpen, account(2)},
		"a deposit from another account":      {escrow.KindOpen, account(4)},
		"another program in a fixed place":    {escrow.KindOpen, account(10)},
		"an account too many": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction {
			l := last(i)
			l.Accounts = append(l.Accounts, l.Accounts[0])
			return i
		}},
		"a writable mint":                     {escrow.KindOpen, func(i []chain.Instruction) []chain.Instruction { last(i).Accounts[3].Writable = true; return i }},
		"a claim of more than its voucher":    {escrow.KindClaim, data(1, 1)},
		"a claim of another lease":            {escrow.KindClaim, account(1)},
		"a claim without voucher":             {escrow.KindClaim, func(i []chain.Instruction) []chain.Instruction { return slices.Delete(i, 2, 3) }},
		"a claim with two vouchers":           {escrow.KindClaim, func(i []chain.Instruction) []chain.Instruction { return slices.Insert(i, 2, i[2]) }},
		"something between voucher and claim": {escrow.KindClaim, func(i []chain.Instruction) []chain.Instruction { return slices.Insert(i, 3, i[0]) }},
		"a voucher check in another form":     {escrow.KindClaim, func(i []chain.Instruction) []chain.Instruction { i[2].Data[2]++; return i }},
		"a voucher check cut short":           {escrow.KindClaim, func(i []chain.Instruction) []chain.Instruction { i[2].Data = i[2].Data[:100]; return i }},
		"a token account of another address":  {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction { i[0].Accounts[1].Address[0]++; return i }},
		"a token account made by other means": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction { i[0].Data = []byte{0}; return i }},
		"two limits": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction {
			return slices.Insert(i, 0, chain.ComputeLimit(1), chain.ComputeLimit(2))
		}},
		"two prices": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction {
			return slices.Insert(i, 0, unitPrice(1), unitPrice(2))
		}},
		"a price beyond counting": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction { return slices.Insert(i, 0, unitPrice(math.MaxUint64)) }},
		"another budget instruction": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction {
			return slices.Insert(i, 0, chain.Instruction{Program: chain.ComputeBudgetProgram, Data: []byte{1, 0, 0, 4, 0}})
		}},
		"nothing with a lease": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction { return i[:1] }},
		"a budget that names accounts": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction {
			b := chain.ComputeLimit(5)
			b.Accounts = i[0].Accounts[2:3]
			return slices.Insert(i, 0, b)
		}},
		"an instruction of a stranger's program": {escrow.KindClose, func(i []chain.Instruction) []chain.Instruction {
			last(i).Program = wallet("thief").PublicKey()
			return i
		}},
		"a top-up from another account": {escrow.KindTopUp, account(4)},
		"a top-up of another vault":     {escrow.KindTopUp, account(2)},
		"an arbiter without a cap":      {escrow.KindOpen, func(i []chain.Instruction) []chain.Instruction { copy(last(i).Data[55:], make([]byte, 6)); return i }},
		"an extension with a voucher": {escrow.KindExtend, func(i []chain.Instruction) []chain.Instruction {
			return slices.Insert(i, 0, built(t)[escrow.KindClaim][2])
		}},
		"a configuration of somebody else":      {escrow.KindCreateConfig, account(1)},
		"a configuration with another bump":     {escrow.KindCreateConfig, data(97, 1)},
		"a configuration beyond the bounds":     {escrow.KindProposeConfig, data(66, 0xff)},
		"a configuration that uses spare bytes": {escrow.KindProposeConfig, data(75, 1)},
	}
	program := someTerms().Program
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			instructions := built(t)[tc.kind]
			payer := payerOf(instructions)
			intent, err := escrow.ReadMessage(compile(t, payer, tc.edit(instructions)...), program)
			if !errors.Is(err, escrow.ErrMessage) {
				t.Errorf("got %+v and %v, want %v", intent, err, escrow.ErrMessage)
			}
		})
	}
}

func TestReadMessageRefusesOtherForms(t *testing.T) {
	terms := someTerms()
	opening := built(t)[escrow.KindOpen]
	plain := compile(t, terms.Buyer, opening...)
	lease := opening[0].Accounts[1].Address
	swapped := slices.Clone(plain)
	keys := swapped[4:]
	for i := range 32 { // two writable accounts change places in the table: the same privileges, other meanings
		keys[32+i], keys[64+i] = keys[64+i], keys[32+i]
	}
	cases := map[string][]byte{
		"nothing":                        {},
		"a voucher of another program":   escrow.VoucherMessage(wallet("other").PublicKey(), lease, 7),
		"a voucher cut short":            escrow.VoucherMessage(terms.Program, lease, 7)[:78],
		"a voucher with more":            append(escrow.VoucherMessage(terms.Program, lease, 7), 0),
		"a message of version 0":         append([]byte{0x80}, append(slices.Clone(plain), 0)...),
		"bytes left over":                append(slices.Clone(plain), 0),
		"a payer who is not the signer":  compile(t, terms.Supplier, opening...),
		"accounts that changed places":   swapped,
		"somebody who pays for a claim":  compile(t, wallet("payer").PublicKey(), built(t)[escrow.KindClaim]...),
		"a program that is not known":    compile(t, terms.Buyer, chain.Instruction{Program: wallet("other").PublicKey(), Data: []byte{0}}),
		"a message without instructions": compile(t, terms.Buyer),
	}
	for name, message := range cases {
		t.Run(name, func(t *testing.T) {
			if intent, err := escrow.ReadMessage(message, terms.Program); !errors.Is(err, escrow.ErrMessage) {
				t.Errorf("got %+v and %v, want %v", intent, err, escrow.ErrMessage)
			}
		})
	}
}

// taking says whether tokens leave the signer's wallet by such a message.
func taking(kind escrow.Kind) bool { return kind == escrow.KindOpen || kind == escrow.KindTopUp }

// No single changed byte makes a message that takes nothing into one that takes tokens, or a deposit into one from another wallet.
func TestReadMessageUnderChangedBytes(t *testing.T) {
	program := someTerms().Program
	for kind, instructions := range built(t) {
		message := compile(t, payerOf(instructions), instructions...)
		before, err := escrow.ReadMessage(message, program)
		if err != nil {
			t.Fatal(err)
		}
		for at := range message {
			for _, flip := range []byte{1, 0x80, 0xff} {
				changed := slices.Clone(message)
				changed[at] ^= flip
				intent, err := escrow.ReadMessage(changed, program)
				if err == nil && (taking(intent.Kind) != taking(kind) || !taking(kind) && intent.Tokens != 0 || intent.Lamports != before.Lamports) {
					t.Errorf("%s with byte %d changed became %+v", kind, at, intent)
				}
			}
		}
	}
}

// Whatever the bytes, reading them is an intent or an error; what is accepted is one of the known kinds and costs at least its signature.
func FuzzReadMessage(f *testing.F) {
	f.Add([]byte("bourse2"))
	f.Add([]byte{1, 0, 0})
	for _, instructions := range built(f) {
		f.Add(compile(f, payerOf(instructions), append([]chain.Instruction{chain.ComputeLimit(9), unitPrice(9)}, instructions...)...))
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		terms := someTerms()
		intent, err := escrow.ReadMessage(message, terms.Program, chain.Address{1})
		switch {
		case err != nil:
			if intent.Kind != "" || intent.Tokens != 0 {
				t.Fatalf("refused, and still %+v", intent)
			}
		case intent.Kind == escrow.KindVoucher:
			if len(message) != 79 || intent.Tokens != 0 || intent.Lamports != 0 {
				t.Fatalf("voucher %+v", intent)
			}
		case intent.Lamports < perSignature || intent.Kind != escrow.KindOpen && intent.Kind != escrow.KindTopUp && intent.Tokens != 0:
			t.Fatalf("intent %+v", intent)
		}
	})
}
