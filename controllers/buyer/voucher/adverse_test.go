// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

// settled makes the supplier say that the escrow is closed.
func (b *bench) settled() {
	b.t.Helper()
	b.hub.Read(b.lease)
	b.lease.Status.Conditions = append(b.lease.Status.Conditions,
		builders.Condition(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed))
	b.hub.EditStatus(b.lease)
}

// TestTheSuppliersWordClosesNoEscrow lets a supplier say that it closed an escrow which is open.
func TestTheSuppliersWordClosesNoEscrow(t *testing.T) {
	b := funded(t)
	b.settled()
	_, result := b.pass()
	if want := b.lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(b.hub.Now()); result.RequeueAfter != want {
		t.Fatalf("next pass in %s, want %s", result.RequeueAfter, want)
	}
	b.hub.Step(result.RequeueAfter)
	if voucher, _ := b.pass(); voucher.Spec.Refund == nil {
		t.Error("the escrow is open, and the buyer believes that it is closed")
	}
}

// TestAnEscrowThatTheSupplierClosedIsDone looks at the chain once, and does not wait for the deadline.
func TestAnEscrowThatTheSupplierClosedIsDone(t *testing.T) {
	b := funded(t)
	b.closeEscrow()
	b.settled()
	b.quiet()
	if _, result := b.pass(); !result.IsZero() {
		t.Errorf("next pass %+v, want none", result)
	}
}

// TestAClockThatIsBehindDelaysAPromise has a record from a supplier whose clock is ahead. The refusal is told once, however the time
// goes on, and is taken back without another record.
func TestAClockThatIsBehindDelaysAPromise(t *testing.T) {
	b := funded(t)
	first := b.use(nil)
	b.pass()
	b.hub.Step(3 * time.Minute)
	b.use(first)
	b.hub.Step(-2 * time.Minute)
	voucher, result := b.pass()
	if voucher.Spec.Sequence != 1 || voucher.Spec.Refusal == "" || result.RequeueAfter != time.Minute {
		t.Fatalf("voucher %+v, result %+v", voucher.Spec, result)
	}
	b.hub.Step(30 * time.Second)
	b.quiet()
	b.hub.Step(2 * time.Minute)
	if voucher, _ = b.pass(); voucher.Spec.Sequence != 2 || voucher.Spec.Refusal != "" {
		t.Errorf("the record is true by now, and not answered: %+v", voucher.Spec)
	}
}

// TestARecordFromTheFarFutureKeepsNoDeposit has a supplier that reports what cannot be, and leaves the escrow open.
func TestARecordFromTheFarFutureKeepsNoDeposit(t *testing.T) {
	b := funded(t)
	record := b.use(nil)
	b.report(record, func(u *boursev1.LeaseUsage) {
		u.Sequence, u.Through = 2, metav1.NewTime(builders.Start.Add(1000*time.Hour))
	})
	b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(b.hub.Now()))
	if voucher, _ := b.pass(); voucher.Spec.Refund == nil {
		t.Errorf("nothing is taken back: %+v", voucher.Spec)
	}
}

// closeEscrow closes the lease's escrow on chain, finally.
func (b *bench) closeEscrow() {
	b.t.Helper()
	account := b.account()
	copy(account.Data, "bourse2\x02")
	b.chain.Set(account)
	b.chain.Tick(finalLag + 1)
}

// TestARefundThatFailedOftenIsTriedAgain has an escrow that nobody else closes, after an outage in which no refund landed.
func TestARefundThatFailedOftenIsTriedAgain(t *testing.T) {
	b := funded(t)
	b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(b.hub.Now()))
	voucher, _ := b.pass()
	for attempt := int32(mostRefunds); attempt < mostRefunds+2; attempt++ {
		voucher.Spec.Refund.State, voucher.Spec.Refund.Attempt, voucher.Spec.Refund.Raw = boursev1.TransactionFailed, attempt, ""
		b.hub.Edit(voucher)
		b.quiet()
		_, result := b.pass()
		if result.RequeueAfter <= 0 || result.RequeueAfter > refundEvery {
			t.Fatalf("after %d attempts it is tried again in %s", attempt, result.RequeueAfter)
		}
		b.hub.Step(result.RequeueAfter)
		voucher, _ = b.pass()
		if refund := voucher.Spec.Refund; refund.State != boursev1.TransactionSigned || refund.Attempt != attempt+1 {
			t.Fatalf("after %d attempts and a while the refund is %+v", attempt, refund)
		}
	}
	for range 10 {
		b.chain.Tick(1)
		voucher, _ = b.pass()
	}
	if voucher.Spec.Refund.State != boursev1.TransactionLanded {
		t.Errorf("refund %+v, want one that landed", voucher.Spec.Refund)
	}
}
