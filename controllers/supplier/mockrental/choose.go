// SPDX-License-Identifier: Apache-2.0

package mockrental

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
)

// candidate is a node whose GPUs are to be for sale again.
type candidate struct {
	name string
	free int32 // GPUs that no other pod holds
}

// choose picks the pool's nodes that leases could use. One that its admin keeps out, by a cordon or a taint, is not sold anyway; one that
// is not ready, or whose GPUs the device plugin does not give out, is not repaired.
func (p *pass) choose(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	var nodes corev1.NodeList
	if err := p.Local.List(ctx, &nodes, client.MatchingLabels(pool.Spec.NodeSelector)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list nodes: %w", err)
	}
	slices.SortFunc(nodes.Items, func(a, b corev1.Node) int { return cmp.Compare(a.Name, b.Name) })
	held, err := p.held(ctx, pool)
	if err != nil {
		return reconcile.Result{}, err
	}
	for i := range nodes.Items {
		node := &nodes.Items[i]
		if ray.Count(node.Status.Capacity) == 0 || node.Spec.Unschedulable || slices.ContainsFunc(node.Spec.Taints, repels) {
			continue
		}
		p.nodes = append(p.nodes, candidate{node.Name, max(0, ray.Count(node.Status.Allocatable)-held[node.Name])})
		p.note(node.Name, nodeTrouble(node))
	}
	if len(p.nodes) == 0 {
		p.trouble = "The pool has no node with GPUs that is neither cordoned nor tainted"
	}
	return reconcile.Result{}, nil
}

// note keeps the first thing that is wrong.
func (p *pass) note(node, trouble string) {
	if p.trouble == "" && trouble != "" {
		p.trouble = "Node " + node + ": " + trouble
	}
}

// repels says whether a taint keeps the pods of leases away. Those by which Kubernetes says that a node is in trouble do not count: the
// node's own conditions say it better.
func repels(taint corev1.Taint) bool {
	switch taint.Key {
	case ray.TaintGPU, ray.TaintPool, corev1.TaintNodeNotReady, corev1.TaintNodeUnreachable:
		return false
	}
	return taint.Effect != corev1.TaintEffectPreferNoSchedule
}

// nodeTrouble says what is wrong with a node, or nothing.
func nodeTrouble(node *corev1.Node) string {
	ready := corev1.ConditionUnknown
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			ready = condition.Status
		}
	}
	capacity, allocatable := ray.Count(node.Status.Capacity), ray.Count(node.Status.Allocatable)
	switch {
	case ready == corev1.ConditionUnknown:
		return "it does not report"
	case ready != corev1.ConditionTrue:
		return "it is not ready"
	case allocatable < capacity:
		return fmt.Sprintf("its device plugin has withdrawn %d of %d GPUs", capacity-allocatable, capacity)
	}
	return ""
}

// held counts the GPUs that pods hold on each node, or are about to, besides the pool's own mock rentals.
func (p *pass) held(ctx context.Context, pool *boursev1.GPUPool) (map[string]int32, error) {
	var pods corev1.PodList
	if err := p.Local.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	held := map[string]int32{}
	for i := range pods.Items {
		pod := &pods.Items[i]
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		if node := cmp.Or(pod.Spec.NodeName, pod.Status.NominatedNodeName); node != "" && !ended && pod.Namespace != ray.TrialSpace(pool.Name) {
			held[node] += ray.Requested(pod)
		}
	}
	return held, nil
}

// ask tells the agents of the nodes to read their devices anew, and takes in what they found.
func (p *pass) ask(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	value := pool.Annotations[boursev1.AnnotationRecycle]
	for _, node := range p.nodes {
		var found boursev1.GPUNode
		err := p.Local.Get(ctx, client.ObjectKey{Name: node.name}, &found)
		if apierrors.IsNotFound(err) {
			continue // the pool does without an agent
		}
		if err != nil {
			return reconcile.Result{}, fmt.Errorf("get GPUNode: %w", err)
		}
		if found.Annotations[boursev1.AnnotationRecycle] != value {
			base := found.DeepCopy()
			metav1.SetMetaDataAnnotation(&found.ObjectMeta, boursev1.AnnotationRecycle, value)
			if err := p.Local.Patch(ctx, &found, client.MergeFrom(base)); client.IgnoreNotFound(err) != nil {
				return reconcile.Result{}, fmt.Errorf("annotate GPUNode: %w", err)
			}
		}
		p.note(node.name, deviceTrouble(&found))
	}
	return reconcile.Result{}, nil
}

// deviceTrouble says which of a node's devices its agent calls unhealthy, or nothing.
func deviceTrouble(node *boursev1.GPUNode) string {
	if ready := meta.FindStatusCondition(node.Status.Conditions, boursev1.Ready); ready != nil && ready.Status != metav1.ConditionTrue {
		return "its agent does not read the GPUs: " + ready.Message
	}
	for _, device := range node.Status.Devices {
		switch {
		case device.Health == boursev1.DeviceHealthy:
		case device.XID != nil:
			return fmt.Sprintf("%s is unhealthy: %s %d", device.UUID, device.Fault, *device.XID)
		default:
			return fmt.Sprintf("%s is unhealthy: %s", device.UUID, device.Fault)
		}
	}
	return ""
}
