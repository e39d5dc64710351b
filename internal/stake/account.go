// SPDX-License-Identifier: Apache-2.0

package stake

import (
	"encoding/binary"
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// Sizes and markers of the accounts.
const (
	poolSize     = 288
	positionSize = 104
	rewardsSize  = 136
	receiptSize  = 88
	layout       = 2

	markPool     = "bourse2\x20"
	markPosition = "bourse2\x21"
	markRewards  = "bourse2\x30"
	markReceipt  = "bourse2\x31"
)

// States of a pool's slash.
const (
	slashNone     = 0
	slashProposed = 1
	slashAppealed = 2
)

func refuse(reason escrow.Reason, format string, values ...any) error {
	return &escrow.Refusal{Reason: reason, Detail: fmt.Sprintf(format, values...)}
}

// fields reads fixed-size fields one after another. Whoever makes one has checked the length.
type fields struct{ rest []byte }

func (f *fields) take(n int) []byte {
	taken := f.rest[:n]
	f.rest = f.rest[n:]
	return taken
}

func (f *fields) key() chain.Address   { return chain.Address(f.take(32)) }
func (f *fields) byte() uint8          { return f.take(1)[0] }
func (f *fields) uint32() uint32       { return binary.LittleEndian.Uint32(f.take(4)) }
func (f *fields) uint64() uint64       { return binary.LittleEndian.Uint64(f.take(8)) }
func (f *fields) amount() money.Amount { return money.Amount(f.uint64()) }

// when reads seconds; zero is no time at all.
func (f *fields) when() time.Time {
	seconds := int64(f.uint64()) //nolint:gosec // the layout's signed seconds
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0).UTC()
}

// zero says whether the rest is zero.
func (f *fields) zero() bool {
	for _, b := range f.rest {
		if b != 0 {
			return false
		}
	}
	return true
}

// open checks that an account is one of the program's, of a kind that its size and marker tell, at the address where it must be.
func open(what string, program chain.Address, at place, account chain.Account, size int, mark string) (fields, error) {
	switch {
	case account.Address != at.address:
		return fields{}, refuse(escrow.WrongAddress, "%s %s instead of %s", what, account.Address, at.address)
	case !account.Exists || account.Owner == chain.SystemProgram && len(account.Data) == 0:
		return fields{}, refuse(escrow.Absent, "no %s at %s", what, at.address)
	case account.Owner != program:
		return fields{}, refuse(escrow.WrongOwner, "%s %s belongs to %s instead of %s", what, at.address, account.Owner, program)
	case len(account.Data) != size:
		return fields{}, refuse(escrow.WrongLayout, "%s %s has %d bytes", what, at.address, len(account.Data))
	}
	in := fields{account.Data}
	if found := string(in.take(len(mark))); found != mark {
		return fields{}, refuse(escrow.WrongLayout, "%s %s has the marker %x", what, at.address, found)
	}
	return in, nil
}

// belongs refuses a record that names another address than the one it stands for.
func belongs(what, field string, found, want chain.Address) error {
	if found != want {
		return refuse(escrow.WrongTerms, "the %s of the %s is %s instead of %s", field, what, found, want)
	}
	return nil
}

// vaultBalance returns what a vault holds, or refuses one that is not its owner's alone.
func vaultBalance(vault chain.Account, at place, mint, owner chain.Address) (money.Amount, error) {
	const size = 165
	switch {
	case vault.Address != at.address:
		return 0, refuse(escrow.WrongAddress, "vault %s instead of %s", vault.Address, at.address)
	case !vault.Exists || vault.Owner == chain.SystemProgram && len(vault.Data) == 0:
		return 0, refuse(escrow.Absent, "no vault at %s", vault.Address)
	case vault.Owner != chain.TokenProgram || len(vault.Data) != size:
		return 0, refuse(escrow.WrongVault, "%s is no token account", vault.Address)
	}
	return usable(vault, mint, owner)
}

// usable reads a token account, or refuses one that another wallet or the mint's issuer has a hand in.
func usable(vault chain.Account, mint, owner chain.Address) (money.Amount, error) {
	const (
		accountFrozen   = 2
		accountOrdinary = 1
	)
	in := fields{vault.Data}
	foundMint, foundOwner, amount, delegate := in.key(), in.key(), in.amount(), in.uint32()
	in.key() // the delegate
	state := in.byte()
	in.take(20) // wrapped lamports, and what the delegate may take
	closer := in.uint32()
	switch {
	case foundMint != mint || foundOwner != owner:
		return 0, refuse(escrow.WrongVault, "vault %s holds mint %s for %s", vault.Address, foundMint, foundOwner)
	case delegate != 0 || closer != 0:
		return 0, refuse(escrow.WrongVault, "vault %s can be used by a delegate", vault.Address)
	case state == accountFrozen:
		return 0, refuse(escrow.Frozen, "vault %s is frozen by the issuer of %s", vault.Address, mint)
	case state != accountOrdinary:
		return 0, refuse(escrow.WrongVault, "vault %s is in state %d", vault.Address, state)
	}
	return amount, nil
}
