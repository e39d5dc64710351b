// SPDX-License-Identifier: Apache-2.0

package hubjoin

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// long is a hub that the wallet joined, which has delegated to its agent for long.
func long(t *testing.T) (*fakehub.Hub, *Hub) {
	t.Helper()
	hub, h := newBench(t)
	c := claim(join.Join)
	c.Until = builders.Start.Add(90 * 24 * time.Hour)
	if _, err := h.Admit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	return hub, h
}

// edit changes the member's spec.
func edit(hub *fakehub.Hub, change func(spec *boursev1.MemberSpec)) {
	m := member(hub)
	change(&m.Spec)
	hub.Edit(m)
}

func TestThatSomebodyAskedIsWrittenDown(t *testing.T) {
	never := func(spec *boursev1.MemberSpec) { spec.AskedAt = nil }
	cases := map[string]struct {
		change func(spec *boursev1.MemberSpec)
		after  time.Duration
		agent  string
		writes bool
		want   error
	}{
		"not once more within half a day":         {nil, askedEvery - time.Second, "agent", false, nil},
		"after half a day":                        {nil, askedEvery, "agent", true, nil},
		"of one that joined an older hub":         {never, 0, "agent", true, nil},
		"of one that a wrong clock saw":           {func(spec *boursev1.MemberSpec) { spec.AskedAt.Time = spec.AskedAt.AddDate(3, 0, 0) }, 0, "agent", true, nil},
		"of one whose delegation has ended":       {func(spec *boursev1.MemberSpec) { spec.AgentKeyUntil = new(metav1.NewTime(builders.Start)) }, askedEvery, "agent", true, join.Expired},
		"not when it was somebody else":           {never, 0, "other", false, join.WrongKey},
		"not of one that is suspended, by itself": {func(spec *boursev1.MemberSpec) { spec.State = boursev1.MemberSuspended }, askedEvery, "agent", false, join.Suspended},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, h := long(t)
			if tc.change != nil {
				edit(hub, tc.change)
			}
			hub.Step(tc.after)
			c := claim(join.Renew)
			c.Agent = key(tc.agent)
			renew := func() {
				if _, err := h.Renew(t.Context(), c); !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
			}
			if wrote := hub.Writes(renew); (len(wrote) > 0) != tc.writes {
				t.Errorf("wrote %v", wrote)
			}
			if got := member(hub).Spec.AskedAt; tc.writes && (got == nil || !got.Time.Equal(hub.Now())) {
				t.Errorf("spec.askedAt is %v, want %v", got, hub.Now())
			}
			if wrote := hub.Writes(renew); len(wrote) > 0 {
				t.Errorf("the second time it wrote %v", wrote)
			}
		})
	}
}

func TestWhoAsksIsNotLetGo(t *testing.T) {
	since := metav1.NewTime(builders.Start)
	cases := map[string]struct {
		mode  boursev1.LeaveMode
		ask   func(t *testing.T, h *Hub) error
		stays bool
	}{
		"by its agent": {boursev1.LeaveUnseen, func(t *testing.T, h *Hub) error {
			t.Helper()
			_, err := h.Renew(t.Context(), claim(join.Renew))
			return err
		}, true},
		"by its wallet": {boursev1.LeaveUnseen, func(t *testing.T, h *Hub) error {
			t.Helper()
			_, err := h.Admit(t.Context(), claim(join.Join))
			return err
		}, true},
		"unless its wallet has signed that it leaves": {boursev1.LeaveWhenSettled, func(t *testing.T, h *Hub) error {
			t.Helper()
			_, err := h.Renew(t.Context(), claim(join.Renew))
			return err
		}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, h := long(t)
			edit(hub, func(spec *boursev1.MemberSpec) { spec.Leave = &boursev1.MemberLeave{Since: since, Mode: tc.mode} })
			hub.Step(askedEvery)
			if err := tc.ask(t, h); err != nil {
				t.Fatal(err)
			}
			if got := member(hub).Spec.AskedAt; !got.Time.Equal(hub.Now()) {
				t.Errorf("spec.askedAt is %v, want %v", got, hub.Now())
			}
			if got := member(hub).Spec.Leave; (got == nil) != tc.stays {
				t.Errorf("spec.leave is %+v", got)
			}
			if wrote := hub.Writes(func() { _ = tc.ask(t, h) }); len(wrote) > 0 {
				t.Errorf("the second time it wrote %v", wrote)
			}
		})
	}
}

// What the wallet signs while its agent asks must not be taken back by that.
func TestToAskTakesBackNothingThatIsSignedMeanwhile(t *testing.T) {
	hub, h := long(t)
	edit(hub, func(spec *boursev1.MemberSpec) {
		spec.Leave = &boursev1.MemberLeave{Since: metav1.NewTime(builders.Start), Mode: boursev1.LeaveUnseen}
	})
	hub.Fail(func(string, client.Object) error {
		hub.Fail(nil)
		_, err := h.Leave(t.Context(), leave(join.WhenSettled))
		return err
	})
	if _, err := h.Renew(t.Context(), claim(join.Renew)); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if got := member(hub).Spec.Leave; got == nil || got.Mode != boursev1.LeaveWhenSettled {
		t.Errorf("spec.leave is %+v", got)
	}
}

func TestWhoIsDismissed(t *testing.T) {
	hub, h := long(t)
	read := member(hub)
	hub.Step(time.Minute)
	if err := h.Dismiss(t.Context(), read); err != nil {
		t.Fatal(err)
	}
	want := &boursev1.MemberLeave{Since: metav1.NewTime(hub.Now()), Mode: boursev1.LeaveUnseen}
	if diff := cmp.Diff(want, member(hub).Spec.Leave); diff != "" {
		t.Errorf("spec.leave (-want +got):\n%s", diff)
	}
	if read.Spec.Leave != nil {
		t.Error("what was read is changed")
	}
	hub.Step(time.Minute)
	if _, err := h.Leave(t.Context(), leave(join.WhenSettled)); err != nil {
		t.Fatal(err)
	}
	want = &boursev1.MemberLeave{Since: metav1.NewTime(hub.Now()), Mode: boursev1.LeaveWhenSettled}
	if diff := cmp.Diff(want, member(hub).Spec.Leave); diff != "" {
		t.Errorf("when its wallet signs that it leaves, spec.leave (-want +got):\n%s", diff)
	}
}

func TestWhoAskedSinceItWasReadIsNotDismissed(t *testing.T) {
	hub, h := long(t)
	read := member(hub)
	hub.Step(askedEvery)
	if _, err := h.Renew(t.Context(), claim(join.Renew)); err != nil {
		t.Fatal(err)
	}
	if err := h.Dismiss(t.Context(), read); !apierrors.IsConflict(err) {
		t.Errorf("got %v, want a conflict", err)
	}
	if got := member(hub).Spec.Leave; got != nil {
		t.Errorf("spec.leave is %+v", got)
	}
	if err := hub.Delete(t.Context(), member(hub)); err != nil {
		t.Fatal(err)
	}
	if err := h.Dismiss(t.Context(), read); err != nil {
		t.Errorf("one that is gone: %v", err)
	}
}

func TestAMemberOfAnOlderHubGetsTheQuotaOfNow(t *testing.T) {
	name := metav1.ObjectMeta{Namespace: join.Namespace(key("w")), Name: Name}
	cases := map[string]struct {
		change func(hard corev1.ResourceList)
		wrote  []string
	}{
		"when a count is missing": {func(hard corev1.ResourceList) { delete(hard, "count/leases.coordination.k8s.io") }, []string{"patch " + Name}},
		"when a count is another": {func(hard corev1.ResourceList) { hard[corev1.ResourcePods] = resource.MustParse("5") }, []string{"patch " + Name}},
		"when there is one more":  {func(hard corev1.ResourceList) { hard[corev1.ResourceSecrets] = resource.MustParse("5") }, []string{"patch " + Name}},
		"not when it only looks like another": {func(hard corev1.ResourceList) {
			hard["count/vouchers.bourse.dev"] = resource.MustParse("4.096k")
		}, nil},
	}
	for about, tc := range cases {
		t.Run(about, func(t *testing.T) {
			hub, h := long(t)
			old := &corev1.ResourceQuota{ObjectMeta: name}
			hub.Read(old)
			tc.change(old.Spec.Hard)
			hub.Edit(old)
			renew := func() {
				if _, err := h.Renew(t.Context(), claim(join.Renew)); err != nil {
					t.Fatal(err)
				}
			}
			if wrote := hub.Writes(renew); !slices.Equal(wrote, tc.wrote) {
				t.Errorf("wrote %v, want %v", wrote, tc.wrote)
			}
			got := &corev1.ResourceQuota{ObjectMeta: name}
			hub.Read(got)
			if diff := cmp.Diff(quota(name.Namespace).Spec, got.Spec); diff != "" {
				t.Errorf("quota (-want +got):\n%s", diff)
			}
			if len(got.OwnerReferences) != 1 || got.UID != old.UID {
				t.Errorf("it was made anew, or nobody's: %+v", got.ObjectMeta)
			}
			if wrote := hub.Writes(renew); len(wrote) > 0 {
				t.Errorf("the second time it wrote %v", wrote)
			}
		})
	}
}
