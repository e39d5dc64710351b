// SPDX-License-Identifier: Apache-2.0

// Package gpupool finds out which GPUs of a supplier's pools are idle, and offers them to the market. It knows nodes and pods, and
// nothing of who rents.
package gpupool

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
)

// Finalizer keeps a pool until its offers are withdrawn, or have ended by themselves.
const Finalizer = "bourse.dev/withdraw"

// Reconciler keeps the market's view of the supplier's pools.
type Reconciler struct {
	Teller    kube.Writer   // writes the pools' statuses, in the supplier's cluster
	Local     client.Client // the supplier's own API server
	Hub       client.Client // the market's one
	HubCache  cache.Cache   // where changes of offers, leases and the member are watched
	Namespace string        // the supplier's namespace in the hub
	Now       func() time.Time

	trackers map[string]*gpu.Tracker // pool to what has been free for how long; only the one worker touches it
}

// In the supplier's cluster it reads nodes and pods.
// +kubebuilder:rbac:groups=bourse.dev,resources=gpupools,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpupools/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=nodes;pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// In the hub it writes its own offers.
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuoffers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases;members,verbs=get;list;watch

// pass is one look at a pool: what its phases find out for each other.
type pass struct {
	*Reconciler
	nodes   []gpu.Facts
	labels  map[string]labels.Set
	held    holdings
	models  []*model
	cooling bool          // some GPUs are free, but not for long enough
	wake    time.Duration // when the first of them is
}

// Reconcile looks at one pool.
func (r *Reconciler) Reconcile(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	p := &pass{Reconciler: r, labels: map[string]labels.Set{}}
	if !pool.DeletionTimestamp.IsZero() {
		return kube.Run(ctx, r.Teller, pool, p.withdraw)
	}
	if err := kube.Hold(ctx, r.Local, pool, Finalizer); err != nil {
		return reconcile.Result{}, err
	}
	return kube.Run(ctx, r.Teller, pool, p.discover, p.idle, p.advertise)
}

// SetupWithManager watches pools, nodes and pods in the supplier's cluster, and in the hub what others do about its offers.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	every := handler.EnqueueRequestsFromMapFunc(r.everyPool)
	return ctrl.NewControllerManagedBy(mgr).
		Named("supplier-gpupool").
		For(&boursev1.GPUPool{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: 1}).
		WatchesRawSource(source.Kind(mgr.GetCache(), client.Object(&corev1.Node{}), every, changedNode())).
		WatchesRawSource(source.Kind(mgr.GetCache(), client.Object(&corev1.Pod{}), every, gpuPod())).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.GPUOffer{}), handler.EnqueueRequestsFromMapFunc(r.poolOf))).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.GPULease{}), handler.EnqueueRequestsFromMapFunc(r.poolOf))).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.Member{}), every)).
		Complete(reconcile.AsReconciler[*boursev1.GPUPool](mgr.GetClient(), r))
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

// gpuPod leaves out pods that have nothing to do with GPUs.
func gpuPod() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(object client.Object) bool {
		pod, ok := object.(*corev1.Pod)
		return ok && requests(pod) > 0
	})
}
