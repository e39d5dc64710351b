// SPDX-License-Identifier: Apache-2.0

// Package feeburn accounts in public for the fees of each token and day: what that day's claims burned, and what they paid to the treasury
// in a token that is not burned itself, which is then swapped for the market's own token and burned, once.
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
	"github.com/bourse-dev/bourse/internal/buyback"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/swap"
)

// byEpoch indexes the settlements that paid fees by the name of their FeeBurn.
const byEpoch = "settlement.epoch"

// Chain is what the market needs of the chain. Every method returns an error whenever it cannot tell.
type Chain interface {
	outbox.Chain
	buyback.History
	Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error)
	SimulateAccounts(ctx context.Context, raw []byte, watched ...chain.Address) (chain.Simulation, []chain.Account, error)
}

// Reconciler records FeeBurns, and buys back and burns what they wait for.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client
	Chain  Chain
	// Treasury signs for the market's treasury; nil where its key is not.
	Treasury signer.Signer
	// Swaps returns what proposes swaps at an endpoint; an empty one is the default.
	Swaps func(endpoint string) swap.Port
	Now   func() time.Time
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
		WithOptions(kube.Money()).
		Watches(&boursev1.Settlement{}, handler.EnqueueRequestsFromMapFunc(burnOfSettlement)).
		Watches(&boursev1.Market{}, handler.EnqueueRequestsFromMapFunc(r.waiting)).
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
	return kube.Run(ctx, r.Teller, &burn, r.record, r.land, r.buyBack)
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

// waiting names the FeeBurns that a change of a market may set going.
func (r *Reconciler) waiting(ctx context.Context, _ client.Object) []reconcile.Request {
	var list boursev1.FeeBurnList
	if err := r.Hub.List(ctx, &list, client.InNamespace(boursev1.PublicNamespace)); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not list fee burns")
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if !kube.IsTrue(&list.Items[i], boursev1.Succeeded) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
		}
	}
	return requests
}

// epochOf is the name of the FeeBurn that a settlement belongs to; none when it paid no fee.
func epochOf(obj client.Object) []string {
	settlement, ok := obj.(*boursev1.Settlement)
	if !ok || units(settlement.Spec.Burned) == 0 && units(settlement.Spec.TreasuryPaid) == 0 {
		return nil
	}
	day := settlement.Spec.Time.UTC().Format(time.DateOnly)
	return []string{strings.ToLower(string(settlement.Spec.Token)) + "-" + day}
}
