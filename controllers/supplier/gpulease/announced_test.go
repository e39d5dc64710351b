// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"fmt"
	"testing"
	"time"

	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/test/builders"
)

// TestWhatAnAdminDecidesIsToldItsNoticeBefore drains pools and announces maintenance, at one minute and ten seconds after the start.
func TestWhatAnAdminDecidesIsToldItsNoticeBefore(t *testing.T) {
	now := builders.Start.Add(70 * time.Second)
	cases := map[string]struct {
		decides func(*boursev1.GPUPoolSpec)
		cause   boursev1.NoticeCause
		since   time.Time
		until   time.Time
	}{
		"a pool that is drained": {mode(boursev1.PoolDrain), boursev1.NoticeDrain, now, now.Add(notice)},
		"maintenance in ten minutes": {
			window(now.Add(10 * time.Minute)), boursev1.NoticeMaintenance, now.Add(10*time.Minute - notice), now.Add(10 * time.Minute),
		},
		"maintenance sooner than the notice": {window(now.Add(10 * time.Second)), boursev1.NoticeMaintenance, now, now.Add(notice)},
		"maintenance that is under way":      {window(now.Add(-time.Minute)), boursev1.NoticeMaintenance, now, now.Add(notice)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.running()
			b.hub.Step(now.Sub(b.hub.Now()))
			b.pool(tc.decides)
			for b.hub.Now().Before(tc.since) {
				wait := b.rest()
				b.goesOn()
				if at := b.hub.Now().Add(wait.RequeueAfter); at.After(tc.since) {
					t.Fatalf("it sleeps until %s, and the notice begins at %s", at, tc.since)
				}
				b.hub.Step(wait.RequeueAfter)
			}
			b.rest()
			b.wantNotice(tc.cause, tc.since, tc.until)
			b.hub.Step(tc.until.Sub(b.hub.Now()) - time.Second)
			if wait := b.rest(); b.lease.Status.End != nil || wait.RequeueAfter != time.Second {
				t.Fatalf("a second before the time, it looks again in %s, and its end is %+v", wait.RequeueAfter, b.lease.Status.End)
			}
			b.hub.Step(time.Minute)
			b.rest()
			b.wantTaken(boursev1.EndTakenBack, tc.until, 30, tc.until.Sub(builders.Start.Add(time.Minute)).Milliseconds()*8)
		})
	}
}

func TestANoticeIsWithdrawnUntilItHasRunOut(t *testing.T) {
	cases := map[string]struct {
		decides, thinksOtherwise func(*boursev1.GPUPoolSpec)
	}{
		"a pool that is to sell again":    {mode(boursev1.PoolDrain), mode(boursev1.PoolSell)},
		"maintenance that is put off":     {window(builders.Start), window(builders.Start.Add(24 * time.Hour))},
		"maintenance that is given up":    {window(builders.Start), func(spec *boursev1.GPUPoolSpec) { spec.Maintenance = nil }},
		"a pool that is only put on hold": {mode(boursev1.PoolDrain), mode(boursev1.PoolHold)},
	}
	for name, tc := range cases {
		for inTime, step := range map[bool]time.Duration{true: notice - time.Second, false: notice} {
			t.Run(fmt.Sprintf("%s, in time: %t", name, inTime), func(t *testing.T) {
				b := newBench(t, nil)
				b.running()
				b.pool(tc.decides)
				b.rest()
				told := b.hub.Now()
				b.hub.Step(step)
				b.pool(tc.thinksOtherwise)
				b.rest()
				if !inTime {
					b.wantTaken(boursev1.EndTakenBack, told.Add(notice), 30, 30*8_000)
					return
				}
				b.goesOn()
				b.want(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning)
				b.hub.Step(time.Minute)
				b.rest()
				b.goesOn()
			})
		}
	}
}

// TestAFirmLeaseOutlastsWhatAnAdminDecides lets one run to its term, into maintenance that was announced after it began.
func TestAFirmLeaseOutlastsWhatAnAdminDecides(t *testing.T) {
	for name, decides := range map[string]func(*boursev1.GPUPoolSpec){
		"a pool that is drained":   mode(boursev1.PoolDrain),
		"maintenance in its midst": window(builders.Start.Add(10 * time.Minute)),
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tier(boursev1.TierFirm))
			b.running()
			var budget policyv1.PodDisruptionBudget
			if err := b.hub.Get(t.Context(), client.ObjectKey{Namespace: space(b.lease), Name: ray.BudgetName}, &budget); err != nil {
				t.Fatalf("nothing keeps its pods from being evicted: %v", err)
			}
			b.pool(decides)
			b.rest()
			b.goesOn()
			b.hub.Step(30 * time.Minute)
			b.rest()
			b.goesOn()
			b.hub.Step(30 * time.Minute)
			b.rest()
			b.wantEnd(boursev1.EndTermReached, boursev1.PartyBuyer)
		})
	}
}
