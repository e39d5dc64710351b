// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/google/go-cmp/cmp"
)

func key(name byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{name}, ed25519.SeedSize))
}

func address(name byte) Address { return Address(key(name)[ed25519.SeedSize:]) }

// transferOf is a transfer of lamports.
func transferOf(from, to Address, lamports byte) Instruction {
	return Instruction{
		Program:  SystemProgram,
		Accounts: []Meta{{Address: from, Signer: true, Writable: true}, {Address: to, Writable: true}},
		Data:     []byte{2, 0, 0, 0, lamports, 0, 0, 0, 0, 0, 0, 0},
	}
}

func compile(tb testing.TB, payer Address, instructions ...Instruction) []byte {
	tb.Helper()
	body, err := CompileMessage(payer, instructions, Hash{3})
	if err != nil {
		tb.Fatal(err)
	}
	return body
}

// signed is a transfer that its payer signed.
func signed(tb testing.TB) []byte {
	tb.Helper()
	envelope, err := NewEnvelope(compile(tb, address(1), transferOf(address(1), address(2), 5)))
	if err != nil {
		tb.Fatal(err)
	}
	if err := envelope.Add(address(1), Signature(ed25519.Sign(key(1), envelope.Message()))); err != nil {
		tb.Fatal(err)
	}
	raw, err := envelope.Bytes()
	if err != nil {
		tb.Fatal(err)
	}
	return raw
}

func TestCompileEqualsTheLibraryOnAPlainTransfer(t *testing.T) {
	transfer := transferOf(address(1), address(2), 5)
	library, err := solana.NewTransaction([]solana.Instruction{solana.NewInstruction(transfer.Program, solana.AccountMetaSlice{
		solana.Meta(address(1)).SIGNER().WRITE(), solana.Meta(address(2)).WRITE(),
	}, transfer.Data)}, Hash{3}, solana.TransactionPayer(address(1)))
	if err != nil {
		t.Fatal(err)
	}
	want, err := library.Message.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, compile(t, address(1), transfer)); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

// Random instructions over few accounts: every account keeps exactly the union of its privileges, and the bytes are always the same.
func TestCompileKeepsPrivileges(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 500 {
		want := map[Address]Meta{address(1): {Address: address(1), Signer: true, Writable: true}}
		instructions := make([]Instruction, 0, 4)
		for range 1 + random.IntN(4) {
			instruction := Instruction{Program: address(byte(100 + random.IntN(3))), Data: make([]byte, random.IntN(200))}
			for range random.IntN(5) {
				meta := Meta{Address: address(byte(1 + random.IntN(6))), Signer: random.IntN(2) == 0, Writable: random.IntN(2) == 0}
				instruction.Accounts = append(instruction.Accounts, meta)
				union := want[meta.Address]
				want[meta.Address] = Meta{Address: meta.Address, Signer: union.Signer || meta.Signer, Writable: union.Writable || meta.Writable}
			}
			want[instruction.Program] = Meta{Address: instruction.Program}
			instructions = append(instructions, instruction)
		}
		body := compile(t, address(1), instructions...)
		if !bytes.Equal(body, compile(t, address(1), instructions...)) {
			t.Fatal("the same instructions compiled to different bytes")
		}
		library, err := solana.TransactionFromBytes(append([]byte{0}, body...))
		if err != nil {
			t.Fatal(err)
		}
		got := map[Address]Meta{}
		for _, account := range library.Message.AccountKeys {
			writable, err := library.Message.IsWritable(account)
			if err != nil {
				t.Fatal(err)
			}
			got[account] = Meta{Address: account, Signer: library.Message.IsSigner(account), Writable: writable}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("privileges (-want +got):\n%s", diff)
		}
		checkCalls(t, body, instructions)
	}
}

// checkCalls decodes a message and compares its calls with the instructions it was compiled from.
func checkCalls(t *testing.T, body []byte, instructions []Instruction) {
	t.Helper()
	envelope, err := NewEnvelope(body)
	if err != nil {
		t.Fatal(err)
	}
	calls, err := envelope.Calls()
	if err != nil || len(calls) != len(instructions) || envelope.Blockhash() != (Hash{3}) {
		t.Fatalf("%d calls of %d under %s: %v", len(calls), len(instructions), envelope.Blockhash(), err)
	}
	for i, call := range calls {
		if call.Program != instructions[i].Program || !bytes.Equal(call.Data, instructions[i].Data) || len(call.Accounts) != len(instructions[i].Accounts) {
			t.Fatalf("call %d: %+v from %+v", i, call, instructions[i])
		}
		for j, account := range call.Accounts {
			if account != instructions[i].Accounts[j].Address {
				t.Fatalf("call %d, account %d: %s", i, j, account)
			}
		}
	}
}

func TestCompileRefusesWhatTheNetworkWould(t *testing.T) {
	big := Instruction{Program: address(9), Data: make([]byte, MaxTransactionSize)}
	if _, err := CompileMessage(address(1), []Instruction{big}, Hash{}); !errors.Is(err, ErrTooBig) {
		t.Errorf("too many bytes: got %v", err)
	}
	many := Instruction{Program: address(9)}
	for i := range 257 {
		many.Accounts = append(many.Accounts, Meta{Address: Address{byte(i), byte(i >> 8), 1}})
	}
	if _, err := CompileMessage(address(1), []Instruction{many}, Hash{}); !errors.Is(err, ErrTooBig) {
		t.Errorf("too many accounts: got %v", err)
	}
}

func TestEnvelopeTakesOnlyItsSignatures(t *testing.T) {
	envelope, err := NewEnvelope(compile(t, address(1), transferOf(address(2), address(3), 5)))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Address{address(1), address(2)}, envelope.Signers()); diff != "" {
		t.Fatalf("signers (-want +got):\n%s", diff)
	}
	first := Signature(ed25519.Sign(key(1), envelope.Message()))
	if err := envelope.Add(address(3), Signature(ed25519.Sign(key(3), envelope.Message()))); err == nil {
		t.Error("took the signature of somebody who need not sign")
	}
	if err := envelope.Add(address(2), first); err == nil {
		t.Error("took a signature for another's")
	}
	if err := envelope.Add(address(1), first); err != nil {
		t.Error(err)
	}
	if _, err := envelope.Bytes(); err == nil {
		t.Error("encoded a transaction that lacks a signature")
	}
	if err := envelope.Add(address(2), Signature(ed25519.Sign(key(2), envelope.Message()))); err != nil {
		t.Error(err)
	}
	raw, err := envelope.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	opened, err := OpenEnvelope(raw)
	if err != nil {
		t.Fatal(err)
	}
	if id, ok := opened.ID(); !ok || id != first {
		t.Errorf("opened as %s", id)
	}
}

func TestDecodeRefuses(t *testing.T) {
	good := signed(t)
	const body = 1 + signatureSize
	put := func(offset int, value byte) func([]byte) []byte {
		return func(raw []byte) []byte {
			raw[offset] = value
			return raw
		}
	}
	cases := map[string]func([]byte) []byte{
		"nothing":                       func([]byte) []byte { return nil },
		"bytes left over":               func(raw []byte) []byte { return append(raw, 0) },
		"a byte too few":                func(raw []byte) []byte { return raw[:len(raw)-1] },
		"no signature":                  func(raw []byte) []byte { return append([]byte{0}, raw[body:]...) },
		"a length not in shortest form": func(raw []byte) []byte { return append([]byte{0x81, 0}, raw[1:]...) },
		"an endless length":             func(raw []byte) []byte { return append([]byte{0x81, 0x80, 0x80}, raw[1:]...) },
		"more signers than keys":        put(body, 250),
		"no signer":                     put(body, 0),
		"no writable signer":            put(body+1, 1),
		"more read-only keys than keys": put(body+2, 3),
		"an account out of range":       put(len(good)-14, 200),
		"a program out of range":        put(len(good)-16, 200),
		"the payer as program":          put(len(good)-16, 0),
		"an unknown version": func(raw []byte) []byte {
			return append(append(append(raw[:body:body], 0x81), raw[body:]...), 0)
		},
		"a false signature": put(5, 1),
	}
	if _, err := OpenEnvelope(bytes.Clone(good)); err != nil {
		t.Fatalf("untouched: %v", err)
	}
	for name, edit := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := OpenEnvelope(edit(bytes.Clone(good))); err == nil {
				t.Error("accepted")
			}
		})
	}
}

// No bytes can make the decoder panic, and what it accepts it can write back to the same bytes.
func FuzzDecode(f *testing.F) {
	f.Add(signed(f))
	f.Add([]byte{1, 0, 1, 2})
	f.Add(append(make([]byte, 1+signatureSize), 1, 0, 1, 2))
	f.Fuzz(func(t *testing.T, raw []byte) {
		parsed, signatures, body, err := decodeTransaction(raw)
		if err != nil {
			return
		}
		encoded := appendLength(nil, len(signatures))
		for _, signature := range signatures {
			encoded = append(encoded, signature[:]...)
		}
		if !bytes.Equal(append(encoded, body...), raw) {
			t.Fatalf("%x is read as %x", raw, encoded)
		}
		keys := append(parsed.keys, make([]Address, parsed.lookedUp())...)
		for _, instruction := range parsed.instructions {
			if _, err := resolve(keys, instruction, 1); err != nil {
				t.Fatalf("accepted a message that does not resolve: %v", err)
			}
		}
	})
}
