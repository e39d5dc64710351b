// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// live is the hub as it answers a read that no cache does.
type live struct {
	client.Reader

	lease, member error // what it says of them instead
}

func (l *live) Get(ctx context.Context, key client.ObjectKey, object client.Object, options ...client.GetOption) error {
	if _, ok := object.(*boursev1.GPULease); ok && l.lease != nil {
		return l.lease
	}
	if _, ok := object.(*boursev1.Member); ok && l.member != nil {
		return l.member
	}
	return l.Reader.Get(ctx, key, object, options...)
}

type bench struct {
	t    *testing.T
	hub  *fakehub.Hub // and the supplier's own cluster
	live *live
	r    *Reconciler
}

// newBench is a supplier's cluster with the namespace of the lease "train", and a hub that has the lease or not.
func newBench(t *testing.T, lease bool, change func(*corev1.Namespace)) *bench {
	t.Helper()
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "bourse-lease-train", UID: "space-uid", Labels: map[string]string{boursev1.LabelLease: "train-0a1b2c3d"},
		Annotations: map[string]string{
			boursev1.AnnotationHubNamespace: builders.Supplier,
			boursev1.AnnotationGivenUp:      builders.Start.Add(24 * time.Hour).Format(time.RFC3339),
		},
	}}
	if change != nil {
		change(space)
	}
	objects := []client.Object{space, builders.Member(builders.Supplier)}
	if lease {
		_, of := builders.Leased(t, "train")
		objects = append(objects, of)
	}
	b := &bench{t: t, hub: fakehub.New(t, nil, objects...)}
	b.live = &live{Reader: b.hub}
	b.restart()
	return b
}

// restart replaces the controller by one that remembers nothing.
func (b *bench) restart() {
	b.r = &Reconciler{Local: b.hub, Recorder: b.hub.Recorder, Hub: b.hub, Live: b.live, Namespace: builders.Supplier, Now: b.hub.Now}
}

// pass looks once, and says whether the namespace is there then.
func (b *bench) pass() (there bool, err error) {
	b.t.Helper()
	space := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "bourse-lease-train"}}
	b.hub.Read(space)
	_, err = b.r.Reconcile(b.t.Context(), space)
	found := b.hub.Get(b.t.Context(), client.ObjectKeyFromObject(space), space)
	if client.IgnoreNotFound(found) != nil {
		b.t.Fatal(found)
	}
	return found == nil, err
}

// kept looks for so long, and fails if the namespace goes.
func (b *bench) kept(during time.Duration) {
	b.t.Helper()
	for end := b.hub.Now().Add(during); b.hub.Now().Before(end); b.hub.Step(lookAgain) {
		if there, _ := b.pass(); !there { // what could not be read is tried again
			b.t.Fatalf("it is cleared at %s", b.hub.Now())
		}
	}
}

func TestALeaseThatTheHubHasIsLeftAlone(t *testing.T) {
	b := newBench(t, true, nil)
	b.kept(5 * grace)
	if b.hub.Events() != 0 {
		t.Error("something was told")
	}
}

func TestALeaseThatVanishedIsClearedAfterAWhile(t *testing.T) {
	b := newBench(t, false, nil)
	b.kept(grace)
	if b.hub.Events() != 1 {
		t.Errorf("told %d times that the lease vanished, want once", b.hub.Events())
	}
	if there, err := b.pass(); there || err != nil {
		t.Errorf("after %s it is there: %t, %v", grace, there, err)
	}
	if b.hub.Events() != 2 {
		t.Errorf("told %d times, want once that it vanished and once that it was cleared", b.hub.Events())
	}
}

func TestALeaseThatComesBackIsLeftAlone(t *testing.T) {
	b := newBench(t, false, nil)
	b.kept(grace - lookAgain)
	_, lease := builders.Leased(t, "train")
	if err := b.hub.Create(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	b.kept(2 * grace)
	if err := b.hub.Delete(t.Context(), lease); err != nil {
		t.Fatal(err)
	}
	b.kept(grace) // it counts anew
}

func TestARestartCountsAnew(t *testing.T) {
	b := newBench(t, false, nil)
	b.kept(grace - lookAgain)
	b.restart()
	b.kept(grace)
	if there, err := b.pass(); there || err != nil {
		t.Errorf("then it is there: %t, %v", there, err)
	}
}

// Whatever else a hub says, or does not say, is no reason to end anything.
func TestWhatIsNoProof(t *testing.T) {
	leases := schema.GroupResource{Group: boursev1.GroupVersion.Group, Resource: "gpuleases"}
	members := schema.GroupResource{Group: boursev1.GroupVersion.Group, Resource: "members"}
	nokind := &apierrors.StatusError{ErrStatus: metav1.Status{Reason: metav1.StatusReasonNotFound, Message: "the server could not find the requested resource"}}
	cases := map[string]struct{ lease, member error }{
		"a hub that does not answer":            {lease: errors.New("dial tcp: connection refused")},
		"a hub that is going":                   {lease: apierrors.NewServiceUnavailable("apiserver is shutting down")},
		"a hub that takes too long":             {lease: context.DeadlineExceeded},
		"a hub that forbids it":                 {lease: apierrors.NewForbidden(leases, "train-0a1b2c3d", errors.New("no"))},
		"a hub that does not take the token":    {lease: apierrors.NewUnauthorized("no")},
		"a hub that has too much to do":         {lease: apierrors.NewTooManyRequests("later", 1)},
		"a hub without the kind":                {lease: nokind},
		"a hub that does not know us":           {member: apierrors.NewNotFound(members, boursev1.MemberName)},
		"a hub that forbids to look who we are": {member: apierrors.NewForbidden(members, boursev1.MemberName, errors.New("no"))},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, false, nil)
			b.live.lease, b.live.member = tc.lease, tc.member
			b.kept(10 * grace)
			if b.hub.Events() != 0 {
				t.Error("it was told that the lease vanished")
			}
		})
	}
}

// An answer that tells nothing, between two that tell that the lease is gone, does not make it come back.
func TestAnOutageInBetweenChangesNothing(t *testing.T) {
	b := newBench(t, false, nil)
	b.kept(lookAgain)
	b.live.lease = errors.New("dial tcp: connection refused")
	b.kept(2 * grace)
	b.live.lease = nil
	if there, err := b.pass(); there || err != nil {
		t.Errorf("it is there: %t, %v", there, err)
	}
}

func TestOfWhatNothingCanComeIsClearedWithoutTheHub(t *testing.T) {
	cases := map[string]struct {
		change func(*corev1.Namespace)
		lease  bool
		want   bool // cleared a day later
	}{
		"a lease whose bound has passed":       {nil, true, true},
		"and one that the hub has no more":     {nil, false, true},
		"not one that does not say what bound": {func(n *corev1.Namespace) { delete(n.Annotations, boursev1.AnnotationGivenUp) }, true, false},
		"not one whose bound cannot be read":   {func(n *corev1.Namespace) { n.Annotations[boursev1.AnnotationGivenUp] = "soon" }, true, false},
		"not another member's":                 {func(n *corev1.Namespace) { n.Annotations[boursev1.AnnotationHubNamespace] = "member-2" }, false, false},
		"not a namespace that is of no lease":  {func(n *corev1.Namespace) { n.Labels = nil }, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.lease, tc.change)
			b.live.member = errors.New("dial tcp: connection refused")
			b.hub.Step(24*time.Hour - time.Second)
			if there, _ := b.pass(); !there {
				t.Fatal("it is cleared too early")
			}
			b.hub.Step(time.Second)
			if there, _ := b.pass(); there == tc.want {
				t.Errorf("it is there: %t", there)
			}
		})
	}
}

func TestWhatWakes(t *testing.T) {
	b := newBench(t, true, nil)
	_, lease := builders.Leased(t, "train")
	if got := b.r.spaceOf(t.Context(), lease); len(got) != 1 || got[0].Name != "bourse-lease-train" {
		t.Errorf("the lease wakes %v", got)
	}
	lease.Namespace = "elsewhere"
	if got := b.r.spaceOf(t.Context(), lease); len(got) != 0 {
		t.Errorf("another supplier's lease wakes %v", got)
	}
	if comesOrGoes().Update(event.TypedUpdateEvent[client.Object]{}) || !comesOrGoes().Delete(event.TypedDeleteEvent[client.Object]{}) {
		t.Error("a lease that changes wakes, or one that goes does not")
	}
}
