// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/test/builders"
)

const blockhashLife = 160 // blocks: more than a blockhash lives

// withoutArbiter makes a lease in which nobody may award.
func withoutArbiter(lease *boursev1.GPULease, _ *boursev1.GPUPool) {
	pay := &lease.Spec.Payment
	pay.Arbiter, pay.ArbiterCapBps, pay.DisputeDelaySeconds = "", 0, 0
}

// metered takes a lease to where one period is metered.
func metered(t *testing.T) *bench {
	t.Helper()
	return meteredOf(t, nil)
}

func meteredOf(t *testing.T, change func(*boursev1.GPULease, *boursev1.GPUPool)) *bench {
	t.Helper()
	b := newBench(t, change)
	b.running()
	b.hub.Step(time.Minute)
	b.rest()
	return b
}

func TestClaimsNothingThatTheBuyerDidNotPromise(t *testing.T) {
	cases := map[string]func(*bench){
		"no voucher": func(*bench) {},
		"a promise for more than was metered": func(b *bench) {
			usage := b.lease.Status.Usage
			b.promiseAmount(usage.Sequence, *usage.Gross+1, usage.Digest)
		},
		"somebody else's signature": func(b *bench) {
			b.promise()
			b.forge(func(v *boursev1.Voucher) {
				signature, err := builders.Wallet("thief").Sign(b.t.Context(), []byte("anything"))
				if err != nil {
					b.t.Fatal(err)
				}
				v.Spec.Signature = boursev1.SolanaSignature(signature.String())
			})
		},
		"a changed amount": func(b *bench) {
			b.promise()
			b.forge(func(v *boursev1.Voucher) { *v.Spec.Gross-- })
		},
		"another lease's voucher": func(b *bench) {
			b.promise()
			b.forge(func(v *boursev1.Voucher) { v.Spec.Lease.Name = "another" })
		},
	}
	for name, happens := range cases {
		t.Run(name, func(t *testing.T) {
			b := metered(t)
			happens(b)
			b.rest()
			if b.lease.Status.Promised != nil || b.lease.Status.Transaction != nil {
				t.Errorf("promised %v, transaction %+v", b.lease.Status.Promised, b.lease.Status.Transaction)
			}
			b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonAwaitingVoucher)
		})
	}
}

// forge changes the lease's voucher.
func (b *bench) forge(change func(*boursev1.Voucher)) {
	b.t.Helper()
	voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: b.lease.Spec.Job.Namespace, Name: b.lease.Name}}
	b.hub.Read(voucher)
	change(voucher)
	b.hub.Edit(voucher)
}

func TestClaimSurvivesTheChain(t *testing.T) {
	cases := map[string]struct {
		happens     func(*bench)
		wantAttempt int32
	}{
		"all goes well": {func(*bench) {}, 1},
		"every other call fails for a while": {func(b *bench) {
			calls := 0
			b.chain.Faults(func(string) chaintest.Fault {
				calls++
				if calls < 40 && calls%2 == 1 {
					return chaintest.Fault{Refuse: true}
				}
				return chaintest.Fault{}
			})
		}, 1},
		"replies are lost after the effect": {func(b *bench) {
			calls := 0
			b.chain.Faults(func(method string) chaintest.Fault {
				calls++
				if method == "Send" && calls < 40 {
					return chaintest.Fault{LoseReply: true}
				}
				return chaintest.Fault{}
			})
		}, 1},
		"a fork takes it back and another one brings it again": {func(b *bench) {
			b.passes(2)
			b.chain.Tick(1)
			b.chain.Rollback(1, true)
		}, 1},
		"it expires unsent": {func(b *bench) {
			b.passes(1)
			b.chain.Tick(blockhashLife)
		}, 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := metered(t)
			b.promise()
			tc.happens(b)
			for range 200 {
				if _, err := b.try(); err == nil && b.paid() > 0 {
					break
				}
				b.chain.Tick(1)
			}
			if b.paid() != grossOf(480) || b.lease.Status.Transaction.State != boursev1.TransactionLanded {
				t.Fatalf("paid %d by %+v", b.paid(), b.lease.Status.Transaction)
			}
			if got := b.lease.Status.Transaction.Attempt; got != tc.wantAttempt {
				t.Errorf("it was signed %d times, want %d", got, tc.wantAttempt)
			}
			b.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{} })
			if succeeded, failed := b.transactions(); len(succeeded) != 2 || failed != 0 {
				t.Errorf("%d transactions and %d failed, want open and one claim", len(succeeded), failed)
			}
		})
	}
}

// passes runs passes that may fail.
func (b *bench) passes(n int) {
	b.t.Helper()
	for range n {
		if _, err := b.try(); err != nil {
			b.t.Log(err)
		}
	}
}

// TestAnUnreachableChainEndsNothing lets every call fail for a day.
func TestAnUnreachableChainEndsNothing(t *testing.T) {
	b := newBench(t, nil)
	b.accepted()
	b.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
	b.hub.Step(24 * time.Hour)
	if _, err := b.try(); err == nil {
		t.Error("a pass that learned nothing of the chain is told as done")
	}
	if b.lease.Status.End != nil {
		t.Errorf("the lease ended for what nobody saw: %+v", b.lease.Status.End)
	}
}

// TestTheLastPromiseIsWaitedForWithinBounds ends a lease whose buyer has fallen silent after the first period.
func TestTheLastPromiseIsWaitedForWithinBounds(t *testing.T) {
	b := meteredOf(t, withoutArbiter)
	b.promise()
	b.until("the first period is paid", func() bool { return b.paid() == grossOf(480) })
	b.hub.Step(time.Minute)
	b.deleteJob()
	b.rest()
	b.vanish()
	wait := b.rest()
	b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonAwaitingVoucher)
	if wait.RequeueAfter != leastWait {
		t.Errorf("it waits for %s, want %s", wait.RequeueAfter, leastWait)
	}
	b.hub.Step(leastWait)
	b.over()
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
	if b.paid() != grossOf(480) {
		t.Errorf("%d was paid", b.paid())
	}
	b.nothingLeft()
}

// TestSomebodyElseMaySubmitAndClose lets another one act on the escrow first.
func TestSomebodyElseMaySubmitAndClose(t *testing.T) {
	b := metered(t)
	b.promise()
	b.until("the first period is paid", func() bool { return b.paid() > 0 })
	b.deleteJob()
	b.rest()
	tx, err := b.controller().Ledger.Close(t.Context(), b.lease, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.controller().Ledger.Drive(t.Context(), *tx); err != nil {
		t.Fatal(err)
	}
	b.chain.Tick(finalLag + 2)
	b.over()
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
	b.nothingLeft()
}

func TestADepositOfAnotherLeaseIsRefused(t *testing.T) {
	b := newBench(t, nil)
	b.accepted()
	deposited := b.lease.Spec.Payment.Deposit
	b.lease.Spec.Payment.Deposit = deposited - 1
	b.deposit()
	b.lease.Spec.Payment.Deposit = deposited
	b.rest()
	b.want(boursev1.LeaseFunded, metav1.ConditionFalse, boursev1.ReasonEscrowRefused)
	b.wantEnd(boursev1.EndFault, boursev1.PartyBuyer)
}

// TestALateDepositIsRefunded ends a lease while its deposit is on its way, or while only the buyer's node shows it.
func TestALateDepositIsRefunded(t *testing.T) {
	for _, state := range []boursev1.TransactionState{boursev1.TransactionSigned, boursev1.TransactionLanded} {
		t.Run(string(state), func(t *testing.T) {
			b := newBench(t, nil)
			b.accepted()
			voucher := &boursev1.Voucher{
				ObjectMeta: metav1.ObjectMeta{Namespace: b.lease.Spec.Job.Namespace, Name: b.lease.Name},
				Spec:       boursev1.VoucherSpec{Deposit: &boursev1.Transaction{Purpose: boursev1.TransactionOpen, State: state}},
			}
			if err := b.hub.Create(t.Context(), voucher); err != nil {
				t.Fatal(err)
			}
			b.hub.Step(6 * time.Minute)
			b.rest()
			b.vanish()
			b.rest()
			b.wantEnd(boursev1.EndNotFunded, boursev1.PartyBuyer)
			if over(b.lease) {
				t.Fatal("the lease is over while its deposit is on its way")
			}
			b.deposit()
			b.over()
			b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
			if succeeded, _ := b.transactions(); len(succeeded) != 2 {
				t.Errorf("%d transactions, want open and close", len(succeeded))
			}
		})
	}
}

// TestADepositThatWasBeingSignedIsRefunded ends a lease while its buyer, who does not know that yet, signs the deposit.
func TestADepositThatWasBeingSignedIsRefunded(t *testing.T) {
	b := newBench(t, nil)
	b.accepted()
	b.deleteJob()
	b.rest()
	b.vanish()
	b.hub.Step(signingWait - time.Second)
	b.rest()
	if over(b.lease) {
		t.Fatal("the lease is over before its buyer can have heard of the end")
	}
	voucher := &boursev1.Voucher{
		ObjectMeta: metav1.ObjectMeta{Namespace: b.lease.Spec.Job.Namespace, Name: b.lease.Name},
		Spec:       boursev1.VoucherSpec{Deposit: &boursev1.Transaction{Purpose: boursev1.TransactionOpen, State: boursev1.TransactionSigned}},
	}
	if err := b.hub.Create(t.Context(), voucher); err != nil {
		t.Fatal(err)
	}
	b.hub.Step(time.Minute)
	b.rest()
	b.deposit()
	b.over()
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
}
