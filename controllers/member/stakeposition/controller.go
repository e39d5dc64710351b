// SPDX-License-Identifier: Apache-2.0

// Package stakeposition stakes for members: it bonds, delegates, takes back, withdraws and appeals as the member's StakePositions ask
// for, one transaction at a time, each written down before it is sent. It does nothing on what it cannot see, and it does not know who
// slashes or why.
package stakeposition

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Chain is what a member needs of the chain. Every method returns an error whenever it cannot tell.
type Chain interface {
	outbox.Chain
	GenesisHash(ctx context.Context) (chain.Hash, error)
	Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error)
}

// Reconciler stakes for the members whose wallets it has.
type Reconciler struct {
	Hub      client.Client
	HubCache cache.Cache
	Chain    Chain
	Wallets  []signer.Signer
	Now      func() time.Time
}

// finalizer keeps a position until no transaction of it can be on its way.
const finalizer = boursev1.FinalizerStakeJournal

const (
	// drive is how often a transaction that may be on its way is looked after.
	drive = time.Second
	// retry is how often the member tries again what it could not do now.
	retry = 10 * time.Second
)

// +kubebuilder:rbac:groups=bourse.dev,resources=members;markets,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=stakepositions,verbs=get;list;watch;patch

// SetupWithManager adds the controller to a manager. What it watches is in the hub, which may be another API server.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("member-stakeposition").
		WithOptions(kube.Money()).
		WatchesRawSource(source.Kind(r.HubCache, &boursev1.StakePosition{}, &handler.TypedEnqueueRequestForObject[*boursev1.StakePosition]{})).
		WatchesRawSource(source.Kind(r.HubCache, &boursev1.Member{}, handler.TypedEnqueueRequestsFromMapFunc(r.positions))).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile does the next thing that the position asks for. It writes the position's journal, and nothing else.
func (r *Reconciler) Reconcile(ctx context.Context, position *boursev1.StakePosition) (reconcile.Result, error) {
	member, err := r.member(ctx, position.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	writer := &kube.SpecWriter{Client: r.Hub}
	wallet := r.wallet(member)
	switch {
	case !position.DeletionTimestamp.IsZero() && (wallet != nil || member == nil):
		// A member that is gone signs nothing more, and anybody may see its last transaction through.
		return kube.Run(ctx, writer, position, r.land, r.release)
	case !position.DeletionTimestamp.IsZero() || wallet == nil:
		return reconcile.Result{}, nil
	case !kube.IsTrue(member, boursev1.Ready):
		return kube.Run(ctx, writer, position, r.land)
	}
	move := func(ctx context.Context, position *boursev1.StakePosition) (reconcile.Result, error) {
		return r.move(ctx, wallet, position)
	}
	return kube.Run(ctx, writer, position, r.land, move)
}

// member returns a namespace's member, nil if it has none.
func (r *Reconciler) member(ctx context.Context, namespace string) (*boursev1.Member, error) {
	var member boursev1.Member
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: namespace, Name: boursev1.MemberName}, &member)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // there is none
	}
	if err != nil {
		return nil, fmt.Errorf("get member: %w", err)
	}
	return &member, nil
}

// wallet returns the member's wallet if this operator has it.
func (r *Reconciler) wallet(member *boursev1.Member) signer.Signer {
	for _, wallet := range r.Wallets {
		if member != nil && wallet.PublicKey().String() == string(member.Spec.Wallet) {
			return wallet
		}
	}
	return nil
}

// positions are those of a member's namespace: they begin when it is admitted.
func (r *Reconciler) positions(ctx context.Context, member *boursev1.Member) []reconcile.Request {
	if r.wallet(member) == nil {
		return nil
	}
	var list boursev1.StakePositionList
	if err := r.Hub.List(ctx, &list, client.InNamespace(member.Namespace)); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not find a member's stake")
		return nil
	}
	requests := make([]reconcile.Request, 0, len(list.Items))
	for i := range list.Items {
		requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(&list.Items[i])})
	}
	return requests
}

// release lets a deleted position go. What is at stake stays at stake.
func (r *Reconciler) release(ctx context.Context, position *boursev1.StakePosition) (reconcile.Result, error) {
	return reconcile.Result{}, kube.Free(ctx, r.Hub, position, finalizer)
}
