// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/meter"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/test/builders"
)

// funded is a bench whose deposit has landed, with the voucher made at the start.
func funded(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, nil)
	voucher := b.fund()
	voucher.CreationTimestamp = metav1.NewTime(builders.Start)
	b.hub.Edit(voucher)
	return b
}

// use meters the lease as an honest supplier does: workers ready since the start, records up to now.
func (b *bench) use(last *meter.Record) *meter.Record {
	b.t.Helper()
	terms, err := contract.Meter(b.lease)
	if err != nil {
		b.t.Fatal(err)
	}
	record, err := terms.Next(last, meter.Sighting{Ready: true, Since: builders.Start}, b.hub.Now())
	if err != nil || record == nil {
		b.t.Fatalf("no record: %v", err)
	}
	b.report(record, nil)
	return record
}

// report puts a record into the lease's status, after a change.
func (b *bench) report(record *meter.Record, change func(*boursev1.LeaseUsage)) {
	b.t.Helper()
	usage, err := contract.Report(record)
	if err != nil {
		b.t.Fatal(err)
	}
	if change != nil {
		change(usage)
	}
	b.hub.Read(b.lease)
	b.lease.Status.Usage = usage
	b.hub.EditStatus(b.lease)
}

func TestAPromiseAnswersAUsageRecord(t *testing.T) {
	b := funded(t)
	first := b.use(nil)
	voucher, _ := b.pass()
	if voucher.Spec.Sequence != 1 || *voucher.Spec.Gross != 0 {
		t.Fatalf("promise %+v, want one of nothing", voucher.Spec)
	}
	b.hub.Step(time.Minute)
	second := b.use(first)
	voucher, _ = b.pass()
	if voucher.Spec.Sequence != 2 || *voucher.Spec.Gross != 24_666_666 || voucher.Spec.UsageDigest != second.Digest.String() {
		t.Fatalf("promise %+v", voucher.Spec) // 8 GPUs × 60 s at 1.85 IO
	}
	checkSignature(t, b, voucher)
	b.quiet()
}

// checkSignature checks the voucher as the chain would.
func checkSignature(t *testing.T, b *bench, voucher *boursev1.Voucher) {
	t.Helper()
	signature, err := chain.ParseSignature(string(voucher.Spec.Signature))
	if err != nil {
		t.Fatal(err)
	}
	terms, err := contract.Escrow(b.lease)
	if err != nil {
		t.Fatal(err)
	}
	address, err := terms.Address()
	if err != nil {
		t.Fatal(err)
	}
	if err := escrow.VerifyVoucher(terms.Program, address, terms.Buyer, money.Amount(*voucher.Spec.Gross), signature); err != nil {
		t.Error(err)
	}
}

func TestNothingIsPromisedBeforeTheDepositHasLanded(t *testing.T) {
	b := newBench(t, nil)
	b.use(nil)
	if voucher, _ := b.pass(); voucher.Spec.Gross != nil {
		t.Error("a promise without a deposit")
	}
}

func TestAUsageRecordThatCannotBeTrueIsNotAnswered(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.LeaseUsage)
		want   string
	}{
		"more time than has passed": {func(u *boursev1.LeaseUsage) { *u.GPUMilliseconds++ }, "digest"},
		"another price":             {func(u *boursev1.LeaseUsage) { *u.Gross++ }, "digest"},
		"another digest":            {func(u *boursev1.LeaseUsage) { u.Digest = builders.Hash("x") }, "digest"},
		"a gap and more time": {func(u *boursev1.LeaseUsage) {
			u.Sequence, *u.GPUMilliseconds, *u.Gross = 9, 961_000, 49_384_722
		}, "GPU-ms"},
		"a gap and another price": {func(u *boursev1.LeaseUsage) { u.Sequence, *u.Gross = 9, 24_666_667 }, "costs"},
		"a gap and the future": {func(u *boursev1.LeaseUsage) {
			u.Sequence, u.Through = 9, metav1.NewTime(builders.Start.Add(time.Hour))
		}, "future"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := funded(t)
			first := b.use(nil)
			b.pass()
			b.hub.Step(time.Minute)
			record := b.use(first)
			b.report(record, tc.change)
			voucher, _ := b.pass()
			if voucher.Spec.Sequence != 1 || *voucher.Spec.Gross != 0 {
				t.Fatalf("it was answered: %+v", voucher.Spec)
			}
			if !strings.Contains(voucher.Spec.Refusal, tc.want) {
				t.Errorf("refusal %q, want one that says %q", voucher.Spec.Refusal, tc.want)
			}
			b.quiet()
			b.report(record, nil)
			if voucher, _ = b.pass(); voucher.Spec.Sequence != 2 || voucher.Spec.Refusal != "" {
				t.Errorf("the true record is not answered: %+v", voucher.Spec)
			}
		})
	}
}

func TestAPromiseNeverExceedsTheDeposit(t *testing.T) {
	b := funded(t)
	record := b.use(nil)
	b.pass()
	b.hub.Step(100 * time.Hour) // the meter itself stops at the term
	b.use(record)
	voucher, _ := b.pass()
	terms, err := contract.Escrow(b.lease)
	if err != nil {
		t.Fatal(err)
	}
	split, err := terms.Fees.Split(money.Amount(*voucher.Spec.Gross))
	if err != nil || split.Debit > terms.Deposit || voucher.Spec.Sequence != 2 {
		t.Errorf("promise %d costs %d of %d (%v)", *voucher.Spec.Gross, split.Debit, terms.Deposit, err)
	}
}

func TestAnAbandonedEscrowIsTakenBack(t *testing.T) {
	b := funded(t)
	_, result := b.pass()
	if want := b.lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(b.hub.Now()); result.RequeueAfter != want {
		t.Errorf("next pass in %s, want %s", result.RequeueAfter, want)
	}
	b.hub.Step(result.RequeueAfter)
	voucher, _ := b.pass()
	if voucher.Spec.Refund == nil || voucher.Spec.Refund.State != boursev1.TransactionSigned {
		t.Fatalf("the refund is not journalled: %+v", voucher.Spec)
	}
	if succeeded, _ := b.transactions(); succeeded != 1 {
		t.Fatal("the refund was sent in the pass that journals it")
	}
	for range 10 {
		b.chain.Tick(1)
		voucher, _ = b.pass()
	}
	if voucher.Spec.Refund.State != boursev1.TransactionLanded {
		t.Errorf("refund %+v, want one that landed", voucher.Spec.Refund)
	}
	b.quiet()
	if succeeded, failed := b.transactions(); succeeded != 2 || failed != 0 {
		t.Errorf("%d transactions succeeded and %d failed, want 2 and none", succeeded, failed)
	}
}

// account is the escrow's lease account.
func (b *bench) account() chain.Account {
	b.t.Helper()
	terms, err := contract.Escrow(b.lease)
	if err != nil {
		b.t.Fatal(err)
	}
	address, err := terms.Address()
	if err != nil {
		b.t.Fatal(err)
	}
	account, err := b.chain.Account(b.t.Context(), address, chain.Processed)
	if err != nil {
		b.t.Fatal(err)
	}
	return account
}

func TestAClosedEscrowIsLeftAlone(t *testing.T) {
	b := funded(t)
	b.closeEscrow() // by the supplier, whose status never says so
	b.hub.Step(b.lease.Spec.Escrow.Deadline.Sub(b.hub.Now()) + afterDeadline)
	b.quiet()
}
