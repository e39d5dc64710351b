// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"fmt"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// SetupWithManager watches pools, nodes and pods in the supplier's cluster, what agents, drivers and queues say there, and in the hub what
// others do about its offers. What the API server does not have when the operator starts is not watched.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	every := handler.EnqueueRequestsFromMapFunc(r.everyPool)
	local := func(object client.Object, only ...predicate.Predicate) source.Source {
		return source.Kind(mgr.GetCache(), object, every, only...)
	}
	options := kube.Hub()
	options.MaxConcurrentReconciles = 1 // what it remembers of the pools is not shared
	builder := ctrl.NewControllerManagedBy(mgr).
		Named("supplier-gpupool").
		For(&boursev1.GPUPool{}).
		WithOptions(options).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.GPUOffer{}), handler.EnqueueRequestsFromMapFunc(r.poolOf))).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.GPULease{}), handler.EnqueueRequestsFromMapFunc(r.poolOf))).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.Member{}), every)).
		WatchesRawSource(local(&corev1.Node{}, changedNode())).
		WatchesRawSource(local(&corev1.Pod{}, gpuPod())).
		WatchesRawSource(local(&boursev1.GPUNode{}, changedReport()))
	if r.System != "" {
		builder = builder.WatchesRawSource(local(&coordinationv1.Lease{}, heartbeat()))
	}
	of, err := served(mgr, resourcev1.SchemeGroupVersion.WithKind("ResourceSlice").GroupKind(), resourcev1.SchemeGroupVersion.Version)
	if err != nil {
		return err
	}
	if r.slices = !of.Empty(); r.slices {
		builder = builder.WatchesRawSource(local(&resourcev1.ResourceSlice{}, gpuSlice()))
	}
	if of, err = served(mgr, schema.GroupKind{Group: "kueue.x-k8s.io", Kind: "Workload"}, "v1beta2", "v1beta1"); err != nil {
		return err
	}
	if !of.Empty() {
		workloads := &unstructured.Unstructured{}
		workloads.SetGroupVersionKind(of)
		r.queue, r.queueKind = mgr.GetCache(), of.GroupVersion().WithKind(of.Kind+"List")
		builder = builder.WatchesRawSource(local(workloads))
	}
	return builder.Complete(reconcile.AsReconciler[*boursev1.GPUPool](mgr.GetClient(), r))
}

// served returns the first of the versions in which the API server has the kind, or nothing if it has none of them.
func served(mgr ctrl.Manager, kind schema.GroupKind, versions ...string) (schema.GroupVersionKind, error) {
	for _, version := range versions {
		mapping, err := mgr.GetRESTMapper().RESTMapping(kind, version)
		if meta.IsNoMatchError(err) {
			continue
		}
		if err != nil {
			return schema.GroupVersionKind{}, fmt.Errorf("ask for kind %s: %w", kind, err)
		}
		return mapping.GroupVersionKind, nil
	}
	return schema.GroupVersionKind{}, nil
}

func (r *Reconciler) everyPool(ctx context.Context, object client.Object) []reconcile.Request {
	if _, ok := object.(*boursev1.Member); ok && object.GetNamespace() != r.Namespace {
		return nil
	}
	var pools boursev1.GPUPoolList
	if err := r.Local.List(ctx, &pools); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Did not list pools")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(pools.Items))
	for i := range pools.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&pools.Items[i])})
	}
	return requests
}

func (r *Reconciler) poolOf(_ context.Context, object client.Object) []reconcile.Request {
	if object.GetNamespace() != r.Namespace {
		return nil
	}
	var pool string
	switch of := object.(type) {
	case *boursev1.GPUOffer:
		pool = of.Spec.Pool
	case *boursev1.GPULease:
		pool = of.Spec.Pool
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: pool}}}
}

// changedNode leaves out the heartbeats of nodes.
func changedNode() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*corev1.Node)
		after, okAfter := e.ObjectNew.(*corev1.Node)
		if !okBefore || !okAfter {
			return false
		}
		return factsOf(before) != factsOf(after) || !labels.Equals(before.Labels, after.Labels)
	}}
}

// changedReport leaves out what does not change the devices of a node, or the signature over them.
func changedReport() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*boursev1.GPUNode)
		after, okAfter := e.ObjectNew.(*boursev1.GPUNode)
		if !okBefore || !okAfter {
			return false
		}
		return before.Status.Record != after.Status.Record || !apiequality.Semantic.DeepEqual(before.Status.Devices, after.Status.Devices)
	}}
}

// gpuPod leaves out pods that have nothing to do with GPUs.
func gpuPod() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(object client.Object) bool {
		pod, ok := object.(*corev1.Pod)
		if !ok {
			return false
		}
		for _, from := range vendors() {
			if requests(&pod.Spec, from.resource) > 0 {
				return true
			}
		}
		return false
	})
}

// gpuSlice leaves out the devices of other drivers.
func gpuSlice() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(object client.Object) bool {
		slice, ok := object.(*resourcev1.ResourceSlice)
		return ok && slice.Spec.Driver == driverDRA
	})
}
