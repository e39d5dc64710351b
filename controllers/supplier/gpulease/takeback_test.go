// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
)

// firm makes the lease one that the supplier may not end early.
func firm(lease *boursev1.GPULease, pool *boursev1.GPUPool) {
	lease.Spec.Terms.Tier = boursev1.TierFirm
	pool.Spec.Terms.Tiers = append(pool.Spec.Terms.Tiers, boursev1.TierFirm)
}

// editPool changes the pool that the lease is of.
func (b *bench) editPool(change func(*boursev1.GPUPool)) {
	b.t.Helper()
	pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: b.lease.Spec.Pool}}
	b.hub.Read(pool)
	change(pool)
	b.hub.Edit(pool)
}

func drain(pool *boursev1.GPUPool) { pool.Spec.Mode = boursev1.PoolDrain }

// window announces an hour of maintenance that begins so long from now.
func (b *bench) window(from time.Duration) {
	b.t.Helper()
	b.editPool(func(pool *boursev1.GPUPool) {
		pool.Spec.Maintenance = append(pool.Spec.Maintenance, boursev1.MaintenanceWindow{
			Start: metav1.NewTime(b.hub.Now().Add(from)), DurationSeconds: int32(time.Hour / time.Second),
		})
	})
}

// take has the workers told to leave.
func (b *bench) take(by ray.Taker) {
	b.t.Helper()
	b.edit("ray-worker-1", func(pod *corev1.Pod) { raytest.Take(pod, by, b.hub.Now()) })
}

// What a supplier does to a lease ends it as its tier says, and is paid until the pods were told.
func TestWhatASupplierTakes(t *testing.T) {
	cases := map[string]struct {
		change     func(*boursev1.GPULease, *boursev1.GPUPool)
		happens    func(*bench)
		wantReason string
		wantWords  string
	}{
		"its scheduler takes an interruptible lease": {
			nil, func(b *bench) { b.take(ray.TakerScheduler) }, boursev1.EndTakenBack, "for its own work; the pods had 30s",
		},
		"a drained node takes an interruptible lease": {
			nil, func(b *bench) { b.take(ray.TakerEviction) }, boursev1.EndTakenBack, "evicted a worker",
		},
		"its scheduler breaks a firm lease": {
			firm, func(b *bench) { b.take(ray.TakerScheduler) }, boursev1.EndBreached, "broke the firm lease",
		},
		"an eviction breaks a firm lease": {
			firm, func(b *bench) { b.take(ray.TakerEviction) }, boursev1.EndBreached, "evicted a worker",
		},
		"a pool that drains takes an interruptible lease": {
			nil, func(b *bench) { b.editPool(drain) }, boursev1.EndTakenBack, "drains the pool",
		},
		"a window whose notice begins takes an interruptible lease": {
			nil, func(b *bench) { b.window(20 * time.Second) }, boursev1.EndTakenBack, "for the maintenance of 2027-03-01T",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			b.running()
			b.hub.Step(10 * time.Second)
			tc.happens(b)
			b.hub.Step(0)
			b.rest()
			b.wantEnd(tc.wantReason, boursev1.PartySupplier)
			if !strings.Contains(b.lease.Status.End.Message, tc.wantWords) {
				t.Errorf("the buyer reads %q, want %q in it", b.lease.Status.End.Message, tc.wantWords)
			}
			if got := *b.lease.Status.Usage.GPUMilliseconds; got != 80_000 {
				t.Errorf("%d GPU-ms are to be paid, want 80000", got)
			}
			b.promise()
			b.over()
			b.want(boursev1.Succeeded, metav1.ConditionFalse, tc.wantReason)
			b.nothingLeft()
		})
	}
}

// What is no decision of the supplier, or does not concern the lease, takes nothing back.
func TestWhatTakesNothingBack(t *testing.T) {
	cases := map[string]struct {
		change  func(*boursev1.GPULease, *boursev1.GPUPool)
		happens func(*bench)
	}{
		"a pool that drains leaves a firm lease":      {firm, func(b *bench) { b.editPool(drain) }},
		"a window leaves a firm lease":                {firm, func(b *bench) { b.window(time.Second) }},
		"a window that is over":                       {nil, func(b *bench) { b.window(-2 * time.Hour) }},
		"a pool on hold":                              {nil, func(b *bench) { b.editPool(func(p *boursev1.GPUPool) { p.Spec.Mode = boursev1.PoolHold }) }},
		"a pool that is gone":                         {nil, (*bench).removePool},
		"a node that is gone, which is not known":     {nil, func(b *bench) { b.take("DeletionByPodGC") }},
		"a node that cannot be reached":               {nil, func(b *bench) { b.take("DeletionByTaintManager") }},
		"a node under pressure, which ended a worker": {nil, func(b *bench) { b.take("TerminationByKubelet") }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			b.running()
			b.hub.Step(10 * time.Second)
			tc.happens(b)
			b.rest()
			if b.lease.Status.End != nil {
				t.Fatalf("the lease ended: %+v", b.lease.Status.End)
			}
		})
	}
}

func (b *bench) removePool() {
	b.t.Helper()
	pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: b.lease.Spec.Pool}}
	if err := b.hub.Delete(b.t.Context(), pool); err != nil {
		b.t.Fatal(err)
	}
}

// A pool that cannot be read ends nothing, and the pass is tried again.
func TestAPoolThatCannotBeReadTakesNothingBack(t *testing.T) {
	b := newBench(t, nil)
	b.running()
	b.editPool(drain)
	controller := b.controller()
	controller.Local = blindToPools{controller.Local}
	lease := b.lease.DeepCopy()
	if _, err := controller.Reconcile(t.Context(), lease); !errors.Is(err, errBlind) {
		t.Errorf("err = %v, want %v", err, errBlind)
	}
	if lease.Status.End != nil {
		t.Errorf("the lease ended: %+v", lease.Status.End)
	}
}

var errBlind = errors.New("no answer")

// blindToPools cannot read them.
type blindToPools struct{ client.Client }

func (b blindToPools) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if _, ok := object.(*boursev1.GPUPool); ok {
		return errBlind
	}
	return b.Client.Get(ctx, key, object, opts...)
}

// The lease runs until its notice begins, and wakes up for it by itself.
func TestALeaseIsToldItsNoticeBeforeAWindow(t *testing.T) {
	b := newBench(t, nil)
	b.running()
	b.window(10 * time.Minute)
	for b.lease.Status.End == nil {
		result := b.rest()
		if b.lease.Status.End != nil {
			break
		}
		if result.RequeueAfter <= 0 {
			t.Fatal("nothing wakes the lease")
		}
		b.hub.Step(result.RequeueAfter)
	}
	b.wantEnd(boursev1.EndTakenBack, boursev1.PartySupplier)
	pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: b.lease.Spec.Pool}}
	b.hub.Read(pool)
	if left := pool.Spec.Maintenance[0].Start.Sub(b.lease.Status.End.At.Time); left != notice(b.lease) {
		t.Errorf("the pods have %s before the window, want the notice of %s", left, notice(b.lease))
	}
}

// A lease that was told to leave does not stay when its pool sells again.
func TestATakenLeaseStaysTaken(t *testing.T) {
	b := newBench(t, nil)
	b.running()
	b.editPool(drain)
	b.rest()
	b.editPool(func(pool *boursev1.GPUPool) { pool.Spec.Mode = boursev1.PoolSell })
	b.rest()
	b.wantEnd(boursev1.EndTakenBack, boursev1.PartySupplier)
}

func TestNoLeaseIsAcceptedIntoMaintenance(t *testing.T) {
	cases := map[string]struct {
		change  func(*boursev1.GPULease, *boursev1.GPUPool)
		happens func(*bench)
		want    string
	}{
		"a term that would run into a window":         {nil, func(b *bench) { b.window(30 * time.Minute) }, "maintenance of"},
		"a firm term that would run into a window":    {firm, func(b *bench) { b.window(30 * time.Minute) }, "maintenance of"},
		"a window that is open":                       {nil, func(b *bench) { b.window(-time.Minute) }, "maintenance of"},
		"a pool that drains":                          {nil, func(b *bench) { b.editPool(drain) }, "sells nothing now"},
		"a window after the term refuses nothing":     {nil, func(b *bench) { b.window(3 * time.Hour) }, ""},
		"a window that is over already is none of it": {nil, func(b *bench) { b.window(-2 * time.Hour) }, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			tc.happens(b)
			b.rest()
			end := b.lease.Status.End
			switch {
			case tc.want == "" && end != nil:
				t.Errorf("it was refused: %s", end.Message)
			case tc.want != "" && (end == nil || end.Reason != boursev1.EndNotAccepted || !strings.Contains(end.Message, tc.want)):
				t.Errorf("end is %+v, want %q", end, tc.want)
			}
		})
	}
}

// Nobody evicts a pod of a firm lease; an interruptible one can be.
func TestOnlyFirmLeasesForbidEviction(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*boursev1.GPULease, *boursev1.GPUPool)
		want   int
	}{"firm": {firm, 1}, "interruptible": {nil, 0}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			b.accepted()
			var budgets policyv1.PodDisruptionBudgetList
			if err := b.hub.List(t.Context(), &budgets, client.InNamespace(space(b.lease))); err != nil {
				t.Fatal(err)
			}
			if len(budgets.Items) != tc.want {
				t.Errorf("%d budgets, want %d", len(budgets.Items), tc.want)
			}
		})
	}
}
