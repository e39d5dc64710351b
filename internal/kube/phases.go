// SPDX-License-Identifier: Apache-2.0

// Package kube is the plumbing that all controllers share: it runs a controller's phases, writes what they changed once, and
// tells of each condition that changed by a log line, an event and a metric. It knows nothing of the market.
package kube

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// retryConflict is how long a pass waits after its write was refused; the watch usually brings the newer object sooner.
const retryConflict = time.Second

// A Phase moves an object one step on: it reads what it needs, does one thing, and says in a condition what came of it.
// An error or a non-zero Result ends the pass.
type Phase[T client.Object] func(context.Context, T) (reconcile.Result, error)

// A Writer writes what a pass changed. It writes nothing when before and after are the same. A conflict is an error for which
// apierrors.IsConflict is true.
type Writer interface {
	Write(ctx context.Context, before, after Conditioned) error
}

// Run runs the phases in order, then writes the object once, if they changed it. A pass in which a write was refused, because an
// object had changed since it was read, ends without an error and is run again.
func Run[T Conditioned](ctx context.Context, w Writer, obj T, phases ...Phase[T]) (reconcile.Result, error) {
	before, ok := obj.DeepCopyObject().(T)
	if !ok {
		return reconcile.Result{}, errors.New("copy object: the copy has another type")
	}
	result, err := inOrder(ctx, obj, phases)
	wrote := w.Write(ctx, before, obj)
	if stale(err) {
		result, err = reconcile.Result{RequeueAfter: retryConflict}, nil
	}
	if stale(wrote) {
		result, wrote = reconcile.Result{RequeueAfter: retryConflict}, nil
	}
	switch {
	case err == nil && wrote == nil:
		return result, nil
	case wrote == nil:
		return reconcile.Result{}, err
	default:
		return reconcile.Result{}, errors.Join(err, wrote)
	}
}

// stale says whether the error is a write that was refused because the object had changed since it was read. Two field managers
// that claim the same field are a conflict too, but one that reading again does not mend.
func stale(err error) bool {
	return apierrors.IsConflict(err) && !apierrors.HasStatusCause(err, metav1.CauseTypeFieldManagerConflict)
}

func inOrder[T Conditioned](ctx context.Context, obj T, phases []Phase[T]) (reconcile.Result, error) {
	for _, phase := range phases {
		if result, err := phase(ctx, obj); err != nil || !result.IsZero() {
			return result, err
		}
	}
	return reconcile.Result{}, nil
}
