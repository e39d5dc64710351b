// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/meter"
	"github.com/bourse-dev/bourse/internal/ray"
)

// meter writes the usage record that is due. It reads when the workers became ready from the API server, so neither a restart nor an
// outage of the operator changes a figure. The last record is made while the pods are still there to tell.
func (r *Reconciler) meter(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if !kube.IsTrue(lease, boursev1.LeaseFunded) {
		return reconcile.Result{}, nil
	}
	terms, err := contract.Meter(lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	last, err := contract.Usage(lease.Status.Usage)
	if err != nil {
		return reconcile.Result{}, err
	}
	state, err := r.state(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	seen := sighting(lease, state)
	var next *meter.Record
	if end := lease.Status.End; end != nil {
		next, err = terms.Final(last, seen, end.At.Time)
	} else {
		next, err = terms.Next(last, seen, r.Now())
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("meter lease: %w", err)
	}
	if next == nil {
		return reconcile.Result{}, nil
	}
	report, err := contract.Report(next)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := r.heed(ctx, lease); err != nil {
		return reconcile.Result{}, err
	}
	lease.Status.Usage = report
	if !next.Final {
		r.dun(lease, terms, last, next)
	}
	return reconcile.Result{}, nil
}

// lastRecord makes the last usage record where the pass that ended the lease could not, and lets nothing be cleared before it is
// written.
func (r *Reconciler) lastRecord(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if usage := lease.Status.Usage; !kube.IsTrue(lease, boursev1.LeaseFunded) || usage != nil && usage.Final == boursev1.UsageFinal {
		return reconcile.Result{}, nil
	}
	if _, err := r.meter(ctx, lease); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: pollChain}, nil
}

// sighting is what the cluster says of the workers. A worker that is younger than the last record took the place of one whose end
// nobody saw.
func sighting(lease *boursev1.GPULease, state ray.State) meter.Sighting {
	seen := meter.Sighting{Ready: state.AllReady(lease.Spec.Workers), Since: state.Since}
	if usage := lease.Status.Usage; usage != nil && !seen.Ready && state.Began(usage.Through.Time) {
		seen.Since = time.Time{}
	}
	return seen
}
