// SPDX-License-Identifier: Apache-2.0

package settlement

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/escrowhistory"
	"github.com/bourse-dev/bourse/test/fakehub"
)

type bench struct {
	t     *testing.T
	hub   *fakehub.Hub
	chain *escrowhistory.History
	lease *boursev1.GPULease
	r     *Reconciler
}

func newBench(t *testing.T) *bench {
	t.Helper()
	_, lease := builders.Leased(t, "train")
	b := &bench{t: t, lease: lease, chain: escrowhistory.New(t, lease)}
	b.hub = fakehub.New(t, []fakehub.Index{{Of: &boursev1.Settlement{}, Name: byLease, Values: leaseOf}}, lease)
	b.restart()
	return b
}

func (b *bench) restart() {
	b.r = &Reconciler{Teller: b.hub.Teller(), Hub: b.hub, Live: b.hub, Chain: b.chain, Now: b.hub.Now}
}

func (b *bench) pass() reconcile.Result {
	b.t.Helper()
	b.hub.Read(b.lease)
	result, err := b.r.Reconcile(b.t.Context(), b.lease)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

func (b *bench) settlements() []boursev1.Settlement {
	b.t.Helper()
	var list boursev1.SettlementList
	if err := b.hub.List(b.t.Context(), &list, client.InNamespace(boursev1.PublicNamespace)); err != nil {
		b.t.Fatal(err)
	}
	return list.Items
}

func TestEachMovementIsRecordedOnce(t *testing.T) {
	b := newBench(t)
	b.chain.Open()
	if b.pass(); len(b.settlements()) != 0 {
		t.Fatal("the deposit is no settlement")
	}
	b.chain.Claim(400_000_001)
	b.chain.Claim(1_000_000_000)
	if result := b.pass(); result.RequeueAfter != readEvery {
		t.Errorf("read again in %s, want %s", result.RequeueAfter, readEvery)
	}
	b.chain.Close()
	if result := b.pass(); result.RequeueAfter != 0 {
		t.Errorf("a closed escrow is read again in %s", result.RequeueAfter)
	}
	got := b.settlements()
	if len(got) != 3 {
		t.Fatalf("%d settlements, want 3", len(got))
	}
	var sum int64
	for i := range got {
		sum += *got[i].Spec.Debit + *got[i].Spec.Refunded
		if !kube.IsTrue(&got[i], boursev1.Succeeded) {
			t.Errorf("%s is not called final", got[i].Name)
		}
	}
	if sum != b.lease.Spec.Payment.Deposit {
		t.Errorf("settlements sum to %d of a deposit of %d", sum, b.lease.Spec.Payment.Deposit)
	}
	want := boursev1.SettlementSpec{
		Lease: boursev1.ObjectReference{Namespace: builders.Supplier, Name: b.lease.Name},
		Job:   boursev1.ObjectReference{Namespace: builders.Buyer, Name: "train"},
		Kind:  boursev1.SettlementClaim, Period: 1, Token: "IO", Mint: builders.Address("mint of IO"),
		GrossTotal: new(int64(400_000_001)), Debit: new(int64(401_000_001)), SupplierPaid: new(int64(399_000_001)),
		TreasuryPaid: new(int64(0)), Burned: new(int64(2_000_000)), Refunded: new(int64(0)), Amount: "4.01000001 IO",
		Transaction: boursev1.SolanaSignature(b.chain.Landed[1].Signature.String()), Slot: new(int64(2)),
		Time: metav1.NewTime(builders.Start.Add(2 * time.Minute)),
	}
	if diff := cmp.Diff(want, got[0].Spec); diff != "" {
		t.Errorf("first settlement (-want +got):\n%s", diff)
	}
	refund := got[2].Spec
	if refund.Kind != boursev1.SettlementRefund || *refund.Refunded != 1_483_700_000-1_002_500_000 || refund.Amount != "4.812 IO" ||
		refund.Period != 3 || *refund.Debit != 0 {
		t.Errorf("refund %+v", refund)
	}
	reads := b.chain.Reads
	if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) != 0 || b.chain.Reads != reads {
		t.Errorf("another pass wrote %v and read the chain %d times", wrote, b.chain.Reads-reads)
	}
}

// Top-ups, extensions, disputes and awards are recorded too, each pass reading on from what is recorded.
func TestEverythingThatHappensIsRecorded(t *testing.T) {
	b := newBench(t)
	later := b.lease.Spec.Escrow.Deadline.Add(time.Hour)
	for _, step := range []func(){
		b.chain.Open,
		func() { b.chain.TopUp(1_483_700_000) },
		func() { b.chain.Extend(later) },
		func() { b.chain.Claim(400) },
		func() { b.chain.Dispute(2_000_000) },
		func() { b.chain.Award(1_000_000) },
		b.chain.Close,
	} {
		step()
		b.pass()
	}
	type record struct {
		Kind                          boursev1.SettlementKind
		Total, Debit, Refund          int64
		Deposited, Disputed, Deadline int64
		Amount                        string
	}
	want := []record{
		{Kind: boursev1.SettlementTopUp, Deposited: 1_483_700_000, Amount: "14.837 IO"},
		{Kind: boursev1.SettlementExtension, Deadline: later.Unix(), Amount: "0.00 IO"},
		{Kind: boursev1.SettlementClaim, Total: 400, Debit: 401, Amount: "0.00000401 IO"},
		{Kind: boursev1.SettlementDispute, Total: 400, Disputed: 2_000_000, Amount: "0.02 IO"},
		{Kind: boursev1.SettlementAward, Total: 1_000_000, Debit: 1_002_099, Amount: "0.01002099 IO"},
		{Kind: boursev1.SettlementRefund, Total: 1_000_000, Refund: 2*1_483_700_000 - 1_002_500, Amount: "29.663975 IO"},
	}
	settlements := b.settlements()
	got := make([]record, 0, len(settlements))
	for _, s := range settlements {
		one := record{Kind: s.Spec.Kind, Total: *s.Spec.GrossTotal, Debit: *s.Spec.Debit, Refund: *s.Spec.Refunded, Amount: s.Spec.Amount}
		if s.Spec.Deposited != nil {
			one.Deposited = *s.Spec.Deposited
		}
		if s.Spec.Disputed != nil {
			one.Disputed = *s.Spec.Disputed
		}
		if s.Spec.Deadline != nil {
			one.Deadline = s.Spec.Deadline.Unix()
		}
		got = append(got, one)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
	if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) != 0 {
		t.Errorf("another pass wrote %v", wrote)
	}
}

// A crash between any two writes leaves records that the next pass completes, and none twice.
func TestACrashLosesNoRecord(t *testing.T) {
	crash := errors.New("crash")
	for survive := range 5 {
		b := newBench(t)
		b.chain.Open()
		b.chain.Claim(400)
		b.chain.Claim(1_000_000)
		b.chain.Close()
		left := survive
		b.hub.Fail(func(string, client.Object) error {
			if left == 0 {
				return crash
			}
			left--
			return nil
		})
		b.hub.Read(b.lease)
		if _, err := b.r.Reconcile(t.Context(), b.lease); !errors.Is(err, crash) {
			t.Fatalf("after %d writes: err = %v, want the crash", survive, err)
		}
		b.hub.Fail(nil)
		b.restart()
		b.pass()
		got := b.settlements()
		if len(got) != 3 {
			t.Fatalf("after %d writes and a crash: %d settlements, want 3", survive, len(got))
		}
		for i := range got {
			if int(got[i].Spec.Period) != i+1 || !kube.IsTrue(&got[i], boursev1.Succeeded) {
				t.Errorf("after %d writes and a crash: settlement %d is %+v", survive, i, got[i])
			}
		}
	}
}

// blind is a cache that shows no settlement yet.
type blind struct{ client.Client }

func (c blind) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func TestAStaleCacheRecordsNothingTwice(t *testing.T) {
	b := newBench(t)
	b.chain.Open()
	b.chain.Claim(400)
	b.pass()
	b.r.Hub = blind{b.hub.Client}
	b.chain.Claim(1_000_000)
	b.pass()
	if got := b.settlements(); len(got) != 2 {
		t.Errorf("%d settlements, want 2", len(got))
	}
}

func TestARecordThatSaysSomethingElseIsAnError(t *testing.T) {
	b := newBench(t)
	b.chain.Open()
	b.chain.Claim(400)
	forged, err := draft(b.lease, escrow.Movement{Kind: escrow.KindClaim, Gross: 5, Supplier: 5, Slot: 9, Time: builders.Start}, 1)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.hub.Create(t.Context(), forged); err != nil {
		t.Fatal(err)
	}
	b.r.Hub = blind{b.hub.Client}
	if _, err := b.r.Reconcile(t.Context(), b.lease); !errors.Is(err, errOther) {
		t.Errorf("err = %v, want %v", err, errOther)
	}
}

func TestWhatCannotBeReadIsNotRecorded(t *testing.T) {
	unreachable := errors.New("unreachable")
	cases := map[string]struct {
		spoil func(*escrowhistory.History)
		want  error
	}{
		"the chain is unreachable": {func(h *escrowhistory.History) { h.Err = unreachable }, unreachable},
		"a claim that pays another amount": {func(h *escrowhistory.History) {
			calls := h.Landed[1].Calls
			calls[len(calls)-1].Data[1]++
		}, escrow.ErrMismatch},
		"a block without a time": {func(h *escrowhistory.History) { h.Landed[1].Time = time.Time{} }, errNoTime},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.chain.Open()
			b.chain.Claim(400_000_000)
			tc.spoil(b.chain)
			b.hub.Read(b.lease)
			if _, err := b.r.Reconcile(t.Context(), b.lease); !errors.Is(err, tc.want) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
			if n := len(b.settlements()); n != 0 {
				t.Errorf("%d settlements were recorded", n)
			}
		})
	}
}

func TestWhenTheChainIsReadAgain(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPULease)
		step   time.Duration
		want   time.Duration
		reads  int
	}{
		"a lease that was never accepted is not read": {change: func(l *boursev1.GPULease) { l.Status.Conditions = nil }},
		"an open escrow": {want: readEvery, reads: 1},
		"a lease that says more than is recorded": {change: func(l *boursev1.GPULease) { l.Status.Paid = new(int64(1)) }, want: behindBy, reads: 1},
		"a lease that says that it is closed": {change: func(l *boursev1.GPULease) {
			l.Status.Conditions = append(l.Status.Conditions, builders.Condition(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed))
		}, want: behindBy, reads: 1},
		"an escrow that was never opened": {change: func(l *boursev1.GPULease) {
			l.Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotFunded, Party: boursev1.PartyBuyer, At: metav1.NewTime(builders.Start)}
		}, step: 24 * time.Hour, reads: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if tc.change != nil {
				tc.change(b.lease)
				b.hub.EditStatus(b.lease)
			}
			b.hub.Step(tc.step)
			if result := b.pass(); result.RequeueAfter != tc.want || b.chain.Reads != tc.reads {
				t.Errorf("read %d times and again in %s, want %d times and %s", b.chain.Reads, result.RequeueAfter, tc.reads, tc.want)
			}
		})
	}
}
