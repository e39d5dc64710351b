// SPDX-License-Identifier: Apache-2.0

package escrow

import (
	"encoding/binary"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Sizes and markers of the accounts.
const (
	leaseSize  = 256
	mintSize   = 82
	layout     = 2
	markOpen   = "bourse2\x01"
	markClosed = "bourse2\x02"

	tokensInitialized = 1
	tokensFrozen      = 2
)

// record is a lease account as the program writes it.
type record struct {
	closed                                   bool
	buyer, supplier, arbiter, treasury, mint chain.Address
	id                                       [32]byte
	deposit, paid                            money.Amount
	deadline                                 int64
	fees                                     money.Fees
	decimals, bump, vaultBump                uint8
	arbiterCap                               uint16
	disputeDelay                             time.Duration
	disputedAt                               int64        // zero if there never was a dispute
	disputed                                 money.Amount // zero if no dispute is open
}

// fields reads fixed-size fields one after another. Whoever makes one has checked the length.
type fields struct{ rest []byte }

func (f *fields) take(n int) []byte {
	taken := f.rest[:n]
	f.rest = f.rest[n:]
	return taken
}

func (f *fields) key() chain.Address     { return chain.Address(f.take(32)) }
func (f *fields) byte() uint8            { return f.take(1)[0] }
func (f *fields) uint16() uint16         { return binary.LittleEndian.Uint16(f.take(2)) }
func (f *fields) uint32() uint32         { return binary.LittleEndian.Uint32(f.take(4)) }
func (f *fields) uint64() uint64         { return binary.LittleEndian.Uint64(f.take(8)) }
func (f *fields) int64() int64           { return int64(f.uint64()) } //nolint:gosec // the layouts' signed seconds
func (f *fields) seconds() time.Duration { return time.Duration(f.uint32()) * time.Second }
func (f *fields) amount() money.Amount   { return money.Amount(f.uint64()) }

// readLease reads a lease account, open or closed.
func readLease(program chain.Address, account chain.Account) (record, error) {
	switch {
	case !account.Exists || account.Owner == chain.SystemProgram && len(account.Data) == 0:
		return record{}, refuse(Absent, "no lease at %s", account.Address)
	case account.Owner != program:
		return record{}, refuse(WrongOwner, "%s belongs to %s instead of %s", account.Address, account.Owner, program)
	case len(account.Data) != leaseSize:
		return record{}, refuse(WrongLayout, "lease %s has %d bytes", account.Address, len(account.Data))
	}
	in := fields{account.Data}
	mark := string(in.take(len(markOpen)))
	if mark != markOpen && mark != markClosed {
		return record{}, refuse(WrongLayout, "lease %s has the marker %x", account.Address, mark)
	}
	found := record{closed: mark == markClosed}
	found.buyer, found.supplier, found.arbiter = in.key(), in.key(), in.key()
	found.treasury, found.mint, found.id = in.key(), in.key(), in.key()
	found.deposit, found.paid = in.amount(), in.amount()
	found.deadline = in.int64()
	found.fees = money.Fees{BuyerBps: in.uint16(), SupplierBps: in.uint16(), BurnBps: in.uint16()}
	found.decimals, found.bump, found.vaultBump = in.byte(), in.byte(), in.byte()
	if version := in.byte(); version != layout {
		return record{}, refuse(WrongLayout, "lease %s has layout %d", account.Address, version)
	}
	found.arbiterCap, found.disputeDelay = in.uint16(), in.seconds()
	found.disputedAt, found.disputed = in.int64(), in.amount()
	return found, nil
}

// tokens is an account of the classic Token program.
type tokens struct {
	mint, owner                       chain.Address
	amount                            money.Amount
	delegated, closeAuthority, frozen bool
}

func readTokens(account chain.Account) (tokens, error) {
	switch {
	case !account.Exists || account.Owner == chain.SystemProgram && len(account.Data) == 0:
		return tokens{}, refuse(Absent, "no token account at %s", account.Address)
	case account.Owner != chain.TokenProgram:
		return tokens{}, refuse(WrongOwner, "%s belongs to %s instead of the Token program", account.Address, account.Owner)
	case len(account.Data) != chain.TokenAccountSize:
		return tokens{}, refuse(WrongLayout, "token account %s has %d bytes", account.Address, len(account.Data))
	}
	in := fields{account.Data}
	found := tokens{mint: in.key(), owner: in.key(), amount: in.amount()}
	found.delegated = in.uint32() != 0
	in.key() // the delegate
	state := in.byte()
	in.take(12) // wrapped lamports: an option and a number
	in.uint64() // what the delegate may take
	found.closeAuthority = in.uint32() != 0
	found.frozen = state == tokensFrozen
	if state != tokensInitialized && state != tokensFrozen {
		return tokens{}, refuse(WrongLayout, "token account %s is in state %d", account.Address, state)
	}
	return found, nil
}

// mint is a mint of the classic Token program.
type mint struct {
	supply    money.Amount
	decimals  uint8
	freezable bool
}

func readMint(account chain.Account) (mint, error) {
	switch {
	case !account.Exists:
		return mint{}, refuse(Absent, "no mint at %s", account.Address)
	case account.Owner == chain.Token2022Program:
		return mint{}, refuse(UnsafeExtension, "mint %s is of Token-2022", account.Address)
	case account.Owner != chain.TokenProgram:
		return mint{}, refuse(WrongOwner, "mint %s belongs to %s", account.Address, account.Owner)
	case len(account.Data) != mintSize:
		return mint{}, refuse(WrongLayout, "mint %s has %d bytes", account.Address, len(account.Data))
	}
	in := fields{account.Data}
	in.take(36) // who may mint: an option and a key
	found := mint{supply: in.amount(), decimals: in.byte()}
	if in.byte() != 1 {
		return mint{}, refuse(Uninitialized, "mint %s was never initialized", account.Address)
	}
	found.freezable = in.uint32() != 0
	return found, nil
}
