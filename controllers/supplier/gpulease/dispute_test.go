// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/test/builders"
)

// silent takes a lease with an arbiter to where it has ended, its buyer has promised only the first period, and the deadline is near.
func silent(t *testing.T) *bench {
	t.Helper()
	b := metered(t)
	b.chain.Clock(b.hub.Now)
	b.promise()
	b.until("the first period is paid", func() bool { return b.paid() == grossOf(480) })
	b.hub.Step(time.Minute)
	b.deleteJob()
	b.rest()
	b.vanish()
	wait := b.rest()
	near := b.lease.Spec.Escrow.Deadline.Add(-disputeMargin)
	if want := near.Sub(b.hub.Now()); wait.RequeueAfter != want {
		t.Fatalf("it waits for %s, want %s: until shortly before the deadline", wait.RequeueAfter, want)
	}
	b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonAwaitingVoucher)
	b.hub.Step(near.Sub(b.hub.Now()))
	return b
}

// disputes counts what the finalized chain has of disputes, and returns the escrow's facts.
func (b *bench) facts() escrow.Facts {
	b.t.Helper()
	b.chain.Tick(finalLag + 2)
	terms, err := contract.Escrow(b.lease)
	if err != nil {
		b.t.Fatal(err)
	}
	vault, err := terms.Vault()
	if err != nil {
		b.t.Fatal(err)
	}
	_, address := b.addresses()
	accounts, err := b.chain.Accounts(b.t.Context(), chain.Finalized, address, vault)
	if err != nil {
		b.t.Fatal(err)
	}
	facts, err := escrow.Verify(terms, accounts[0], accounts[1])
	if err != nil && !facts.Closed {
		b.t.Fatal(err)
	}
	return facts
}

// disputing takes a silent lease to where its dispute has landed.
func disputing(t *testing.T) *bench {
	t.Helper()
	b := silent(t)
	owed := grossOf(960)
	b.pass()
	if tx := b.lease.Status.Transaction; tx == nil || tx.Purpose != boursev1.TransactionDispute || tx.State != boursev1.TransactionSigned {
		t.Fatalf("the dispute is not written down: %+v", tx)
	}
	if facts := b.facts(); facts.Disputed != 0 {
		t.Fatal("the dispute was sent before it was written down")
	}
	b.until("the dispute has landed", func() bool { return b.lease.Status.Disputed != nil })
	b.rest()
	if facts := b.facts(); *b.lease.Status.Disputed != owed || int64(facts.Disputed) != owed {
		t.Fatalf("disputed %d, on chain %+v, want %d", *b.lease.Status.Disputed, facts, owed)
	}
	b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonDisputed)
	return b
}

func TestWhatIsNeverPromisedIsDisputedOnce(t *testing.T) {
	b := disputing(t)
	told := b.hub.Events()
	if wait := b.rest(); wait.RequeueAfter == 0 || wait.RequeueAfter > pollAward {
		t.Errorf("the arbiter's decision is looked for in %s", wait.RequeueAfter)
	}
	b.hub.Step(time.Hour + time.Minute) // twice the delay: the arbiter has let it pass
	b.over()
	if told == b.hub.Events() {
		t.Error("nobody was told of the end")
	}
	if b.paid() != grossOf(480) {
		t.Errorf("%d was paid", b.paid())
	}
	if facts := b.facts(); !facts.Closed || b.lease.Status.Transaction.Purpose != boursev1.TransactionClose {
		t.Errorf("the escrow is not closed: %+v", facts)
	}
	b.nothingLeft()
}

func TestAnAwardIsTakenIn(t *testing.T) {
	b := disputing(t)
	b.hub.Step(31 * time.Minute)
	terms, err := contract.Escrow(b.lease)
	if err != nil {
		t.Fatal(err)
	}
	arbiter := builders.Wallet("arbiter")
	b.chain.Fund(arbiter.PublicKey(), lamports)
	instructions, err := escrow.Award(terms, terms.Deposit/10)
	if err != nil {
		t.Fatal(err)
	}
	record, err := outbox.Prepare(t.Context(), b.chain, arbiter, "Award", instructions, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := outbox.Drive(t.Context(), b.chain, record); err != nil {
		t.Fatal(err)
	}
	b.chain.Tick(finalLag + 2)
	b.over()
	if b.paid() != int64(terms.Deposit/10) {
		t.Errorf("%d is paid, want the award of %d", b.paid(), terms.Deposit/10)
	}
	b.nothingLeft()
}

func TestAPromiseDuringADisputeIsClaimed(t *testing.T) {
	b := disputing(t)
	b.promise()
	b.over()
	if b.paid() != grossOf(960) {
		t.Errorf("%d was paid, want %d", b.paid(), grossOf(960))
	}
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
	b.nothingLeft()
}

// A dispute that landed although its record was lost is found on chain, and not signed again.
func TestADisputeThatLandedIsFoundOnChain(t *testing.T) {
	b := disputing(t)
	b.lease.Status.Disputed, b.lease.Status.Transaction = nil, nil
	b.hub.EditStatus(b.lease)
	b.rest()
	if b.lease.Status.Disputed == nil || b.lease.Status.Transaction != nil {
		t.Errorf("disputed %v, transaction %+v", b.lease.Status.Disputed, b.lease.Status.Transaction)
	}
}

// What comes too late to be disputed is refunded.
func TestAfterTheDeadlineNothingIsDisputed(t *testing.T) {
	b := silent(t)
	b.hub.Step(disputeMargin)
	b.over()
	if tx := b.lease.Status.Transaction; tx == nil || tx.Purpose != boursev1.TransactionClose || b.lease.Status.Disputed != nil {
		t.Errorf("transaction %+v, disputed %v", tx, b.lease.Status.Disputed)
	}
	b.nothingLeft()
}
