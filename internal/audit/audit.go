// SPDX-License-Identifier: Apache-2.0

// Package audit derives every settlement, fee and burn again, from the chain and the terms of the leases, and says where a public
// record says something else. It believes no record and no status, and shares no code with the controllers that write them, except
// for what reads leases and the chain.
package audit

import (
	"context"
	"errors"
	"fmt"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

// Grace is how old something on the chain must be before its absence from the records is a fault: until then its record may be under way.
const Grace = 2 * time.Minute

// Chain is where finalized transactions are read.
type Chain = escrow.History

// Records are what is audited.
type Records struct {
	Leases      []boursev1.GPULease
	Settlements []boursev1.Settlement
	FeeBurns    []boursev1.FeeBurn
}

// Mismatch is the first record that does not say what it must.
//
//nolint:errname // a fact about the records, and an error only to whoever expected agreement
type Mismatch struct {
	Object   string // kind and name, as in "Settlement bourse-public/train-0001"
	Field    string // its path, as in "spec.burned"
	Expected string
	Found    string
}

// Error says it in one sentence.
func (m *Mismatch) Error() string {
	return fmt.Sprintf("%s: %s is %s, but must be %s", m.Object, m.Field, m.Found, m.Expected)
}

// LeaseLine is the money of one lease, as the chain tells it.
type LeaseLine struct {
	Name        string
	Token       money.Token
	Deposit     money.Amount // top-ups included
	Supplier    money.Amount
	Treasury    money.Amount
	Burned      money.Amount
	Refunded    money.Amount
	Settlements int // records that agree
	Waiting     int // movements that are too fresh to miss a record of
	Opened      bool
	Closed      bool
}

// BurnLine is what one token's fees of one epoch became.
type BurnLine struct {
	Name     string
	Token    money.Token
	Claims   int
	Burned   money.Amount
	Treasury money.Amount
	Bought   string // what a buy-back burned, for people; empty without one
}

// Report is what was found up to the first mismatch.
type Report struct {
	Leases []LeaseLine
	Burns  []BurnLine
}

// auditor is one audit under way.
type auditor struct {
	chain    Chain
	records  Records
	settled  time.Time // what is older than this must be on record
	bySource map[boursev1.ObjectReference][]*boursev1.Settlement
	moved    []moved
	report   Report
}

// moved is one movement of money and the token that it was in.
type moved struct {
	escrow.Movement

	mint  boursev1.SolanaAddress
	token money.Token
}

// Run audits the records as of a moment. What agreed is reported even when the error is a *Mismatch; any other error means that
// something could not be read, and says nothing about the records.
func Run(ctx context.Context, on Chain, records Records, asOf time.Time) (Report, error) {
	a := &auditor{chain: on, records: records, settled: asOf.Add(-Grace)}
	if err := a.index(); err != nil {
		return a.report, err
	}
	for i := range records.Leases {
		if err := a.lease(ctx, &records.Leases[i]); err != nil {
			return a.report, err
		}
	}
	return a.report, a.burns(ctx)
}

// index finds the settlements of each lease, and those of none.
func (a *auditor) index() error {
	a.bySource = map[boursev1.ObjectReference][]*boursev1.Settlement{}
	known := map[boursev1.ObjectReference]bool{}
	for i := range a.records.Leases {
		key := boursev1.ObjectReference{Namespace: a.records.Leases[i].Namespace, Name: a.records.Leases[i].Name}
		if known[key] {
			return &Mismatch{"GPULease " + key.Namespace + "/" + key.Name, "metadata.name", "unique", "there twice"}
		}
		known[key] = true
	}
	for i := range a.records.Settlements {
		settlement := &a.records.Settlements[i]
		source := settlement.Spec.Lease
		if !known[source] {
			return &Mismatch{named(settlement), "spec.lease", "a GPULease among the records", source.Namespace + "/" + source.Name}
		}
		a.bySource[source] = append(a.bySource[source], settlement)
	}
	return nil
}

// named is an object as a mismatch names it.
func named(of interface {
	GetNamespace() string
	GetName() string
},
) string {
	kind := "GPULease"
	switch of.(type) {
	case *boursev1.Settlement:
		kind = "Settlement"
	case *boursev1.FeeBurn:
		kind = "FeeBurn"
	}
	return kind + " " + of.GetNamespace() + "/" + of.GetName()
}

// mismatched turns an escrow that did not follow its terms into a mismatch of the lease; every other error stays one.
func mismatched(lease *boursev1.GPULease, err error) error {
	if errors.Is(err, escrow.ErrMismatch) {
		return &Mismatch{named(lease), "spec.escrow", "an escrow that moved as its terms say", "one that did not (" + err.Error() + ")"}
	}
	return fmt.Errorf("read escrow of %s/%s: %w", lease.Namespace, lease.Name, err)
}
