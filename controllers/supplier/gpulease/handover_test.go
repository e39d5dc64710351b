// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
)

// TestAPlaceThatIsHandedOverIsNotSoldAgain has the lease's holding pods on n1 and n2 with four GPUs each, while another lease hands its own
// place over to its workers. The lease is accepted only where these find room all the same.
func TestAPlaceThatIsHandedOverIsNotSoldAgain(t *testing.T) {
	cases := map[string]struct {
		gpus    map[string]int64 // node to its GPUs
		workers int32            // those of the other lease, with four GPUs each
		hosts   []string         // that held their place
		holds   []string         // those of them that its holding pods still have
		placed  bool             // the workers have their place already
		refused bool
	}{
		"the GPUs were given up for others":       {map[string]int64{"n1": 4, "n2": 8}, 1, []string{"n1"}, nil, false, true},
		"there is room beside it":                 {map[string]int64{"n1": 8, "n2": 8}, 1, []string{"n1"}, nil, false, false},
		"the others still hold their own":         {map[string]int64{"n1": 8, "n2": 8}, 1, []string{"n1"}, []string{"n1"}, false, false},
		"the others have another node with room":  {map[string]int64{"n1": 4, "n2": 8}, 1, []string{"n1", "n2"}, nil, false, false},
		"the others need both nodes":              {map[string]int64{"n1": 4, "n2": 8}, 2, []string{"n1", "n2"}, nil, false, true},
		"the others have their place already":     {map[string]int64{"n1": 8, "n2": 8}, 1, []string{"n1"}, nil, true, false},
		"the others look on nodes of their own":   {map[string]int64{"n1": 4, "n2": 8, "n3": 0}, 1, []string{"n3"}, nil, false, false},
		"what the others hold does not make room": {map[string]int64{"n1": 8, "n2": 4}, 2, []string{"n1", "n2"}, []string{"n1"}, false, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.rest()
			for node, gpus := range tc.gpus {
				b.equip(node, gpus)
			}
			b.handOver(tc.workers, tc.hosts, tc.holds, tc.placed)
			b.schedule()
			b.pass()
			if !tc.refused {
				b.want(boursev1.LeaseAccepted, metav1.ConditionTrue, boursev1.ReasonCapacityHeld)
				return
			}
			b.want(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonCapacityGone)
			b.wantEnd(boursev1.EndNotAccepted, boursev1.PartySupplier)
			if got := b.lease.Status.End.Message; !strings.Contains(got, "promised to lease other") {
				t.Errorf("it says %q, which does not name the other lease", got)
			}
			b.rest()
			b.nothingLeft()
		})
	}
}

// equip gives a node its GPUs, and makes the node if there is none.
func (b *bench) equip(name string, gpus int64) {
	b.t.Helper()
	of := node(name)
	if name == "n3" {
		if err := b.hub.Create(b.t.Context(), of); err != nil {
			b.t.Fatal(err)
		}
	}
	b.hub.Read(of)
	of.Status.Allocatable = corev1.ResourceList{ray.ResourceGPU: *resource.NewQuantity(gpus, resource.DecimalSI)}
	b.hub.EditStatus(of)
}

// handOver makes the pods of another lease, whose workers look for the place that its holding pods have given up or still hold.
func (b *bench) handOver(workers int32, hosts, holds []string, placed bool) {
	b.t.Helper()
	size := resource.MustParse("1")
	plan := ray.Plan{
		Namespace: "bourse-lease-other", Lease: "other", Image: "ray:1", HoldImage: "pause:1", Version: "2.54.1", Workers: workers, PerWorker: 4,
		WorkerCPU: size, WorkerMemory: size, HeadCPU: size, HeadMemory: size, Priority: ray.PriorityInterruptible, Hosts: hosts,
	}
	objects := plan.Objects()
	pods, err := raytest.Pods(objects[len(objects)-1], b.hub.Now().Add(-time.Second))
	if err != nil {
		b.t.Fatal(err)
	}
	for i, pod := range pods {
		if placed {
			pod.Spec.NodeName = hosts[0]
		}
		pod.UID = ""
		if err := b.hub.Create(b.t.Context(), pod); err != nil {
			b.t.Fatalf("pod %d: %v", i, err)
		}
	}
	for i, node := range holds {
		pod := plan.Holders()[1+i]
		pod.Spec.NodeName, pod.Name = node, fmt.Sprintf("hold-%s", node)
		if err := b.hub.Create(b.t.Context(), pod); err != nil {
			b.t.Fatal(err)
		}
	}
}
