// SPDX-License-Identifier: Apache-2.0

package stakeposition

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
)

// land sends the written-down transaction until the chain has decided about it, and notes what it decided. A bond or an unbond that
// landed did what was wanted when it was signed.
func (r *Reconciler) land(ctx context.Context, position *boursev1.StakePosition) (reconcile.Result, error) {
	journal := position.Spec.Journal
	if journal == nil || journal.Transaction == nil || journal.Transaction.State != boursev1.TransactionSigned {
		return reconcile.Result{}, nil
	}
	tx := journal.Transaction
	slot, err := contract.Drive(ctx, r.Chain, tx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if slot != nil {
		journal.Slot = slot
	}
	if tx.State == boursev1.TransactionLanded && (tx.Purpose == boursev1.TransactionBond || tx.Purpose == boursev1.TransactionUnbond) {
		journal.Reached = journal.Wanted
	}
	return reconcile.Result{RequeueAfter: drive}, nil
}
