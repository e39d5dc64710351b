// SPDX-License-Identifier: Apache-2.0

// Package gpuoffer says which offers the market matches jobs to: those of admitted members, in a token that the market knows,
// renewed in time. It removes those that nobody has renewed for long. It does not know whether the GPUs exist; that is the supplier's to vouch for.
package gpuoffer

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// Reconciler reconciles GPUOffers.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client
	Now    func() time.Time
}

// +kubebuilder:rbac:groups=bourse.dev,resources=gpuoffers;members;markets,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuoffers,verbs=delete
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuoffers/status,verbs=get;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("gpuoffer").
		For(&boursev1.GPUOffer{}).
		Watches(&boursev1.Member{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, member client.Object) []reconcile.Request {
			return r.offers(ctx, client.InNamespace(member.GetNamespace()))
		})).
		Watches(&boursev1.Market{}, handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
			return r.offers(ctx)
		}), builder.WithPredicates(kube.SpecOr(boursev1.Ready))).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile decides whether jobs are matched to the offer.
func (r *Reconciler) Reconcile(ctx context.Context, offer *boursev1.GPUOffer) (reconcile.Result, error) {
	if !offer.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	return kube.Run(ctx, r.Teller, offer, r.validate)
}

func (r *Reconciler) offers(ctx context.Context, options ...client.ListOption) []reconcile.Request {
	var offers boursev1.GPUOfferList
	if err := r.Hub.List(ctx, &offers, options...); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not list the offers to check again")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(offers.Items))
	for i := range offers.Items {
		key := types.NamespacedName{Namespace: offers.Items[i].Namespace, Name: offers.Items[i].Name}
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}
