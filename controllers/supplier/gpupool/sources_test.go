// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

func TestGPUsOfAMDAreCountedAndNotSold(t *testing.T) {
	mixed := node("m1", "NVIDIA-L4", 2)
	mixed.Labels["amd.com/gpu.product-name"], mixed.Labels["amd.com/gpu.vram"] = "AMD_Instinct_MI300X_OAM", "192G"
	mixed.Status.Capacity["amd.com/gpu"], mixed.Status.Allocatable["amd.com/gpu"] = resource.MustParse("8"), resource.MustParse("8")
	b := newBench(t, mixed)
	of := b.cooled()
	b.wantFree(map[string]int32{h100: 16, l4: 6})
	if *of.Status.GPUs.Total != 30 || heldBack(of)[boursev1.HoldUnplaceable] != 8 || of.Status.Models[2].Model != "mi300x-192gb" {
		t.Errorf("total %d, held back %v, models %v", *of.Status.GPUs.Total, of.Status.HeldBack, of.Status.Models)
	}
}

func TestMoreThanThereIsIsNotSold(t *testing.T) {
	b := newBench(t)
	b.cooled()
	b.editNode("h1", func(n *corev1.Node) { n.Labels["nvidia.com/gpu.count"] = "4" })
	of, _ := b.rest("pool")
	b.wantFree(map[string]int32{h100: 8, l4: 4})
	if found := meta.FindStatusCondition(of.Status.Conditions, boursev1.PoolDiscovered); !strings.Contains(found.Message, "shared") {
		t.Errorf("message %q does not say why GPUs are left out", found.Message)
	}
	for _, name := range []string{"h1", "h2", "l1"} {
		b.editNode(name, func(n *corev1.Node) { n.Labels["nvidia.com/gpu.product"] += "-SHARED" })
	}
	of, _ = b.rest("pool")
	wantCondition(t, of, boursev1.PoolDiscovered, metav1.ConditionFalse, boursev1.ReasonNoGPUs)
}

func TestResourceSlicesNameWhatLabelsDoNot(t *testing.T) {
	bare := node("bare", "", 2)
	bare.Labels = map[string]string{"pool": "a"}
	slice := func(name string, generation int64, devices ...resourcev1.Device) *resourcev1.ResourceSlice {
		return &resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: resourcev1.ResourceSliceSpec{
			Driver: driverDRA, NodeName: new("bare"), Pool: resourcev1.ResourcePool{Name: "bare", Generation: generation}, Devices: devices,
		}}
	}
	of := func(kind, uuid string) resourcev1.Device {
		text := func(value string) resourcev1.DeviceAttribute {
			return resourcev1.DeviceAttribute{StringValue: new(value)}
		}
		return resourcev1.Device{
			Name:       uuid,
			Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"type": text(kind), "uuid": text(uuid), "productName": text("NVIDIA A100-SXM4-80GB")},
			Capacity:   map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{"memory": {Value: resource.MustParse("80Gi")}},
		}
	}
	b := newBench(t, bare, slice("new", 2, of("gpu", "GPU-a"), of("gpu", "GPU-b"), of("mig", "MIG-c")), slice("old", 1, of("gpu", "GPU-old")))
	got := b.cooled()
	wantCondition(t, got, boursev1.PoolIdentified, metav1.ConditionTrue, boursev1.ReasonDistinct)
	want := boursev1.PoolModel{Model: "a100-sxm-80gb", GPUs: boursev1.GPUCounts{
		Total: new(int32(2)), Healthy: new(int32(2)), Idle: new(int32(2)), Offered: new(int32(0)), Leased: new(int32(0)),
	}}
	if diff := cmp.Diff(want, got.Status.Models[0]); diff != "" {
		t.Errorf("model (-want +got):\n%s", diff)
	}
	if heldBack(got)[boursev1.HoldUnplaceable] != 2 {
		t.Errorf("held back %v", got.Status.HeldBack)
	}
	elsewhere := slice("elsewhere", 1, of("gpu", "GPU-a"))
	elsewhere.Spec.NodeName, elsewhere.Spec.Pool.Name = new("h1"), "h1"
	b.create(elsewhere)
	got, _ = b.rest("pool")
	wantCondition(t, got, boursev1.PoolIdentified, metav1.ConditionFalse, boursev1.ReasonIdentityConflict)
	if diff := cmp.Diff(held{boursev1.HoldUnplaceable: 1, boursev1.HoldIdentityConflict: 1}, heldBack(got)); diff != "" {
		t.Errorf("held back (-want +got):\n%s", diff)
	}
}

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
