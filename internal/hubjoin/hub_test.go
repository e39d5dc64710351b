// SPDX-License-Identifier: Apache-2.0

package hubjoin

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

func key(name string) join.Key { return join.Key(builders.Wallet(name).PublicKey()) }

func claim(kind join.Kind) join.Claim {
	c := join.Claim{Kind: kind, Wallet: key("w"), Agent: key("agent")}
	if kind == join.Join {
		c.Cluster, c.Roles, c.Name, c.Until = "uid", []join.Role{join.Buyer, join.Supplier}, "Fjord", builders.Start.Add(time.Hour)
	}
	return c
}

func newBench(t *testing.T, objects ...client.Object) (*fakehub.Hub, *Hub) {
	t.Helper()
	hub := fakehub.New(t, []fakehub.Index{{Of: &boursev1.Member{}, Name: byWallet, Values: func(object client.Object) []string {
		return []string{string(object.(*boursev1.Member).Spec.Wallet)}
	}}}, objects...)
	return hub, New(Options{Client: hub, Live: hub, Server: "https://hub.example", CA: []byte("ca"), Lifetime: time.Hour, Now: hub.Now})
}

// joined is a hub that the wallet has joined.
func joined(t *testing.T) (*fakehub.Hub, *Hub) {
	t.Helper()
	hub, h := newBench(t)
	if _, err := h.Admit(t.Context(), claim(join.Join)); err != nil {
		t.Fatal(err)
	}
	return hub, h
}

func member(hub *fakehub.Hub) *boursev1.Member {
	m := &boursev1.Member{ObjectMeta: metav1.ObjectMeta{Namespace: join.Namespace(key("w")), Name: boursev1.MemberName}}
	hub.Read(m)
	return m
}

// there names what there is of a member's access.
func there(t *testing.T, hub *fakehub.Hub) string {
	t.Helper()
	meta := metav1.ObjectMeta{Namespace: join.Namespace(key("w")), Name: Name}
	var names []string
	for name, object := range map[string]client.Object{"account": &corev1.ServiceAccount{ObjectMeta: meta}, "binding": &rbacv1.RoleBinding{ObjectMeta: meta}} {
		switch err := hub.Get(t.Context(), client.ObjectKeyFromObject(object), object); {
		case err == nil:
			names = append(names, name)
		case !apierrors.IsNotFound(err):
			t.Fatal(err)
		}
	}
	if len(names) == 2 {
		return "all"
	}
	return strings.Join(names, "")
}

func TestWhoJoinsGetsAPlaceAndAccess(t *testing.T) {
	hub, h := newBench(t)
	access, err := h.Admit(t.Context(), claim(join.Join))
	if err != nil {
		t.Fatal(err)
	}
	if access.Namespace != join.Namespace(key("w")) || access.Server != "https://hub.example" || access.Token == "" || string(access.CA) != "ca" {
		t.Errorf("access %s to %s", access, access.Server)
	}
	want := boursev1.MemberSpec{
		Wallet: builders.Address("w"), AgentKey: builders.Address("agent"), AgentKeyUntil: new(metav1.NewTime(builders.Start.Add(time.Hour))),
		ClusterUID: "uid", Roles: []boursev1.MemberRole{boursev1.MemberBuyer, boursev1.MemberSupplier}, DisplayName: "Fjord",
		AskedAt: new(metav1.NewTime(builders.Start)),
	}
	if diff := cmp.Diff(want, member(hub).Spec); diff != "" {
		t.Errorf("member (-want +got):\n%s", diff)
	}
	meta := metav1.ObjectMeta{Namespace: access.Namespace, Name: Name}
	role := &rbacv1.RoleBinding{ObjectMeta: meta}
	hub.Read(role)
	if role.RoleRef.Name != Name || role.RoleRef.Kind != "ClusterRole" || len(role.Subjects) != 1 || role.Subjects[0].Namespace != access.Namespace {
		t.Errorf("binding %+v", role)
	}
	for _, object := range []client.Object{role, &corev1.ServiceAccount{ObjectMeta: meta}, &corev1.ResourceQuota{ObjectMeta: meta}} {
		hub.Read(object)
		if owners := object.GetOwnerReferences(); len(owners) != 1 || owners[0].Kind != "Member" {
			t.Errorf("%T belongs to %+v, so that it would stay when the member goes", object, owners)
		}
	}
	for name, again := range map[string]func() error{
		"a second join": func() error { _, err := h.Admit(t.Context(), claim(join.Join)); return err },
		"a renewal":     func() error { _, err := h.Renew(t.Context(), claim(join.Renew)); return err },
	} {
		if wrote := hub.Writes(func() { err = again() }); err != nil || len(wrote) > 0 {
			t.Errorf("%s wrote %v, %v; want nothing", name, wrote, err)
		}
	}
}

func TestToJoinAgainChangesTheAgent(t *testing.T) {
	hub, h := joined(t)
	second := claim(join.Join)
	second.Agent, second.Name = key("other agent"), ""
	if _, err := h.Admit(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	if got := member(hub).Spec; got.AgentKey != builders.Address("other agent") || got.DisplayName != "" {
		t.Errorf("member %+v", got)
	}
	if _, err := h.Renew(t.Context(), claim(join.Renew)); !errors.Is(err, join.WrongKey) {
		t.Errorf("the first agent: %v, want %s", err, join.WrongKey)
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: join.Namespace(key("w"))}}
	elsewhere := builders.Member("w") // in a namespace that an administrator made
	for name, object := range map[string]client.Object{"a namespace that was there": namespace, "a member by another way": elsewhere} {
		t.Run(name, func(t *testing.T) {
			hub, h := newBench(t, object)
			var err error
			wrote := hub.Writes(func() { _, err = h.Admit(t.Context(), claim(join.Join)) })
			if !errors.Is(err, join.WalletTaken) || len(wrote) > 0 {
				t.Errorf("got %v and wrote %v, want %s", err, wrote, join.WalletTaken)
			}
		})
	}
}

func TestWhoGetsNoOtherToken(t *testing.T) {
	cases := map[string]struct {
		change func(hub *fakehub.Hub, c *join.Claim)
		want   join.Reason
	}{
		"a wallet that did not join":  {func(_ *fakehub.Hub, c *join.Claim) { c.Wallet = key("stranger") }, join.NotMember},
		"another agent":               {func(_ *fakehub.Hub, c *join.Claim) { c.Agent = key("other") }, join.WrongKey},
		"an agent whose time is over": {func(hub *fakehub.Hub, _ *join.Claim) { hub.Step(time.Hour) }, join.Expired},
		"a member that was suspended": {func(hub *fakehub.Hub, _ *join.Claim) { suspend(hub) }, join.Suspended},
		"a member that was removed": {func(hub *fakehub.Hub, _ *join.Claim) {
			if err := hub.Delete(t.Context(), member(hub)); err != nil {
				t.Error(err)
			}
		}, join.NotMember},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub, h := joined(t)
			c := claim(join.Renew)
			tc.change(hub, &c)
			if access, err := h.Renew(t.Context(), c); !errors.Is(err, tc.want) || access.Token != "" {
				t.Errorf("got %s, %v, want %s", access, err, tc.want)
			}
		})
	}
}

func suspend(hub *fakehub.Hub) {
	m := member(hub)
	m.Spec.State = boursev1.MemberSuspended
	hub.Edit(m)
}

func TestASuspendedMemberCannotJoinAgain(t *testing.T) {
	hub, h := joined(t)
	suspend(hub)
	if err := h.Withdraw(t.Context(), join.Namespace(key("w"))); err != nil {
		t.Fatal(err)
	}
	if got := there(t, hub); got != "" {
		t.Errorf("the %s is still there", got)
	}
	other := claim(join.Join)
	other.Agent = key("other")
	if _, err := h.Admit(t.Context(), other); !errors.Is(err, join.Suspended) || there(t, hub) != "" {
		t.Errorf("got %v, and there is %q", err, there(t, hub))
	}
	if wrote := hub.Writes(func() { _ = h.Withdraw(t.Context(), join.Namespace(key("w"))) }); len(wrote) > 0 {
		t.Errorf("the second time it wrote %v", wrote)
	}
	m := member(hub)
	m.Spec.State = boursev1.MemberActive
	hub.Edit(m)
	if _, err := h.Renew(t.Context(), claim(join.Renew)); err != nil || there(t, hub) != "all" {
		t.Errorf("when it is let in again: %v, and there is %q", err, there(t, hub))
	}
}

// A suspension that comes while access is made takes away what there is by then; what is made later must go too.
func TestASuspensionInBetweenLeavesNothing(t *testing.T) {
	hub, h := newBench(t)
	hub.Fail(func(verb string, object client.Object) error {
		if _, last := object.(*rbacv1.RoleBinding); last && verb == "create" {
			hub.Fail(nil)
			suspend(hub)
		}
		return nil
	})
	if access, err := h.Admit(t.Context(), claim(join.Join)); !errors.Is(err, join.Suspended) || access.Token != "" {
		t.Errorf("got %s, %v, want %s", access, err, join.Suspended)
	}
	if got := there(t, hub); got != "" {
		t.Errorf("there is %s", got)
	}
}

func TestNewcomersAreBoundedAndMembersAreNot(t *testing.T) {
	hub, h := joined(t)
	var err error
	for i := range newcomersBurst {
		c := claim(join.Join)
		c.Wallet[31] ^= byte(i + 1)
		_, err = h.Admit(t.Context(), c)
	}
	if !errors.Is(err, join.Busy) {
		t.Errorf("got %v, want %s", err, join.Busy)
	}
	if _, err := h.Admit(t.Context(), claim(join.Join)); err != nil {
		t.Errorf("a member: %v", err)
	}
	hub.Step(newcomersEvery)
	c := claim(join.Join)
	c.Wallet[30]++
	if _, err := h.Admit(t.Context(), c); err != nil {
		t.Errorf("later: %v", err)
	}
}

func TestWhatFailsIsNoRefusal(t *testing.T) {
	hub, h := newBench(t)
	down := errors.New("the API server is down")
	hub.Fail(func(string, client.Object) error { return down })
	if _, err := h.Admit(t.Context(), claim(join.Join)); !errors.Is(err, down) {
		t.Errorf("got %v, want %v", err, down)
	}
	hub.Fail(nil)
	if _, err := h.Admit(t.Context(), claim(join.Join)); err != nil || there(t, hub) != "all" {
		t.Errorf("after that: %v, and there is %q", err, there(t, hub))
	}
}
