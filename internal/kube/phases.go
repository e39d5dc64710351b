// SPDX-License-Identifier: Apache-2.0

// Package kube is the plumbing that all controllers share: it runs a controller's phases, writes what they changed once, and
// tells of each condition that changed by a log line, an event and a metric. It knows nothing of the market.
package kube

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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

// Run runs the phases in order, then writes the object once, if they changed it. A pass whose write is refused because the
// object has changed meanwhile ends without an error and is run again.
func Run[T Conditioned](ctx context.Context, w Writer, obj T, phases ...Phase[T]) (reconcile.Result, error) {
	before, ok := obj.DeepCopyObject().(T)
	if !ok {
		return reconcile.Result{}, errors.New("copy object: the copy has another type")
	}
	result, err := inOrder(ctx, obj, phases)
	wrote := w.Write(ctx, before, obj)
	if apierrors.IsConflict(wrote) {
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

func inOrder[T Conditioned](ctx context.Context, obj T, phases []Phase[T]) (reconcile.Result, error) {
	for _, phase := range phases {
		if result, err := phase(ctx, obj); err != nil || !result.IsZero() {
			return result, err
		}
	}
	return reconcile.Result{}, nil
}
