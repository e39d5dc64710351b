// SPDX-License-Identifier: Apache-2.0

// Package voucher says whether a buyer's newest promise is good: whether its signature is the lease's buyer's, over that lease.
// It does not know whether the usage that the promise answers is true; that is between buyer and supplier.
package voucher

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// Reconciler reconciles Vouchers.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client
}

// +kubebuilder:rbac:groups=bourse.dev,resources=vouchers;gpuleases,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=vouchers/status,verbs=get;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("voucher").
		For(&boursev1.Voucher{}).
		Watches(&boursev1.GPULease{}, handler.EnqueueRequestsFromMapFunc(voucherOfLease)).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile checks the newest promise.
func (r *Reconciler) Reconcile(ctx context.Context, voucher *boursev1.Voucher) (reconcile.Result, error) {
	if !voucher.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	return kube.Run(ctx, r.Teller, voucher, r.verify)
}

// voucherOfLease is the voucher that pays a lease: it has the lease's name, in the namespace of the lease's job.
func voucherOfLease(_ context.Context, obj client.Object) []reconcile.Request {
	lease, ok := obj.(*boursev1.GPULease)
	if !ok {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: lease.Spec.Job.Namespace, Name: lease.Name}}}
}
