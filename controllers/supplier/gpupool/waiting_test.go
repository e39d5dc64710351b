// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// queuedWork is a Workload of Kueue: two pods with three GPUs each.
func queuedWork(change func(map[string]any)) *unstructured.Unstructured {
	set := map[string]any{
		"name": "main", "count": int64(2), "template": map[string]any{"spec": map[string]any{
			"nodeSelector": map[string]any{"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"},
			"containers":   []any{map[string]any{"name": "c", "resources": map[string]any{"requests": map[string]any{"nvidia.com/gpu": "3"}}}},
		}},
	}
	object := map[string]any{
		"apiVersion": workloads.GroupVersion().String(), "kind": "Workload",
		"metadata": map[string]any{"namespace": "team", "name": "w"}, "spec": map[string]any{"podSets": []any{set}},
	}
	change(object)
	return &unstructured.Unstructured{Object: object}
}

func TestWorkInKueuesQueuesComesFirst(t *testing.T) {
	condition := func(kind string) map[string]any {
		return map[string]any{"conditions": []any{map[string]any{"type": kind, "status": "True"}}}
	}
	cases := map[string]struct {
		change func(map[string]any)
		want   int32
	}{
		"work that waits":        {func(map[string]any) {}, 10},
		"work that has its room": {func(w map[string]any) { w["status"] = condition("QuotaReserved") }, 16},
		"work that has ended":    {func(w map[string]any) { w["status"] = condition("Finished") }, 16},
		"work that is stopped":   {func(w map[string]any) { w["spec"].(map[string]any)["active"] = false }, 16},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.cooled()
			b.create(queuedWork(tc.change))
			of, _ := b.rest("pool")
			b.wantFree(map[string]int32{h100: tc.want, l4: 4})
			if got := heldBack(of)[boursev1.HoldPendingPods]; got != 16-tc.want {
				t.Errorf("%d GPUs wait for local work, want %d", got, 16-tc.want)
			}
		})
	}
}

// A pool that is recycled offers nothing until its mock rentals have passed, and then sells on without cooling down.
func TestAPoolThatIsRecycledSellsAfterwards(t *testing.T) {
	b := newBench(t)
	b.cooled()
	b.change(func(p *boursev1.GPUPool) { p.Annotations = map[string]string{boursev1.AnnotationRecycle: "1"} })
	of, _ := b.rest("pool")
	b.wantFree(map[string]int32{"h100-sxm-80gb": 0, "l4": 0})
	wantCondition(t, of, boursev1.Ready, metav1.ConditionUnknown, boursev1.ReasonRecycling)
	if len(of.Status.HeldBack) != 1 || of.Status.HeldBack[0].Reason != boursev1.HoldRecycling {
		t.Errorf("held back: %+v", of.Status.HeldBack)
	}
	b.change(func(p *boursev1.GPUPool) { p.Annotations[boursev1.AnnotationRecycled] = "1" })
	of, _ = b.rest("pool")
	wantCondition(t, of, boursev1.Ready, metav1.ConditionTrue, boursev1.ReasonSelling)
}
