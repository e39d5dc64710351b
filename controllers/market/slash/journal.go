// SPDX-License-Identifier: Apache-2.0

package slash

import (
	"context"
	"errors"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
)

// mostAttempts is how often one step is signed: each attempt that fails on the chain costs its fee.
const mostAttempts = 5

// mayAct says whether this operator has the authority's wallet, and says so on the slash when it has not.
func (r *Reconciler) mayAct(slash *boursev1.Slash, at *stand) bool {
	switch {
	case r.Authority == nil:
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonNoAuthority,
			"This operator has no key of the market's authority: give it --authority-keypair")
	case r.Authority.PublicKey() != at.place.Authority:
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonNoAuthority, fmt.Sprintf(
			"This operator's authority key is of %s, and the market's authority is %s", r.Authority.PublicKey(), at.place.Authority))
	default:
		return true
	}
	return false
}

// end signs the execution or the drop of the pending slash.
func (r *Reconciler) end(
	ctx context.Context, slash *boursev1.Slash, at *stand, facts *stake.SlashFacts, purpose boursev1.TransactionPurpose,
) (reconcile.Result, error) {
	if !r.mayAct(slash, at) {
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	build := stake.ExecuteSlash
	if purpose == boursev1.TransactionDropSlash {
		build = stake.DropSlash
	}
	instructions, err := build(at.place.Pool, r.Authority.PublicKey(), facts.Number)
	if err != nil {
		return reconcile.Result{}, err
	}
	return r.sign(ctx, slash, purpose, instructions)
}

// sign prepares a transaction and writes it down. A later pass sends it.
func (r *Reconciler) sign(
	ctx context.Context, slash *boursev1.Slash, purpose boursev1.TransactionPurpose, instructions []chain.Instruction,
) (reconcile.Result, error) {
	attempt := int32(1)
	if last := slash.Status.Transaction; last != nil && last.Purpose == purpose {
		attempt = last.Attempt + 1
	}
	if attempt > mostAttempts {
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonTransactionFailed, fmt.Sprintf(
			"%s failed %d times, the last time so: %s", purpose, mostAttempts, slash.Status.Transaction.Error))
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if err := kube.Hold(ctx, r.Hub, slash, finalizer); err != nil {
		return reconcile.Result{}, err
	}
	record, err := outbox.Prepare(ctx, r.Outbox, r.Authority, string(purpose), instructions, attempt)
	if failure, ok := errors.AsType[*chain.Failure](err); ok {
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonTransactionFailed, fmt.Sprintf("%s would fail on chain: %s", purpose, failure))
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if refused, ok := errors.AsType[*signer.Refusal](err); ok {
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonTransactionFailed, refused.Detail)
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if slash.Status.Transaction, err = contract.Journal(record); err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: drive}, nil
}

// land sends the written-down transaction until the chain has decided about it, and notes what it decided.
func (r *Reconciler) land(ctx context.Context, slash *boursev1.Slash) (reconcile.Result, error) {
	tx := slash.Status.Transaction
	if tx == nil || tx.State != boursev1.TransactionSigned {
		return reconcile.Result{}, nil
	}
	slot, err := contract.Drive(ctx, r.Outbox, tx)
	if err != nil {
		return reconcile.Result{}, err
	}
	if slot != nil {
		slash.Status.Slot = slot
	}
	return reconcile.Result{RequeueAfter: drive}, nil
}
