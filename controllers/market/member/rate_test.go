// SPDX-License-Identifier: Apache-2.0

package member

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/reputation"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// closed returns the settlement that closed the lease, after the chain paid two GPU-hours.
func closed(lease *boursev1.GPULease) *boursev1.Settlement {
	return &boursev1.Settlement{
		ObjectMeta: metav1.ObjectMeta{Namespace: boursev1.PublicNamespace, Name: lease.Name + "-0002"},
		Spec: boursev1.SettlementSpec{
			Lease: boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name},
			Kind:  boursev1.SettlementRefund, GrossTotal: new(int64(earned)),
		},
	}
}

// rated looks at the supplier twice, and returns its reputation. The second look writes nothing.
func rated(t *testing.T, hub *fakehub.Hub, r *Reconciler) *boursev1.MemberReputation {
	t.Helper()
	pass(t, hub, r, builders.Supplier)
	if wrote := hub.Writes(func() { pass(t, hub, r, builders.Supplier) }); len(wrote) != 0 {
		t.Errorf("the second pass wrote %v", wrote)
	}
	supplier := builders.Member(builders.Supplier)
	hub.Read(supplier)
	return supplier.Status.Reputation
}

func supplierOnly() *boursev1.Member { return member(builders.Supplier, builders.Supplier, 0) }

func TestNobodyLeasedFromIt(t *testing.T) {
	other := ended(t, "train", boursev1.EndBreached, boursev1.PartySupplier)
	other.Namespace = "another"
	hub, r := newBench(t, supplierOnly(), other)
	if got := rated(t, hub, r); got != nil {
		t.Errorf("reputation %+v, want none", got)
	}
	supplier := supplierOnly()
	hub.Read(supplier)
	if result, err := r.Reconcile(t.Context(), supplier); err != nil || !result.IsZero() {
		t.Errorf("looked at again: %v, %v", result, err)
	}
}

func TestANewcomerIsRankedInTheMiddle(t *testing.T) {
	lease := ended(t, "train", boursev1.EndCompleted, boursev1.PartyBuyer)
	hub, r := newBench(t, supplierOnly(), lease, closed(lease))
	want := &boursev1.MemberReputation{
		Score: "0.50", Standing: boursev1.StandingNewcomer, OverallPPM: new(int32(342_371)), QuotaLeft: "46.00",
		Completion: &boursev1.ReputationPart{PPM: new(int32(342_371)), Good: "2.00", Bad: "0.00"},
		AsOf:       metav1.NewTime(builders.Start.Truncate(day)),
	}
	if diff := cmp.Diff(want, rated(t, hub, r)); diff != "" {
		t.Errorf("reputation (-want +got):\n%s", diff)
	}
}

func TestAFailureEndsTheQuota(t *testing.T) {
	lease := ended(t, "train", boursev1.EndBreached, boursev1.PartySupplier)
	hub, r := newBench(t, supplierOnly(), lease)
	want := &boursev1.MemberReputation{
		Score: "0.00", Standing: boursev1.StandingKnown, OverallPPM: new(int32(0)),
		Completion: &boursev1.ReputationPart{PPM: new(int32(0)), Good: "0.00", Bad: "8.00"},
		AsOf:       metav1.NewTime(builders.Start.Truncate(day)),
	}
	if diff := cmp.Diff(want, rated(t, hub, r)); diff != "" {
		t.Errorf("reputation (-want +got):\n%s", diff)
	}
}

// Whatever a supplier says of its leases, it gains by none that the chain did not see paid.
func TestOnlyThePaidCounts(t *testing.T) {
	leases := make([]*boursev1.GPULease, 20)
	objects := make([]client.Object, 0, len(leases)+3)
	for i := range leases {
		leases[i] = ended(t, fmt.Sprintf("lease-%02d", i), boursev1.EndCompleted, boursev1.PartyBuyer)
		leases[i].Status.Paid = new(int64(2 * price))
		objects = append(objects, leases[i])
	}
	claim, elsewhere := closed(leases[0]), closed(leases[1])
	claim.Name, claim.Spec.Kind = claim.Name+"-claim", boursev1.SettlementClaim
	elsewhere.Name, elsewhere.Spec.Lease.Namespace = elsewhere.Name+"-elsewhere", "another"
	hub, r := newBench(t, append(objects, supplierOnly(), claim, elsewhere)...)
	if got := rated(t, hub, r); got.Completion != nil || *got.OverallPPM != 0 || got.Standing != boursev1.StandingNewcomer {
		t.Errorf("reputation %+v, want that of one who is not known", got)
	}
	for _, lease := range leases {
		if err := hub.Create(t.Context(), closed(lease)); err != nil {
			t.Fatal(err)
		}
	}
	// The good events with one buyer weigh 30 together.
	if got := rated(t, hub, r); got.Score != "0.88" || got.Completion.Good != "30.00" || got.Standing != boursev1.StandingKnown {
		t.Errorf("reputation %+v, want 0.88 of 30 GPU-hours", got)
	}
}

func TestAScoreDecaysOnceADay(t *testing.T) {
	lease := ended(t, "train", boursev1.EndBreached, boursev1.PartySupplier)
	hub, r := newBench(t, supplierOnly(), lease)
	rated(t, hub, r)
	supplier := builders.Member(builders.Supplier)
	hub.Read(supplier)
	result, err := r.Reconcile(t.Context(), supplier)
	if err != nil || result.RequeueAfter != 12*time.Hour {
		t.Fatalf("looked at again after %s (%v), want at midnight", result.RequeueAfter, err)
	}
	hub.Step(result.RequeueAfter - time.Second)
	if wrote := hub.Writes(func() { rated(t, hub, r) }); len(wrote) != 0 {
		t.Errorf("wrote %v before midnight", wrote)
	}
	hub.Step(time.Second)
	if got := rated(t, hub, r); got.Completion.Bad != "7.81" || !got.AsOf.Time.Equal(builders.Start.Truncate(day).Add(day)) {
		t.Errorf("after midnight: %+v", got)
	}
	hub.Step(2 * 365 * day)
	if got := rated(t, hub, r); got.Completion != nil || got.Standing != boursev1.StandingNewcomer {
		t.Errorf("after two years: %+v, want nothing that speaks against it", got)
	}
}

// Figures that a day does not change are not written again.
func TestADayThatChangesNothingIsNotWritten(t *testing.T) {
	lease := ended(t, "train", "", "")
	lease.Status.End = nil
	hub, r := newBench(t, supplierOnly(), lease)
	got := rated(t, hub, r)
	if got.QuotaLeft != "40.00" || got.Completion != nil {
		t.Errorf("reputation %+v, want a newcomer with 40 GPU-hours left", got)
	}
	hub.Step(3 * day)
	if wrote := hub.Writes(func() { rated(t, hub, r) }); len(wrote) != 0 {
		t.Errorf("wrote %v", wrote)
	}
}

func TestWhoIsNotAdmittedIsNotRated(t *testing.T) {
	lease := ended(t, "train", boursev1.EndBreached, boursev1.PartySupplier)
	hub, r := newBench(t, supplierOnly(), member("older", builders.Supplier, time.Hour), lease)
	if got := rated(t, hub, r); got != nil {
		t.Errorf("reputation %+v, want none", got)
	}
}

func TestWhoIsLookedAtAgain(t *testing.T) {
	lease := ended(t, "train", boursev1.EndCompleted, boursev1.PartyBuyer)
	supplier := []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(supplierOnly())}}
	refund := closed(lease)
	if diff := cmp.Diff(supplier, supplierPaid(t.Context(), refund)); diff != "" {
		t.Errorf("of a refund (-want +got):\n%s", diff)
	}
	refund.Spec.Kind = boursev1.SettlementClaim
	if got := supplierPaid(t.Context(), refund); len(got) != 0 {
		t.Errorf("of a claim: %v, want nobody", got)
	}
	running := lease.DeepCopy()
	running.Status.End = nil
	if passes := counts(); passes.Update(event.UpdateEvent{ObjectOld: running, ObjectNew: running}) ||
		!passes.Update(event.UpdateEvent{ObjectOld: running, ObjectNew: lease}) ||
		!passes.Create(event.CreateEvent{Object: running}) || !passes.Delete(event.DeleteEvent{Object: running}) {
		t.Error("want a lease to count when it comes, ends and goes, and not while it runs")
	}
}

// Many leases that come, end or go at once are one pass.
func TestLeasesOfAMomentAreRatedTogether(t *testing.T) {
	lease := ended(t, "train", boursev1.EndCompleted, boursev1.PartyBuyer)
	supplier := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(supplierOnly())}
	cases := map[string]func(handler.Funcs, requests){
		"one that comes": func(f handler.Funcs, q requests) { f.Create(t.Context(), event.CreateEvent{Object: lease}, q) },
		"one that ends": func(f handler.Funcs, q requests) {
			f.Update(t.Context(), event.UpdateEvent{ObjectOld: lease, ObjectNew: lease}, q)
		},
		"one that goes": func(f handler.Funcs, q requests) { f.Delete(t.Context(), event.DeleteEvent{Object: lease}, q) },
	}
	for name, tell := range cases {
		t.Run(name, func(t *testing.T) {
			q := &queue{}
			tell(supplierOfLeases(), q)
			if diff := cmp.Diff(map[reconcile.Request]time.Duration{supplier: gathered}, q.later); diff != "" {
				t.Errorf("who is looked at, and when (-want +got):\n%s", diff)
			}
		})
	}
}

// queue takes down what is to be looked at, and after how long. Anything else that is asked of it ends the test.
type queue struct {
	requests

	later map[reconcile.Request]time.Duration
}

func (q *queue) AddAfter(request reconcile.Request, after time.Duration) {
	if q.later == nil {
		q.later = map[reconcile.Request]time.Duration{}
	}
	q.later[request] = after
}

// A hundredth more is never shown than there is.
func TestFiguresAreRoundedDown(t *testing.T) {
	cases := map[uint64]string{0: "0.00", 9_999: "0.00", 10_000: "0.01", 999_999: "0.99", reputation.PPM: "1.00", 1_234_567_890: "1234.56"}
	for millionths, want := range cases {
		if got := hundredths(millionths); got != want {
			t.Errorf("%d are written %s, want %s", millionths, got, want)
		}
	}
}

// What is written is what offers are ranked with.
func TestTheScoreIsWhatCounts(t *testing.T) {
	histories := map[string][]reputation.Event{
		"nothing": nil,
		"little":  {{Part: reputation.Completion, Good: true, Weight: hour}},
		"much":    {{Part: reputation.Completion, Good: true, Weight: 10 * hour}},
		"bad":     {{Part: reputation.Completion, Weight: hour}},
	}
	for name, events := range histories {
		for _, explored := range []uint64{0, 47 * hour, 48 * hour} {
			score := reputation.Of(events, 0)
			m := supplierOnly()
			m.Status.Reputation = reputationOf(&score, explored, builders.Start)
			want := reputation.DefaultQuota().Ranked(&score, explored)
			if got := contract.ReputationOf(m); got != want || m.Status.Reputation.Score != hundredths(uint64(want)) {
				t.Errorf("%s, %d explored: ranked with %d, shown as %s, want %d", name, explored, got, m.Status.Reputation.Score, want)
			}
		}
	}
}
