// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"testing"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestObstacle(t *testing.T) {
	waits := func(reason string) func(*corev1.Pod) {
		return func(pod *corev1.Pod) {
			readyAt(noon, corev1.ConditionFalse)(pod)
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "of secret/image"},
			}}}
		}
	}
	restarted := func(pod *corev1.Pod) { pod.Status.ContainerStatuses = []corev1.ContainerStatus{{RestartCount: 1}} }
	crashed := all(readyAt(noon, corev1.ConditionFalse), restarted)
	failure := []metav1.Condition{{Type: string(rayv1.RayClusterReplicaFailure), Status: metav1.ConditionTrue}}
	cases := map[string]struct {
		pods   []corev1.Pod
		object client.Object
		want   string
	}{
		"pods that are being started":           {[]corev1.Pod{worker("a", waits("ContainerCreating"))}, &rayv1.RayCluster{}, ""},
		"an image that is being looked for":     {[]corev1.Pod{worker("a", nil), worker("b", waits("ErrImagePull"))}, &rayv1.RayCluster{}, "an image cannot be pulled"},
		"the same a moment later":               {[]corev1.Pod{worker("a", nil), worker("b", waits("ImagePullBackOff"))}, &rayv1.RayCluster{}, "an image cannot be pulled"},
		"a container that the runtime refuses":  {[]corev1.Pod{worker("a", waits("CreateContainerError"))}, &rayv1.RayCluster{}, "a container cannot be started"},
		"a container that crashes":              {[]corev1.Pod{worker("a", crashed)}, &rayv1.RayCluster{}, "a container ended and was started again"},
		"one that crashed and is ready now":     {[]corev1.Pod{worker("a", restarted)}, &rayv1.RayCluster{}, ""},
		"a cluster that KubeRay cannot fill":    {nil, &rayv1.RayCluster{Status: rayv1.RayClusterStatus{Conditions: failure}}, "KubeRay could not create or delete a pod"},
		"the same of a job":                     {nil, &rayv1.RayJob{Status: rayv1.RayJobStatus{RayClusterStatus: rayv1.RayClusterStatus{Conditions: failure}}}, "KubeRay could not create or delete a pod"},
		"nothing was launched":                  {nil, nil, ""},
		"what is told of a pod says more still": {[]corev1.Pod{worker("a", waits("InvalidImageName"))}, &rayv1.RayCluster{Status: rayv1.RayClusterStatus{Conditions: failure}}, "an image cannot be pulled"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Read(tc.pods, 2, nil).Obstacle(tc.object); got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}
