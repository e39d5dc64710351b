// SPDX-License-Identifier: Apache-2.0

package mockrental

import (
	"context"
	"fmt"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// The reasons of the events that are told of a pool.
const (
	reasonStarted = "MockRentalStarted"
	reasonFailed  = "MockRentalFailed"
	reasonPassed  = "Recycled"
)

// event is what is told of a pool.
type event struct{ severity, reason, message string }

// Write implements kube.Writer: it writes the pool's annotations, and tells of what was written.
func (p *pass) Write(ctx context.Context, before, after kube.Conditioned) error {
	writer := kube.SpecWriter{Client: p.Local}
	if err := writer.Write(ctx, before, after); err != nil {
		return err
	}
	if p.tell != nil {
		p.Recorder.Eventf(after, nil, p.tell.severity, p.tell.reason, "Recycle", "%s", p.tell.message)
	}
	return nil
}

// look reads the namespace of the pool's mock rentals.
func (p *pass) look(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	var space corev1.Namespace
	err := p.Local.Get(ctx, client.ObjectKey{Name: ray.TrialSpace(pool.Name)}, &space)
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("get namespace: %w", err)
	}
	p.space = &space
	return reconcile.Result{}, nil
}

// clear removes what a try has left, and the answer to a question that is asked no more.
func (p *pass) clear(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	delete(pool.Annotations, annotationBegan)
	delete(pool.Annotations, annotationTries)
	if pool.Annotations[boursev1.AnnotationRecycle] == "" {
		delete(pool.Annotations, boursev1.AnnotationRecycled)
	}
	if p.space == nil || !p.space.DeletionTimestamp.IsZero() || !p.owned(pool) {
		return reconcile.Result{}, nil
	}
	if err := p.Local.Delete(ctx, p.space); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("delete namespace: %w", err)
	}
	return reconcile.Result{}, nil
}

// owned says whether the namespace is that of this pool's mock rentals.
func (p *pass) owned(pool *boursev1.GPUPool) bool {
	return p.space.Labels[boursev1.LabelMockRental] != "" && p.space.Annotations[annotationPool] == pool.Name
}

// begin makes the namespace, or waits until the time of the next attempt. Another value of the annotation is another try.
func (p *pass) begin(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	switch {
	case p.space == nil:
		return p.open(ctx, pool)
	case !p.space.DeletionTimestamp.IsZero():
		return reconcile.Result{RequeueAfter: pollGone}, nil
	case !p.owned(pool):
		return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("namespace %s is not of this pool's mock rentals", p.space.Name))
	case p.space.Annotations[boursev1.AnnotationRecycle] != pool.Annotations[boursev1.AnnotationRecycle]:
		if err := p.Local.Delete(ctx, p.space); client.IgnoreNotFound(err) != nil {
			return reconcile.Result{}, fmt.Errorf("delete namespace: %w", err)
		}
		return reconcile.Result{RequeueAfter: pollGone}, nil
	}
	if began(pool).IsZero() { // the namespace was made, and that was not written down
		metav1.SetMetaDataAnnotation(&pool.ObjectMeta, annotationBegan, stamp(p.Now()))
	}
	if left := began(pool).Sub(p.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: left}, nil
	}
	return reconcile.Result{}, nil
}

// open makes the namespace for the first attempt.
func (p *pass) open(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	space := p.trial(pool, "", 0).Space()[0]
	space.SetAnnotations(map[string]string{
		annotationPool: pool.Name, boursev1.AnnotationRecycle: pool.Annotations[boursev1.AnnotationRecycle],
	})
	err := p.Local.Create(ctx, space)
	if apierrors.IsAlreadyExists(err) { // the cache does not have it yet
		return reconcile.Result{RequeueAfter: pollGone}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("create namespace: %w", err)
	}
	metav1.SetMetaDataAnnotation(&pool.ObjectMeta, annotationBegan, stamp(p.Now()))
	delete(pool.Annotations, annotationTries)
	p.tell = &event{corev1.EventTypeNormal, reasonStarted, "Mock rentals of the pool's free GPUs begin, and nothing is sold until they pass"}
	return reconcile.Result{RequeueAfter: pollGone}, nil
}

// began is when the attempt began, or is to begin; the zero time if that is not known.
func began(pool *boursev1.GPUPool) time.Time {
	at, err := time.Parse(time.RFC3339, pool.Annotations[annotationBegan])
	if err != nil {
		return time.Time{}
	}
	return at
}

// tries is how many attempts have failed.
func tries(pool *boursev1.GPUPool) int {
	const most = 1000
	count, err := strconv.Atoi(pool.Annotations[annotationTries])
	if err != nil {
		return 0
	}
	return min(max(0, count), most)
}

// stamp is a moment as an annotation holds it.
func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }
