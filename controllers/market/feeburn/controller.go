// SPDX-License-Identifier: Apache-2.0

// Package feeburn sums up in public which fees were burned: one FeeBurn for each token and day, from that day's settlements.
// It burns nothing itself; the claims do.
package feeburn

import (
	"context"
	"fmt"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// byEpoch indexes the settlements that burned something by the name of their FeeBurn.
const byEpoch = "settlement.epoch"

// Reconciler records FeeBurns.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client
	Now    func() time.Time
}

// +kubebuilder:rbac:groups=bourse.dev,resources=settlements;markets,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=feeburns,verbs=get;list;watch;create
// +kubebuilder:rbac:groups=bourse.dev,resources=feeburns/status,verbs=get;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &boursev1.Settlement{}, byEpoch, epochOf); err != nil {
		return fmt.Errorf("index settlements: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("feeburn").
		For(&boursev1.FeeBurn{}).
		Watches(&boursev1.Settlement{}, handler.EnqueueRequestsFromMapFunc(burnOfSettlement)).
		Complete(r)
}

// Reconcile records one epoch. The epoch's first settlement makes its FeeBurn.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var burn boursev1.FeeBurn
	err := r.Hub.Get(ctx, request.NamespacedName, &burn)
	switch {
	case apierrors.IsNotFound(err):
		return reconcile.Result{}, r.open(ctx, request.NamespacedName)
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("get fee burn: %w", err)
	case !burn.DeletionTimestamp.IsZero():
		return reconcile.Result{}, nil
	}
	return kube.Run(ctx, r.Teller, &burn, r.record)
}

func burnOfSettlement(_ context.Context, obj client.Object) []reconcile.Request {
	names := epochOf(obj)
	requests := make([]reconcile.Request, 0, len(names))
	for _, name := range names {
		key := types.NamespacedName{Namespace: boursev1.PublicNamespace, Name: name}
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}

// epochOf is the name of the FeeBurn that a settlement belongs to; none when it burned nothing.
func epochOf(obj client.Object) []string {
	settlement, ok := obj.(*boursev1.Settlement)
	if !ok || settlement.Spec.Burned == nil || *settlement.Spec.Burned == 0 {
		return nil
	}
	day := settlement.Spec.Time.UTC().Format(time.DateOnly)
	return []string{strings.ToLower(string(settlement.Spec.Token)) + "-" + day}
}
