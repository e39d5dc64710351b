// SPDX-License-Identifier: Apache-2.0

package feeburn

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// settlement is a claim that burned something.
func settlement(n int, token boursev1.TokenSymbol, burned int64, at time.Time) *boursev1.Settlement {
	return &boursev1.Settlement{
		ObjectMeta: metav1.ObjectMeta{Namespace: boursev1.PublicNamespace, Name: fmt.Sprintf("lease-%d", n)},
		Spec: boursev1.SettlementSpec{
			Kind: boursev1.SettlementClaim, Token: token, Mint: builders.Address("mint of " + string(token)),
			Burned: &burned, Time: metav1.NewTime(at),
		},
	}
}

// theEpoch is the FeeBurn of IO on the day that tests begin.
const theEpoch = "io-2027-03-01"

type bench struct {
	t   *testing.T
	hub *fakehub.Hub
	r   *Reconciler
}

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	hub := fakehub.New(t, []fakehub.Index{{Of: &boursev1.Settlement{}, Name: byEpoch, Values: epochOf}},
		append(objects, builders.Market())...)
	return &bench{t: t, hub: hub, r: &Reconciler{Teller: hub.Teller(), Hub: hub, Now: hub.Now}}
}

func (b *bench) pass() (*boursev1.FeeBurn, reconcile.Result, error) {
	b.t.Helper()
	key := types.NamespacedName{Namespace: boursev1.PublicNamespace, Name: theEpoch}
	result, err := b.r.Reconcile(b.t.Context(), reconcile.Request{NamespacedName: key})
	burn := &boursev1.FeeBurn{}
	if missing := b.hub.Get(b.t.Context(), key, burn); apierrors.IsNotFound(missing) {
		return nil, result, err
	}
	return burn, result, err
}

// settle runs two passes: one opens the epoch, one sums it up.
func (b *bench) settle() (*boursev1.FeeBurn, reconcile.Result) {
	b.t.Helper()
	if _, _, err := b.pass(); err != nil {
		b.t.Fatal(err)
	}
	burn, result, err := b.pass()
	if err != nil {
		b.t.Fatal(err)
	}
	return burn, result
}

func TestAnEpochSumsUpItsDayAndToken(t *testing.T) {
	day := builders.Start.Truncate(24 * time.Hour)
	b := newBench(t,
		settlement(1, "IO", 5_000_000, day),
		settlement(2, "IO", 7, day.Add(24*time.Hour-time.Second)),
		settlement(3, "IO", 100, day.Add(24*time.Hour)), // the next day
		settlement(4, "IO", 100, day.Add(-time.Second)), // the day before
		settlement(5, "USDC", 100, day),                 // another token
		settlement(6, "IO", 0, day),                     // burned nothing
	)
	burn, result := b.settle()
	if want := 12*time.Hour + late; result.RequeueAfter != want {
		t.Errorf("next pass in %s, want %s", result.RequeueAfter, want)
	}
	wantSpec := boursev1.FeeBurnSpec{
		Token: "IO", Mint: builders.Address("mint of IO"), From: metav1.NewTime(day), To: metav1.NewTime(day.Add(24 * time.Hour)),
	}
	if diff := cmp.Diff(wantSpec, burn.Spec); diff != "" {
		t.Errorf("epoch (-want +got):\n%s", diff)
	}
	if *burn.Status.Claims != 2 || *burn.Status.Burned != 5_000_007 || burn.Status.Amount != "0.05000007 IO" {
		t.Errorf("status %d claims, %d burned, %s", *burn.Status.Claims, *burn.Status.Burned, burn.Status.Amount)
	}
	if kube.IsTrue(burn, boursev1.Succeeded) {
		t.Error("the epoch is called final while it runs")
	}
	if wrote := b.hub.Writes(func() { _, _, _ = b.pass() }); len(wrote) != 0 {
		t.Errorf("another pass wrote %v", wrote)
	}
	b.hub.Step(result.RequeueAfter)
	burn, result = b.settle()
	if !kube.IsTrue(burn, boursev1.Succeeded) || result.RequeueAfter != 0 {
		t.Errorf("the epoch is over: %+v, next pass in %s", burn.Status.Conditions, result.RequeueAfter)
	}
}

func TestALateSettlementIsStillCounted(t *testing.T) {
	b := newBench(t, settlement(1, "IO", 1, builders.Start))
	b.hub.Step(72 * time.Hour)
	b.settle()
	if err := b.hub.Create(t.Context(), settlement(2, "IO", 2, builders.Start)); err != nil {
		t.Fatal(err)
	}
	burn, _ := b.settle()
	if *burn.Status.Burned != 3 {
		t.Errorf("burned %d, want 3", *burn.Status.Burned)
	}
}

func TestADayWithoutBurnsHasNoRecord(t *testing.T) {
	b := newBench(t)
	if burn, _, err := b.pass(); burn != nil || err != nil {
		t.Errorf("got %+v, %v", burn, err)
	}
}

func TestTwoMintsOfOneTokenAreNotAddedUp(t *testing.T) {
	other := settlement(2, "IO", 2, builders.Start)
	other.Spec.Mint = builders.Address("another mint")
	b := newBench(t, settlement(1, "IO", 1, builders.Start), other)
	if _, _, err := b.pass(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := b.pass(); !errors.Is(err, errTwoMints) {
		t.Errorf("err = %v, want %v", err, errTwoMints)
	}
}

func TestASettlementWakesItsEpoch(t *testing.T) {
	got := burnOfSettlement(t.Context(), settlement(1, "IO", 1, builders.Start))
	want := []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: boursev1.PublicNamespace, Name: "io-2027-03-01"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
	if got := burnOfSettlement(t.Context(), settlement(1, "IO", 0, builders.Start)); len(got) != 0 {
		t.Errorf("a settlement that burned nothing wakes %v", got)
	}
}
