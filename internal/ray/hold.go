// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"maps"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// holdGrace lets a node free the devices before the scheduler gives them away again.
const holdGrace = 1

// Holders returns one pod for the head and one for each worker, which request exactly what these will: whatever holds them holds the
// lease's place, and the scheduler needs no other book.
func (p Plan) Holders() []*corev1.Pod {
	holders := make([]*corev1.Pod, 0, p.Workers+1)
	holders = append(holders, p.holder("hold-head", equal(p.HeadCPU, p.HeadMemory, 0)))
	for i := range p.Workers {
		holders = append(holders, p.holder("hold-"+strconv.Itoa(int(i)), equal(p.WorkerCPU, p.WorkerMemory, p.PerWorker)))
	}
	return holders
}

func (p Plan) holder(name string, resources corev1.ResourceRequirements) *corev1.Pod {
	spec := p.pod(corev1.Container{
		Name: partHold, Image: p.HoldImage, Resources: resources,
		Env: hideGPUs(resources),
	})
	spec.RestartPolicy = corev1.RestartPolicyAlways
	spec.TerminationGracePeriodSeconds = new(int64(holdGrace))
	meta := p.meta(name)
	meta.Labels = maps.Clone(meta.Labels)
	meta.Labels[labelPart] = partHold
	return &corev1.Pod{ObjectMeta: meta, Spec: spec}
}

// hideGPUs keeps a container that has no GPU from seeing all of the node's, which an image may ask for in its environment.
func hideGPUs(resources corev1.ResourceRequirements) []corev1.EnvVar {
	if gpus, ok := resources.Limits[ResourceGPU]; ok && gpus.Cmp(resource.Quantity{}) > 0 {
		return nil
	}
	return []corev1.EnvVar{{Name: "NVIDIA_VISIBLE_DEVICES", Value: "void"}}
}
