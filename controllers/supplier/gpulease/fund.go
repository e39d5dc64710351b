// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// fund reads the escrow on chain, at finalized, and lets the lease run only when it is what the lease says.
func (r *Reconciler) fund(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if lease.Status.End != nil || kube.IsTrue(lease, boursev1.LeaseFunded) || !kube.IsTrue(lease, boursev1.LeaseAccepted) {
		return reconcile.Result{}, nil
	}
	found, err := r.Ledger.Look(ctx, lease)
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("look at escrow: %w", err)
	}
	switch found.State {
	case EscrowOpen:
		kube.True(lease, boursev1.LeaseFunded, boursev1.ReasonDeposited, "The escrow holds the deposit")
		return reconcile.Result{}, nil
	case EscrowAbsent:
		if r.Now().After(lease.Spec.AcceptBy.Add(fundAllowance)) {
			r.end(lease, boursev1.EndNotFunded, boursev1.PartyBuyer, r.Now(), "The buyer did not deposit in time")
			return reconcile.Result{}, nil
		}
		return reconcile.Result{RequeueAfter: pollDeposit}, nil
	case EscrowClosed, EscrowRefused:
	}
	message := "The escrow on chain is not what the lease says: " + found.Detail
	kube.Failed(lease, boursev1.LeaseFunded, boursev1.ReasonEscrowRefused, message)
	r.end(lease, boursev1.EndFault, boursev1.PartyBuyer, r.Now(), message)
	return reconcile.Result{}, nil
}
