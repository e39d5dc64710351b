// SPDX-License-Identifier: Apache-2.0

// Package market says whether a Market's published rules agree with the chain: the network, the program and every mint. It publishes the
// market's price index too, which moves with how many of the GPUs for sale are leased; it does not know the jobs that wait for them.
package market

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/kube"
)

// Chain is what is read of the chain. An error means that it could not be asked.
type Chain interface {
	GenesisHash(ctx context.Context) (chain.Hash, error)
	Account(ctx context.Context, address chain.Address, level chain.Commitment) (chain.Account, error)
}

// Reconciler reconciles Markets.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client
	Chain  Chain
	Now    func() time.Time
}

// Between two looks at the chain: while all is well, and while it is not.
const (
	verifyEvery = 5 * time.Minute
	retryEvery  = 15 * time.Second
)

// +kubebuilder:rbac:groups=bourse.dev,resources=markets;gpuoffers;gpuleases,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=markets/status,verbs=get;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("market").
		For(&boursev1.Market{}, builder.WithPredicates(kube.SpecOr(boursev1.Ready))).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile moves the market's prices, and compares the market with the chain.
func (r *Reconciler) Reconcile(ctx context.Context, market *boursev1.Market) (reconcile.Result, error) {
	if !market.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	return kube.Run(ctx, r.Teller, market, r.price, r.verify)
}
