// SPDX-License-Identifier: Apache-2.0

// Package voucher pays for a buyer's leases: it checks each against what the job asked for, opens its escrow, promises what usage
// records prove, and takes back what an abandoned escrow still holds. It trusts neither the market nor the supplier, and it knows
// nothing of what runs on a lease.
package voucher

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
)

// Chain is what the buyer needs of the chain. Every method returns an error whenever it cannot tell.
type Chain interface {
	outbox.Chain
	escrow.History
	GenesisHash(ctx context.Context) (chain.Hash, error)
	Accounts(ctx context.Context, level chain.Commitment, addresses ...chain.Address) ([]chain.Account, error)
}

// Reconciler pays for the GPULeases of one wallet.
type Reconciler struct {
	Hub      client.Client
	HubCache cache.Cache
	Chain    Chain
	Signer   signer.Signer
	Now      func() time.Time
}

const (
	// drive is how often a transaction that may be on its way is looked after.
	drive = time.Second
	// retry is how often the buyer tries again what it could not do now.
	retry = 10 * time.Second
)

// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases;computejobs;markets,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=vouchers,verbs=get;list;watch;create;patch

// SetupWithManager adds the controller to a manager. What it watches is in the hub, which may be another API server.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("buyer-voucher").
		WithOptions(kube.Money()).
		WatchesRawSource(source.Kind(r.HubCache, &boursev1.GPULease{}, handler.TypedEnqueueRequestsFromMapFunc(r.mine))).
		WatchesRawSource(source.Kind(r.HubCache, &boursev1.Voucher{}, handler.TypedEnqueueRequestsFromMapFunc(r.leasesOfVoucher))).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// mine is the lease itself if this wallet pays for it, and the one of the first part of its job, which pays for all.
func (r *Reconciler) mine(ctx context.Context, lease *boursev1.GPULease) []reconcile.Request {
	if string(lease.Spec.Buyer) != r.Signer.PublicKey().String() {
		return nil
	}
	requests := []reconcile.Request{{NamespacedName: client.ObjectKeyFromObject(lease)}}
	if parts := r.othersOf(ctx, lease); follows(lease) && len(parts) > 0 {
		requests = append(requests, parts[0])
	}
	return requests
}

// leasesOfVoucher are the voucher's lease, and the others of its job where it is that of the first part.
func (r *Reconciler) leasesOfVoucher(ctx context.Context, voucher *boursev1.Voucher) []reconcile.Request {
	key := types.NamespacedName{Namespace: voucher.Spec.Lease.Namespace, Name: voucher.Spec.Lease.Name}
	var lease boursev1.GPULease
	if err := r.Hub.Get(ctx, key, &lease); err == nil && lease.Spec.Part != nil && !follows(&lease) {
		if parts := r.othersOf(ctx, &lease); len(parts) > 0 {
			return parts
		}
	}
	return []reconcile.Request{{NamespacedName: key}}
}

// othersOf are the leases of all parts of a lease's job. What cannot be read is looked at again by time.
func (r *Reconciler) othersOf(ctx context.Context, lease *boursev1.GPULease) []reconcile.Request {
	parts, err := r.partsOf(ctx, lease)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Did not read the parts of a job", "lease", klog.KObj(lease))
		return nil
	}
	requests := make([]reconcile.Request, 0, len(parts))
	for _, part := range parts {
		requests = append(requests, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: part.Lease.Namespace, Name: part.Lease.Name}})
	}
	return requests
}

// Reconcile does for a lease what its buyer owes it now. It writes the voucher's spec, and nothing on the lease.
func (r *Reconciler) Reconcile(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if string(lease.Spec.Buyer) != r.Signer.PublicKey().String() {
		return reconcile.Result{}, nil
	}
	voucher, err := r.voucher(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if voucher == nil {
		return reconcile.Result{RequeueAfter: r.missed(lease)}, nil
	}
	of := func(phase func(context.Context, *boursev1.GPULease, *boursev1.Voucher) (reconcile.Result, error)) kube.Phase[*boursev1.Voucher] {
		return func(ctx context.Context, voucher *boursev1.Voucher) (reconcile.Result, error) {
			return phase(ctx, lease, voucher)
		}
	}
	return kube.Run(ctx, journal{&kube.SpecWriter{Client: r.Hub}}, voucher, of(r.fund), of(r.promise), of(r.reclaim))
}

// missed says when to look for a deposit of a lease without a voucher again; zero if there can be none. A lease that was accepted may
// have had a voucher which was deleted while its deposit was on its way.
func (r *Reconciler) missed(lease *boursev1.GPULease) time.Duration {
	if !kube.IsTrue(lease, boursev1.LeaseAccepted) {
		return 0
	}
	return r.lookAgain(lease)
}

// voucher returns the lease's voucher. It makes it when the lease wants its deposit, and anew when the chain has a deposit that no
// voucher tells of; before that there is none.
func (r *Reconciler) voucher(ctx context.Context, lease *boursev1.GPULease) (*boursev1.Voucher, error) {
	var voucher boursev1.Voucher
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: lease.Spec.Job.Namespace, Name: lease.Name}, &voucher)
	if err == nil {
		if !paysFor(&voucher, lease) {
			return nil, fmt.Errorf("find voucher: %s pays for another lease", voucher.Name)
		}
		return &voucher, nil
	}
	if !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("get voucher: %w", err)
	}
	if !r.wantsDeposit(lease) {
		lost, err := r.lost(ctx, lease)
		if err != nil || !lost {
			return nil, err
		}
	}
	voucher = boursev1.Voucher{
		ObjectMeta: metav1.ObjectMeta{Namespace: lease.Spec.Job.Namespace, Name: lease.Name},
		Spec: boursev1.VoucherSpec{
			Lease:     boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name},
			Escrow:    lease.Spec.Escrow.Address,
			ProgramID: lease.Spec.Escrow.ProgramID,
		},
	}
	crashpoint.Hit("voucher.creating")
	err = r.Hub.Create(ctx, &voucher)
	if apierrors.IsAlreadyExists(err) {
		return nil, nil //nolint:nilnil // the cache is behind: the voucher's own event comes next
	}
	if err != nil {
		return nil, fmt.Errorf("create voucher: %w", err)
	}
	crashpoint.Hit("voucher.created")
	return &voucher, nil
}

// lost says whether the escrow of a lease without a voucher is open on chain.
func (r *Reconciler) lost(ctx context.Context, lease *boursev1.GPULease) (bool, error) {
	if !kube.IsTrue(lease, boursev1.LeaseAccepted) || closedBySupplier(lease) {
		return false, nil
	}
	facts, err := r.inspect(ctx, lease)
	if refusal, ok := errors.AsType[*escrow.Refusal](err); ok {
		return refusal.Reason == escrow.Frozen, nil
	}
	return facts.Deposit > 0 && !facts.Closed, err
}

func paysFor(voucher *boursev1.Voucher, lease *boursev1.GPULease) bool {
	return voucher.Spec.Lease == boursev1.ObjectReference{Namespace: lease.Namespace, Name: lease.Name} &&
		voucher.Spec.Escrow == lease.Spec.Escrow.Address && voucher.Spec.ProgramID == lease.Spec.Escrow.ProgramID
}
