// SPDX-License-Identifier: Apache-2.0

// Package computejob finds each ComputeJob an offer, writes the lease, and tells the job what becomes of it.
// It does not know how a supplier runs a lease, nor who pays for it and how.
package computejob

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// Finalizer keeps a job that has a lease until the lease has ended, or for as long as releaseWithin.
const Finalizer = "bourse.dev/lease"

// workers is how many jobs are looked at together. A pass waits for the API server most of the time.
const workers = 4

// decided is the priority of a job of which a decision is written down that is not carried out yet: it comes before jobs that wait for
// one, because what is kept for it is kept for a while only.
const decided = 10

// Reconciler reconciles ComputeJobs, several at once. What one job gets is decided, and taken out of the book, before the next one is decided
// on; what was decided is written with nobody waiting.
type Reconciler struct {
	Teller *kube.Teller
	Hub    client.Client // reads may be stale
	Live   client.Reader // reads are not
	Now    func() time.Time

	versions kube.Versions
	feed     feed

	owner   sync.Mutex  // of all that follows
	book    *book.Book  // nil until it is built
	fills   []book.Fill // what a match is found in
	assumed assumptions
}

// +kubebuilder:rbac:groups=bourse.dev,resources=computejobs,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=computejobs/status,verbs=get;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuoffers;members;markets;stakepositions;vouchers,verbs=get;list;watch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=leaseprograms,verbs=get;create
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// SetupWithManager adds the controller to a manager of the hub.
func (r *Reconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	for _, index := range indexes() {
		if err := mgr.GetFieldIndexer().IndexField(ctx, index.of, index.name, index.values); err != nil {
			return fmt.Errorf("index %s: %w", index.name, err)
		}
	}
	return r.watch(ctrl.NewControllerManagedBy(mgr).
		Named("computejob").
		For(&boursev1.ComputeJob{}).
		WithOptions(controller.Options{MaxConcurrentReconciles: workers})).
		Complete(reconcile.AsReconciler(r.Hub, r))
}

// Reconcile takes a job as far as it can go now.
func (r *Reconciler) Reconcile(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	switch {
	case !job.DeletionTimestamp.IsZero():
		r.feed.leave(client.ObjectKeyFromObject(job))
		return kube.Run(ctx, r.Teller, job, r.release)
	case listing.Ended(job):
		return reconcile.Result{}, nil
	case r.versions.Outdated(job, r.Now()):
		return reconcile.Result{RequeueAfter: journalled}, nil
	default:
		read := job.ResourceVersion
		result, err := kube.Run(ctx, r.Teller, job, r.admit, r.match, r.place, r.follow)
		if job.ResourceVersion != read {
			r.versions.Wrote(job, r.Now())
		}
		return inTurn(job, result), err
	}
}

// inTurn says before which others a job is looked at again.
func inTurn(job *boursev1.ComputeJob, result reconcile.Result) reconcile.Result {
	if result.IsZero() {
		return result
	}
	result.Priority = new(0)
	if job.Status.Lease != nil && !kube.IsTrue(job, boursev1.JobMatched) {
		result.Priority = new(decided)
	}
	return result
}

// waiting says what the job as a whole waits for. The conditions of later steps appear when their step begins, so that one cause is
// told once.
func waiting(job *boursev1.ComputeJob, reason, message string) {
	kube.Waiting(job, boursev1.Succeeded, reason, message)
}

func keyOf(ref *boursev1.ObjectReference) types.NamespacedName {
	return types.NamespacedName{Namespace: ref.Namespace, Name: ref.Name}
}
