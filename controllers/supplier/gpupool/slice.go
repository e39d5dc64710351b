// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/internal/gpu"
)

// driverDRA is NVIDIA's driver for dynamic resource allocation.
const driverDRA = "gpu.nvidia.com"

// slicesOf reads from ResourceSlices which GPUs the nodes have, if the API server has them. It is what is known of a node that has neither
// an agent nor labels.
func (r *Reconciler) slicesOf(ctx context.Context) (map[string][]gpu.Device, error) {
	if !r.slices {
		return nil, nil //nolint:nilnil // a nil map is one without entries
	}
	var list resourcev1.ResourceSliceList
	if err := r.Local.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list resource slices: %w", err)
	}
	newest := map[string]int64{}
	for i := range list.Items {
		if of := &list.Items[i].Spec; of.Driver == driverDRA {
			newest[of.Pool.Name] = max(newest[of.Pool.Name], of.Pool.Generation)
		}
	}
	found := map[string][]gpu.Device{}
	for i := range list.Items {
		of := &list.Items[i].Spec
		if of.Driver != driverDRA || of.NodeName == nil || of.Pool.Generation < newest[of.Pool.Name] {
			continue
		}
		for d := range of.Devices {
			if device, ok := allocatable(&of.Devices[d]); ok {
				found[*of.NodeName] = append(found[*of.NodeName], device)
			}
		}
	}
	return found, nil
}

// allocatable reads a whole GPU of a slice. Partitions are there beside the GPUs that they are of, so they do not count.
func allocatable(of *resourcev1.Device) (gpu.Device, bool) {
	text := func(name resourcev1.QualifiedName) string {
		if value := of.Attributes[name].StringValue; value != nil {
			return *value
		}
		return ""
	}
	capacity, ok := of.Capacity["memory"]
	if !ok || text("type") != "gpu" || text("uuid") == "" {
		return gpu.Device{}, false
	}
	const mib = 1 << 20
	model, ok := gpu.ModelOf(text("productName"), int32(min(max(0, capacity.Value.Value())/mib, 1<<30)))
	return gpu.Device{ID: text("uuid"), Model: model}, ok
}
