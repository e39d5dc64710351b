// SPDX-License-Identifier: Apache-2.0

// Package escrow knows the on-chain lease program: it builds its instructions, signs and checks its vouchers, verifies what an escrow
// and a mint really are, and reads from finalized transactions what was paid. It never trusts a field that it can recompute.
// It sends nothing and knows nothing of Kubernetes.
package escrow

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/money"
)

// Error codes of the program.
const (
	CodeArgument uint32 = 100 + iota // accounts or data of the wrong form
	CodeSigner                       // a signature is missing
	CodeOwner                        // an account of the wrong program
	CodePDA                          // an address that is not the derived one
	CodeState                        // the lease is not in this state: not open, closed, or there already
	CodeAmount                       // not above what is paid, or above the deposit
	CodeTime                         // too late to open, too early to close
	CodeVoucher                      // no valid voucher in the instruction before
	CodeParty                        // a token account of somebody else
	CodeMint                         // not the lease's mint
	CodeCap                          // beyond a cap of the market's configuration or of the lease
	CodeProof                        // a proof that does not lead to the posted root
	CodeDispute                      // no arbitration, no open dispute, or there was one already
	CodeHeld                         // an open dispute holds the deposit for now
)

// ErrTerms says that terms could not be an escrow at all.
var ErrTerms = errors.New("invalid escrow terms")

// Bounds that the program sets to arbitration.
const (
	maxArbiterCapBps = 5_000
	maxDisputeDelay  = 30 * 24 * time.Hour
)

// Terms is what both sides agreed on and the chain must confirm: what the escrow is opened with. Together with the program's address
// they determine every other address and byte. Later the buyer may add to the deposit and put off the deadline, and nothing else.
type Terms struct {
	Program       chain.Address
	Config        chain.Address // the market's configuration on chain, which bounds the fees and names treasury and arbiter
	Buyer         chain.Address
	Supplier      chain.Address
	Treasury      chain.Address
	Arbiter       chain.Address // zero without arbitration
	Mint          chain.Address
	ID            [32]byte
	Deposit       money.Amount
	Deadline      time.Time // whole seconds; afterwards anybody may close the escrow
	Fees          money.Fees
	ArbiterCapBps uint16        // what an award may take of the deposit beyond vouchers, in basis points; 0: no arbitration
	DisputeDelay  time.Duration // whole seconds between a dispute and its award; 0 without arbitration
	Decimals      uint8
}

// LeaseID names a lease for ever: the hub that made it, and the lease's namespace, name and UID there. Each part is hashed with its
// length, so no two leases can be confused.
func LeaseID(hub, namespace, name, uid string) [32]byte {
	hash := sha256.New()
	for _, part := range []string{"bourse lease", hub, namespace, name, uid} {
		var length [8]byte
		binary.LittleEndian.PutUint64(length[:], uint64(len(part)))
		hash.Write(length[:])
		hash.Write([]byte(part))
	}
	return [32]byte(hash.Sum(nil))
}

// places are the addresses that follow from the terms.
type places struct {
	lease, vault         chain.Address
	leaseBump, vaultBump uint8
}

func (t Terms) places() (places, error) {
	lease, leaseBump, err := chain.Derive(t.Program, []byte("lease"), t.Buyer[:], t.ID[:])
	if err != nil {
		return places{}, fmt.Errorf("derive lease: %w", err)
	}
	vault, vaultBump, err := chain.Derive(t.Program, []byte("vault"), lease[:])
	if err != nil {
		return places{}, fmt.Errorf("derive vault: %w", err)
	}
	return places{lease: lease, vault: vault, leaseBump: leaseBump, vaultBump: vaultBump}, nil
}

// Address returns where the lease account is.
func (t Terms) Address() (chain.Address, error) {
	at, err := t.places()
	return at.lease, err
}

// Vault returns where the deposit is kept.
func (t Terms) Vault() (chain.Address, error) {
	at, err := t.places()
	return at.vault, err
}

// Validate says whether the program could accept the terms, apart from the clock.
func (t Terms) Validate() error {
	for _, party := range []struct {
		name    string
		address chain.Address
	}{
		{"program", t.Program},
		{"config", t.Config},
		{"buyer", t.Buyer},
		{"supplier", t.Supplier},
		{"treasury", t.Treasury},
		{"mint", t.Mint},
	} {
		if party.address.IsZero() {
			return fmt.Errorf("%w: %s is missing", ErrTerms, party.name)
		}
	}
	if t.Deposit == 0 {
		return fmt.Errorf("%w: deposit is zero", ErrTerms)
	}
	if t.Deadline.Unix() <= 0 {
		return fmt.Errorf("%w: deadline is missing", ErrTerms)
	}
	if err := t.Fees.Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrTerms, err)
	}
	return t.validateArbitration()
}

// validateArbitration refuses an arbiter without bounds, and one that is a party to the lease.
func (t Terms) validateArbitration() error {
	switch {
	case t.ArbiterCapBps == 0 && (!t.Arbiter.IsZero() || t.DisputeDelay != 0):
		return fmt.Errorf("%w: an arbiter without a cap", ErrTerms)
	case t.ArbiterCapBps == 0:
		return nil
	case t.ArbiterCapBps > maxArbiterCapBps:
		return fmt.Errorf("%w: arbiter's cap of %d bps exceeds %d", ErrTerms, t.ArbiterCapBps, maxArbiterCapBps)
	case t.Arbiter.IsZero():
		return fmt.Errorf("%w: arbiter is missing", ErrTerms)
	case t.Arbiter == t.Buyer || t.Arbiter == t.Supplier:
		return fmt.Errorf("%w: the arbiter is a party to the lease", ErrTerms)
	case t.DisputeDelay < time.Second || t.DisputeDelay > maxDisputeDelay || t.DisputeDelay%time.Second != 0:
		return fmt.Errorf("%w: a dispute's delay of %s is not 1 s to 30 days", ErrTerms, t.DisputeDelay)
	}
	return nil
}
