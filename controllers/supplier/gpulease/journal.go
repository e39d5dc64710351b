// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/crashpoint"
	"github.com/bourse-dev/bourse/internal/kube"
)

// journal writes the lease, and names the moments at which what it says of a transaction has become durable.
type journal struct{ kube.Writer }

// Write implements kube.Writer.
func (j journal) Write(ctx context.Context, before, after kube.Conditioned) error {
	was, now := transaction(before), transaction(after)
	if err := j.Writer.Write(ctx, before, after); err != nil {
		return err
	}
	if now == nil || was != nil && was.Signature == now.Signature && was.State == now.State {
		return nil
	}
	written(now)
	return nil
}

// written names the moment at which a transaction's new state is durable.
func written(tx *boursev1.Transaction) {
	claims, closes := tx.Purpose == boursev1.TransactionClaim, tx.Purpose == boursev1.TransactionClose
	switch {
	case claims && tx.State == boursev1.TransactionSigned:
		crashpoint.Hit("claim.written")
	case claims && tx.State == boursev1.TransactionLanded:
		crashpoint.Hit("claim.recorded")
	case closes && tx.State == boursev1.TransactionSigned:
		crashpoint.Hit("close.written")
	case closes && tx.State == boursev1.TransactionLanded:
		crashpoint.Hit("close.recorded")
	}
}

// transaction is what a lease says of its newest transaction, or nil.
func transaction(of kube.Conditioned) *boursev1.Transaction {
	if lease, ok := of.(*boursev1.GPULease); ok {
		return lease.Status.Transaction
	}
	return nil
}

// arrived names the moment at which a transaction is known to have landed, and that is not written down.
func arrived(tx *boursev1.Transaction) {
	if tx.Purpose == boursev1.TransactionClose {
		crashpoint.Hit("close.landed")
	} else {
		crashpoint.Hit("claim.landed")
	}
}
