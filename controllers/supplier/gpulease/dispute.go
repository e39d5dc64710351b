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
)

// mostDisputes is how often a dispute is signed: each attempt that fails on the chain costs its fee.
const mostDisputes = 5

// arbitrate disputes what the buyer did not promise, once, and waits for the arbiter. It says whether the escrow must stay open: not
// where nothing is owed, where nobody may award, where the arbiter has decided or let its time pass, or where it is too late.
func (r *Reconciler) arbitrate(ctx context.Context, lease *boursev1.GPULease, found Escrow) (reconcile.Result, bool, error) {
	if err := paid(lease, found); err != nil {
		return reconcile.Result{}, false, err
	}
	usage := lease.Status.Usage
	if !arbitrated(lease) || usage == nil || amount(usage.Gross) <= amount(lease.Status.Paid) {
		return reconcile.Result{}, false, nil
	}
	if found.Disputed {
		if lease.Status.Disputed == nil { // it landed, and its own record was lost
			lease.Status.Disputed = usage.Gross
		}
		left := found.Held.Sub(r.Now())
		if left <= 0 {
			return reconcile.Result{}, false, nil
		}
		return reconcile.Result{RequeueAfter: min(left, pollAward)}, true, disputed(lease)
	}
	next := attempt(lease, boursev1.TransactionDispute)
	if next > mostDisputes || !r.Now().Before(lease.Spec.Escrow.Deadline.Time) {
		return reconcile.Result{}, false, nil
	}
	tx, err := r.Ledger.Dispute(ctx, lease, amount(usage.Gross), next)
	if err != nil {
		result, err := r.unlessRefused(lease, kube.Waiting, fmt.Errorf("sign dispute: %w", err))
		return result, true, err
	}
	tx.Gross = usage.Gross
	lease.Status.Transaction = tx
	return reconcile.Result{RequeueAfter: pollChain}, true, disputed(lease)
}

// disputed says what is waited for, and about how much.
func disputed(lease *boursev1.GPULease) error {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return err
	}
	token, err := contract.Token(&lease.Spec.Payment)
	if err != nil {
		return err
	}
	before, err := terms.Fees.Split(amount(lease.Status.Paid))
	if err != nil {
		return fmt.Errorf("split payment: %w", err)
	}
	all, err := terms.Fees.Split(amount(lease.Status.Usage.Gross))
	if err != nil {
		return fmt.Errorf("split usage: %w", err)
	}
	due, err := all.Sub(before)
	if err != nil {
		return fmt.Errorf("subtract payment: %w", err)
	}
	kube.Waiting(lease, boursev1.LeaseSettled, boursev1.ReasonDisputed, fmt.Sprintf(
		"The buyer promised nothing for the last %s: the supplier disputes it, and the arbiter %s may award up to its cap",
		token.Format(due.Supplier), lease.Spec.Payment.Arbiter))
	return nil
}

// arbitrated says whether somebody may award to the supplier.
func arbitrated(lease *boursev1.GPULease) bool { return lease.Spec.Payment.ArbiterCapBps > 0 }

// arbitration is how long a dispute of the lease may last, or zero if there was none.
func arbitration(lease *boursev1.GPULease) time.Duration {
	if lease.Status.Disputed == nil {
		return 0
	}
	return arbitrationBound(lease)
}

// arbitrationBound is how long an arbiter may take at the most.
func arbitrationBound(lease *boursev1.GPULease) time.Duration {
	const delays = 2
	return delays * time.Duration(lease.Spec.Payment.DisputeDelaySeconds) * time.Second
}

// inDispute says whether the lease was disputed, or is about to be.
func inDispute(lease *boursev1.GPULease) bool {
	tx := lease.Status.Transaction
	return lease.Status.Disputed != nil || tx != nil && tx.Purpose == boursev1.TransactionDispute && tx.State == boursev1.TransactionSigned
}
