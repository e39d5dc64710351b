// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/internal/ray"
)

// The quota of a lease's namespace has room for the pods that hold its place and for Ray's, and for nothing else. The API server counts a pod
// that it refuses because its name is taken, and nobody adds up anew before a pod goes or minutes have passed: so none may be asked for twice.
func TestARefusedPodTakesTheRoomOfRaysPods(t *testing.T) {
	for name, tc := range map[string]struct {
		again []int // which of the pods that hold the place are asked for again
		fits  int   // how many workers there is room for then
	}{
		"each is asked for once":        {fits: 2},
		"a worker's is asked for twice": {again: []int{1}, fits: 1},
		"all are asked for twice":       {again: []int{0, 1, 2}, fits: 0},
	} {
		t.Run(name, func(t *testing.T) {
			l := newQuotaLab(t)
			for _, holder := range l.plan.Holders() {
				l.create(holder)
			}
			for _, i := range tc.again {
				holder := l.plan.Holders()[i]
				if err := l.c.Create(t.Context(), holder); !apierrors.IsAlreadyExists(err) {
					t.Fatalf("%s was made again: %v", holder.Name, err)
				}
			}
			fits := 0
			for _, holder := range l.plan.Holders()[1:] { // Ray's workers ask for the same
				holder.Name = "ray-" + holder.Name
				if err := l.c.Create(t.Context(), holder); err == nil {
					fits++
				} else if !apierrors.IsForbidden(err) {
					t.Fatal(err)
				}
			}
			if fits != tc.fits {
				t.Errorf("%d workers fit, want %d", fits, tc.fits)
			}
		})
	}
}

type quotaLab struct {
	t    *testing.T
	c    client.Client
	plan ray.Plan
}

// newQuotaLab has the namespace of a lease for two workers of four GPUs. Nobody but the test counts what is used there.
func newQuotaLab(t *testing.T) *quotaLab {
	t.Helper()
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(apiServer, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	l := &quotaLab{t: t, c: c, plan: ray.Plan{
		Lease: "quota", HoldImage: "pause:1", Workers: 2, PerWorker: 4, Products: []string{"NVIDIA-L40S"},
		WorkerCPU: resource.MustParse("4"), WorkerMemory: resource.MustParse("16Gi"),
		HeadCPU: resource.MustParse("1"), HeadMemory: resource.MustParse("4Gi"),
	}}
	space := l.plan.Space()
	space.GenerateName = "quota-" // nobody is here to clear a namespace that was used before
	l.create(space)
	l.plan.Namespace = space.Name
	for _, wall := range l.plan.Walls() {
		l.create(wall)
		quota, ok := wall.(*corev1.ResourceQuota)
		if !ok {
			continue
		}
		quota.Status = corev1.ResourceQuotaStatus{Hard: quota.Spec.Hard, Used: corev1.ResourceList{}}
		for what := range quota.Spec.Hard {
			quota.Status.Used[what] = resource.Quantity{}
		}
		if err := c.Status().Update(t.Context(), quota); err != nil {
			t.Fatal(err)
		}
	}
	return l
}

func (l *quotaLab) create(object client.Object) {
	l.t.Helper()
	if err := l.c.Create(l.t.Context(), object); err != nil {
		l.t.Fatal(err)
	}
}
