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
		if waiting := container.State.Waiting; waiting != nil {
			switch waiting.Reason { // as kubelets call them; the first two take turns while one tries again
			case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ImageInspectError", "ErrImageNeverPull", "RegistryUnavailable":
				return "an image cannot be pulled"
			case "CreateContainerConfigError", "CreateContainerError", "RunContainerError":
				return "a container cannot be started"
			}
		}
		if container.RestartCount > 0 {
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
