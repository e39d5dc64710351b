// SPDX-License-Identifier: Apache-2.0

// Package settlement records in public what the finalized chain says of each lease's escrow: every claim and the refund.
// It believes no status of any member, and it moves no money.
package settlement

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
)

// byLease indexes settlements by the lease that they settle.
const byLease = "settlement.lease"

// Reconciler records the settlements of GPULeases.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client // reads may be stale
	Live   client.Reader // reads are not
	Chain  escrow.History
	Now    func() time.Time
}

// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=settlements,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=bourse.dev,resources=settlements/status,verbs=get;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &boursev1.Settlement{}, byLease, leaseOf); err != nil {
		return fmt.Errorf("index settlements: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("settlement").
		For(&boursev1.GPULease{}).
		WithOptions(kube.Money()).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile records what the chain says of the lease's escrow and was not recorded yet. It writes nothing on the lease.
func (r *Reconciler) Reconcile(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if !funded(lease) {
		return reconcile.Result{}, nil
	}
	return r.record(ctx, lease)
}

func leaseOf(obj client.Object) []string {
	settlement, ok := obj.(*boursev1.Settlement)
	if !ok {
		return nil
	}
	return []string{settlement.Spec.Lease.Namespace + "/" + settlement.Spec.Lease.Name}
}
