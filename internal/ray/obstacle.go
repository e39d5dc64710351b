// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"slices"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// unpulled are a kubelet's reasons for a container whose image it does not have. Two of them take turns while it tries again.
var unpulled = []string{"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull", "RegistryUnavailable"}

// uncreated are its reasons for one that the container runtime does not start.
var uncreated = []string{"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}

// Obstacle is what keeps the lease's Ray pods from becoming ready, as far as Kubernetes and KubeRay say it, or nothing. Everybody may read it,
// so it names neither pod nor image; and it stays the same while the same is tried again.
func (s State) Obstacle(object client.Object) string {
	for i := range s.Rays {
		if why := obstacleOf(&s.Rays[i]); why != "" {
			return why
		}
	}
	if meta.IsStatusConditionTrue(conditionsOf(object), string(rayv1.RayClusterReplicaFailure)) {
		return "KubeRay could not create or delete a pod"
	}
	return ""
}

func obstacleOf(pod *corev1.Pod) string {
	if _, ready := readiness(*pod); ready {
		return ""
	}
	for _, container := range slices.Concat(pod.Status.InitContainerStatuses, pod.Status.ContainerStatuses) {
		waiting := container.State.Waiting
		switch {
		case waiting != nil && slices.Contains(unpulled, waiting.Reason):
			return "an image cannot be pulled"
		case waiting != nil && slices.Contains(uncreated, waiting.Reason):
			return "a container cannot be started"
		case container.RestartCount > 0:
			return "a container ended and was started again"
		}
	}
	return ""
}

// conditionsOf are those of the Ray cluster.
func conditionsOf(object client.Object) []metav1.Condition {
	switch of := object.(type) {
	case *rayv1.RayCluster:
		return of.Status.Conditions
	case *rayv1.RayJob:
		return of.Status.RayClusterStatus.Conditions
	default:
		return nil
	}
}
