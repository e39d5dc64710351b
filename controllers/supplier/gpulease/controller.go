// SPDX-License-Identifier: Apache-2.0

// Package gpulease is the supplier's side of a lease: it holds the GPUs, verifies the escrow on chain by itself, runs the Ray cluster,
// meters it, claims what the buyer promises, and clears everything away. What it does not know ends nothing: only seen facts do.
package gpulease

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// Finalizer keeps a lease until its pods are gone and its escrow is settled. It is given up some time after the escrow's deadline,
// when the buyer can be refunded without the supplier.
const Finalizer = boursev1.FinalizerRelease

// Bounds in time. The market allows the same time to start when it sets the escrow's deadline.
const (
	startAllowance = 10 * time.Minute // from the lease's creation until every worker must have been ready
	fundAllowance  = 5 * time.Minute  // from acceptBy until the deposit must be final on chain
	lostAllowance  = 10 * time.Minute // how long a worker may not be ready before the lease is at fault
	leastWait      = 10 * time.Minute // how long the last voucher is waited for, if two periods are shorter
	clearWithin    = 10 * time.Minute // after the end and the notice, until the pods must be gone, or the namespace goes with them
	lastWords      = 10 * time.Second // how long a program's pods stay after its end: Ray sends on what it wrote a second later
	signingWait    = 20 * time.Second // how long after its end an accepted lease waits for a deposit to be written down
	deadlineMargin = time.Minute      // how long before the escrow's deadline everything must be claimed
	disputeMargin  = 5 * time.Minute  // how long before the deadline what is not promised is disputed, if the lease has an arbiter
	pollAward      = time.Minute      // how often the chain is asked what the arbiter decided
	finalizerBound = time.Hour        // after the escrow's deadline
	pollChain      = time.Second      // how often a transaction on its way is asked for
	pollDeposit    = 3 * time.Second  // how often the chain is asked for the deposit
	askWallet      = time.Minute      // how often a wallet that does not sign is asked again
	pollGone       = 5 * time.Second  // how often pods are looked for that are to go, beside the watch
)

// Reconciler does the supplier's part of the leases in its own namespace of the hub.
type Reconciler struct {
	Teller        kube.Writer            // writes the leases' statuses, in the hub
	Hub           client.Client          // the market's API server
	Local         client.Client          // the supplier's own one
	LocalLive     client.Reader          // the same, past the cache
	LocalCache    cache.Cache            // where changes of pods and Ray objects are watched
	Ledger        Ledger                 // the chain
	Wallet        boursev1.SolanaAddress // the supplier's wallet
	Namespace     string                 // the supplier's namespace in the hub
	System        string                 // the operator's own namespace in the supplier's cluster
	HoldImage     string                 // an image that only waits
	RegistryCIDRs []string               // what leases with Registry egress may reach
	Now           func() time.Time

	follow func() error // watches programs and vouchers, once; nil where nothing is watched
}

// The supplier reads its leases, what they run, their vouchers and its pools, and builds what a lease needs in the supplier's cluster.
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases/status,verbs=patch
// +kubebuilder:rbac:groups=bourse.dev,resources=leaseprograms,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=vouchers,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=markets,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpupools,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=nodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=serviceaccounts;resourcequotas;configmaps;secrets,verbs=create
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=create
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=create
// +kubebuilder:rbac:groups=ray.io,resources=rayclusters;rayjobs,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Reconcile moves one lease a step on. A lease that has ended is cleared and settled; one that is settled is left alone.
func (r *Reconciler) Reconcile(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	switch {
	case lease.Namespace != r.Namespace:
		return reconcile.Result{}, nil
	case over(lease), lease.Status.End != nil && !lease.DeletionTimestamp.IsZero() && r.late(lease):
		return r.forget(ctx, lease)
	}
	if err := r.attend(); err != nil {
		return reconcile.Result{}, err
	}
	if lease.Status.End != nil {
		return kube.Run(ctx, journal{r.Teller}, lease, r.lastRecord, r.clear, r.claim, r.refund, r.finish)
	}
	return kube.Run(ctx, journal{r.Teller}, lease, r.recall, r.accept, r.fund, r.launch, r.warn, r.conclude, r.meter, r.claim, r.wait)
}

// attend begins to watch what leases run and what is promised for them, with the first lease that is not over.
func (r *Reconciler) attend() error {
	if r.follow == nil {
		return nil
	}
	if err := r.follow(); err != nil {
		return fmt.Errorf("watch programs and vouchers: %w", err)
	}
	return nil
}

// over says whether the lease has ended for good.
func over(lease *boursev1.GPULease) bool {
	return kube.IsTrue(lease, boursev1.Succeeded) || kube.IsFalse(lease, boursev1.Succeeded)
}

// SetupWithManager watches leases in the hub, and in the supplier's cluster the pods and Ray objects of leases, and what its pools are to do. What
// leases run, and vouchers, are watched from the supplier's first lease on: it is with watches that a supplier takes the hub's memory.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	builder := ctrl.NewControllerManagedBy(mgr).
		Named("supplier-gpulease").
		For(&boursev1.GPULease{}).
		WithOptions(kube.Money()).
		WatchesRawSource(source.Kind(r.LocalCache, client.Object(&corev1.Pod{}), handler.EnqueueRequestsFromMapFunc(r.leaseOfPart))).
		WatchesRawSource(source.Kind(r.LocalCache, client.Object(&boursev1.GPUPool{}), handler.EnqueueRequestsFromMapFunc(r.leasesOfPool),
			predicate.TypedGenerationChangedPredicate[client.Object]{}))
	for _, kind := range ray.Kinds() {
		builder = builder.WatchesRawSource(source.Kind(r.LocalCache, kind, handler.EnqueueRequestsFromMapFunc(r.leaseOfPart)))
	}
	built, err := builder.Build(reconcile.AsReconciler[*boursev1.GPULease](mgr.GetClient(), r))
	if err != nil {
		return fmt.Errorf("build controller: %w", err)
	}
	r.follow = sync.OnceValue(func() error {
		return errors.Join(
			built.Watch(source.Kind(mgr.GetCache(), client.Object(&boursev1.LeaseProgram{}), &handler.EnqueueRequestForObject{})), // it has the lease's name
			built.Watch(source.Kind(mgr.GetCache(), client.Object(&boursev1.Voucher{}), handler.EnqueueRequestsFromMapFunc(r.leaseOfVoucher))),
		)
	})
	return nil
}

func (r *Reconciler) leaseOfVoucher(_ context.Context, object client.Object) []reconcile.Request {
	voucher, ok := object.(*boursev1.Voucher)
	if !ok || voucher.Spec.Lease.Namespace != r.Namespace {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: voucher.Spec.Lease.Name}}}
}

func (r *Reconciler) leaseOfPart(_ context.Context, object client.Object) []reconcile.Request {
	name := object.GetLabels()[boursev1.LabelLease]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: r.Namespace, Name: name}}}
}

// leasesOfPool are the leases that run on a pool whose admin thinks otherwise.
func (r *Reconciler) leasesOfPool(ctx context.Context, object client.Object) []reconcile.Request {
	var leases boursev1.GPULeaseList
	if err := r.Hub.List(ctx, &leases, client.InNamespace(r.Namespace)); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Did not list leases")
		return nil
	}
	var requests []reconcile.Request
	for i := range leases.Items {
		if lease := &leases.Items[i]; lease.Spec.Pool == object.GetName() && lease.Status.End == nil {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(lease)})
		}
	}
	return requests
}

// wait says when time alone changes something: a usage record is due, a bound is reached, a transaction may have landed.
func (r *Reconciler) wait(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if lease.Status.End != nil {
		return reconcile.Result{}, nil // the write wakes the next pass
	}
	if tx := lease.Status.Transaction; tx != nil && tx.State == boursev1.TransactionSigned {
		return reconcile.Result{RequeueAfter: pollChain}, nil
	}
	next := lease.CreationTimestamp.Add(startAllowance)
	if lease.Status.Usage != nil {
		next = latestEnd(lease)
		terms, err := contract.Meter(lease)
		if err != nil {
			return reconcile.Result{}, err
		}
		last, err := contract.Usage(lease.Status.Usage)
		if err != nil {
			return reconcile.Result{}, err
		}
		if due, counting := terms.Due(last); counting && due.Before(next) {
			next = due
		}
		next = r.breaks(lease, next)
	}
	next, err := r.notices(ctx, lease, next)
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: max(pollChain, next.Sub(r.Now()))}, nil
}

// breaks brings a moment forward to when a break that is under way becomes too long, by itself or together with others.
func (r *Reconciler) breaks(lease *boursev1.GPULease, next time.Time) time.Time {
	if !isBroken(lease) {
		return next
	}
	now := r.Now()
	lost, most := r.broken(lease)
	for _, left := range []time.Duration{lostAllowance - brokenOff(lease, now), most - lost} {
		if at := now.Add(left); at.Before(next) {
			next = at
		}
	}
	return next
}

// latestEnd is when a lease ends whatever its readiness was: the time to start and the term together.
func latestEnd(lease *boursev1.GPULease) time.Time {
	end := lease.CreationTimestamp.Add(startAllowance + time.Duration(lease.Spec.Terms.DurationSeconds)*time.Second)
	if bound := lease.Spec.Escrow.Deadline.Add(-deadlineMargin); bound.Before(end) {
		return bound
	}
	return end
}
