// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// releaseWithin is how long a deleted job waits for its twin to be gone, from when the hub was told; the market itself takes 20 minutes at
// most. A hub that cannot be asked makes the job wait on: what nobody sees is not over.
const releaseWithin = 30 * time.Minute

// release deletes a deleted job's twin, and lets the job go once that is gone.
func (p *pass) release(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if !controllerutil.ContainsFinalizer(job, Finalizer) {
		return reconcile.Result{}, nil
	}
	twin, err := p.find(ctx, job)
	switch {
	case errors.Is(err, errTaken), err == nil && twin == nil:
		return reconcile.Result{}, kube.Free(ctx, p.Local, job, Finalizer)
	case err != nil:
		return p.unreleased(ctx, job, err)
	}
	p.twin = twin
	if result, err := p.follow(ctx, job); err != nil {
		return result, err
	}
	kube.Waiting(job, boursev1.JobMirrored, boursev1.ReasonReleasing, fmt.Sprintf(
		"The job was deleted; it goes once the hub's job %s of namespace %s is gone", twin.Name, twin.Namespace))
	if twin.DeletionTimestamp.IsZero() {
		return p.remove(ctx, job)
	}
	return p.await(ctx, job)
}

// remove deletes the twin.
func (p *pass) remove(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	err := p.Hub.Delete(ctx, p.twin, client.Preconditions{UID: new(p.twin.UID)})
	if gone(err) {
		return reconcile.Result{}, kube.Free(ctx, p.Local, job, Finalizer)
	}
	if err != nil {
		return p.unreleased(ctx, job, fmt.Errorf("delete job of hub: %w", err))
	}
	return reconcile.Result{RequeueAfter: releaseWithin}, nil // the twin's own events come before
}

// await waits until the twin is gone, for as long as it may take. That it takes longer is seen with the hub's own eyes.
func (p *pass) await(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if left := p.twin.DeletionTimestamp.Add(releaseWithin).Sub(p.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	var twin boursev1.ComputeJob
	err := p.HubLive.Get(ctx, client.ObjectKeyFromObject(p.twin), &twin)
	if gone(err) {
		return reconcile.Result{}, kube.Free(ctx, p.Local, job, Finalizer)
	}
	if err != nil {
		return p.unreleased(ctx, job, fmt.Errorf("get job of hub: %w", err))
	}
	return p.letGo(ctx, job)
}

// letGo lets the job go although the hub may still have its twin, and says so.
func (p *pass) letGo(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	if err := kube.Free(ctx, p.Local, job, Finalizer); err != nil {
		return reconcile.Result{}, err
	}
	key := p.key(job)
	p.Recorder.Eventf(job, nil, corev1.EventTypeWarning, boursev1.ReasonLeftInHub, "Release",
		"The hub did not delete the job's copy, and a lease of it may still cost: in the hub, kubectl -n %s delete computejob %s", key.Namespace, key.Name)
	return reconcile.Result{}, nil
}

// unreleased returns the error of a hub that could not be asked, after it told the job, which waits on. A hub that forbids it was asked: then
// the job waits no longer than for one that is slow.
func (p *pass) unreleased(ctx context.Context, job *boursev1.ComputeJob, err error) (reconcile.Result, error) {
	reason, message, refused := refusal(err)
	if !refused {
		reason, message = silent(err)
		kube.Waiting(job, boursev1.JobMirrored, reason, message+"; the job was deleted, and goes once the hub's job is gone")
		return reconcile.Result{}, err
	}
	left := job.DeletionTimestamp.Add(releaseWithin).Sub(p.Now())
	if left <= 0 {
		return p.letGo(ctx, job)
	}
	kube.Failed(job, boursev1.JobMirrored, reason, message)
	return reconcile.Result{RequeueAfter: min(left, askAgain)}, nil
}
