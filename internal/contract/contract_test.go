// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/meter"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/test/builders"
)

func TestALeaseIsReadAsItsTerms(t *testing.T) {
	_, lease := builders.Leased(t, "train")
	got, err := contract.Escrow(lease)
	if err != nil {
		t.Fatal(err)
	}
	id, err := contract.LeaseID(lease)
	if err != nil {
		t.Fatal(err)
	}
	config, err := contract.Config(builders.Market())
	if err != nil {
		t.Fatal(err)
	}
	want := escrow.Terms{
		Config: config, Arbiter: builders.Wallet("arbiter").PublicKey(), ArbiterCapBps: 2_000, DisputeDelay: 30 * time.Minute,
		Program: builders.Wallet("program").PublicKey(), Buyer: builders.Wallet(builders.Buyer).PublicKey(),
		Supplier: builders.Wallet(builders.Supplier).PublicKey(), Treasury: builders.Wallet("treasury").PublicKey(),
		Mint: builders.Wallet("mint of IO").PublicKey(), ID: id, Deposit: 1_483_700_000, Deadline: builders.Start.Add(130 * time.Minute),
		Fees: money.Fees{BuyerBps: 25, SupplierBps: 25, BurnBps: 10_000}, Decimals: 8,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("escrow terms (-want +got):\n%s", diff)
	}
	metered, err := contract.Meter(lease)
	if err != nil {
		t.Fatal(err)
	}
	wantMeter := meter.Terms{
		Lease: id, GPUs: 8, Price: 185_000_000, Deposit: 1_483_700_000, Fees: want.Fees, Term: time.Hour, Period: time.Minute,
	}
	if diff := cmp.Diff(wantMeter, metered); diff != "" {
		t.Errorf("meter terms (-want +got):\n%s", diff)
	}
}

func TestALeaseThatCannotBeReadIsRefused(t *testing.T) {
	cases := map[string]func(*boursev1.GPULeaseSpec){
		"a wallet that is no address":    func(s *boursev1.GPULeaseSpec) { s.Buyer = "nobody" },
		"a mint that is no address":      func(s *boursev1.GPULeaseSpec) { s.Payment.Mint = "" },
		"an id that is too short":        func(s *boursev1.GPULeaseSpec) { s.Escrow.ID = "00ff" },
		"an id that is not hexadecimal":  func(s *boursev1.GPULeaseSpec) { s.Escrow.ID = "z" + s.Escrow.ID[1:] },
		"a negative deposit":             func(s *boursev1.GPULeaseSpec) { s.Payment.Deposit = -1 },
		"a missing fee":                  func(s *boursev1.GPULeaseSpec) { s.Payment.BurnBps = nil },
		"a fee that the program refuses": func(s *boursev1.GPULeaseSpec) { *s.Payment.BuyerFeeBps = 1001 },
		"a fee beyond its type":          func(s *boursev1.GPULeaseSpec) { *s.Payment.BuyerFeeBps = 1 << 16 },
		"a negative fee":                 func(s *boursev1.GPULeaseSpec) { *s.Payment.SupplierFeeBps = -1 },
		"a configuration that is no one": func(s *boursev1.GPULeaseSpec) { s.Payment.Config = "" },
		"an arbiter that is no address":  func(s *boursev1.GPULeaseSpec) { s.Payment.Arbiter = "nobody" },
		"an arbiter without a cap":       func(s *boursev1.GPULeaseSpec) { s.Payment.ArbiterCapBps = 0 },
		"an arbiter without a delay":     func(s *boursev1.GPULeaseSpec) { s.Payment.DisputeDelaySeconds = 0 },
		"a cap without an arbiter":       func(s *boursev1.GPULeaseSpec) { s.Payment.Arbiter = "" },
		"a cap beyond its type":          func(s *boursev1.GPULeaseSpec) { s.Payment.ArbiterCapBps = 1 << 16 },
		"missing decimals":               func(s *boursev1.GPULeaseSpec) { s.Payment.Decimals = nil },
		"decimals beyond their type":     func(s *boursev1.GPULeaseSpec) { *s.Payment.Decimals = 256 },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			_, lease := builders.Leased(t, "train")
			change(&lease.Spec)
			if _, err := contract.Escrow(lease); !errors.Is(err, contract.ErrUnreadable) {
				t.Errorf("err = %v, want %v", err, contract.ErrUnreadable)
			}
		})
	}
	_, lease := builders.Leased(t, "train")
	lease.Spec.Payment.Arbiter, lease.Spec.Payment.ArbiterCapBps, lease.Spec.Payment.DisputeDelaySeconds = "", 0, 0
	if terms, err := contract.Escrow(lease); err != nil || !terms.Arbiter.IsZero() || terms.ArbiterCapBps != 0 {
		t.Errorf("a lease without arbitration: %+v, %v", terms, err)
	}
	lease.Spec.Workers = 0
	if _, err := contract.Meter(lease); !errors.Is(err, contract.ErrUnreadable) {
		t.Errorf("a lease without GPUs: err = %v, want %v", err, contract.ErrUnreadable)
	}
}

func TestAUsageRecordSurvivesTheAPI(t *testing.T) {
	want := &meter.Record{
		Sequence: 3, GPUMilliseconds: 480_000, Gross: 24_666_666, ReadySince: builders.Start,
		Through: builders.Start.Add(time.Minute), Digest: meter.Digest{1, 2, 3},
	}
	for _, final := range []bool{false, true} {
		want.Final = final
		if final {
			want.ReadySince = time.Time{}
		}
		usage, err := contract.Report(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := contract.Usage(usage)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("record (-want +got):\n%s", diff)
		}
	}
	if _, err := contract.Report(&meter.Record{Gross: math.MaxUint64}); !errors.Is(err, money.ErrOverflow) {
		t.Errorf("an amount that the API cannot hold: err = %v", err)
	}
	if record, err := contract.Usage(nil); record != nil || err != nil {
		t.Errorf("no record is read as %+v, %v", record, err)
	}
	broken := &boursev1.LeaseUsage{Sequence: 1, Through: metav1.NewTime(builders.Start), Digest: "00"}
	if _, err := contract.Usage(broken); !errors.Is(err, contract.ErrUnreadable) {
		t.Errorf("a record without amounts: err = %v", err)
	}
}

func TestATransactionSurvivesTheAPI(t *testing.T) {
	want := outbox.Record{Purpose: "Open", Signature: "sig", Raw: "AAAA", LastValidBlockHeight: 7, Slot: 5, Attempt: 2}
	tx, err := contract.Journal(want)
	if err != nil {
		t.Fatal(err)
	}
	if tx.State != boursev1.TransactionSigned {
		t.Errorf("state %s, want Signed", tx.State)
	}
	got, err := contract.Journalled(tx)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("record (-want +got):\n%s", diff)
	}
	if _, err := contract.Journal(outbox.Record{Slot: math.MaxUint64}); !errors.Is(err, money.ErrOverflow) {
		t.Errorf("a slot that the API cannot hold: err = %v", err)
	}
	tx.Slot = nil
	if _, err := contract.Journalled(tx); !errors.Is(err, outbox.ErrRecord) {
		t.Errorf("a journal without its slot: err = %v", err)
	}
}
