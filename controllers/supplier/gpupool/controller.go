// SPDX-License-Identifier: Apache-2.0

// Package gpupool finds out which GPUs of a supplier's pools are idle, offers them to the market, and says why it keeps the others back.
// It knows nodes, their agents and pods, and nothing of who rents.
package gpupool

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
)

// Finalizer keeps a pool until its offers are withdrawn, or have ended by themselves.
const Finalizer = "bourse.dev/withdraw"

// Reconciler keeps the market's view of the supplier's pools.
type Reconciler struct {
	Teller    kube.Writer          // writes the pools' statuses, in the supplier's cluster
	Recorder  events.EventRecorder // tells of GPUs that fall sick
	Local     client.Client        // the supplier's own API server
	Hub       client.Client        // the market's one
	HubCache  cache.Cache          // where changes of offers, leases and the member are watched
	Namespace string               // the supplier's namespace in the hub
	System    string               // the operator's own namespace, where agents say that they are there
	Now       func() time.Time

	// NotMember says whether the hub has said that it does not know the supplier; nil where it is not asked.
	NotMember func() bool

	// Verified says whether an agent's record is what the agent signed. It errs when the signature does not hold; nil accepts all records.
	Verified func(*boursev1.GPUNode) error

	slices    bool                    // the API server has ResourceSlices
	queue     client.Reader           // reads Kueue's Workloads; nil where there is no Kueue
	queueKind schema.GroupVersionKind // their list

	// Only the one worker touches these.
	inventories map[string]*gpu.Inventory // by pool
	faults      map[string][]gpu.Fault    // by pool, those that are not told yet
	beats       map[string]beat           // by node
	verdicts    map[types.UID]verdict     // by GPUNode
}

// In the supplier's cluster it reads nodes and pods, and what agents, drivers and queues say of them.
// +kubebuilder:rbac:groups=bourse.dev,resources=gpupools,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpupools/status,verbs=patch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpunodes,verbs=get;list;watch
// +kubebuilder:rbac:groups="",resources=nodes;pods,verbs=get;list;watch
// +kubebuilder:rbac:groups=resource.k8s.io,resources=resourceslices,verbs=get;list;watch
// +kubebuilder:rbac:groups=kueue.x-k8s.io,resources=workloads,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// In the hub it writes its own offers.
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuoffers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases;members;markets,verbs=get;list;watch

// pass is one look at a pool: what its phases find out for each other.
type pass struct {
	*Reconciler

	nodes       map[string]*corev1.Node
	held        holdings
	reports     map[string]*boursev1.GPUNode
	owners      map[string]string // UUIDs to nodes that have them
	twice       map[string]bool   // the UUIDs that several nodes have
	beating     map[string]*coordinationv1.Lease
	sliced      map[string][]gpu.Device
	placeable   map[string]bool // the models that leases can ask for
	shared      int             // how many nodes are left out because their GPUs are shared
	stocks      []gpu.Stock
	report      gpu.Report
	asked       map[string]boursev1.USDPrice // what the pool asks, by model
	maintenance bool
	until       time.Time     // when the next maintenance begins
	wake        time.Duration // when time alone changes something
}

// Reconcile looks at one pool.
func (r *Reconciler) Reconcile(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	p := &pass{Reconciler: r}
	if !pool.DeletionTimestamp.IsZero() {
		return kube.Run(ctx, r.Teller, pool, p.withdraw)
	}
	if err := kube.Hold(ctx, r.Local, pool, Finalizer); err != nil {
		return reconcile.Result{}, err
	}
	return kube.Run(ctx, r.Teller, pool, p.discover, p.idle, p.price, p.advertise)
}
