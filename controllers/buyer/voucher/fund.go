// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
)

const (
	// fundWithin is how long after acceptBy a deposit is still begun.
	fundWithin = 5 * time.Minute
	// mostDeposits is how often a deposit is signed: each attempt that fails on the chain costs its fee.
	mostDeposits = 5
)

// wantsDeposit says whether the lease waits for its deposit now.
func (r *Reconciler) wantsDeposit(lease *boursev1.GPULease) bool {
	return kube.IsTrue(lease, boursev1.LeaseAccepted) && lease.DeletionTimestamp.IsZero() && lease.Spec.State != boursev1.LeaseEnded &&
		lease.Status.End == nil && r.Now().Before(lease.Spec.AcceptBy.Add(fundWithin))
}

// fund opens the lease's escrow: it signs the deposit and writes it down, and only in a later pass sends it. The deposits of a job in parts
// are one transaction, which the first part signs.
func (r *Reconciler) fund(ctx context.Context, lease *boursev1.GPULease, voucher *boursev1.Voucher) (reconcile.Result, error) {
	tx := voucher.Spec.Deposit
	switch {
	case in(tx, boursev1.TransactionLanded):
		return reconcile.Result{}, nil
	case in(tx, boursev1.TransactionSigned):
		return r.land(ctx, lease, tx)
	}
	found, err := r.adopt(ctx, lease, voucher)
	if err != nil || found {
		return reconcile.Result{}, err
	}
	if follows(lease) {
		return r.copyDeposit(ctx, lease, voucher)
	}
	if !r.wantsDeposit(lease) || tx != nil && tx.Attempt >= mostDeposits {
		return reconcile.Result{RequeueAfter: r.lookAgain(lease)}, nil
	}
	return r.deposit(ctx, lease, voucher)
}

// deposit signs the transaction that opens the escrow, and those of the job's other parts, after the buyer's own checks.
func (r *Reconciler) deposit(ctx context.Context, lease *boursev1.GPULease, voucher *boursev1.Voucher) (reconcile.Result, error) {
	leases, err := r.approved(ctx, lease)
	if refused, ok := errors.AsType[refusal](err); ok {
		decline(voucher, refused.Error())
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if len(leases) == 0 {
		return reconcile.Result{RequeueAfter: retry}, nil // the watch brings it sooner
	}
	terms := make([]escrow.Terms, len(leases))
	for i := range leases {
		if terms[i], err = contract.Escrow(leases[i]); err != nil {
			return reconcile.Result{}, err
		}
	}
	instructions, err := escrow.OpenAll(terms)
	if err != nil {
		return reconcile.Result{}, err
	}
	attempt := int32(1)
	if voucher.Spec.Deposit != nil {
		attempt = voucher.Spec.Deposit.Attempt + 1
	}
	tx, err := r.sign(ctx, boursev1.TransactionOpen, instructions, attempt)
	if unsigned(voucher, err) {
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if failure, ok := errors.AsType[*chain.Failure](err); ok {
		decline(voucher, "The deposit would fail on chain: "+failure.Error())
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	crashpoint.Hit("deposit.signed")
	voucher.Spec.Deposit = tx
	decline(voucher, "")
	voucher.Spec.DepositedAt = new(metav1.NewTime(r.Now().Truncate(time.Second)))
	return reconcile.Result{RequeueAfter: drive}, nil
}

// land sends a journalled deposit until the chain has decided about it.
func (r *Reconciler) land(ctx context.Context, lease *boursev1.GPULease, tx *boursev1.Transaction) (reconcile.Result, error) {
	opened := func(ctx context.Context) (bool, error) { return r.opened(ctx, lease) }
	if err := r.drive(ctx, tx, opened); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: drive}, nil
}

// inspect reads the lease's escrow as it is finalized. A closed one is no error.
func (r *Reconciler) inspect(ctx context.Context, lease *boursev1.GPULease) (escrow.Facts, error) {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return escrow.Facts{}, err
	}
	address, err := terms.Address()
	if err != nil {
		return escrow.Facts{}, err
	}
	vault, err := terms.Vault()
	if err != nil {
		return escrow.Facts{}, err
	}
	accounts, err := r.Chain.Accounts(ctx, chain.Finalized, address, vault)
	if err != nil {
		return escrow.Facts{}, fmt.Errorf("read escrow: %w", err)
	}
	facts, err := escrow.Verify(terms, accounts[0], accounts[1])
	if errors.Is(err, escrow.Closed) {
		return facts, nil
	}
	return facts, err
}
