// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
)

// Trial is a mock rental of one node's free GPUs: a pod that goes the way of a lease's worker, through scheduler, kubelet, device plugin
// and container runtime, and then only waits.
type Trial struct {
	Namespace string
	Pool      string
	Node      string
	GPUs      int32
	HoldImage string // an image that only waits
	Seconds   int64  // after which the pod ends by itself
}

// TrialSpace is the name of the namespace of a pool's mock rentals.
func TrialSpace(pool string) string {
	const prefix, most = "bourse-recycle-", 63
	return prefix + short(pool, most-len(prefix))
}

// Space returns what must exist before the pod, in that order: a namespace for pods that keep to the restricted standard, its wall, and an
// account that may do nothing.
func (t Trial) Space() []client.Object {
	space := t.plan().Space()
	space.Labels = t.labels(space.Labels)
	return []client.Object{
		space,
		&networkingv1.NetworkPolicy{ObjectMeta: t.meta("default-deny"), Spec: networkingv1.NetworkPolicySpec{
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress},
		}},
		&corev1.ServiceAccount{ObjectMeta: t.meta(AccountName), AutomountServiceAccountToken: new(false)},
	}
}

// Name is the name of the node's pod.
func (t Trial) Name() string {
	const most = 63
	return short(t.Node, most)
}

// Pod returns the pod.
func (t Trial) Pod() *corev1.Pod {
	resources := equal(resource.MustParse("100m"), resource.MustParse("64Mi"), t.GPUs)
	spec := t.plan().pod(corev1.Container{Name: partHold, Image: t.HoldImage, Resources: resources})
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.TerminationGracePeriodSeconds = new(int64(holdGrace))
	spec.ActiveDeadlineSeconds = new(t.Seconds)
	return &corev1.Pod{ObjectMeta: t.meta(t.Name()), Spec: spec}
}

func (t Trial) plan() Plan {
	return Plan{Namespace: t.Namespace, Priority: PriorityInterruptible, Hosts: []string{t.Node}}
}

func (t Trial) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: t.Namespace, Name: name, Labels: t.labels(t.plan().labels())}
}

// labels are not those of a lease: no lease is rented here.
func (t Trial) labels(of map[string]string) map[string]string {
	delete(of, boursev1.LabelLease)
	of[boursev1.LabelMockRental] = label(t.Pool)
	return of
}

// Requested is how many GPUs the scheduler counts for a pod.
func Requested(pod *corev1.Pod) int32 {
	containers := make([]int32, 0, len(pod.Spec.Containers))
	for _, container := range pod.Spec.Containers {
		containers = append(containers, Count(container.Resources.Requests))
	}
	inits := make([]gpu.Init, 0, len(pod.Spec.InitContainers))
	for _, container := range pod.Spec.InitContainers {
		sidecar := container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
		inits = append(inits, gpu.Init{GPUs: Count(container.Resources.Requests), Sidecar: sidecar})
	}
	return gpu.Requests(containers, inits)
}

// Count is how many GPUs are among the resources.
func Count(resources corev1.ResourceList) int32 {
	gpus := resources[ResourceGPU]
	return int32(min(max(0, gpus.Value()), 1<<20))
}

// Trouble says whether a pod that holds GPUs runs with them, and if not what keeps it, in Kubernetes' own words. One that is lost can
// never run any more.
func Trouble(pod *corev1.Pod) (why string, lost bool) {
	_, ready := readiness(*pod)
	switch told := disruption(*pod); {
	case pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded:
		return words(pod.Status.Reason, pod.Status.Message), true
	case told != nil:
		return words(told.Reason, told.Message), false
	case !pod.DeletionTimestamp.IsZero():
		return "an earlier mock rental is being removed", false
	case ready:
		return "", false
	}
	if why := Unplaced([]corev1.Pod{*pod}); why != "" {
		return why, false
	}
	for _, container := range pod.Status.ContainerStatuses {
		if waiting := container.State.Waiting; waiting != nil {
			return words(waiting.Reason, waiting.Message), false
		}
	}
	return "the pod does not run yet", false
}

// words joins a reason and a message, if there are any.
func words(parts ...string) string {
	parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
	switch len(parts) {
	case 0:
		return "no reason is given"
	case 1:
		return parts[0]
	default:
		return parts[0] + ": " + parts[1]
	}
}

// short cuts a name to a length, and tells long ones apart by a hash.
func short(name string, most int) string {
	if len(name) <= most {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	suffix := "-" + hex.EncodeToString(sum[:4])
	return name[:most-len(suffix)] + suffix
}
