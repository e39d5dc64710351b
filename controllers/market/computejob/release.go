// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

// releaseWithin is how long a deleted job waits for its lease to end: pods, last voucher, last claim and refund. A supplier that
// takes longer, or is gone, does not keep the job; the lease ends without it.
const releaseWithin = 20 * time.Minute

// release ends a deleted job's lease before the job may go.
func (r *Reconciler) release(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(job, Finalizer) {
		return reconcile.Result{}, nil
	}
	over, err := r.releaseLease(ctx, job)
	if err != nil {
		return reconcile.Result{}, err
	}
	if left := job.DeletionTimestamp.Add(releaseWithin).Sub(r.Now()); !over && left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	r.unpromise(job)
	return reconcile.Result{}, kube.Free(ctx, r.Hub, job, Finalizer)
}

// releaseLease tells the supplier to end the job's lease, and says whether that is over.
func (r *Reconciler) releaseLease(ctx context.Context, job *boursev1.ComputeJob) (over bool, err error) {
	if job.Status.Lease == nil {
		return true, nil
	}
	lease, err := r.lease(ctx, job.Status.Lease)
	if err != nil {
		return false, err
	}
	if lease == nil || lease.Spec.Job.UID != string(job.UID) || listing.Refused(lease) {
		return true, nil
	}
	if kube.IsTrue(lease, boursev1.Succeeded) || kube.IsFalse(lease, boursev1.Succeeded) {
		return true, mirror(job, lease, &boursev1.Voucher{})
	}
	if lease.Spec.State != boursev1.LeaseEnded {
		if err := r.end(ctx, lease, boursev1.EndJobDeleted); err != nil {
			return false, err
		}
	}
	waiting(job, boursev1.ReasonSettling, "The job was deleted and its lease is being ended")
	return false, mirrorUsage(job, lease)
}
