// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
)

// leaseSpace is how the namespaces of leases begin.
const leaseSpace = "bourse-lease-"

// shelf is one node's GPUs of one resource.
type shelf struct {
	node     string
	resource corev1.ResourceName
}

// holdings are the GPUs that pods hold, or wait for.
type holdings struct {
	on      map[shelf][]gpu.Holder
	uids    map[types.NamespacedName]string // those of the pods above
	leases  map[string]int32                // lease to what its scheduled pods hold
	waiting []demand                        // the supplier's own work that found no place
}

// demand is local work that waits for GPUs.
type demand struct {
	selector map[string]string
	resource corev1.ResourceName
	gpus     int32
}

// holdings sums up what all pods of the cluster hold, or are about to.
func (r *Reconciler) holdings(ctx context.Context) (holdings, error) {
	held := holdings{on: map[shelf][]gpu.Holder{}, uids: map[types.NamespacedName]string{}, leases: map[string]int32{}}
	var pods corev1.PodList
	if err := r.Local.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return held, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, from := range vendors() {
			if gpus := requests(&pod.Spec, from.resource); gpus > 0 {
				held.add(pod, from.resource, gpus)
			}
		}
	}
	return held, nil
}

func (h *holdings) add(pod *corev1.Pod, resource corev1.ResourceName, gpus int32) {
	lease := pod.Labels[boursev1.LabelLease]
	if !strings.HasPrefix(pod.Namespace, leaseSpace) {
		lease = ""
	}
	node := cmp.Or(pod.Spec.NodeName, pod.Status.NominatedNodeName)
	switch {
	case lease != "" && pod.Spec.NodeName == "": // its lease has a promise
		return
	case node == "":
		if unplaced(pod) {
			h.waiting = append(h.waiting, demand{pod.Spec.NodeSelector, resource, gpus})
		}
		return
	case lease != "":
		h.leases[lease] += gpus
	}
	at := shelf{node, resource}
	h.on[at] = append(h.on[at], gpu.Holder{UID: string(pod.UID), GPUs: gpus, Lease: lease, Ending: !pod.DeletionTimestamp.IsZero()})
	h.uids[client.ObjectKeyFromObject(pod)] = string(pod.UID)
}

// ghost is a pod that an agent reports and that the API server has no more, or that has ended.
func ghost(pod boursev1.DevicePod) gpu.Holder {
	lease, _ := strings.CutPrefix(pod.Namespace, leaseSpace)
	if lease == pod.Namespace {
		lease = ""
	}
	return gpu.Holder{UID: pod.Namespace + "/" + pod.Name, GPUs: 1, Lease: lease, Gone: true}
}

// requests is how many GPUs the scheduler counts for a pod.
func requests(of *corev1.PodSpec, resource corev1.ResourceName) int32 {
	if !asks(of.Containers, resource) && !asks(of.InitContainers, resource) {
		return 0
	}
	containers := make([]int32, 0, len(of.Containers))
	for i := range of.Containers {
		containers = append(containers, count(of.Containers[i].Resources.Requests, resource))
	}
	inits := make([]gpu.Init, 0, len(of.InitContainers))
	for i := range of.InitContainers {
		container := &of.InitContainers[i]
		sidecar := container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
		inits = append(inits, gpu.Init{GPUs: count(container.Resources.Requests, resource), Sidecar: sidecar})
	}
	return gpu.Requests(containers, inits)
}

func asks(containers []corev1.Container, resource corev1.ResourceName) bool {
	for i := range containers {
		if _, ok := containers[i].Resources.Requests[resource]; ok {
			return true
		}
	}
	return false
}

// unplaced says whether the scheduler has looked for a place for the pod in vain.
func unplaced(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
	})
}
