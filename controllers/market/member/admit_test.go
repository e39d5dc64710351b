// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

func member(namespace, wallet string, age time.Duration) *boursev1.Member {
	m := builders.Member(namespace)
	m.Spec.Wallet = builders.Address(wallet)
	m.CreationTimestamp = metav1.NewTime(builders.Start.Add(-age))
	m.Status.Conditions = nil
	return m
}

func state(namespace string, of boursev1.MemberState) *boursev1.Member {
	m := member(namespace, namespace, 0)
	m.Spec.State = of
	return m
}

// withdrawn are the namespaces whose access was taken; err is what comes of the next one.
type withdrawn struct {
	namespaces []string
	err        error
}

func (w *withdrawn) Withdraw(_ context.Context, namespace string) error {
	w.namespaces = append(w.namespaces, namespace)
	return w.err
}

func (w *withdrawn) Remove(context.Context, *boursev1.Member, bool) (bool, error) {
	return false, w.err
}

func (w *withdrawn) Joined(context.Context, *boursev1.Member) (bool, error) { return true, w.err }

func (w *withdrawn) Dismiss(context.Context, *boursev1.Member) error { return w.err }

func newBench(t *testing.T, objects ...client.Object) (*fakehub.Hub, *Reconciler) {
	t.Helper()
	hub := fakehub.New(t, []fakehub.Index{
		{Of: &boursev1.Member{}, Name: byWallet, Values: walletOf},
		{Of: &boursev1.Settlement{}, Name: byClosed, Values: closedOf},
		{Of: &boursev1.GPULease{}, Name: byBuyer, Values: buyerOf},
	}, objects...)
	return hub, &Reconciler{Teller: hub.Teller(), Hub: hub, Live: hub, Now: hub.Now}
}

func pass(t *testing.T, hub *fakehub.Hub, r *Reconciler, namespace string) *metav1.Condition {
	t.Helper()
	m := builders.Member(namespace)
	hub.Read(m)
	if _, err := r.Reconcile(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	hub.Read(m)
	return meta.FindStatusCondition(m.Status.Conditions, boursev1.Ready)
}

func TestAdmit(t *testing.T) {
	broken := member("a", "a", 0)
	broken.Spec.Wallet = "11111111111111111111111111111111111111111111"
	cases := map[string]struct {
		members []client.Object
		status  metav1.ConditionStatus
		reason  string
	}{
		"a wallet of its own": {
			members: []client.Object{member("a", "a", 0), member("b", "b", time.Hour)},
			status:  metav1.ConditionTrue, reason: boursev1.ReasonAdmitted,
		},
		"a wallet that an older member holds": {
			members: []client.Object{member("a", "same", 0), member("b", "same", time.Hour)},
			status:  metav1.ConditionFalse, reason: boursev1.ReasonWalletTaken,
		},
		"a wallet that a younger member holds": {
			members: []client.Object{member("a", "same", time.Hour), member("b", "same", 0)},
			status:  metav1.ConditionTrue, reason: boursev1.ReasonAdmitted,
		},
		"a wallet that a member of the same age holds": {
			members: []client.Object{member("a", "same", 0), member("b", "same", 0)},
			status:  metav1.ConditionTrue, reason: boursev1.ReasonAdmitted,
		},
		"a member that the admin suspended": {
			members: []client.Object{state("a", boursev1.MemberSuspended)},
			status:  metav1.ConditionFalse, reason: boursev1.ReasonSuspended,
		},
		"a member that the admin let in again": {
			members: []client.Object{state("a", boursev1.MemberActive)},
			status:  metav1.ConditionTrue, reason: boursev1.ReasonAdmitted,
		},
		"a wallet that is no address": {
			members: []client.Object{broken},
			status:  metav1.ConditionFalse, reason: boursev1.ReasonWalletInvalid,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, r := newBench(t, tc.members...)
			if got := pass(t, hub, r, "a"); got == nil || got.Status != tc.status || got.Reason != tc.reason {
				t.Errorf("Ready is %+v, want %s/%s", got, tc.status, tc.reason)
			}
			if wrote := hub.Writes(func() { pass(t, hub, r, "a") }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestASuspendedMemberLosesItsAccess(t *testing.T) {
	hub, r := newBench(t, state("a", boursev1.MemberSuspended), state("b", boursev1.MemberActive))
	access := &withdrawn{err: errors.New("the API server is down")}
	r.Access = access
	m := builders.Member("a")
	hub.Read(m)
	if _, err := r.Reconcile(t.Context(), m); !errors.Is(err, access.err) {
		t.Errorf("got %v: what could not be taken must be tried again", err)
	}
	hub.Read(m)
	if got := meta.FindStatusCondition(m.Status.Conditions, boursev1.Ready); got == nil || got.Reason != boursev1.ReasonSuspended {
		t.Errorf("Ready is %+v: the market must not deal with it, whatever became of its access", got)
	}
	access.err = nil
	pass(t, hub, r, "a")
	pass(t, hub, r, "b")
	if want := []string{"a", "a"}; !slices.Equal(access.namespaces, want) {
		t.Errorf("access was taken of %v, want %v", access.namespaces, want)
	}
}

func TestOfTwoWithOneWalletOneIsAdmitted(t *testing.T) {
	hub, r := newBench(t, member("a", "same", 0), member("b", "same", 0))
	if a, b := pass(t, hub, r, "a"), pass(t, hub, r, "b"); (a.Status == metav1.ConditionTrue) == (b.Status == metav1.ConditionTrue) {
		t.Errorf("a is %s and b is %s", a.Status, b.Status)
	}
	gone := member("a", "same", 0)
	if got := r.rivals(t.Context(), gone); len(got) != 1 || got[0].Namespace != "b" {
		t.Errorf("when a changes, %v are looked at, want b", got)
	}
}
