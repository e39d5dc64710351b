// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
)

// behind is a cluster whose cache has seen none of the pods of some names.
type behind struct {
	client.Client
	unseen map[string]bool
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
