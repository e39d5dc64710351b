// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
)

// handover is another lease that lets its holding pods go so that its workers can have their place. In between the GPUs are nobody's, and
// the scheduler may give them to the holding pods of whoever came later.
type handover struct {
	lease string
	each  int64            // the GPUs of each of its workers
	seek  int64            // its workers that have no node yet
	hosts []string         // where they look for one
	holds map[string]int64 // node to the GPUs that its holding pods still have
}

// displaced names a lease whose workers cannot have the GPUs that they were promised because this lease's pods got them; nothing if there
// is none. All of it is read from one cluster's pods, which were changed in the order in which we see them: whoever sees that a pod has
// a place also sees the workers for whom that place was given up.
func (r *Reconciler) displaced(ctx context.Context, lease *boursev1.GPULease, holders []corev1.Pod) (string, error) {
	ours := map[string]bool{}
	for i := range holders {
		if node := holders[i].Spec.NodeName; node != "" && ray.GPUs(&holders[i]) > 0 {
			ours[node] = true
		}
	}
	if len(ours) == 0 {
		return "", nil
	}
	var pods corev1.PodList
	if err := r.Local.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return "", fmt.Errorf("list pods: %w", err)
	}
	others, held := handovers(pods.Items, space(lease))
	free := map[string]int64{}
	for _, name := range slices.Sorted(maps.Keys(others)) {
		other := others[name]
		if err := r.free(ctx, free, held, other.hosts); err != nil {
			return "", err
		}
		mine := slices.ContainsFunc(other.hosts, func(host string) bool { return ours[host] })
		if !other.fits(free) && mine {
			return other.lease, nil
		}
	}
	return "", nil
}

// handovers finds the other leases with workers that look for their place, by namespace, and sums up what pods hold on each node.
func handovers(pods []corev1.Pod, own string) (others map[string]*handover, held map[string]int64) {
	others, held = map[string]*handover{}, map[string]int64{}
	holding := map[string]map[string]int64{}
	for i := range pods {
		pod := &pods[i]
		gpus := ray.GPUs(pod)
		if gpus == 0 || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		held[pod.Spec.NodeName] += gpus
		if pod.Namespace == own || pod.Labels[boursev1.LabelLease] == "" {
			continue
		}
		if ray.Holds(pod) {
			if holding[pod.Namespace] == nil {
				holding[pod.Namespace] = map[string]int64{}
			}
			holding[pod.Namespace][pod.Spec.NodeName] += gpus
		}
		if hosts, ok := ray.Seeks(pod); ok {
			if others[pod.Namespace] == nil {
				others[pod.Namespace] = &handover{lease: pod.Labels[boursev1.LabelLease], each: gpus, hosts: hosts}
			}
			others[pod.Namespace].seek++
		}
	}
	for namespace, other := range others {
		other.holds = holding[namespace]
	}
	return others, held
}

// free adds to the free GPUs those of nodes that are not known yet.
func (r *Reconciler) free(ctx context.Context, free, held map[string]int64, nodes []string) error {
	for _, name := range nodes {
		if _, known := free[name]; known {
			continue
		}
		var node corev1.Node
		if err := r.Local.Get(ctx, client.ObjectKey{Name: name}, &node); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("get node: %w", err)
		}
		all := node.Status.Allocatable[ray.ResourceGPU]
		free[name] = all.Value() - held[name]
	}
	return nil
}

// fits says whether the workers find room in what is free and what their own lease still holds, and takes it from what is free.
func (h *handover) fits(free map[string]int64) bool {
	left := h.seek
	for _, host := range h.hosts {
		places := min(left, max(0, free[host]+h.holds[host])/h.each)
		free[host] -= max(0, places*h.each-h.holds[host])
		left -= places
	}
	return left == 0
}
