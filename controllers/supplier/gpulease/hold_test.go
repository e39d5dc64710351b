// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
)

// behind is a cluster whose cache has seen none of the pods of some names, and maybe no Ray object.
type behind struct {
	client.Client
	unseen map[string]bool
	blind  bool
}

func (c behind) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if c.blind && slices.ContainsFunc(ray.Kinds(), func(kind client.Object) bool { return reflect.TypeOf(kind) == reflect.TypeOf(object) }) {
		return apierrors.NewNotFound(schema.GroupResource{Group: "ray.io"}, key.Name)
	}
	return c.Client.Get(ctx, key, object, opts...)
}

func (c behind) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if err := c.Client.List(ctx, list, opts...); err != nil {
		return err
	}
	if pods, ok := list.(*corev1.PodList); ok {
		var seen []corev1.Pod
		for _, pod := range pods.Items {
			if !c.unseen[pod.Name] {
				seen = append(seen, pod)
			}
		}
		pods.Items = seen
	}
	return nil
}

// The quota of a lease's namespace counts a pod whose name is taken as one more, and has no room for Ray's pods then.
func TestAPodThatTheCacheHasNotSeenIsNotMadeAgain(t *testing.T) {
	cases := map[string]struct {
		gone   []string // pods that are not there
		unseen []string // pods that are, and that the cache has not seen
		want   []string
	}{
		"none was seen yet":                      {unseen: []string{"hold-head", "hold-0", "hold-1"}},
		"one was seen":                           {unseen: []string{"hold-0", "hold-1"}},
		"one is missing, and one was not seen":   {gone: []string{"hold-1"}, unseen: []string{"hold-0"}, want: []string{"create hold-1"}},
		"two are missing, and the other is seen": {gone: []string{"hold-head", "hold-1"}, want: []string{"create hold-head", "create hold-1"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.rest()
			for _, gone := range tc.gone {
				pod := &corev1.Pod{}
				pod.Namespace, pod.Name = space(b.lease), gone
				if err := b.hub.Delete(t.Context(), pod); err != nil {
					t.Fatal(err)
				}
			}
			stale := behind{Client: b.hub, unseen: map[string]bool{}}
			for _, unseen := range tc.unseen {
				stale.unseen[unseen] = true
			}
			r := b.controller()
			r.Local = stale
			lease := &boursev1.GPULease{ObjectMeta: b.lease.ObjectMeta}
			b.hub.Read(lease)
			var made []string
			for _, write := range b.hub.Writes(func() {
				if _, err := r.Reconcile(t.Context(), lease); err != nil {
					t.Fatal(err)
				}
			}) {
				if len(write) > len("create hold") && write[:len("create hold")] == "create hold" {
					made = append(made, write)
				}
			}
			if len(made) != len(tc.want) {
				t.Fatalf("it made %v, want %v", made, tc.want)
			}
			for i := range made {
				if made[i] != tc.want[i] {
					t.Errorf("it made %v, want %v", made, tc.want)
				}
			}
		})
	}
}

// Two leases that begin at once would take each other's places if a worker went to where only the head's place is held: the GPUs there may
// be those that another lease lets go for workers which can go nowhere else.
func TestWorkersGoOnlyWhereTheirOwnGPUsAreHeld(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	for _, pod := range b.pods() {
		pod.Spec.NodeName = "n1"
		if pod.Name == "hold-head" {
			pod.Spec.NodeName = "n2"
		}
		b.hub.Edit(&pod)
	}
	b.pass()
	b.deposit()
	b.rest()
	b.kuberay()
	for _, pod := range b.pods() {
		if hosts, ok := ray.Seeks(&pod); ok && !slices.Equal(hosts, []string{"n1"}) {
			t.Errorf("pod %s may go to %v, and its lease holds GPUs on n1", pod.Name, hosts)
		}
	}
}

// The hub was restored from a backup that did not have the lease yet, and made another one of its name.
func TestAnotherLeaseOfTheNameTakesOverNothing(t *testing.T) {
	for name, reach := range map[string]func(*bench){"what runs": (*bench).running, "what is held": (*bench).accepted} {
		t.Run(name, func(t *testing.T) { takesOverNothing(t, reach) })
	}
}

func takesOverNothing(t *testing.T, reach func(*bench)) {
	t.Helper()
	b := newBench(t, func(lease *boursev1.GPULease, _ *boursev1.GPUPool) { lease.UID = "first" })
	fresh := b.lease.DeepCopy()
	reach(b)
	ran := len(b.pods())
	b.hub.Read(b.lease)
	b.lease.Finalizers = nil
	b.hub.Edit(b.lease)
	if err := b.hub.Delete(t.Context(), b.lease); err != nil {
		t.Fatal(err)
	}
	fresh.UID, fresh.ResourceVersion = "second", ""
	fresh.Spec.AcceptBy = metav1.NewTime(b.hub.Now().Add(30 * time.Second))
	fresh.Spec.Escrow.Deadline = metav1.NewTime(b.hub.Now().Add(12 * time.Hour))
	fresh.CreationTimestamp = metav1.NewTime(b.hub.Now())
	if err := b.hub.Create(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	b.pass()
	b.want(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonCapacityGone)
	b.wantEnd(boursev1.EndNotAccepted, boursev1.PartySupplier)
	if got := len(b.pods()); got != ran {
		t.Errorf("%d pods, want the %d that were there", got, ran)
	}
	b.over()
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonNothingOwed)
	b.nothingLeft()
}

// A lease that is not accepted in time says what kept it.
func TestALeaseThatIsNotHeldSaysWhy(t *testing.T) {
	cases := map[string]struct {
		change func(*bench)
		want   string
	}{
		"a pod whose node refuses it": {func(b *bench) {
			b.rest()
			b.schedule()
			b.edit("hold-1", func(pod *corev1.Pod) {
				pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError", Message: "Allocate failed"}
			})
		}, "A pod did not keep its place: UnexpectedAdmissionError: Allocate failed"},
		"pods without a place": {func(b *bench) {
			b.rest()
			b.edit("hold-0", func(pod *corev1.Pod) {
				raytest.Set(pod, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "Insufficient nvidia.com/gpu"})
			})
		}, "did not find a place for every pod in time: Insufficient nvidia.com/gpu"},
		"a clock that is ahead": {func(*bench) {}, "the lease came too late by this cluster's clock"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			tc.change(b)
			if b.lease.Status.End == nil && name != "a clock that is ahead" {
				b.rest()
				b.want(boursev1.LeaseAccepted, metav1.ConditionUnknown, boursev1.ReasonHolding)
			}
			b.hub.Step(b.lease.Spec.AcceptBy.Sub(b.hub.Now()) + time.Second)
			b.rest()
			b.want(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonCapacityGone)
			if got := b.lease.Status.End.Message; !strings.Contains(got, tc.want) {
				t.Errorf("it says %q, want %q", got, tc.want)
			}
		})
	}
}

// A process that has just begun may read a cache that is older than what the one before it made. What it does not see there is not gone.
func TestWhatTheCacheHasNotSeenIsNotTaken(t *testing.T) {
	for name, reach := range map[string]func(*bench){
		"the pods that hold the place": func(b *bench) { b.accepted(); b.deposit() },
		"what the lease runs":          (*bench).running,
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			reach(b)
			stale := behind{Client: b.hub, unseen: map[string]bool{}, blind: true}
			for _, pod := range b.pods() {
				stale.unseen[pod.Name] = true
			}
			r := b.controller()
			r.Local = stale
			for range 2 {
				b.hub.Read(b.lease)
				result, err := r.Reconcile(t.Context(), b.lease)
				if err != nil || result.RequeueAfter != pollGone {
					t.Fatalf("result %+v: %v", result, err)
				}
			}
			if b.hub.Read(b.lease); b.lease.Status.End != nil {
				t.Fatalf("it ended: %+v", b.lease.Status.End)
			}
			b.rest()
			if b.lease.Status.End != nil {
				t.Errorf("it ended: %+v", b.lease.Status.End)
			}
		})
	}
}
