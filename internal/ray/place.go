// SPDX-License-Identifier: Apache-2.0

package ray

import (
	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// GPUs is how many GPUs a pod asks for.
func GPUs(pod *corev1.Pod) int64 {
	var sum int64
	for i := range pod.Spec.Containers {
		asked := pod.Spec.Containers[i].Resources.Requests[ResourceGPU]
		sum += asked.Value()
	}
	return sum
}

// Holds says whether a pod holds a lease's place until Ray takes it.
func Holds(pod *corev1.Pod) bool { return pod.Labels[labelPart] == partHold }

// Seeks returns the nodes that hold a worker's place, while it has none of them yet; ok is false for every other pod.
func Seeks(pod *corev1.Pod) (hosts []string, ok bool) {
	if pod.Labels[labelNodeType] != string(rayv1.WorkerNode) || pod.Spec.NodeName != "" || !pod.DeletionTimestamp.IsZero() {
		return nil, false
	}
	affinity := pod.Spec.Affinity
	if affinity == nil || affinity.NodeAffinity == nil || affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution == nil {
		return nil, false
	}
	for _, term := range affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms {
		for _, field := range term.MatchFields {
			if field.Key == metav1.ObjectNameField {
				hosts = append(hosts, field.Values...)
			}
		}
	}
	return hosts, len(hosts) > 0
}
