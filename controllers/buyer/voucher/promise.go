// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/meter"
	"github.com/bourse-dev/bourse/internal/money"
)

// promise answers the newest usage record: it signs the cumulative amount that the record proves, and never more than the deposit
// covers. A record that cannot be true is not answered.
func (r *Reconciler) promise(ctx context.Context, lease *boursev1.GPULease, voucher *boursev1.Voucher) (reconcile.Result, error) {
	if !in(voucher.Spec.Deposit, boursev1.TransactionLanded) || lease.Status.Usage == nil || lease.Status.Usage.Sequence <= voucher.Spec.Sequence {
		return reconcile.Result{}, nil
	}
	record, err := r.believe(lease, voucher)
	if refused, ok := errors.AsType[refusal](err); ok {
		decline(voucher, refused.Error())
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	terms, err := contract.Escrow(lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	address, err := terms.Address()
	if err != nil {
		return reconcile.Result{}, err
	}
	gross, err := contract.Signed(record.Gross)
	if err != nil {
		return reconcile.Result{}, err
	}
	signature, err := r.Signer.Sign(ctx, escrow.VoucherMessage(terms.Program, address, record.Gross))
	if unsigned(voucher, err) {
		return reconcile.Result{}, nil // reclaim says when to try again
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("sign voucher: %w", err)
	}
	crashpoint.Hit("promise.signed")
	voucher.Spec.Sequence = record.Sequence
	voucher.Spec.Gross = &gross
	voucher.Spec.UsageDigest = record.Digest.String()
	voucher.Spec.Signature = boursev1.SolanaSignature(signature.String())
	decline(voucher, "")
	return reconcile.Result{}, nil
}

// believe returns the newest usage record, or a refusal to pay for it. No worker can have been ready before the deposit was signed.
func (r *Reconciler) believe(lease *boursev1.GPULease, voucher *boursev1.Voucher) (*meter.Record, error) {
	terms, err := contract.Meter(lease)
	if err != nil {
		return nil, err
	}
	record, err := contract.Usage(lease.Status.Usage)
	if err != nil {
		return nil, refuse("usage record %d cannot be read", lease.Status.Usage.Sequence)
	}
	last, err := promised(voucher)
	if err != nil {
		return nil, err
	}
	err = terms.Verify(last, *record, meter.Bounds{Funded: deposited(voucher), Now: r.Now()})
	if errors.Is(err, meter.ErrRefused) {
		return nil, refuse("usage record %d: %s", record.Sequence, err)
	}
	if err != nil {
		return nil, err
	}
	if last != nil && record.Gross < last.Gross {
		return nil, refuse("usage record %d costs less than what is promised", record.Sequence)
	}
	return record, nil
}

// deposited is before when no worker can have been ready.
func deposited(voucher *boursev1.Voucher) time.Time {
	if voucher.Spec.DepositedAt != nil {
		return voucher.Spec.DepositedAt.Time
	}
	return voucher.CreationTimestamp.Time
}

// promised is the record that the newest promise answered, as far as the voucher tells; nil before the first.
func promised(voucher *boursev1.Voucher) (*meter.Record, error) {
	if voucher.Spec.Gross == nil {
		return nil, nil //nolint:nilnil // no promise is no error
	}
	digest, err := meter.ParseDigest(voucher.Spec.UsageDigest)
	if err != nil {
		return nil, fmt.Errorf("read voucher: %w", err)
	}
	return &meter.Record{
		Sequence: voucher.Spec.Sequence,
		Gross:    money.Amount(max(0, *voucher.Spec.Gross)),
		Digest:   digest,
	}, nil
}
