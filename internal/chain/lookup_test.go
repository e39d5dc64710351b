// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/gagliardetto/solana-go"
	"github.com/google/go-cmp/cmp"
)

// many are addresses that differ.
func many(from, n byte) []Address {
	addresses := make([]Address, 0, n)
	for i := range n {
		addresses = append(addresses, address(from+i))
	}
	return addresses
}

func TestCompileVersionedEqualsTheLibraryOnOneTable(t *testing.T) {
	table := LookupTable{Address: address(50), Addresses: many(10, 4)}
	call := Instruction{Program: address(60), Data: []byte{1, 2}, Accounts: []Meta{
		{Address: address(1), Signer: true, Writable: true},
		{Address: table.Addresses[2], Writable: true},
		{Address: table.Addresses[0]},
		{Address: address(2), Writable: true},
	}}
	library, err := solana.NewTransaction([]solana.Instruction{solana.NewInstruction(call.Program, solana.AccountMetaSlice{
		solana.Meta(address(1)).SIGNER().WRITE(), solana.Meta(table.Addresses[2]).WRITE(), solana.Meta(table.Addresses[0]),
		solana.Meta(address(2)).WRITE(),
	}, call.Data)}, Hash{3}, solana.TransactionPayer(address(1)),
		solana.TransactionAddressTables(map[solana.PublicKey]solana.PublicKeySlice{table.Address: table.Addresses}))
	if err != nil {
		t.Fatal(err)
	}
	want, err := library.Message.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	got, err := CompileVersioned(address(1), []Instruction{call}, Hash{3}, table)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("message (-want +got):\n%s", diff)
	}
}

// Random instructions over tables that overlap: what is read back is what was compiled, with the union of the privileges, and the same
// input always gives the same bytes.
func TestCompileVersionedReadsBack(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 500 {
		tables := []LookupTable{
			{Address: address(50), Addresses: many(10, byte(random.IntN(6)))},
			{Address: address(51), Addresses: many(13, byte(random.IntN(6)))},
		}
		rights := map[Address]Meta{address(1): {Address: address(1), Signer: true, Writable: true}}
		instructions := make([]Instruction, 0, 4)
		for range 1 + random.IntN(4) {
			instruction := Instruction{Program: address(byte(60 + random.IntN(3))), Data: []byte{byte(random.IntN(256))}}
			for range random.IntN(6) {
				meta := Meta{Address: address(byte(9 + random.IntN(12))), Writable: random.IntN(2) == 0, Signer: random.IntN(6) == 0}
				instruction.Accounts = append(instruction.Accounts, meta)
				union := rights[meta.Address]
				rights[meta.Address] = Meta{Address: meta.Address, Signer: union.Signer || meta.Signer, Writable: union.Writable || meta.Writable}
			}
			instructions = append(instructions, instruction)
		}
		body, err := CompileVersioned(address(1), instructions, Hash{3}, tables...)
		if err != nil {
			t.Fatal(err)
		}
		again, err := CompileVersioned(address(1), instructions, Hash{3}, tables...)
		if err != nil || !bytes.Equal(body, again) {
			t.Fatalf("the same input gave other bytes: %v", err)
		}
		checkReadBack(t, body, instructions, rights, tables)
	}
}

func checkReadBack(t *testing.T, body []byte, instructions []Instruction, rights map[Address]Meta, tables []LookupTable) {
	t.Helper()
	envelope, err := NewEnvelope(body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := envelope.Instructions(tables...)
	if err != nil {
		t.Fatal(err)
	}
	for i := range instructions {
		want := instructions[i]
		want.Accounts = nil
		for _, meta := range instructions[i].Accounts {
			want.Accounts = append(want.Accounts, rights[meta.Address])
		}
		if diff := cmp.Diff(want, got[i]); diff != "" {
			t.Fatalf("instruction %d (-want +got):\n%s", i, diff)
		}
	}
}

func TestInstructionsNeedTheirTables(t *testing.T) {
	table := LookupTable{Address: address(50), Addresses: many(10, 3)}
	call := Instruction{Program: address(60), Accounts: []Meta{{Address: table.Addresses[2]}}}
	body, err := CompileVersioned(address(1), []Instruction{call}, Hash{3}, table)
	if err != nil {
		t.Fatal(err)
	}
	envelope, err := NewEnvelope(body)
	if err != nil {
		t.Fatal(err)
	}
	cases := map[string][]LookupTable{
		"without tables":       nil,
		"with another table":   {{Address: address(51), Addresses: table.Addresses}},
		"with a shorter table": {{Address: table.Address, Addresses: table.Addresses[:2]}},
	}
	for name, tables := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := envelope.Instructions(tables...); !errors.Is(err, ErrMalformed) {
				t.Errorf("err = %v, want %v", err, ErrMalformed)
			}
		})
	}
	spelled := []Instruction{{Program: address(60), Accounts: []Meta{{}}, Data: []byte{}}}
	if diff := cmp.Diff(spelled, envelope.Spelled()); diff != "" {
		t.Errorf("spelled out (-want +got):\n%s", diff)
	}
	if _, err := envelope.Calls(); !errors.Is(err, ErrMalformed) {
		t.Errorf("calls of looked-up accounts: err = %v, want %v", err, ErrMalformed)
	}
}

func TestReadLookupTable(t *testing.T) {
	good := func() Account {
		data := binary.LittleEndian.AppendUint32(nil, lookupKind)
		data = binary.LittleEndian.AppendUint64(data, math.MaxUint64)
		data = append(data, make([]byte, lookupHeader-len(data))...)
		for _, entry := range many(10, 3) {
			data = append(data, entry[:]...)
		}
		return Account{Address: address(50), Exists: true, Owner: LookupProgram, Data: data}
	}
	table, err := ReadLookupTable(good())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(LookupTable{Address: address(50), Addresses: many(10, 3)}, table); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
	cases := map[string]func(*Account){
		"nothing there":         func(a *Account) { a.Exists = false },
		"of another program":    func(a *Account) { a.Owner = SystemProgram },
		"too short":             func(a *Account) { a.Data = a.Data[:lookupHeader-1] },
		"with half an address":  func(a *Account) { a.Data = a.Data[:len(a.Data)-1] },
		"not initialized":       func(a *Account) { a.Data[0] = 0 },
		"being closed":          func(a *Account) { a.Data[deactivationAt] = 0 },
		"longer than its index": func(a *Account) { a.Data = append(a.Data, make([]byte, 256*keySize)...) },
	}
	for name, spoil := range cases {
		t.Run(name, func(t *testing.T) {
			account := good()
			spoil(&account)
			if _, err := ReadLookupTable(account); err == nil {
				t.Error("it was accepted")
			}
		})
	}
}
