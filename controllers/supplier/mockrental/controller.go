// SPDX-License-Identifier: Apache-2.0

// Package mockrental tries a pool's free GPUs the way a lease would use them before they are sold again, when the pool's admin asks for it
// by an annotation. It answers in another annotation and writes no status: the pool's own controller keeps the GPUs back meanwhile.
package mockrental

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// Bounds in time.
const (
	attemptLimit = 5 * time.Minute // how long a try may take
	firstRetry   = 30 * time.Second
	lastRetry    = 30 * time.Minute
	pollGone     = 2 * time.Second // how often a namespace is looked for that is to go
)

// What an attempt remembers: the first on the namespace of the mock rentals, the others on the pool.
const (
	annotationPool  = "bourse.dev/pool"             // the pool's name
	annotationBegan = "bourse.dev/recycle-began"    // when the attempt began, or is to begin
	annotationTries = "bourse.dev/recycle-attempts" // how many attempts have failed
)

// Reconciler tries the pools whose admins ask for it.
type Reconciler struct {
	Local     client.Client // the supplier's own API server
	Recorder  events.EventRecorder
	HoldImage string // an image that only waits
	Now       func() time.Time
}

// +kubebuilder:rbac:groups=bourse.dev,resources=gpupools,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpunodes,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=create
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=create
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// pass is one look at a pool: what its phases find out for each other.
type pass struct {
	*Reconciler
	space    *corev1.Namespace // nil where there is none
	nodes    []candidate       // those whose free GPUs are tried
	trouble  string            // what keeps the attempt from passing, and on which node; nothing when it has passed
	hopeless bool              // it will not pass however long it is waited for
	tell     *event            // what is told once the pass is written
}

// Reconcile looks at one pool.
func (r *Reconciler) Reconcile(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	p := &pass{Reconciler: r}
	if !pool.DeletionTimestamp.IsZero() || !pool.Recycling() {
		return kube.Run(ctx, p, pool, p.look, p.clear)
	}
	return kube.Run(ctx, p, pool, p.look, p.begin, p.choose, p.ask, p.rent, p.judge)
}

// SetupWithManager watches pools, and the pods, nodes and GPUNodes that a try depends on.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	every := handler.EnqueueRequestsFromMapFunc(r.triedPools)
	mine := predicate.NewPredicateFuncs(func(object client.Object) bool { return object.GetLabels()[boursev1.LabelMockRental] != "" })
	return ctrl.NewControllerManagedBy(mgr).
		Named("supplier-mockrental").
		For(&boursev1.GPUPool{}).
		WatchesRawSource(source.Kind(mgr.GetCache(), client.Object(&corev1.Pod{}), every, predicate.TypedPredicate[client.Object](mine))).
		WatchesRawSource(source.Kind(mgr.GetCache(), client.Object(&corev1.Node{}), every)).
		WatchesRawSource(source.Kind(mgr.GetCache(), client.Object(&boursev1.GPUNode{}), every)).
		Complete(reconcile.AsReconciler[*boursev1.GPUPool](mgr.GetClient(), r))
}

// triedPools are the pools that are being tried, and that the object may be of.
func (r *Reconciler) triedPools(ctx context.Context, object client.Object) []reconcile.Request {
	var pools boursev1.GPUPoolList
	if err := r.Local.List(ctx, &pools); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Did not list pools")
		return nil
	}
	var requests []reconcile.Request
	for i := range pools.Items {
		pool := &pools.Items[i]
		_, isNode := object.(*corev1.Node)
		other := isNode && !labels.SelectorFromSet(pool.Spec.NodeSelector).Matches(labels.Set(object.GetLabels()))
		if pool.Recycling() && !other {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(pool)})
		}
	}
	return requests
}

// trial is the mock rental of a node's GPUs.
func (r *Reconciler) trial(pool *boursev1.GPUPool, node string, gpus int32) ray.Trial {
	return ray.Trial{
		Namespace: ray.TrialSpace(pool.Name), Pool: pool.Name, Node: node, GPUs: gpus,
		HoldImage: r.HoldImage, Seconds: int64(attemptLimit / time.Second),
	}
}
