// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
)

// verify says whether the newest promise is good.
func (r *Reconciler) verify(ctx context.Context, voucher *boursev1.Voucher) (reconcile.Result, error) {
	var lease boursev1.GPULease
	key := types.NamespacedName{Namespace: voucher.Spec.Lease.Namespace, Name: voucher.Spec.Lease.Name}
	err := r.Hub.Get(ctx, key, &lease)
	if apierrors.IsNotFound(err) {
		if !settled(voucher) {
			kube.Failed(voucher, boursev1.VoucherVerified, boursev1.ReasonLeaseUnknown, "The lease that the voucher names is not there")
		}
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("get lease: %w", err)
	}
	switch {
	case voucher.Namespace != lease.Spec.Job.Namespace || voucher.Spec.Escrow != lease.Spec.Escrow.Address ||
		voucher.Spec.ProgramID != lease.Spec.Escrow.ProgramID:
		kube.Failed(voucher, boursev1.VoucherVerified, boursev1.ReasonLeaseUnknown, "The lease that the voucher names is not this buyer's")
	case voucher.Spec.Gross == nil:
		kube.Waiting(voucher, boursev1.VoucherVerified, boursev1.ReasonNoPromise, "Nothing is promised yet")
	case !holds(voucher, &lease):
		kube.Failed(voucher, boursev1.VoucherVerified, boursev1.ReasonSignatureRefused, "The signature is not the buyer's over this promise")
	default:
		kube.True(voucher, boursev1.VoucherVerified, boursev1.ReasonSignatureHolds, "The signature is the buyer's over this promise")
	}
	return reconcile.Result{}, nil
}

// settled says whether this very promise was found good before: a lease that is gone since takes nothing from it.
func settled(voucher *boursev1.Voucher) bool {
	for _, condition := range voucher.Status.Conditions {
		if condition.Type == boursev1.VoucherVerified && condition.ObservedGeneration == voucher.Generation {
			return kube.IsTrue(voucher, boursev1.VoucherVerified)
		}
	}
	return false
}

// holds says whether the signature is the buyer's for this program, escrow and amount, and the deposit covers the amount.
func holds(voucher *boursev1.Voucher, lease *boursev1.GPULease) bool {
	terms, err := contract.Escrow(lease)
	if err != nil || *voucher.Spec.Gross < 0 {
		return false
	}
	address, err := terms.Address()
	if err != nil || address.String() != string(voucher.Spec.Escrow) {
		return false
	}
	gross := money.Amount(*voucher.Spec.Gross)
	split, err := terms.Fees.Split(gross)
	if err != nil || split.Debit > terms.Deposit {
		return false
	}
	signature, err := chain.ParseSignature(string(voucher.Spec.Signature))
	return err == nil && escrow.VerifyVoucher(terms.Program, address, terms.Buyer, gross, signature) == nil
}
