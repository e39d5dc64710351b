// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// remover removes the Member of those that joined.
type remover struct {
	withdrawn

	hub    *fakehub.Hub
	joined bool
	stays  bool // the namespace does
}

func (r *remover) Remove(ctx context.Context, member *boursev1.Member, stays bool) (bool, error) {
	if r.err != nil || !r.joined {
		return false, r.err
	}
	r.stays = stays
	return true, r.hub.Delete(ctx, member)
}

func (r *remover) Joined(context.Context, *boursev1.Member) (bool, error) { return r.joined, r.err }

// Dismiss does what the join server does.
func (r *remover) Dismiss(ctx context.Context, member *boursev1.Member) error {
	if r.err != nil {
		return r.err
	}
	next := member.DeepCopy()
	next.Spec.Leave = &boursev1.MemberLeave{Since: metav1.NewTime(r.hub.Now()), Mode: boursev1.LeaveUnseen}
	return r.hub.Patch(ctx, next, client.MergeFromWithOptions(member, client.MergeFromWithOptimisticLock{}))
}

// leaving returns the supplier, which leaves.
func leaving(mode boursev1.LeaveMode) *boursev1.Member {
	m := supplierOnly()
	m.Spec.Leave = &boursev1.MemberLeave{Since: metav1.NewTime(builders.Start), Mode: mode}
	return m
}

// over returns a lease that has ended and is settled, with its escrow closed or never opened.
func over(t *testing.T, settled string) *boursev1.GPULease {
	t.Helper()
	lease := ended(t, "train", boursev1.EndCompleted, boursev1.PartyBuyer)
	lease.Status.Conditions = []metav1.Condition{
		builders.Condition(boursev1.LeaseSettled, metav1.ConditionTrue, settled),
		builders.Condition(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndCompleted),
	}
	return lease
}

func runs(t *testing.T) *boursev1.GPULease {
	t.Helper()
	lease := ended(t, "runs", "", "")
	lease.Status.End = nil
	return lease
}

// bought is the lease, of another supplier, for a job of the member that leaves.
func bought(lease *boursev1.GPULease) *boursev1.GPULease {
	lease.Spec.Buyer, lease.Spec.Job.Namespace, lease.Namespace = builders.Address(builders.Supplier), builders.Supplier, "elsewhere"
	return lease
}

func look(t *testing.T, hub *fakehub.Hub, r *Reconciler) (*boursev1.Member, reconcile.Result) {
	t.Helper()
	m := supplierOnly()
	hub.Read(m)
	result, err := r.Reconcile(t.Context(), m)
	if err != nil {
		t.Fatal(err)
	}
	if client.IgnoreNotFound(hub.Get(t.Context(), client.ObjectKeyFromObject(m), m)) != nil {
		t.Fatal("the member cannot be read")
	}
	return m, result
}

func TestWhatKeepsAMemberThatLeaves(t *testing.T) {
	cases := map[string]struct {
		objects          func(t *testing.T) []client.Object
		after            time.Duration // since it was told to leave
		supplied, bought int32
	}{
		"nothing":           {func(*testing.T) []client.Object { return nil }, quiet, 0, 0},
		"a lease that runs": {func(t *testing.T) []client.Object { t.Helper(); return []client.Object{runs(t)} }, quiet, 1, 0},
		"a lease that is being settled": {func(t *testing.T) []client.Object {
			t.Helper()
			return []client.Object{ended(t, "train", boursev1.EndCompleted, boursev1.PartyBuyer)}
		}, quiet, 1, 0},
		"a lease whose end is not recorded yet": {func(t *testing.T) []client.Object {
			t.Helper()
			return []client.Object{over(t, boursev1.ReasonClosed)}
		}, quiet, 1, 0},
		"not one whose end is recorded": {func(t *testing.T) []client.Object {
			t.Helper()
			lease := over(t, boursev1.ReasonClosed)
			return []client.Object{lease, closed(lease)}
		}, quiet, 0, 0},
		"not one that nothing was paid for": {func(t *testing.T) []client.Object {
			t.Helper()
			return []client.Object{over(t, boursev1.ReasonNothingOwed)}
		}, quiet, 0, 0},
		"a lease of its job": {func(t *testing.T) []client.Object { t.Helper(); return []client.Object{bought(runs(t))} }, quiet, 0, 1},
		"not a lease of its job that is settled": {func(t *testing.T) []client.Object {
			t.Helper()
			lease := bought(over(t, boursev1.ReasonClosed))
			return []client.Object{lease, closed(lease)}
		}, quiet, 0, 0},
		"nothing for ever": {func(t *testing.T) []client.Object {
			t.Helper()
			return []client.Object{runs(t), bought(ended(t, "train", boursev1.EndCompleted, boursev1.PartyBuyer))}
		}, 30 * 24 * time.Hour, 0, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			objects := tc.objects(t)
			hub, r := newBench(t, append(objects, leaving(boursev1.LeaveWhenSettled))...)
			r.Access = &remover{hub: hub, joined: true}
			hub.Step(tc.after)
			m, result := look(t, hub, r)
			if got := m.Status.Leaving; got == nil || *got.Supplied != tc.supplied || *got.Bought != tc.bought {
				t.Fatalf("status.leaving is %+v, want %d and %d", got, tc.supplied, tc.bought)
			}
			if why := meta.FindStatusCondition(m.Status.Conditions, boursev1.Ready); why == nil || why.Reason != boursev1.ReasonLeaving {
				t.Errorf("Ready is %+v: it must be matched no more", why)
			}
			if tc.supplied+tc.bought == 0 {
				look(t, hub, r)
				if err := hub.Get(t.Context(), client.ObjectKeyFromObject(m), m); client.IgnoreNotFound(err) != nil || err == nil {
					t.Errorf("the member is still there: %v", err)
				}
				return
			}
			lease, _ := objects[0].(*boursev1.GPULease)
			if until := m.Status.Leaving.Until; until == nil || !until.Time.Equal(listing.GivenUp(lease)) || result.RequeueAfter != pollLeases {
				t.Errorf("it waits until %v and looks again in %s", until, result.RequeueAfter)
			}
			if wrote := hub.Writes(func() { look(t, hub, r) }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestAMemberIsNotRemovedWhileMatchesMayBeUnderWay(t *testing.T) {
	hub, r := newBench(t, leaving(boursev1.LeaveWhenSettled))
	r.Access = &remover{hub: hub, joined: true}
	_, result := look(t, hub, r)
	if result.RequeueAfter != quiet {
		t.Errorf("it looks again in %s, want %s", result.RequeueAfter, quiet)
	}
	hub.Step(quiet)
	index := []fakehub.Index{{Of: &boursev1.GPULease{}, Name: byBuyer, Values: buyerOf}}
	r.Live = fakehub.New(t, index, runs(t), leaving(boursev1.LeaveWhenSettled))
	for range 3 {
		if m, _ := look(t, hub, r); m.UID != "" && m.Spec.Leave == nil {
			t.Fatal("it is gone, though the API server has a lease that the cache does not show")
		}
	}
	m := supplierOnly()
	hub.Read(m) // fails if it is gone
}

func TestAMemberIsNotRemovedThatHasJustComeBack(t *testing.T) {
	hub, r := newBench(t, leaving(boursev1.LeaveWhenSettled))
	r.Access = &remover{hub: hub, joined: true}
	hub.Step(quiet)
	r.Live = fakehub.New(t, []fakehub.Index{{Of: &boursev1.GPULease{}, Name: byBuyer, Values: buyerOf}}, supplierOnly())
	for range 3 {
		if _, result := look(t, hub, r); result.RequeueAfter != time.Second {
			t.Errorf("it looks again in %s", result.RequeueAfter)
		}
	}
	hub.Read(supplierOnly()) // fails if it is gone
}

func TestWhoLeavesAtOnce(t *testing.T) {
	job := builders.Job("mine")
	job.Namespace, job.Finalizers = builders.Supplier, []string{"test/kept"}
	done := builders.Job("done")
	done.Namespace = builders.Supplier
	done.Status.Conditions = []metav1.Condition{builders.Condition(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndCompleted)}
	other, ran := builders.Job("other"), runs(t)
	theirs := bought(runs(t))
	theirs.Name = "theirs"
	hub, r := newBench(t, leaving(boursev1.LeaveAtOnce), job, done, other, ran, theirs)
	look(t, hub, r)
	hub.Read(ran)
	if ran.Spec.State != boursev1.LeaseEnded || ran.Spec.EndReason != boursev1.EndSupplierLeft {
		t.Errorf("its lease is %s/%s", ran.Spec.State, ran.Spec.EndReason)
	}
	hub.Read(theirs)
	if theirs.Spec.State != boursev1.LeaseActive {
		t.Error("the lease of another supplier was ended by the market, and not by deleting the job")
	}
	hub.Read(job)
	hub.Read(done)
	hub.Read(other)
	if job.DeletionTimestamp.IsZero() || !done.DeletionTimestamp.IsZero() || !other.DeletionTimestamp.IsZero() {
		t.Errorf("deleted: its job %v, one that is over %v, another's %v", job.DeletionTimestamp, done.DeletionTimestamp, other.DeletionTimestamp)
	}
	if wrote := hub.Writes(func() { look(t, hub, r) }); len(wrote) != 0 {
		t.Errorf("the second pass wrote %v", wrote)
	}
}

func TestWhoStaysHasNothingOfLeaving(t *testing.T) {
	hub, r := newBench(t, leaving(boursev1.LeaveWhenSettled), runs(t))
	m, _ := look(t, hub, r)
	m.Spec.Leave = nil
	hub.Edit(m)
	m, _ = look(t, hub, r)
	if m.Status.Leaving != nil || meta.FindStatusCondition(m.Status.Conditions, boursev1.MemberSettled) != nil ||
		!meta.IsStatusConditionTrue(m.Status.Conditions, boursev1.Ready) {
		t.Errorf("status %+v", m.Status)
	}
}

func TestWhoIsKept(t *testing.T) {
	cases := map[string]struct {
		state  boursev1.MemberState
		joined bool
	}{
		"one that is suspended, or it would not be any more": {boursev1.MemberSuspended, true},
		"one that an admin made":                             {boursev1.MemberActive, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m, offer := leaving(boursev1.LeaveWhenSettled), builders.Offer(builders.Supplier, "h100")
			m.Spec.State = tc.state
			hub, r := newBench(t, m, offer)
			r.Access = &remover{hub: hub, joined: tc.joined}
			hub.Step(quiet)
			look(t, hub, r)
			m, _ = look(t, hub, r)
			if got := meta.FindStatusCondition(m.Status.Conditions, boursev1.MemberSettled); got == nil || got.Reason != boursev1.ReasonKept {
				t.Errorf("Settled is %+v", got)
			}
			if err := hub.Get(t.Context(), client.ObjectKeyFromObject(offer), offer); client.IgnoreNotFound(err) != nil || err == nil {
				t.Errorf("its offer is still there: %v", err)
			}
			if wrote := hub.Writes(func() { look(t, hub, r) }); len(wrote) != 0 {
				t.Errorf("the next pass wrote %v", wrote)
			}
		})
	}
}

// What audits and reputations are made of stays, with its namespace, and nothing else does.
func TestWhatStaysOfAMemberThatLeft(t *testing.T) {
	cases := map[string]struct {
		lease func(t *testing.T) *boursev1.GPULease
		stays bool
	}{
		"a lease that was paid": {func(t *testing.T) *boursev1.GPULease { t.Helper(); return over(t, boursev1.ReasonClosed) }, true},
		"a lease that nothing was deposited for": {
			func(t *testing.T) *boursev1.GPULease { t.Helper(); return over(t, boursev1.ReasonNothingOwed) }, false,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lease := tc.lease(t)
			job, offer := builders.Job("mine"), builders.Offer(builders.Supplier, "h100")
			job.Namespace = builders.Supplier
			voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: builders.Supplier, Name: "v"}}
			program := &boursev1.LeaseProgram{ObjectMeta: metav1.ObjectMeta{Namespace: builders.Supplier, Name: lease.Name}}
			hub, r := newBench(t, leaving(boursev1.LeaveWhenSettled), lease, closed(lease), job, offer, voucher, program)
			access := &remover{hub: hub, joined: true}
			r.Access = access
			hub.Step(quiet)
			look(t, hub, r)
			look(t, hub, r)
			if access.stays != tc.stays {
				t.Fatalf("the namespace stays: %t, want %t", access.stays, tc.stays)
			}
			for _, object := range []client.Object{job, offer, voucher, program} {
				if err := hub.Get(t.Context(), client.ObjectKeyFromObject(object), object); tc.stays && (client.IgnoreNotFound(err) != nil || err == nil) {
					t.Errorf("%T is left in it: %v", object, err)
				}
			}
			hub.Read(lease) // fails if it is gone
		})
	}
}

func TestWhatCannotBeRemovedIsTriedAgain(t *testing.T) {
	hub, r := newBench(t, leaving(boursev1.LeaveWhenSettled))
	down := errors.New("the API server is down")
	access := &remover{hub: hub, joined: true}
	r.Access = access
	hub.Step(quiet)
	look(t, hub, r)
	access.err = down
	m := supplierOnly()
	hub.Read(m)
	if _, err := r.Reconcile(t.Context(), m); !errors.Is(err, down) {
		t.Errorf("got %v, want %v", err, down)
	}
}

func TestWhoseLeaseItIs(t *testing.T) {
	_, r := newBench(t, leaving(boursev1.LeaveWhenSettled), member("stays", "stays", 0))
	lease := bought(runs(t))
	if got := r.leaver(t.Context(), lease); len(got) != 1 || got[0].Namespace != builders.Supplier {
		t.Errorf("a lease of its job wakes %v", got)
	}
	lease.Spec.Job.Namespace = "stays"
	if got := r.leaver(t.Context(), lease); len(got) != 0 {
		t.Errorf("a lease of one that stays wakes %v", got)
	}
}
