// SPDX-License-Identifier: Apache-2.0

// Package member admits members to the market, one wallet to one namespace, says what suppliers' leases come to, and lets go of those who
// leave once nothing of theirs is open, and of those who joined and are not seen for long. It believes a lease's own word on how it ended,
// and only the chain's on what was paid for it.
package member

import (
	"context"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// byWallet indexes members by their wallet, byClosed the settlements that closed a lease by the lease's namespace, and byBuyer leases by the
// wallet that pays.
const (
	byWallet = "spec.wallet"
	byClosed = "settlement.closed"
	byBuyer  = "spec.buyer"
)

// gathered is how long after a lease came or ended its supplier is rated.
const gathered = 250 * time.Millisecond

// Access takes members what they got by joining. It returns an error when it could not, and repeating a call is harmless.
type Access interface {
	// Joined says whether the member got its place by joining.
	Joined(ctx context.Context, member *boursev1.Member) (bool, error)
	// Dismiss has a member leave that was not seen for long. A member that has changed since it was read is a conflict, as
	// apierrors.IsConflict says.
	Dismiss(ctx context.Context, member *boursev1.Member) error
	// Withdraw takes a member its rights. What it has in its namespace stays.
	Withdraw(ctx context.Context, namespace string) error
	// Remove removes a member, and its namespace with all that is in it unless that is to stay. It says no, and does nothing, if the member did
	// not get them by joining.
	Remove(ctx context.Context, member *boursev1.Member, stays bool) (bool, error)
}

// Reconciler reconciles Members.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client // reads may be stale
	Live   client.Reader // reads are not
	Now    func() time.Time
	Access Access // nil where nobody can join
	// MostUnseen is after how many days on which nothing was seen of it a member that joined is let go, if nothing keeps it; 0 for never.
	MostUnseen int32

	seen sights
}

// To manage members is no request that the API server knows: whoever may is not bound by the policies that bind members.
// +kubebuilder:rbac:groups=bourse.dev,resources=members,verbs=manage
// +kubebuilder:rbac:groups=coordination.k8s.io,resources=leases,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=members;settlements,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=computejobs;gpuoffers;stakepositions;vouchers,verbs=get;list;watch;delete
// +kubebuilder:rbac:groups=bourse.dev,resources=leaseprograms,verbs=list;delete
// +kubebuilder:rbac:groups=bourse.dev,resources=members/status,verbs=get;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := mgr.GetFieldIndexer().IndexField(ctx, &boursev1.Member{}, byWallet, walletOf); err != nil {
		return fmt.Errorf("index members: %w", err)
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &boursev1.Settlement{}, byClosed, closedOf); err != nil {
		return fmt.Errorf("index settlements: %w", err)
	}
	woken := make(chan event.GenericEvent)
	if err := mgr.Add(&census{hub: r.Hub, seen: &r.seen, woken: woken, now: r.Now}); err != nil {
		return fmt.Errorf("add census of members: %w", err)
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &boursev1.GPULease{}, byBuyer, buyerOf); err != nil {
		return fmt.Errorf("index leases: %w", err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("member").
		For(&boursev1.Member{}).
		Watches(&boursev1.Member{}, handler.EnqueueRequestsFromMapFunc(r.rivals)).
		Watches(&boursev1.GPULease{}, supplierOfLeases(), builder.WithPredicates(counts())).
		Watches(&boursev1.GPULease{}, handler.EnqueueRequestsFromMapFunc(r.leaver), builder.WithPredicates(counts())).
		Watches(&boursev1.Settlement{}, handler.EnqueueRequestsFromMapFunc(supplierPaid)).
		WatchesRawSource(source.Channel(woken, &handler.EnqueueRequestForObject{})).
		Watches(&boursev1.Settlement{}, handler.EnqueueRequestsFromMapFunc(r.leaver)).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile decides whether the member may take part, what is known of it, and whether it stays. Whoever has leases is looked at every day
// as one who is rated, and no day is counted.
func (r *Reconciler) Reconcile(ctx context.Context, member *boursev1.Member) (reconcile.Result, error) {
	if !member.DeletionTimestamp.IsZero() {
		return reconcile.Result{}, nil
	}
	return kube.Run(ctx, r.Teller, member, r.admit, r.withdraw, r.leave, r.connect, r.rate, r.retain)
}

// counts lets pass what may change a reputation: a lease that comes or goes, and whatever is said of one that has ended. While it is open
// it counts with what was agreed, which never changes.
func counts() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		lease, ok := e.ObjectNew.(*boursev1.GPULease)
		return ok && !listing.Open(lease)
	}}
}

type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// supplierOfLeases brings back the member in whose namespace a lease is, a moment later: a rating reads all of a supplier's leases, so that many
// that come at once are read together.
func supplierOfLeases() handler.Funcs {
	gather := func(lease client.Object, queue requests) {
		for _, request := range memberOf(lease.GetNamespace()) {
			queue.AddAfter(request, gathered)
		}
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, queue requests) { gather(e.Object, queue) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, queue requests) { gather(e.ObjectNew, queue) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, queue requests) { gather(e.Object, queue) },
	}
}

// supplierPaid is the member whose lease the settlement closed.
func supplierPaid(_ context.Context, obj client.Object) []reconcile.Request {
	if namespaces := closedOf(obj); len(namespaces) > 0 {
		return memberOf(namespaces[0])
	}
	return nil
}

func memberOf(namespace string) []reconcile.Request {
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: namespace, Name: boursev1.MemberName}}}
}

// closedOf is the namespace of the lease that a settlement closed.
func closedOf(obj client.Object) []string {
	settlement, ok := obj.(*boursev1.Settlement)
	if !ok || settlement.Spec.Kind != boursev1.SettlementRefund {
		return nil
	}
	return []string{settlement.Spec.Lease.Namespace}
}

// rivals are the other members with the same wallet: one of them may be admitted when the member is gone.
func (r *Reconciler) rivals(ctx context.Context, obj client.Object) []reconcile.Request {
	member, ok := obj.(*boursev1.Member)
	if !ok {
		return nil
	}
	members, err := r.sameWallet(ctx, member)
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not find the members with the same wallet")
		return nil
	}
	var requests []reconcile.Request
	for i := range members {
		if members[i].Namespace != member.Namespace {
			requests = append(requests, reconcile.Request{
				NamespacedName: types.NamespacedName{Namespace: members[i].Namespace, Name: members[i].Name},
			})
		}
	}
	return requests
}

func (r *Reconciler) sameWallet(ctx context.Context, member *boursev1.Member) ([]boursev1.Member, error) {
	var members boursev1.MemberList
	if err := r.Hub.List(ctx, &members, client.MatchingFields{byWallet: string(member.Spec.Wallet)}); err != nil {
		return nil, fmt.Errorf("list members: %w", err)
	}
	return members.Items, nil
}

func walletOf(obj client.Object) []string {
	member, ok := obj.(*boursev1.Member)
	if !ok {
		return nil
	}
	return []string{string(member.Spec.Wallet)}
}
