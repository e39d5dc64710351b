// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"cmp"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/ray"
)

// Labels of NVIDIA's GPU Feature Discovery, beside the product.
const (
	labelMemory   = "nvidia.com/gpu.memory"
	labelCount    = "nvidia.com/gpu.count"
	labelReplicas = "nvidia.com/gpu.replicas"
	labelSharing  = "nvidia.com/gpu.sharing-strategy"
)

// Labels of AMD's node labeller.
const (
	labelProductAMD = "amd.com/gpu.product-name"
	labelMemoryAMD  = "amd.com/gpu.vram" // such as 192G
)

// vendor is one maker's way to offer GPUs to pods.
type vendor struct {
	resource corev1.ResourceName
	class    boursev1.DeviceClass
	describe func(labels map[string]string) description
}

// description is what a node's labels say of its GPUs of one vendor.
type description struct {
	model  gpu.Model
	known  bool // the labels name a model that can be sold
	shared bool // each GPU is handed out several times
	most   int32
}

// vendors returns whose GPUs are counted.
func vendors() [2]vendor {
	return [2]vendor{
		{ray.ResourceGPU, boursev1.ClassNVIDIA, describeNVIDIA},
		{"amd.com/gpu", boursev1.ClassAMD, describeAMD},
	}
}

func describeNVIDIA(labels map[string]string) description {
	var d description
	product := labels[ray.LabelProduct]
	if memory, err := strconv.ParseInt(labels[labelMemory], 10, 32); err == nil {
		d.model, d.known = gpu.ModelOf(product, int32(memory))
	}
	replicas, err := strconv.Atoi(cmp.Or(labels[labelReplicas], "1"))
	strategy := cmp.Or(labels[labelSharing], "none")
	d.shared = err != nil || replicas > 1 || strategy != "none" || strings.HasSuffix(strings.ToLower(product), "-shared")
	if physical, err := strconv.ParseInt(labels[labelCount], 10, 32); err == nil {
		d.most = int32(physical)
	}
	return d
}

func describeAMD(labels map[string]string) description {
	const mib = 1024
	var d description
	size := labels[labelMemoryAMD]
	if memory, err := strconv.ParseInt(strings.TrimSuffix(size, "G"), 10, 16); err == nil && strings.HasSuffix(size, "G") {
		d.model, d.known = gpu.ModelOf(labels[labelProductAMD], int32(memory)*mib)
	}
	return d
}

func count(resources corev1.ResourceList, name corev1.ResourceName) int32 {
	gpus, ok := resources[name]
	if !ok {
		return 0
	}
	return int32(min(max(0, gpus.Value()), 1<<20))
}
