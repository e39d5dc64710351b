// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// Labels of GPU Feature Discovery, beside the product.
const (
	labelMemory   = "nvidia.com/gpu.memory"
	labelReplicas = "nvidia.com/gpu.replicas"
	labelSharing  = "nvidia.com/gpu.sharing-strategy"
)

// maxNodes is more nodes than a cluster has.
const maxNodes = 1 << 20

// leaseSpace is how the namespaces of leases begin.
const leaseSpace = "bourse-lease-"

// discover reads the pool's nodes and what pods hold of their GPUs. A node belongs to the oldest pool that selects it.
func (p *pass) discover(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	var nodes corev1.NodeList
	if err := p.Local.List(ctx, &nodes, client.MatchingLabels(pool.Spec.NodeSelector)); err != nil {
		return reconcile.Result{}, fmt.Errorf("list nodes: %w", err)
	}
	pool.Status.Nodes = new(int32(min(len(nodes.Items), maxNodes)))
	if len(nodes.Items) == 0 {
		kube.Failed(pool, boursev1.PoolDiscovered, boursev1.ReasonNoNodes, "No node has the labels of spec.nodeSelector")
		return reconcile.Result{}, nil
	}
	rival, err := p.rival(ctx, pool, nodes.Items)
	if err != nil {
		return reconcile.Result{}, err
	}
	if rival != "" {
		kube.Failed(pool, boursev1.PoolDiscovered, boursev1.ReasonOverlap, "The older pool "+rival+" selects some of the same nodes")
		return reconcile.Result{}, nil
	}
	if p.held, err = p.holdings(ctx); err != nil {
		return reconcile.Result{}, err
	}
	for i := range nodes.Items {
		facts := factsOf(&nodes.Items[i])
		facts.Local, facts.Leased = p.held.local[facts.Name], p.held.leased[facts.Name]
		if facts.Sellable() {
			p.nodes = append(p.nodes, facts)
			p.labels[facts.Name] = nodes.Items[i].Labels
		}
	}
	slices.SortFunc(p.nodes, func(a, b gpu.Facts) int { return cmp.Compare(a.Name, b.Name) })
	if len(p.nodes) == 0 {
		kube.Failed(pool, boursev1.PoolDiscovered, boursev1.ReasonNoGPUs,
			"No node has GPUs that can be sold: they need the labels of GPU Feature Discovery, and GPUs that are not shared")
		return reconcile.Result{}, nil
	}
	kube.True(pool, boursev1.PoolDiscovered, boursev1.ReasonGPUsFound, "The pool's nodes have GPUs")
	return reconcile.Result{}, nil
}

// rival names the oldest other pool that selects one of the nodes, if it is older than this one.
func (p *pass) rival(ctx context.Context, pool *boursev1.GPUPool, nodes []corev1.Node) (string, error) {
	var pools boursev1.GPUPoolList
	if err := p.Local.List(ctx, &pools); err != nil {
		return "", fmt.Errorf("list pools: %w", err)
	}
	byAge := func(a, b boursev1.GPUPool) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	}
	slices.SortFunc(pools.Items, byAge)
	for _, other := range pools.Items {
		if other.Name == pool.Name || byAge(other, *pool) > 0 {
			break
		}
		selector := labels.SelectorFromSet(other.Spec.NodeSelector)
		if slices.ContainsFunc(nodes, func(n corev1.Node) bool { return selector.Matches(labels.Set(n.Labels)) }) {
			return other.Name, nil
		}
	}
	return "", nil
}

// factsOf reads what a node says of itself. What its pods hold is added later.
func factsOf(node *corev1.Node) gpu.Facts {
	facts := gpu.Facts{
		Name:        node.Name,
		Cordoned:    node.Spec.Unschedulable,
		Capacity:    count(node.Status.Capacity),
		Allocatable: count(node.Status.Allocatable),
	}
	if memory, err := strconv.ParseInt(node.Labels[labelMemory], 10, 32); err == nil {
		facts.Model, _ = gpu.ModelOf(node.Labels[ray.LabelProduct], int32(memory))
	}
	replicas, err := strconv.Atoi(cmp.Or(node.Labels[labelReplicas], "1"))
	strategy := cmp.Or(node.Labels[labelSharing], "none")
	facts.Shared = err != nil || replicas > 1 || strategy != "none"
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			facts.Ready, facts.Unknown = condition.Status == corev1.ConditionTrue, condition.Status == corev1.ConditionUnknown
		}
	}
	facts.Tainted = slices.ContainsFunc(node.Spec.Taints, repels)
	return facts
}

// repels says whether a taint keeps the pods of leases away. Cordoning is told apart by itself.
func repels(taint corev1.Taint) bool {
	switch taint.Key {
	case ray.TaintGPU, ray.TaintPool, corev1.TaintNodeUnschedulable:
		return false
	}
	return taint.Effect != corev1.TaintEffectPreferNoSchedule
}

func count(resources corev1.ResourceList) int32 {
	gpus := resources[ray.ResourceGPU]
	return int32(min(max(0, gpus.Value()), 1<<20))
}

// holdings are the GPUs that pods hold.
type holdings struct {
	local   map[string]int32 // node to those of the supplier's own pods
	leased  map[string]int32 // node to those of leases
	leases  map[string]int32 // lease to those that its scheduled pods hold
	waiting []corev1.Pod     // the supplier's own pods that found no place
}

// holdings sums up what all pods of the cluster hold, or are about to.
func (r *Reconciler) holdings(ctx context.Context) (holdings, error) {
	held := holdings{local: map[string]int32{}, leased: map[string]int32{}, leases: map[string]int32{}}
	var pods corev1.PodList
	if err := r.Local.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return held, fmt.Errorf("list pods: %w", err)
	}
	for i := range pods.Items {
		pod := &pods.Items[i]
		gpus := requests(pod)
		if gpus == 0 || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		lease := pod.Labels[boursev1.LabelLease]
		mine := lease != "" && strings.HasPrefix(pod.Namespace, leaseSpace)
		switch node := cmp.Or(pod.Spec.NodeName, pod.Status.NominatedNodeName); {
		case mine && pod.Spec.NodeName != "":
			held.leased[node] += gpus
			held.leases[lease] += gpus
		case mine:
		case node != "":
			held.local[node] += gpus
		case unplaced(pod):
			held.waiting = append(held.waiting, *pod)
		}
	}
	return held, nil
}

// requests is how many GPUs the scheduler counts for the pod.
func requests(pod *corev1.Pod) int32 {
	containers := make([]int32, 0, len(pod.Spec.Containers))
	for _, container := range pod.Spec.Containers {
		containers = append(containers, count(container.Resources.Requests))
	}
	inits := make([]gpu.Init, 0, len(pod.Spec.InitContainers))
	for _, container := range pod.Spec.InitContainers {
		sidecar := container.RestartPolicy != nil && *container.RestartPolicy == corev1.ContainerRestartPolicyAlways
		inits = append(inits, gpu.Init{GPUs: count(container.Resources.Requests), Sidecar: sidecar})
	}
	return gpu.Requests(containers, inits)
}

// unplaced says whether the scheduler has looked for a place for the pod in vain.
func unplaced(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
	})
}
