// SPDX-License-Identifier: Apache-2.0

package chain

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/gagliardetto/solana-go"
)

// LookupProgram owns the address lookup tables.
//
//nolint:gochecknoglobals // an address fixed by the chain: it is read, never written
var LookupProgram = solana.MustPublicKeyFromBase58("AddressLookupTab1e1111111111111111111111111")

// The layout of a lookup table's account: what it is, when it was deactivated, its bookkeeping, and its addresses.
const (
	lookupKind     = 1
	lookupHeader   = 56
	deactivationAt = 4
	versionZero    = 0x80
)

// LookupTable is a list of addresses on the chain. A version 0 message names accounts by their places in it, a byte each. An entry
// never changes once it is there.
type LookupTable struct {
	Address   Address
	Addresses []Address
}

// ReadLookupTable reads a lookup table's account. One that is being closed is refused. Its newest entries can be used from the slot after
// they were added, so it must be read at a commitment that is behind the tip.
func ReadLookupTable(account Account) (LookupTable, error) {
	data := account.Data
	switch {
	case !account.Exists || account.Owner != LookupProgram:
		return LookupTable{}, fmt.Errorf("read lookup table: %s is none", account.Address)
	case len(data) < lookupHeader || (len(data)-lookupHeader)%keySize != 0 || binary.LittleEndian.Uint32(data) != lookupKind:
		return LookupTable{}, fmt.Errorf("read lookup table %s: %w", account.Address, ErrMalformed)
	case binary.LittleEndian.Uint64(data[deactivationAt:]) != math.MaxUint64:
		return LookupTable{}, fmt.Errorf("read lookup table: %s is being closed", account.Address)
	}
	table := LookupTable{Address: account.Address}
	for entry := range slices.Chunk(data[lookupHeader:], keySize) {
		table.Addresses = append(table.Addresses, Address(entry))
	}
	if len(table.Addresses) > maxKeys {
		return LookupTable{}, fmt.Errorf("read lookup table %s: %w: %d addresses", account.Address, ErrMalformed, len(table.Addresses))
	}
	return table, nil
}

// CompileVersioned lays out a version 0 message, always to the same bytes for the same input. An account that is neither a signer nor a
// program is looked up in the first of the tables that has it; the others are ordered as CompileMessage orders them.
func CompileVersioned(payer Address, instructions []Instruction, blockhash Hash, tables ...LookupTable) ([]byte, error) {
	all := collect(payer, instructions)
	if len(all.metas) > maxKeys {
		return nil, fmt.Errorf("compile message: %w: %d accounts", ErrTooBig, len(all.metas))
	}
	static, lookups := all.lookUp(instructions, tables)
	header, keys := static.order()
	body := appendKeys(append([]byte{versionZero}, header...), keys, blockhash)
	metas, err := message{keys: keys, lookups: lookups}.metas(tables)
	if err != nil {
		return nil, fmt.Errorf("compile message: %w", err)
	}
	for _, meta := range metas[len(keys):] {
		keys = append(keys, meta.Address)
	}
	body = appendLength(appendInstructions(body, keys, instructions), len(lookups))
	for _, one := range lookups {
		body = append(body, one.table[:]...)
		body = append(appendLength(body, len(one.writable)), one.writable...)
		body = append(appendLength(body, len(one.readable)), one.readable...)
	}
	if len(body) > MaxTransactionSize {
		return nil, fmt.Errorf("compile message: %w: %d bytes", ErrTooBig, len(body))
	}
	return body, nil
}

// lookUp divides the accounts into those that the message must spell out and those that the tables have.
func (t *keyTable) lookUp(instructions []Instruction, tables []LookupTable) (static keyTable, lookups []lookup) {
	programs := map[Address]bool{}
	for _, instruction := range instructions {
		programs[instruction.Program] = true
	}
	static.place = map[Address]int{}
	found := make([]lookup, len(tables))
	for _, meta := range t.metas {
		table, place := -1, -1
		if !meta.Signer && !programs[meta.Address] {
			table, place = placeIn(tables, meta.Address)
		}
		switch {
		case table < 0:
			static.add(meta)
		case meta.Writable:
			found[table].writable = append(found[table].writable, byte(place)) //nolint:gosec // placeIn finds one of 256
		default:
			found[table].readable = append(found[table].readable, byte(place)) //nolint:gosec // placeIn finds one of 256
		}
	}
	for i, one := range found {
		if len(one.writable)+len(one.readable) > 0 {
			one.table = tables[i].Address
			lookups = append(lookups, one)
		}
	}
	return static, lookups
}

// placeIn finds the first table that has the address among its first 256, and where; -1 when none has it.
func placeIn(tables []LookupTable, address Address) (table, place int) {
	for i, one := range tables {
		if place := slices.Index(one.Addresses[:min(len(one.Addresses), maxKeys)], address); place >= 0 {
			return i, place
		}
	}
	return -1, -1
}

// spelled returns one of the message's own accounts and what it may do.
func (m message) spelled(i int) Meta {
	signer := i < m.signers
	return Meta{Address: m.keys[i], Signer: signer, Writable: i < m.signers-m.readOnlySigners || !signer && i < len(m.keys)-m.readOnly}
}

// metas returns every account of the message and what it may do, in the order of their indexes: the message's own, then the writable
// ones of all tables, then the read-only ones.
func (m message) metas(tables []LookupTable) ([]Meta, error) {
	var metas []Meta
	for i := range m.keys {
		metas = append(metas, m.spelled(i))
	}
	for _, writable := range []bool{true, false} {
		for _, one := range m.lookups {
			at := slices.IndexFunc(tables, func(table LookupTable) bool { return table.Address == one.table })
			if at < 0 {
				return nil, fmt.Errorf("%w: lookup table %s is missing", ErrMalformed, one.table)
			}
			places := one.readable
			if writable {
				places = one.writable
			}
			for _, place := range places {
				if int(place) >= len(tables[at].Addresses) {
					return nil, fmt.Errorf("%w: lookup table %s has no entry %d", ErrMalformed, one.table, place)
				}
				metas = append(metas, Meta{Address: tables[at].Addresses[place], Writable: writable})
			}
		}
	}
	return metas, nil
}
