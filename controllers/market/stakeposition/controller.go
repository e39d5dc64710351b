// SPDX-License-Identifier: Apache-2.0

// Package stakeposition says what members have at stake, as the finalized chain tells it: what is bonded, on its way back, required and
// about to be slashed. It moves no stake, and it changes nothing that it knows when the chain cannot be asked.
package stakeposition

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/stake"
)

// Reconciler reconciles StakePositions.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client
	Chain  stake.Reader
	Now    func() time.Time
}

// Between two looks at the chain: while nothing moves, and while something does or the chain cannot be asked.
const (
	lookEvery = time.Minute
	soon      = 5 * time.Second
)

// journalled is how long a deleted position is left to its member, whose transactions may be on their way. None can be after that.
const journalled = time.Hour

// +kubebuilder:rbac:groups=bourse.dev,resources=stakepositions;members;markets;gpuoffers;gpuleases,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=stakepositions,verbs=patch
// +kubebuilder:rbac:groups=bourse.dev,resources=stakepositions/status,verbs=get;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	own := handler.EnqueueRequestsFromMapFunc(ownStake)
	return ctrl.NewControllerManagedBy(mgr).
		Named("stakeposition").
		For(&boursev1.StakePosition{}).
		Watches(&boursev1.Member{}, own).
		Watches(&boursev1.GPUOffer{}, own).
		Watches(&boursev1.GPULease{}, own).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile records what the chain says of the position.
func (r *Reconciler) Reconcile(ctx context.Context, position *boursev1.StakePosition) (reconcile.Result, error) {
	if !position.DeletionTimestamp.IsZero() {
		return r.release(ctx, position)
	}
	return kube.Run(ctx, r.Teller, position, r.record)
}

// release lets a deleted position go in the place of a member that is gone.
func (r *Reconciler) release(ctx context.Context, position *boursev1.StakePosition) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(position, boursev1.FinalizerStakeJournal) {
		return reconcile.Result{}, nil
	}
	if left := position.DeletionTimestamp.Add(journalled).Sub(r.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	return reconcile.Result{}, client.IgnoreNotFound(kube.Free(ctx, r.Hub, position, boursev1.FinalizerStakeJournal))
}

// ownStake is the own position of the member whose namespace the object is in.
func ownStake(_ context.Context, obj client.Object) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: obj.GetNamespace(), Name: boursev1.OwnStakeName}}}
}
