// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/presence"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// connectBench is a market that looks at the signs of one member's managers.
type connectBench struct {
	*testing.T

	hub   *fakehub.Hub
	r     *Reconciler
	woken []string
}

func newConnectBench(t *testing.T) *connectBench {
	t.Helper()
	hub, r := newBench(t, member(builders.Supplier, "w", time.Hour))
	return &connectBench{T: t, hub: hub, r: r}
}

// beats renews a manager's Lease; the time that it says is another one each time, and no matter which.
func (b *connectBench) beats(role string) {
	b.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: builders.Supplier, Name: "bourse-presence-" + role}}
	err := b.hub.Get(b.Context(), client.ObjectKeyFromObject(lease), lease)
	lease.Labels = map[string]string{boursev1.LabelPresence: role}
	said := metav1.NewMicroTime(b.hub.Now().Add(-time.Hour)) // its clock is wrong
	lease.Spec.RenewTime = &said
	if err != nil {
		err = b.hub.Create(b.Context(), lease)
	} else {
		err = b.hub.Update(b.Context(), lease)
	}
	if err != nil {
		b.Fatal(err)
	}
}

// look lets some time pass, looks as the census does, and lets those who are woken say what they see.
func (b *connectBench) look(after time.Duration) {
	b.Helper()
	b.hub.Step(after)
	woken := make(chan event.GenericEvent, 10)
	c := &census{hub: b.hub, seen: &b.r.seen, woken: woken, now: b.hub.Now}
	if err := c.look(b.Context()); err != nil {
		b.Fatal(err)
	}
	close(woken)
	b.woken = nil
	for e := range woken {
		b.woken = append(b.woken, e.Object.GetNamespace())
		b.pass()
	}
}

func (b *connectBench) pass() { pass(b.T, b.hub, b.r, builders.Supplier) }

// is holds what is said of the member now, and that a second pass writes nothing.
func (b *connectBench) is(status metav1.ConditionStatus, message string) {
	b.Helper()
	m := builders.Member(builders.Supplier)
	b.hub.Read(m)
	got := meta.FindStatusCondition(m.Status.Conditions, boursev1.MemberConnected)
	switch {
	case got == nil && status != "":
		b.Errorf("nothing is said, want %s", status)
	case got != nil && (got.Status != status || message != "" && got.Message != message):
		b.Errorf("said %s: %q; want %s: %q", got.Status, got.Message, status, message)
	}
	b.pass()
	if wrote := b.hub.Writes(b.pass); len(wrote) != 0 {
		b.Errorf("the second pass wrote %v", wrote)
	}
}

func TestAMemberIsConnectedWhileItsManagersShowThemselves(t *testing.T) {
	b := newConnectBench(t)
	b.look(0)
	b.is("", "")
	b.beats("supplier")
	b.look(lookEvery)
	b.is(metav1.ConditionTrue, "")
	for range 40 { // ten minutes
		b.beats("supplier")
		b.look(lookEvery)
		if len(b.woken) > 0 {
			t.Fatal("a sign that came in time woke somebody")
		}
	}
	b.look(presence.Patience - time.Second)
	b.is(metav1.ConditionTrue, "")
	b.look(time.Second)
	b.is(metav1.ConditionUnknown, "Not seen for a while: the manager of the role supplier")
	b.look(time.Hour)
	if len(b.woken) > 0 {
		t.Error("a member that is still not seen was woken")
	}
	b.beats("supplier")
	b.look(lookEvery)
	b.is(metav1.ConditionTrue, "")
}

func TestOneManagerOfTwoIsMissed(t *testing.T) {
	b := newConnectBench(t)
	b.look(0)
	b.beats("supplier")
	b.beats("buyer")
	b.look(lookEvery)
	b.is(metav1.ConditionTrue, "")
	b.hub.Step(presence.Patience)
	b.beats("supplier")
	b.look(0)
	b.is(metav1.ConditionUnknown, "Not seen for a while: the manager of the role buyer")
}

// A market that was restarted knows nothing for a while, and changes nothing that was said.
func TestAMarketThatHasJustBegunHasNoOpinion(t *testing.T) {
	b := newConnectBench(t)
	b.look(0)
	b.beats("supplier")
	b.look(lookEvery)
	b.is(metav1.ConditionTrue, "")
	b.r = &Reconciler{Teller: b.hub.Teller(), Hub: b.hub, Now: b.hub.Now}
	b.hub.Step(time.Hour) // it was away for long, and so may the member have been
	b.is(metav1.ConditionTrue, "")
	b.look(0)
	b.is(metav1.ConditionTrue, "")
	b.look(presence.Patience - time.Second)
	b.is(metav1.ConditionTrue, "")
	b.look(time.Second)
	b.is(metav1.ConditionUnknown, "")
}

func TestASignThatIsRemovedIsNotMissed(t *testing.T) {
	b := newConnectBench(t)
	b.look(0)
	b.beats("supplier")
	b.look(lookEvery)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: builders.Supplier, Name: "bourse-presence-supplier"}}
	if err := b.hub.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	b.look(lookEvery)
	b.is(metav1.ConditionUnknown, "No manager of the member says any more that it is there")
}

// What the market makes of a member does not depend on whether it is seen.
func TestNothingFollowsFromNotBeingSeen(t *testing.T) {
	b := newConnectBench(t)
	b.look(0)
	b.beats("supplier")
	b.look(lookEvery)
	b.look(time.Hour)
	m := builders.Member(builders.Supplier)
	b.hub.Read(m)
	if ready := meta.FindStatusCondition(m.Status.Conditions, boursev1.Ready); ready == nil || ready.Status != metav1.ConditionTrue {
		t.Errorf("Ready is %+v, want True", ready)
	}
}

func TestTheCensusEndsWithItsManager(t *testing.T) {
	b := newConnectBench(t)
	b.look(0)
	b.beats("supplier")
	ctx, stop := context.WithCancel(t.Context())
	c := &census{hub: b.hub, seen: &b.r.seen, woken: make(chan event.GenericEvent), now: b.hub.Now} // nobody listens
	ended := make(chan error, 1)
	go func() { ended <- c.Start(ctx) }()
	stop()
	select {
	case err := <-ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Error("it goes on")
	}
}
