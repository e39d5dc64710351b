// SPDX-License-Identifier: Apache-2.0

// Package namespace clears what is left in the supplier's cluster of leases that the hub has no more. It acts on what the hub itself says, or
// on a lease's own bound in time, and never on a hub that does not answer; leases that the hub has are not its business.
package namespace

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

const (
	// grace is how long a lease must be gone from the hub before what is left of it is cleared: time for the hub's admin to bring it back.
	grace = time.Hour
	// lookAgain is how often each namespace is looked at, beside the watches.
	lookAgain = 10 * time.Minute
)

// The reasons of its events.
const (
	reasonVanished = "LeaseVanished"
	reasonCleared  = "LeaseCleared"
)

// Reconciler looks after the namespaces of leases.
type Reconciler struct {
	Local     client.Client // the supplier's own API server
	Recorder  events.EventRecorder
	Hub       client.Client // the market's one; reads may be stale
	Live      client.Reader // of the hub, too; reads are not
	HubCache  cache.Cache   // where leases are watched
	Namespace string        // the supplier's namespace in the hub
	Now       func() time.Time

	// Only the one worker touches it. A process that starts anew counts anew, which only waits for longer.
	vanished map[types.UID]time.Time // since when the hub has no lease for a namespace
}

// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases;members,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager watches the namespaces of leases in the supplier's cluster, and in the hub which leases go.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	ofLease := predicate.NewPredicateFuncs(func(object client.Object) bool { return object.GetLabels()[boursev1.LabelLease] != "" })
	options := kube.Hub()
	options.MaxConcurrentReconciles = 1 // what it remembers is not shared
	return ctrl.NewControllerManagedBy(mgr).
		Named("supplier-namespace").
		For(&corev1.Namespace{}, builder.WithPredicates(ofLease)).
		WithOptions(options).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.GPULease{}), handler.EnqueueRequestsFromMapFunc(r.spaceOf), comesOrGoes())).
		Complete(reconcile.AsReconciler[*corev1.Namespace](mgr.GetClient(), r))
}

// comesOrGoes leaves out what happens to leases that are there.
func comesOrGoes() predicate.TypedPredicate[client.Object] {
	return predicate.TypedFuncs[client.Object]{UpdateFunc: func(event.TypedUpdateEvent[client.Object]) bool { return false }}
}

// spaceOf are the namespaces of a lease.
func (r *Reconciler) spaceOf(ctx context.Context, lease client.Object) []reconcile.Request {
	if lease.GetNamespace() != r.Namespace {
		return nil
	}
	var spaces corev1.NamespaceList
	if err := r.Local.List(ctx, &spaces, client.MatchingLabels{boursev1.LabelLease: lease.GetName()}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Did not list the namespaces of a lease")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(spaces.Items))
	for i := range spaces.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&spaces.Items[i])})
	}
	return requests
}
