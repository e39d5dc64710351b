// SPDX-License-Identifier: Apache-2.0

// Package gpulease clears leases away that nothing can come of any more: those that nothing was ever deposited for, some time after they were
// over, and those that are deleted and whose supplier is gone. It ends no lease, and touches none that anything was paid for.
package gpulease

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

const (
	// retention is how long a lease is kept that was over before anything was deposited for it.
	retention = 7 * 24 * time.Hour
	// forGood is how long a supplier that is there has to let go of a deleted lease that is over.
	forGood = 10 * time.Minute
)

// Reconciler reconciles GPULeases for the market. It writes no status: that is the supplier's.
type Reconciler struct {
	Hub client.Client
	Now func() time.Time
}

// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=bourse.dev,resources=vouchers,verbs=get;list;watch;delete

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("market-gpulease").
		For(&boursev1.GPULease{}).
		Complete(reconcile.AsReconciler[*boursev1.GPULease](r.Hub, r))
}

// Reconcile clears the lease away, or says when it may be.
func (r *Reconciler) Reconcile(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if !lease.DeletionTimestamp.IsZero() {
		return r.free(ctx, lease)
	}
	return r.expire(ctx, lease)
}

// free lets go of a deleted lease in the place of a supplier that does not.
func (r *Reconciler) free(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(lease, boursev1.FinalizerRelease) {
		return reconcile.Result{}, nil
	}
	at := listing.GivenUp(lease)
	if soon := lease.DeletionTimestamp.Add(forGood); listing.Over(lease) && soon.Before(at) {
		at = soon
	}
	if left := at.Sub(r.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(kube.Free(ctx, r.Hub, lease, boursev1.FinalizerRelease))
}

// expire deletes a lease that is long over and that nothing was deposited for, with its voucher.
func (r *Reconciler) expire(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if !listing.Worthless(lease) {
		return reconcile.Result{}, nil
	}
	ended := lease.CreationTimestamp.Time
	if lease.Status.End != nil {
		ended = lease.Status.End.At.Time
	}
	until := ended.Add(retention)
	if last := listing.GivenUp(lease); until.Before(last) { // a deposit that came late is looked for until then
		until = last
	}
	if left := until.Sub(r.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	voucher := &boursev1.Voucher{}
	err := r.Hub.Get(ctx, client.ObjectKey{Namespace: lease.Spec.Job.Namespace, Name: lease.Name}, voucher)
	switch {
	case client.IgnoreNotFound(err) != nil:
		return reconcile.Result{}, fmt.Errorf("get voucher: %w", err)
	case err != nil || !pays(voucher, lease):
	case deposited(voucher):
		return reconcile.Result{RequeueAfter: retention}, nil // whatever the supplier says: by these two the buyer takes it back
	default:
		lock := client.Preconditions{ResourceVersion: &voucher.ResourceVersion}
		if err := r.Hub.Delete(ctx, voucher, lock); client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("delete voucher: %w", err)
		}
	}
	if err := r.Hub.Delete(ctx, lease); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("delete lease: %w", err)
	}
	return reconcile.Result{}, nil
}

// pays says whether the voucher is the lease's, and not only called so.
func pays(voucher *boursev1.Voucher, lease *boursev1.GPULease) bool {
	return voucher.Spec.Lease == boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name}
}

// deposited says whether the buyer has sent a deposit, or may have, that it has not taken back.
func deposited(voucher *boursev1.Voucher) bool {
	sent, back := voucher.Spec.Deposit, voucher.Spec.Refund
	return sent != nil && sent.State != boursev1.TransactionFailed && (back == nil || back.State != boursev1.TransactionLanded)
}
