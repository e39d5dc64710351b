// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

func TestBudgets(t *testing.T) {
	hour := new(int32(3600))
	cases := map[string]struct { // at noon of a Monday
		budgets []boursev1.OfferBudget
		offered int32
		wake    time.Duration
	}{
		"a number that always counts":       {[]boursev1.OfferBudget{{GPUs: "5"}}, 5, 0},
		"a part, rounded down":              {[]boursev1.OfferBudget{{GPUs: "33%"}}, 6, 0},
		"nothing at all":                    {[]boursev1.OfferBudget{{GPUs: "0%"}}, 0, 0},
		"more than there is":                {[]boursev1.OfferBudget{{GPUs: "100"}}, 20, 0},
		"the smallest of several":           {[]boursev1.OfferBudget{{GPUs: "12"}, {GPUs: "50%"}, {GPUs: "11"}}, 10, 0},
		"a schedule that has begun":         {[]boursev1.OfferBudget{{GPUs: "5", Schedule: "50 11 * * 1", DurationSeconds: hour}}, 5, 40 * time.Minute},
		"a schedule that is yet to begin":   {[]boursev1.OfferBudget{{GPUs: "5", Schedule: "30 13 * * *", DurationSeconds: hour}}, 20, 80 * time.Minute},
		"a schedule that is over":           {[]boursev1.OfferBudget{{GPUs: "5", Schedule: "@daily", DurationSeconds: hour}}, 20, 710 * time.Minute},
		"a schedule that cannot be read":    {[]boursev1.OfferBudget{{GPUs: "9"}, {GPUs: "5", Schedule: "61 * * * *", DurationSeconds: hour}}, 5, 0},
		"a schedule that never begins":      {[]boursev1.OfferBudget{{GPUs: "5", Schedule: "0 0 30 2 *", DurationSeconds: hour}}, 5, 0},
		"a schedule that names a time zone": {[]boursev1.OfferBudget{{GPUs: "5", Schedule: "TZ=UTC\t*\t*\t*\t*", DurationSeconds: hour}}, 5, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.cooled()
			b.change(func(p *boursev1.GPUPool) { p.Spec.Budgets = tc.budgets })
			of, _ := b.rest("pool")
			if *of.Status.GPUs.Offered != tc.offered || heldBack(of)[boursev1.HoldBudget] != 20-tc.offered {
				t.Errorf("%d are offered, held back %v; want %d offered", *of.Status.GPUs.Offered, of.Status.HeldBack, tc.offered)
			}
			var wake time.Duration
			for i := range tc.budgets {
				_, next, _ := active(&tc.budgets[i], b.hub.Now())
				wake = max(wake, next)
			}
			if wake != tc.wake {
				t.Errorf("a budget changes in %s, want %s", wake, tc.wake)
			}
		})
	}
}

func TestABudgetThatCannotBeReadIsNamed(t *testing.T) {
	b := newBench(t)
	b.cooled()
	b.change(func(p *boursev1.GPUPool) {
		p.Spec.Budgets = []boursev1.OfferBudget{{GPUs: "9"}, {GPUs: "5", Schedule: "61 * * * *", DurationSeconds: new(int32(60))}}
	})
	of, _ := b.rest("pool")
	wantCondition(t, of, boursev1.PoolBudgeted, metav1.ConditionFalse, boursev1.ReasonScheduleInvalid)
	if found := meta.FindStatusCondition(of.Status.Conditions, boursev1.PoolBudgeted); !strings.Contains(found.Message, "spec.budgets[1].schedule") {
		t.Errorf("message %q does not name the field", found.Message)
	}
	b.change(func(p *boursev1.GPUPool) { p.Spec.Budgets = p.Spec.Budgets[:1] })
	of, _ = b.rest("pool")
	wantCondition(t, of, boursev1.PoolBudgeted, metav1.ConditionTrue, boursev1.ReasonScheduled)
	b.change(func(p *boursev1.GPUPool) { p.Spec.Budgets = nil })
	if of, _ = b.rest("pool"); meta.FindStatusCondition(of.Status.Conditions, boursev1.PoolBudgeted) != nil {
		t.Error("a pool without budgets has the condition")
	}
}

// TestABudgetEndsByItself wakes the pool at the budget's edge, and spares leases.
func TestABudgetEndsByItself(t *testing.T) {
	b := newBench(t)
	b.cooled() // ten past twelve
	b.create(leased("train", "h1", 8))
	b.change(func(p *boursev1.GPUPool) {
		p.Spec.Budgets = []boursev1.OfferBudget{{GPUs: "4", Schedule: "0 12 * * *", DurationSeconds: new(int32(11 * 60))}}
	})
	of, result := b.rest("pool")
	if *of.Status.GPUs.Leased != 8 || *of.Status.GPUs.Offered != 8 || result.RequeueAfter != time.Minute {
		t.Errorf("leased %d, offered %d, looks again in %s", *of.Status.GPUs.Leased, *of.Status.GPUs.Offered, result.RequeueAfter)
	}
	b.hub.Step(result.RequeueAfter)
	b.rest("pool")
	b.wantFree(map[string]int32{h100: 8, l4: 4})
}

func TestMaintenanceIsAnnouncedAndKept(t *testing.T) {
	b := newBench(t)
	b.cooled()
	begin := b.hub.Now().Add(time.Minute)
	window := func(at time.Time) boursev1.MaintenanceWindow {
		return boursev1.MaintenanceWindow{Start: metav1.NewTime(at), DurationSeconds: 120}
	}
	b.change(func(p *boursev1.GPUPool) {
		p.Spec.Maintenance = []boursev1.MaintenanceWindow{window(begin.Add(time.Hour)), window(begin), window(begin.Add(-time.Hour))}
	})
	wantUntil := func(want time.Time) {
		t.Helper()
		var offers boursev1.GPUOfferList
		if err := b.hub.List(t.Context(), &offers); err != nil {
			t.Fatal(err)
		}
		for _, offer := range offers.Items {
			if offer.Spec.AvailableUntil == nil || !offer.Spec.AvailableUntil.Equal(new(metav1.NewTime(want))) {
				t.Errorf("offer %s is available until %v, want %s", offer.Name, offer.Spec.AvailableUntil, want)
			}
		}
	}
	_, result := b.rest("pool")
	b.wantFree(map[string]int32{h100: 16, l4: 4})
	wantUntil(begin)
	if result.RequeueAfter != time.Minute {
		t.Errorf("it looks again in %s", result.RequeueAfter)
	}
	b.hub.Step(time.Minute)
	of, result := b.rest("pool")
	b.wantFree(map[string]int32{h100: 0, l4: 0})
	wantCondition(t, of, boursev1.PoolAdvertised, metav1.ConditionUnknown, boursev1.ReasonMaintenance)
	if diff := cmp.Diff(held{boursev1.HoldMaintenance: 20}, heldBack(of)); diff != "" || result.RequeueAfter > 2*time.Minute {
		t.Errorf("looks again in %s, held back (-want +got):\n%s", result.RequeueAfter, diff)
	}
	b.hub.Step(2 * time.Minute)
	b.rest("pool")
	b.wantFree(map[string]int32{h100: 16, l4: 4})
	wantUntil(begin.Add(time.Hour))
}

func TestAPoolThatDoesNotSellSaysSo(t *testing.T) {
	for mode, want := range map[boursev1.PoolMode]struct {
		reason string
		held   boursev1.HoldReason
	}{
		boursev1.PoolHold:  {boursev1.ReasonOnHold, boursev1.HoldMode},
		boursev1.PoolDrain: {boursev1.ReasonDraining, boursev1.HoldDrain},
	} {
		t.Run(string(mode), func(t *testing.T) {
			b := newBench(t)
			b.cooled()
			b.create(leased("train", "h1", 8))
			b.change(func(p *boursev1.GPUPool) { p.Spec.Mode = mode })
			of, _ := b.rest("pool")
			b.wantFree(map[string]int32{})
			wantCondition(t, of, boursev1.PoolAdvertised, metav1.ConditionFalse, want.reason)
			wantCondition(t, of, boursev1.Ready, metav1.ConditionFalse, want.reason)
			if heldBack(of)[want.held] != 12 || *of.Status.GPUs.Leased != 8 {
				t.Errorf("leased %d, held back %v", *of.Status.GPUs.Leased, of.Status.HeldBack)
			}
		})
	}
}
