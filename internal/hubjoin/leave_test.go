// SPDX-License-Identifier: Apache-2.0

package hubjoin

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

func leave(mode join.Mode) join.Claim {
	return join.Claim{Kind: join.Leave, Wallet: key("w"), Mode: mode}
}

func TestWhoLeaves(t *testing.T) {
	whenSettled := &boursev1.MemberLeave{Since: metav1.NewTime(builders.Start), Mode: boursev1.LeaveWhenSettled}
	atOnce := &boursev1.MemberLeave{Since: metav1.NewTime(builders.Start), Mode: boursev1.LeaveAtOnce}
	cases := map[string]struct {
		modes []join.Mode
		want  *boursev1.MemberLeave
	}{
		"when all is settled":           {[]join.Mode{join.WhenSettled}, whenSettled},
		"at once":                       {[]join.Mode{join.AtOnce}, atOnce},
		"at once after all":             {[]join.Mode{join.WhenSettled, join.AtOnce}, atOnce},
		"at once, which is not undone":  {[]join.Mode{join.AtOnce, join.WhenSettled}, atOnce},
		"and who only looks stays":      {[]join.Mode{join.Look}, nil},
		"and who looks changes nothing": {[]join.Mode{join.WhenSettled, join.Look}, whenSettled},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, h := joined(t)
			for _, mode := range tc.modes {
				if _, err := h.Leave(t.Context(), leave(mode)); err != nil {
					t.Fatal(err)
				}
				hub.Step(time.Minute)
			}
			if diff := cmp.Diff(tc.want, member(hub).Spec.Leave); diff != "" {
				t.Errorf("spec.leave (-want +got):\n%s", diff)
			}
			again := tc.modes[len(tc.modes)-1]
			var err error
			if wrote := hub.Writes(func() { _, err = h.Leave(t.Context(), leave(again)) }); err != nil || len(wrote) > 0 {
				t.Errorf("the second time it wrote %v, %v", wrote, err)
			}
			if _, err := h.Renew(t.Context(), claim(join.Renew)); err != nil {
				t.Errorf("it loses its access before it has settled: %v", err)
			}
		})
	}
}

func TestToJoinAgainIsToStay(t *testing.T) {
	hub, h := joined(t)
	if _, err := h.Leave(t.Context(), leave(join.AtOnce)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Admit(t.Context(), claim(join.Join)); err != nil {
		t.Fatal(err)
	}
	if got := member(hub).Spec.Leave; got != nil {
		t.Errorf("it still leaves: %+v", got)
	}
}

func TestASuspendedMemberMayLeave(t *testing.T) {
	hub, h := joined(t)
	suspend(hub)
	got, err := h.Leave(t.Context(), leave(join.WhenSettled))
	if err != nil || !got.Suspended || got.Since.IsZero() {
		t.Errorf("got %+v, %v", got, err)
	}
	if spec := member(hub).Spec; spec.State != boursev1.MemberSuspended || spec.Leave == nil {
		t.Errorf("member %+v", spec)
	}
	if _, err := h.Admit(t.Context(), claim(join.Join)); !errors.Is(err, join.Suspended) {
		t.Errorf("it joins again: %v", err)
	}
}

func TestWhoLeavesIsToldWhatTheMarketSays(t *testing.T) {
	hub, h := joined(t)
	until := builders.Start.Add(time.Hour)
	m := member(hub)
	m.Status.Leaving = &boursev1.MemberLeaving{Supplied: new(int32(2)), Bought: new(int32(1)), Until: new(metav1.NewTime(until))}
	if err := hub.Status().Update(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	got, err := h.Leave(t.Context(), leave(join.WhenSettled))
	want := join.Departure{Namespace: m.Namespace, Since: builders.Start, Known: true, Supplied: 2, Bought: 1, Until: until}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("departure, %v (-want +got):\n%s", err, diff)
	}
}

func TestWhoCannotLeave(t *testing.T) {
	cases := map[string]struct {
		hub  func(t *testing.T) (*fakehub.Hub, *Hub)
		want join.Reason
	}{
		"who has not joined":      {func(t *testing.T) (*fakehub.Hub, *Hub) { t.Helper(); return newBench(t) }, join.NotMember},
		"a member by another way": {func(t *testing.T) (*fakehub.Hub, *Hub) { t.Helper(); return newBench(t, builders.Member("w")) }, join.WalletTaken},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, h := tc.hub(t)
			var err error
			wrote := hub.Writes(func() { _, err = h.Leave(t.Context(), leave(join.AtOnce)) })
			if !errors.Is(err, tc.want) || len(wrote) > 0 {
				t.Errorf("got %v and wrote %v, want %s", err, wrote, tc.want)
			}
		})
	}
}

func TestWhoHasLeftMustWaitUntilAllIsGone(t *testing.T) {
	hub, h := joined(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: join.Namespace(key("w"))}}
	hub.Read(namespace)
	namespace.Finalizers = []string{"kubernetes"}
	hub.Edit(namespace)
	if err := hub.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Admit(t.Context(), claim(join.Join)); !errors.Is(err, join.Leaving) {
		t.Errorf("got %v, want %s", err, join.Leaving)
	}
}

func TestWhoIsRemoved(t *testing.T) {
	cases := map[string]struct {
		change        func(hub *fakehub.Hub)
		stays         bool
		removed       bool
		member, space bool // what is there then
	}{
		"with its namespace":    {nil, false, true, false, false},
		"without its namespace": {nil, true, true, false, true},
		"not from a namespace that an admin made": {func(hub *fakehub.Hub) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: join.Namespace(key("w"))}}
			hub.Read(namespace)
			namespace.Labels = nil
			hub.Edit(namespace)
		}, false, false, true, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, h := joined(t)
			if tc.change != nil {
				tc.change(hub)
			}
			m := member(hub)
			if got, err := h.Joined(t.Context(), m); err != nil || got != tc.removed {
				t.Errorf("it joined: %t, %v, want %t", got, err, tc.removed)
			}
			for range 2 { // the second time nothing is left to do
				if removed, err := h.Remove(t.Context(), m, tc.stays); err != nil || removed != tc.removed {
					t.Fatalf("removed %t, %v, want %t", removed, err, tc.removed)
				}
			}
			for object, want := range map[client.Object]bool{
				m: tc.member, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.Namespace}}: tc.space,
			} {
				err := hub.Get(t.Context(), client.ObjectKeyFromObject(object), object)
				if client.IgnoreNotFound(err) != nil || (err == nil) != want {
					t.Errorf("%T: %v, want it there: %t", object, err, want)
				}
			}
			if got := there(t, hub); tc.removed && got != "" {
				t.Errorf("it still has %s", got)
			}
		})
	}
}

// The market decides by what its cache says.
func TestWhoHasJoinedAgainIsNotRemoved(t *testing.T) {
	cases := map[string]func(t *testing.T, hub *fakehub.Hub, h *Hub){
		"a member that has joined again": func(t *testing.T, _ *fakehub.Hub, h *Hub) {
			t.Helper()
			if _, err := h.Admit(t.Context(), claim(join.Join)); err != nil {
				t.Fatal(err)
			}
		},
		"a member that was suspended": func(_ *testing.T, hub *fakehub.Hub, _ *Hub) {
			m := member(hub)
			m.Spec.State = boursev1.MemberSuspended
			hub.Edit(m)
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			hub, h := joined(t)
			if _, err := h.Leave(t.Context(), leave(join.WhenSettled)); err != nil {
				t.Fatal(err)
			}
			before := member(hub)
			change(t, hub, h)
			wrote := hub.Writes(func() {
				if removed, err := h.Remove(t.Context(), before, false); removed || !errors.Is(err, errChanged) {
					t.Errorf("removed %t, %v, want %v", removed, err, errChanged)
				}
			})
			if len(wrote) > 0 {
				t.Errorf("wrote %v", wrote)
			}
		})
	}
}
