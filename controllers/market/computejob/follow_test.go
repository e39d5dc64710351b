// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

// state is a condition's status and reason.
type state struct {
	status metav1.ConditionStatus
	reason string
}

// followCase is what a lease and its voucher say, and what its job must say then.
type followCase struct {
	conditions                 []metav1.Condition
	change                     func(*boursev1.GPULeaseStatus)
	voucher                    *boursev1.VoucherSpec
	funded, running, succeeded state
}

var (
	funded  = builders.Condition(boursev1.LeaseFunded, metav1.ConditionTrue, boursev1.ReasonDeposited)
	running = builders.Condition(boursev1.LeaseRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady)
	absent  state // the step has not begun
)

func unknown(reason string) state { return state{metav1.ConditionUnknown, reason} }

func yes(reason string) state { return state{metav1.ConditionTrue, reason} }

func no(reason string) state { return state{metav1.ConditionFalse, reason} }

func end(reason string) func(*boursev1.GPULeaseStatus) {
	return func(status *boursev1.GPULeaseStatus) {
		status.End = &boursev1.LeaseEnd{Reason: reason, Party: boursev1.PartyBuyer, At: metav1.NewTime(builders.Start)}
	}
}

// notified tells the lease that its supplier drains the pool.
func notified(status *boursev1.GPULeaseStatus) {
	status.Notice = &boursev1.LeaseNotice{
		Cause: boursev1.NoticeDrain, Party: boursev1.PartySupplier, Since: metav1.NewTime(builders.Start),
		Until: metav1.NewTime(builders.Start.Add(30 * time.Second)), Message: "The supplier drains pool oslo",
	}
}

var followCases = map[string]followCase{
	"a lease that is not accepted": {
		funded: absent, running: absent, succeeded: unknown(boursev1.ReasonAwaitingSupplier),
	},
	"a lease without its deposit": {
		conditions: []metav1.Condition{accepted()},
		funded:     unknown(boursev1.ReasonAwaitingDeposit), running: absent,
		succeeded: unknown(boursev1.ReasonAwaitingDeposit),
	},
	"a deposit that the buyer's operator refuses": {
		conditions: []metav1.Condition{accepted()},
		voucher:    &boursev1.VoucherSpec{Refusal: "Refused: the buyer's fee is higher than the market's"},
		funded:     no(boursev1.ReasonDepositRefused), running: absent,
		succeeded: unknown(boursev1.ReasonAwaitingDeposit),
	},
	"a deposit that the buyer's wallet does not sign": {
		conditions: []metav1.Condition{accepted()},
		voucher:    &boursev1.VoucherSpec{Refusal: "An administrator has paused the wallet", RefusalReason: boursev1.ReasonPaused},
		funded:     no(boursev1.ReasonPaused), running: absent,
		succeeded: unknown(boursev1.ReasonAwaitingDeposit),
	},
	"a lease that the buyer's wallet promises no more for": {
		conditions: []metav1.Condition{accepted(), funded, running},
		voucher:    &boursev1.VoucherSpec{Refusal: "An administrator has paused the wallet", RefusalReason: boursev1.ReasonPaused},
		funded:     yes(boursev1.ReasonPaused), running: yes(boursev1.ReasonWorkersReady), succeeded: unknown(boursev1.ReasonRunning),
	},
	"a lease whose usage the buyer's operator does not believe": {
		conditions: []metav1.Condition{accepted(), funded, running},
		voucher:    &boursev1.VoucherSpec{Refusal: "Refused: usage record 3: it is ahead of the clock"},
		funded:     yes(boursev1.ReasonPromiseRefused), running: yes(boursev1.ReasonWorkersReady), succeeded: unknown(boursev1.ReasonRunning),
	},
	"a deposit that the chain refused": {
		conditions: []metav1.Condition{accepted()},
		voucher: &boursev1.VoucherSpec{Deposit: &boursev1.Transaction{
			Purpose: boursev1.TransactionOpen, State: boursev1.TransactionFailed, Signature: "sig", Attempt: 1, Error: "no tokens",
		}},
		funded: no(boursev1.ReasonTransactionFailed), running: absent,
		succeeded: unknown(boursev1.ReasonAwaitingDeposit),
	},
	"an escrow that the supplier refuses": {
		conditions: []metav1.Condition{
			accepted(), builders.Condition(boursev1.LeaseFunded, metav1.ConditionFalse, boursev1.ReasonEscrowRefused),
		},
		funded: no(boursev1.ReasonEscrowRefused), running: absent,
		succeeded: unknown(boursev1.ReasonAwaitingDeposit),
	},
	"a lease that starts": {
		conditions: []metav1.Condition{accepted(), funded},
		funded:     yes(boursev1.ReasonDeposited), running: unknown(boursev1.ReasonStarting), succeeded: unknown(boursev1.ReasonStarting),
	},
	"a lease that runs": {
		conditions: []metav1.Condition{accepted(), funded, running},
		funded:     yes(boursev1.ReasonDeposited), running: yes(boursev1.ReasonWorkersReady), succeeded: unknown(boursev1.ReasonRunning),
	},
	"a lease that lost a worker": {
		conditions: []metav1.Condition{
			accepted(), funded, builders.Condition(boursev1.LeaseRunning, metav1.ConditionUnknown, boursev1.ReasonWorkersNotReady),
		},
		funded: yes(boursev1.ReasonDeposited), running: unknown(boursev1.ReasonWorkersNotReady),
		succeeded: unknown(boursev1.ReasonWorkersNotReady),
	},
	"a lease whose GPUs are taken away": {
		conditions: []metav1.Condition{
			accepted(), funded, running, builders.Condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonTakingBack),
		},
		change: notified,
		funded: yes(boursev1.ReasonDeposited), running: yes(boursev1.ReasonWorkersReady), succeeded: unknown(boursev1.ReasonTakingBack),
	},
	"a lease whose notice was withdrawn": {
		conditions: []metav1.Condition{
			accepted(), funded, running, builders.Condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning),
		},
		funded: yes(boursev1.ReasonDeposited), running: yes(boursev1.ReasonWorkersReady), succeeded: unknown(boursev1.ReasonRunning),
	},
	"a firm lease that was broken": {
		conditions: []metav1.Condition{
			accepted(), funded, running, builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndBreached),
		},
		change: func(status *boursev1.GPULeaseStatus) { notified(status); end(boursev1.EndBreached)(status) },
		funded: yes(boursev1.ReasonDeposited), running: no(boursev1.ReasonEnded), succeeded: no(boursev1.EndBreached),
	},
	"a lease that is being settled": {
		conditions: []metav1.Condition{accepted(), funded, running}, change: end(boursev1.EndCompleted),
		funded: yes(boursev1.ReasonDeposited), running: no(boursev1.ReasonEnded), succeeded: unknown(boursev1.ReasonSettling),
	},
	"a lease that ended well": {
		conditions: []metav1.Condition{
			accepted(), funded, running, builders.Condition(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndCompleted),
		},
		change: end(boursev1.EndCompleted),
		funded: yes(boursev1.ReasonDeposited), running: no(boursev1.ReasonEnded), succeeded: yes(boursev1.EndCompleted),
	},
	"a lease that was taken back": {
		conditions: []metav1.Condition{
			accepted(), funded, running, builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndTakenBack),
		},
		change: end(boursev1.EndTakenBack),
		funded: yes(boursev1.ReasonDeposited), running: no(boursev1.ReasonEnded), succeeded: no(boursev1.EndTakenBack),
	},
	"a lease that was never paid": {
		conditions: []metav1.Condition{
			accepted(), builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndNotFunded),
		},
		change: end(boursev1.EndNotFunded),
		funded: no(boursev1.ReasonEnded), running: absent, succeeded: no(boursev1.EndNotFunded),
	},
}

func TestFollow(t *testing.T) {
	for name, tc := range followCases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
			job, _ := b.settle("train")
			lease := b.lease(job)
			if tc.voucher != nil {
				tc.voucher.Lease = boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}
				voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: lease.Name}, Spec: *tc.voucher}
				if err := b.hub.Create(t.Context(), voucher); err != nil {
					t.Fatal(err)
				}
			}
			b.supplier(lease, tc.change, tc.conditions...)
			job, _ = b.pass("train")
			for kind, want := range map[string]state{boursev1.JobFunded: tc.funded, boursev1.JobRunning: tc.running} {
				if want != absent {
					expect(t, job, kind, want.status, want.reason)
				} else if got := meta.FindStatusCondition(job.Status.Conditions, kind); got != nil {
					t.Errorf("%s is %s/%s before its step began", kind, got.Status, got.Reason)
				}
			}
			expect(t, job, boursev1.Succeeded, tc.succeeded.status, tc.succeeded.reason)
			if diff := cmp.Diff(b.lease(job).Status.Notice, job.Status.Notice); diff != "" {
				t.Errorf("notice (-lease +job):\n%s", diff)
			}
			if wrote := b.hub.Writes(func() { b.pass("train") }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestTheJobShowsWhatItUsedAndPaid(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.settle("train")
	b.supplier(b.lease(job), func(status *boursev1.GPULeaseStatus) {
		status.Usage = &boursev1.LeaseUsage{
			Sequence: 2, GPUMilliseconds: new(int64(480_000)), Gross: new(int64(24_666_666)), Through: metav1.NewTime(builders.Start),
			Digest: builders.Hash("record"),
		}
		status.Paid = new(int64(24_666_666))
	}, accepted())
	job, _ = b.pass("train")
	want := &boursev1.JobUsage{
		GPUMilliseconds: new(int64(480_000)), Token: "IO", Paid: new(int64(24_728_332)), Cost: "0.24728332 IO", // with 25 bps on top
	}
	if diff := cmp.Diff(want, job.Status.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
}

func TestALeaseThatIsGoneEndsItsJob(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.settle("train")
	if err := b.hub.Delete(t.Context(), b.lease(job)); err != nil {
		t.Fatal(err)
	}
	job, _ = b.settle("train")
	expect(t, job, boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndFault)
}

func TestALeaseThatTheCacheDoesNotShowIsNotGone(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	b.r.Hub = blind{b.hub.Client}
	job, _ := b.settle("train")
	expect(t, job, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonAwaitingSupplier)
}

func TestADeletedJobEndsItsLeaseFirst(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.settle("train")
	lease := b.lease(job)
	b.supplier(lease, nil, accepted())
	b.delete(job)
	job, result := b.settle("train")
	if job == nil {
		t.Fatal("the job was let go before its lease ended")
	}
	expect(t, job, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonSettling)
	if result.RequeueAfter <= 0 || result.RequeueAfter > releaseWithin {
		t.Errorf("next pass in %s, want one within %s", result.RequeueAfter, releaseWithin)
	}
	b.hub.Read(lease)
	if lease.Spec.State != boursev1.LeaseEnded || lease.Spec.EndReason != boursev1.EndJobDeleted {
		t.Errorf("lease is %s/%s, want Ended/JobDeleted", lease.Spec.State, lease.Spec.EndReason)
	}
	b.supplier(lease, nil, builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndJobDeleted))
	if job, _ = b.pass("train"); job != nil {
		t.Error("the job is kept after its lease ended")
	}
}

func TestASupplierThatIsGoneDoesNotKeepTheJob(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.settle("train")
	b.supplier(b.lease(job), nil, accepted())
	b.delete(job)
	b.hub.Step(releaseWithin)
	if job, _ = b.pass("train"); job != nil {
		t.Error("the job waits for ever")
	}
}

func TestAJobWithoutALeaseGoesAtOnce(t *testing.T) {
	job := builders.Job("train")
	job.Finalizers = []string{Finalizer}
	b := newBench(t, job)
	b.delete(job)
	if job, _ = b.pass("train"); job != nil {
		t.Error("the job is kept without a lease")
	}
}

// TestASupplierThatIsGoneEndsTheJobAfterTheDeadline has a supplier that accepted a lease and was never heard of again.
func TestASupplierThatIsGoneEndsTheJobAfterTheDeadline(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.settle("train")
	lease := b.lease(job)
	b.supplier(lease, nil, accepted(),
		builders.Condition(boursev1.LeaseFunded, metav1.ConditionTrue, boursev1.ReasonDeposited),
		builders.Condition(boursev1.LeaseRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady))
	job, result := b.settle("train")
	expect(t, job, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning)
	if want := lease.Spec.Escrow.Deadline.Add(silence).Sub(b.hub.Now()); result.RequeueAfter != want {
		t.Fatalf("next pass in %s, want %s", result.RequeueAfter, want)
	}
	b.hub.Step(result.RequeueAfter)
	job, _ = b.settle("train")
	expect(t, job, boursev1.JobRunning, metav1.ConditionFalse, boursev1.ReasonEnded)
	expect(t, job, boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndFault)
}

// leaves lets the supplier leave at once, and the market end its lease.
func (b *bench) leaves(lease *boursev1.GPULease) {
	b.t.Helper()
	member := builders.Member(builders.Supplier)
	b.hub.Read(member)
	member.Spec.Leave = &boursev1.MemberLeave{Since: metav1.NewTime(b.hub.Now()), Mode: boursev1.LeaveAtOnce}
	b.hub.Edit(member)
	b.hub.Read(lease)
	lease.Spec.State, lease.Spec.EndReason = boursev1.LeaseEnded, boursev1.EndSupplierLeft
	b.hub.Edit(lease)
}

func TestASupplierThatLeavesBeforeItAcceptsCostsARetry(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.settle("train")
	first := b.lease(job)
	b.leaves(first)
	job, _ = b.settle("train")
	if job.Status.Lease != nil && job.Status.Lease.Name == first.Name {
		t.Errorf("the job keeps the lease %s", first.Name)
	}
	if found := meta.FindStatusCondition(job.Status.Conditions, boursev1.Succeeded); found == nil || found.Status != metav1.ConditionUnknown {
		t.Errorf("the job is %+v, want one that is matched again", found)
	}
}

func TestASupplierThatLeftWithoutAWordEndsTheJob(t *testing.T) {
	cases := map[string]struct {
		happens func(b *bench, lease *boursev1.GPULease)
		want    state
	}{
		"not before it had time to end its lease": {func(b *bench, _ *boursev1.GPULease) { b.hub.Step(departWithin - time.Second) }, unknown(boursev1.ReasonSettling)},
		"after that": {func(b *bench, _ *boursev1.GPULease) { b.hub.Step(departWithin) }, no(boursev1.EndSupplierLeft)},
		"when it is gone": {func(b *bench, lease *boursev1.GPULease) {
			if err := b.hub.Delete(b.t.Context(), builders.Member(lease.Namespace)); err != nil {
				b.t.Fatal(err)
			}
		}, no(boursev1.EndSupplierLeft)},
		"and not when it has ended its lease": {func(b *bench, lease *boursev1.GPULease) {
			b.supplier(lease, end(boursev1.EndSupplierLeft))
			b.hub.Step(departWithin)
		}, unknown(boursev1.ReasonSettling)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
			job, _ := b.settle("train")
			lease := b.lease(job)
			b.supplier(lease, nil, accepted(), funded, running)
			b.settle("train")
			b.leaves(lease)
			tc.happens(b, lease)
			job, _ = b.settle("train")
			expect(t, job, boursev1.Succeeded, tc.want.status, tc.want.reason)
			if wrote := b.hub.Writes(func() { b.pass("train") }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}
