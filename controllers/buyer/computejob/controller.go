// SPDX-License-Identifier: Apache-2.0

// Package computejob lets a buyer keep its jobs in its own cluster: each job there has a twin in the hub, which has the job's spec and whose
// status is told to the job. It knows two API servers, and neither offers nor money.
package computejob

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// Finalizer keeps a job until its twin in the hub is gone, or for as long as releaseWithin.
const Finalizer = "bourse.dev/mirror"

// byOrigin is the index of the hub's jobs by namespace and name of their originals in this cluster.
const byOrigin = "origin"

const (
	// askAgain is after how long the hub is asked again for what it refused.
	askAgain = time.Minute
	// behind is how long a pass waits for a cache that has not seen yet what an API server says.
	behind = time.Second
)

// Reconciler mirrors the ComputeJobs of one cluster into one namespace of a hub that is another cluster.
type Reconciler struct {
	Teller     kube.Writer            // writes the statuses of this cluster's jobs
	Recorder   events.EventRecorder   // tells what was left in the hub
	Local      client.Client          // this cluster; reads may be stale
	LocalLive  client.Reader          // reads are not
	Hub        client.Client          // reads may be stale
	HubLive    client.Reader          // reads are not
	HubCache   cache.Cache            // where changes of twins and of the member are watched
	Namespace  string                 // the member's namespace in the hub
	Namespaces []string               // the namespaces of this cluster whose jobs are mirrored; empty for all
	Wallet     boursev1.SolanaAddress // what pays for the jobs
	Now        func() time.Time

	cluster types.UID // what this cluster is known by
}

// These are its rights in the buyer's own cluster. In the hub it has those of a member.
// +kubebuilder:rbac:groups=bourse.dev,resources=computejobs,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=computejobs/status,verbs=patch
// +kubebuilder:rbac:groups=bourse.dev,resources=members,verbs=get
// +kubebuilder:rbac:groups="",resources=namespaces,resourceNames=kube-system,verbs=get
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the buyer's cluster, which must be there to say who it is.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	if err := r.identify(ctx); err != nil {
		return err
	}
	if err := r.HubCache.IndexField(ctx, &boursev1.ComputeJob{}, byOrigin, r.indexOrigin); err != nil {
		return fmt.Errorf("index %s: %w", byOrigin, err)
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("buyer-computejob").
		For(&boursev1.ComputeJob{}).
		WithOptions(kube.Hub()).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.ComputeJob{}), handler.EnqueueRequestsFromMapFunc(r.jobOfTwin))).
		WatchesRawSource(source.Kind(r.HubCache, client.Object(&boursev1.Member{}), handler.EnqueueRequestsFromMapFunc(r.jobsNotMirrored))).
		Complete(r)
}

// identify learns what this cluster is known by.
func (r *Reconciler) identify(ctx context.Context) error {
	var system corev1.Namespace
	if err := r.LocalLive.Get(ctx, client.ObjectKey{Name: metav1.NamespaceSystem}, &system); err != nil {
		return fmt.Errorf("identify cluster: %w", err)
	}
	r.cluster = system.UID
	return nil
}

func (r *Reconciler) indexOrigin(object client.Object) []string {
	if from, ok := r.originOf(object); ok {
		return []string{from.job.String()}
	}
	return nil
}

func (r *Reconciler) jobOfTwin(_ context.Context, object client.Object) []reconcile.Request {
	from, ok := r.originOf(object)
	if !ok || object.GetNamespace() != r.Namespace {
		return nil
	}
	return []reconcile.Request{{NamespacedName: from.job}}
}

// jobsNotMirrored are the jobs that wait for what their buyer may do in the hub.
func (r *Reconciler) jobsNotMirrored(ctx context.Context, member client.Object) []reconcile.Request {
	if member.GetNamespace() != r.Namespace {
		return nil
	}
	var jobs boursev1.ComputeJobList
	if err := r.Local.List(ctx, &jobs); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not list the jobs to mirror")
		return nil
	}
	var requests []reconcile.Request
	for i := range jobs.Items {
		if job := &jobs.Items[i]; !kube.IsTrue(job, boursev1.JobMirrored) {
			requests = append(requests, reconcile.Request{NamespacedName: client.ObjectKeyFromObject(job)})
		}
	}
	return requests
}

// pass is one look at a job: what its phases find out for each other.
type pass struct {
	*Reconciler

	twin *boursev1.ComputeJob // nil when the hub has none
}

// Reconcile brings a job and its twin to agree, and ends twins whose job is gone for good. It fetches the job itself, because the twin of a
// job that was forced away has nobody else to ask for it.
func (r *Reconciler) Reconcile(ctx context.Context, request reconcile.Request) (reconcile.Result, error) {
	var job boursev1.ComputeJob
	if err := r.Local.Get(ctx, request.NamespacedName, &job); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("get job: %w", err)
	}
	swept := r.sweep(ctx, request.NamespacedName, job.UID)
	result, err := r.pass(ctx, &job)
	if err := errors.Join(err, swept); err != nil {
		return reconcile.Result{}, err
	}
	return result, nil
}

// pass takes a job as far as it can go now. One without a UID is not there.
func (r *Reconciler) pass(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	p := &pass{Reconciler: r}
	switch {
	case job.UID == "" || !r.mirrors(job):
		return reconcile.Result{}, nil
	case !job.DeletionTimestamp.IsZero():
		return kube.Run(ctx, r.Teller, job, p.release)
	default:
		return kube.Run(ctx, r.Teller, job, p.hold, p.look, p.follow, p.mirror)
	}
}

// mirrors says whether a job of this cluster has, or is to have, a twin. One that was mirrored before is seen through to its end, whatever
// the flags say now; one that is a twin itself is none of ours.
func (r *Reconciler) mirrors(job *boursev1.ComputeJob) bool {
	if _, twin := r.originOf(job); twin {
		return false
	}
	return len(r.Namespaces) == 0 || slices.Contains(r.Namespaces, job.Namespace) || slices.Contains(job.Finalizers, Finalizer)
}

// hold keeps the job from going away without its twin.
func (r *Reconciler) hold(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if listing.Ended(job) { // nothing is made for it any more
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, kube.Hold(ctx, r.Local, job, Finalizer)
}
