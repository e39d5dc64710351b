// SPDX-License-Identifier: Apache-2.0

// Package market is the supplier's side of a Market: it points the supplier's tunnel to the gateway that the market names. It does not know
// what goes through the tunnel, and writes nothing.
package market

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
)

// Tunnel is kept open to where it is pointed; without a URL, it is closed. To say the same again changes nothing.
type Tunnel interface {
	Point(to access.Gateway)
}

// Reconciler follows the Market that serves.
type Reconciler struct {
	Hub    client.Client // the market's API server
	Tunnel Tunnel
}

// +kubebuilder:rbac:groups=bourse.dev,resources=markets,verbs=get;list;watch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("supplier-market").
		For(&boursev1.Market{}, builder.WithPredicates(kube.SpecOr(boursev1.Ready))).
		Complete(r)
}

// Reconcile points the tunnel. Which of several Markets serves is seen from all of them.
func (r *Reconciler) Reconcile(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
	var markets boursev1.MarketList
	if err := r.Hub.List(ctx, &markets); err != nil {
		return reconcile.Result{}, fmt.Errorf("list markets: %w", err)
	}
	serving := contract.Serving(markets.Items)
	switch {
	case serving != nil && serving.Spec.Gateway != nil:
		r.Tunnel.Point(access.Gateway{URL: serving.Spec.Gateway.URL, Authorities: serving.Spec.Gateway.CABundle})
	case serving != nil, len(markets.Items) == 0:
		r.Tunnel.Point(access.Gateway{})
	default: // none is ready: leases go on, and so does their tunnel
	}
	return reconcile.Result{}, nil
}
