// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// takeBack ends an interruptible lease whose pool is drained, or whose notice must begin for a maintenance window. A firm one runs on:
// its supplier waits for its term, or breaks it by hand. A lease that is told has ended, whatever becomes of the pool: its pods have
// their notice to finish, which nobody pays for.
func (r *Reconciler) takeBack(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	pool, err := r.poolToLeave(ctx, lease)
	if pool == nil || err != nil {
		return reconcile.Result{}, err
	}
	if pool.Spec.Mode == boursev1.PoolDrain {
		r.endTaken(lease, r.Now(), "drains the pool "+pool.Name)
		return reconcile.Result{}, nil
	}
	if window := r.nextWindow(pool); window != nil && !r.Now().Before(window.Start.Add(-notice(lease))) {
		r.endTaken(lease, r.Now(), fmt.Sprintf("needs the pool %s for the maintenance of %s", pool.Name, window.Start.UTC().Format(time.RFC3339)))
	}
	return reconcile.Result{}, nil
}

// toldAt is when the lease will be told to leave for a maintenance window; zero if no window is announced.
func (r *Reconciler) toldAt(ctx context.Context, lease *boursev1.GPULease) (time.Time, error) {
	pool, err := r.poolToLeave(ctx, lease)
	if pool == nil || err != nil {
		return time.Time{}, err
	}
	if window := r.nextWindow(pool); window != nil {
		return window.Start.Add(-notice(lease)), nil
	}
	return time.Time{}, nil
}

// poolToLeave is the pool of a lease that can be taken back. A pool that is not there takes nothing back.
func (r *Reconciler) poolToLeave(ctx context.Context, lease *boursev1.GPULease) (*boursev1.GPUPool, error) {
	if lease.Status.End != nil || lease.Spec.Terms.Tier != boursev1.TierInterruptible || !kube.IsTrue(lease, boursev1.LeaseAccepted) {
		return nil, nil //nolint:nilnil // nothing to leave is no error
	}
	var pool boursev1.GPUPool
	if err := r.Local.Get(ctx, client.ObjectKey{Name: lease.Spec.Pool}, &pool); err != nil {
		if client.IgnoreNotFound(err) == nil {
			return nil, nil //nolint:nilnil // as above
		}
		return nil, fmt.Errorf("get pool: %w", err)
	}
	return &pool, nil
}

// nextWindow is the maintenance window that is open, or else the next one.
func (r *Reconciler) nextWindow(pool *boursev1.GPUPool) *boursev1.MaintenanceWindow {
	var next *boursev1.MaintenanceWindow
	for i := range pool.Spec.Maintenance {
		window := &pool.Spec.Maintenance[i]
		if ends := window.Start.Add(time.Duration(window.DurationSeconds) * time.Second); !r.Now().Before(ends) {
			continue
		}
		if next == nil || window.Start.Before(&next.Start) {
			next = window
		}
	}
	return next
}

// maintenanceRefusal says which window the lease would run into, of whatever tier it is.
func (r *Reconciler) maintenanceRefusal(lease *boursev1.GPULease, pool *boursev1.GPUPool) string {
	window := r.nextWindow(pool)
	term := time.Duration(lease.Spec.Terms.DurationSeconds) * time.Second
	if window == nil || !r.Now().Add(term).After(window.Start.Time) {
		return ""
	}
	return "The term would run into the maintenance of " + window.Start.UTC().Format(time.RFC3339)
}

// endTaken ends a lease that the supplier does not let run on. For an interruptible one that is part of the agreement; a firm one is
// broken by it.
func (r *Reconciler) endTaken(lease *boursev1.GPULease, at time.Time, why string) {
	if lease.Spec.Terms.Tier == boursev1.TierFirm {
		r.end(lease, boursev1.EndBreached, boursev1.PartySupplier, at, "The supplier broke the firm lease: it "+why)
		return
	}
	r.end(lease, boursev1.EndTakenBack, boursev1.PartySupplier, at,
		fmt.Sprintf("The supplier %s; the pods had %s to finish", why, notice(lease)))
}

// takenFor says in words for whom the supplier's cluster took a worker.
func takenFor(by ray.Taker) string {
	if by == ray.TakerEviction {
		return "evicted a worker, as a drained node does"
	}
	return "took the GPUs back for its own work"
}

// notice is how long the lease's pods have from being told to being killed.
func notice(lease *boursev1.GPULease) time.Duration {
	return time.Duration(lease.Spec.Terms.NoticeSeconds) * time.Second
}
