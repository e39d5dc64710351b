// SPDX-License-Identifier: Apache-2.0

// Package slash takes the slashes that a market's administrator proposes to the chain: it proposes them with the market's authority,
// waits while they can be appealed against, and has them executed or dropped, each step written down before it is sent. Only people
// propose; without the authority's key it only tells how a slash stands, and on a chain that it cannot see it does nothing.
package slash

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
)

// Chain is what slashes need of the chain besides the outbox. Every method returns an error whenever it cannot tell.
type Chain interface {
	GenesisHash(ctx context.Context) (chain.Hash, error)
	stake.Reader
	stake.History
}

// Reconciler reconciles Slashes.
type Reconciler struct {
	Teller    *kube.Teller
	Hub       client.Client
	Chain     Chain
	Outbox    outbox.Chain
	Authority signer.Signer // the wallet of the market's authority; nil: nothing is proposed or ended
	Now       func() time.Time
}

// finalizer keeps a slash that may be on the chain until it is taken back or over.
const finalizer = "bourse.dev/slash"

const (
	// drive is how often a transaction that may be on its way is looked after.
	drive = time.Second
	// retry is how often something is tried again that cannot be done now.
	retry = 30 * time.Second
	// late is how long after its time something is begun: the chain's clock may be behind ours.
	late = 2 * time.Minute
)

// +kubebuilder:rbac:groups=bourse.dev,resources=slashes,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=slashes/status,verbs=get;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=markets,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(_ context.Context, mgr ctrl.Manager) error {
	return ctrl.NewControllerManagedBy(mgr).
		Named("slash").
		WithOptions(kube.Money()).
		For(&boursev1.Slash{}).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile takes the slash a step further. Deleting it takes it back.
func (r *Reconciler) Reconcile(ctx context.Context, slash *boursev1.Slash) (reconcile.Result, error) {
	if slash.Namespace != boursev1.PublicNamespace {
		return kube.Run(ctx, r.Teller, slash, misplaced)
	}
	if !slash.DeletionTimestamp.IsZero() {
		return kube.Run(ctx, r.Teller, slash, r.land, r.course, r.release)
	}
	return kube.Run(ctx, r.Teller, slash, r.land, r.course)
}

// misplaced refuses a slash that is not where everybody can read it.
func misplaced(_ context.Context, slash *boursev1.Slash) (reconcile.Result, error) {
	kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonSlashRefused, "A slash must be public: make it in the namespace "+boursev1.PublicNamespace)
	return reconcile.Result{}, nil
}

// release lets a slash go that is over.
func (r *Reconciler) release(ctx context.Context, slash *boursev1.Slash) (reconcile.Result, error) {
	return reconcile.Result{}, kube.Free(ctx, r.Hub, slash, finalizer)
}
