// SPDX-License-Identifier: Apache-2.0

package slash

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/stake"
)

// refusal says why a slash cannot be proposed as it is. It is a decision, not a fault.
type refusal string

// Error returns why.
func (r refusal) Error() string { return string(r) }

// stand is where a slash stands on the chain.
type stand struct {
	place    contract.StakePlace
	evidence stake.Evidence
	cause    stake.Cause
	lasted   time.Duration
	view     stake.View
}

// pending returns the slash if it is the one that is pending on the chain.
func (s *stand) pending() *stake.SlashFacts {
	if s.view.Pool == nil || s.view.Pool.Slash == nil || s.view.Pool.Slash.Evidence != s.evidence {
		return nil
	}
	return s.view.Pool.Slash
}

// course finds out where the slash stands, and does what comes next.
func (r *Reconciler) course(ctx context.Context, slash *boursev1.Slash) (reconcile.Result, error) {
	if over(slash) {
		return reconcile.Result{}, nil
	}
	at, err := r.find(ctx, slash)
	if why, ok := errors.AsType[refusal](err); ok {
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonSlashRefused, string(why))
		if !slash.DeletionTimestamp.IsZero() && slash.Status.Transaction == nil {
			return reconcile.Result{}, nil // it never came to the chain
		}
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if slot := slash.Status.Slot; slot != nil && at.view.Slot < uint64(*slot) { //nolint:gosec // never negative
		return reconcile.Result{RequeueAfter: drive}, nil // this node has not seen our last transaction yet
	}
	if facts := at.pending(); facts != nil {
		return r.proceed(ctx, slash, at, facts)
	}
	return r.absent(ctx, slash, at)
}

// over says whether nothing can become of the slash any more.
func over(slash *boursev1.Slash) bool {
	condition := meta.FindStatusCondition(slash.Status.Conditions, boursev1.Succeeded)
	return condition != nil && (condition.Reason == boursev1.ReasonExecuted || condition.Reason == boursev1.ReasonDropped)
}

// dropped says whether the slash is to be taken back.
func dropped(slash *boursev1.Slash) bool {
	return slash.Spec.State == boursev1.SlashDropped || !slash.DeletionTimestamp.IsZero()
}

// find looks up what the slash is about.
func (r *Reconciler) find(ctx context.Context, slash *boursev1.Slash) (*stand, error) {
	var market boursev1.Market
	err := r.Hub.Get(ctx, types.NamespacedName{Name: slash.Spec.Market}, &market)
	if apierrors.IsNotFound(err) {
		return nil, refusal("There is no market " + slash.Spec.Market)
	}
	if err != nil {
		return nil, fmt.Errorf("get market: %w", err)
	}
	if market.Spec.Stake == nil {
		return nil, refusal("The market has no spec.stake: it cannot slash any")
	}
	at := &stand{lasted: time.Duration(*slash.Spec.LastedSeconds) * time.Second}
	if at.place, err = contract.Stake(&market, market.Spec.Stake.Token, slash.Spec.Owner); err != nil {
		return nil, refusal(err.Error())
	}
	if at.evidence, err = contract.Evidence(slash.Spec.Evidence); err != nil {
		return nil, refusal(err.Error())
	}
	cause, known := contract.Cause(slash.Spec.Reason)
	if !known {
		return nil, refusal("The reason is unknown to the chain")
	}
	at.cause = cause
	genesis, err := r.Chain.GenesisHash(ctx)
	if err != nil {
		return nil, err
	}
	if genesis.String() != string(market.Spec.GenesisHash) {
		return nil, refusal("The market settles on another chain than this operator's")
	}
	at.view, err = stake.Look(ctx, r.Chain, at.place.Pool, at.place.Authority, at.place.Pool.Owner)
	if wrong, ok := errors.AsType[*escrow.Refusal](err); ok {
		return nil, refusal("What stands on chain is not what the market says: " + wrong.Error())
	}
	return at, err
}

// proceed lets a proposal that stands on the chain take its course.
func (r *Reconciler) proceed(ctx context.Context, slash *boursev1.Slash, at *stand, facts *stake.SlashFacts) (reconcile.Result, error) {
	if err := note(slash, at, facts); err != nil {
		return reconcile.Result{}, err
	}
	now := r.Now()
	switch {
	case dropped(slash):
		kube.Waiting(slash, boursev1.Succeeded, boursev1.ReasonDropping, "The proposal is being taken back")
		return r.end(ctx, slash, at, facts, boursev1.TransactionDropSlash)
	case !now.Before(facts.DecideUntil.Add(late)):
		kube.Waiting(slash, boursev1.Succeeded, boursev1.ReasonDropping, "The time to decide is over: the proposal is being taken back")
		return r.end(ctx, slash, at, facts, boursev1.TransactionDropSlash)
	case facts.Appealed:
		kube.Waiting(slash, boursev1.Succeeded, boursev1.ReasonSlashAppealed,
			"The pool's owner has appealed: the market's arbiter executes it by status.executableAt, or it falls")
		return reconcile.Result{RequeueAfter: min(retry, facts.DecideUntil.Add(late).Sub(now))}, nil
	case now.Before(facts.AppealUntil.Add(late)):
		kube.Waiting(slash, boursev1.Succeeded, boursev1.ReasonAppealWindow, "The pool's owner can appeal until status.executableAt")
		return reconcile.Result{RequeueAfter: min(retry, facts.AppealUntil.Add(late).Sub(now))}, nil
	case !now.Before(facts.DecideUntil.Add(-late)):
		return reconcile.Result{RequeueAfter: retry}, nil // too late to execute for certain, too early to drop
	default:
		kube.Waiting(slash, boursev1.Succeeded, boursev1.ReasonExecuting, "Nobody has appealed: the slash is being executed")
		return r.end(ctx, slash, at, facts, boursev1.TransactionExecuteSlash)
	}
}

// note writes down what the chain says of the proposal.
func note(slash *boursev1.Slash, at *stand, facts *stake.SlashFacts) error {
	account, err := at.place.Pool.Account()
	if err != nil {
		return err
	}
	amount, err := contract.Signed(facts.Amount)
	if err != nil {
		return err
	}
	until := facts.AppealUntil
	if facts.Appealed {
		until = facts.DecideUntil
	}
	status := &slash.Status
	status.Pool, status.Amount, status.Text = boursev1.SolanaAddress(account.String()), &amount, at.place.Token.Format(facts.Amount)
	status.ExecutableAt = new(metav1.NewTime(until))
	kube.True(slash, boursev1.SlashOnChain, boursev1.ReasonProposed, status.Text+" are proposed to be slashed")
	return nil
}

// absent deals with a slash that is not pending on the chain: it was never proposed, or it is over.
func (r *Reconciler) absent(ctx context.Context, slash *boursev1.Slash, at *stand) (reconcile.Result, error) {
	const skew = time.Hour
	fate, err := stake.Trace(ctx, r.Chain, at.place.Pool, at.evidence, slash.CreationTimestamp.Add(-skew))
	if err != nil {
		return reconcile.Result{}, err
	}
	switch {
	case fate == stake.FateExecuted:
		kube.True(slash, boursev1.Succeeded, boursev1.ReasonExecuted, "The pool was slashed, and what it lost is burned")
		return reconcile.Result{}, nil
	case fate == stake.FateDropped:
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonDropped, "The proposal was taken back, and nothing is lost")
		return reconcile.Result{}, nil
	case fate == stake.FatePending:
		return reconcile.Result{RequeueAfter: drive}, nil // the two reads are of different slots
	case dropped(slash):
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonDropped, "The slash was taken back before it was proposed")
		return reconcile.Result{}, nil
	}
	result, err := r.propose(ctx, slash, at)
	if why, ok := errors.AsType[refusal](err); ok {
		kube.Failed(slash, boursev1.Succeeded, boursev1.ReasonSlashRefused, string(why))
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	return result, err
}

// propose signs the proposal, if the pool can be slashed now.
func (r *Reconciler) propose(ctx context.Context, slash *boursev1.Slash, at *stand) (reconcile.Result, error) {
	pool := at.view.Pool
	switch {
	case pool == nil || pool.Total == 0:
		return reconcile.Result{}, refusal("The owner has nothing at stake in this market")
	case pool.Slash != nil:
		return wait(slash, boursev1.ReasonAnotherPending, "Another slash of the pool is pending")
	case r.Now().Before(pool.CalmUntil.Add(late)):
		return wait(slash, boursev1.ReasonCalmDay, "A day must pass since the pool's last slash was executed or dropped")
	}
	amount, err := r.amount(slash, at)
	if err != nil {
		return reconcile.Result{}, err
	}
	if amount == 0 {
		return wait(slash, boursev1.ReasonCapReached, "The pool cannot lose more in these 30 days: the market's configuration caps it")
	}
	if !r.mayAct(slash, at) {
		return reconcile.Result{}, nil
	}
	instructions, err := stake.ProposeSlash(at.place.Pool, r.Authority.PublicKey(), amount, at.cause, at.evidence)
	if err != nil {
		return reconcile.Result{}, err
	}
	if _, err := wait(slash, boursev1.ReasonAwaitingProposal, "The proposal is on its way to the chain"); err != nil {
		return reconcile.Result{}, err
	}
	return r.sign(ctx, slash, boursev1.TransactionProposeSlash, instructions)
}

// wait says what a proposal waits for.
func wait(slash *boursev1.Slash, reason, message string) (reconcile.Result, error) {
	kube.Waiting(slash, boursev1.SlashOnChain, reason, message)
	kube.Waiting(slash, boursev1.Succeeded, reason, message)
	return reconcile.Result{RequeueAfter: retry}, nil
}

// amount is what is proposed: what the reason allows or less where the slash says less, within the market's cap.
func (r *Reconciler) amount(slash *boursev1.Slash, at *stand) (money.Amount, error) {
	most, err := at.view.Pool.Proposable(at.cause, at.lasted, at.view.Config.Current.MaxSlashBps, r.Now())
	if err != nil || slash.Spec.Amount == "" {
		return most, err
	}
	asked, err := at.place.Token.Parse(string(slash.Spec.Amount))
	if err != nil {
		return 0, refusal("spec.amount: " + err.Error())
	}
	bps, _ := stake.Penalty(at.cause, at.lasted)
	allowed := money.Portion(at.view.Pool.Total, bps)
	switch {
	case asked == 0:
		return 0, refusal("spec.amount is zero: leave it out for what the reason allows")
	case asked > allowed:
		return 0, refusal(fmt.Sprintf("spec.amount is %s, and %s for so long allows %s of this pool",
			at.place.Token.Format(asked), slash.Spec.Reason, at.place.Token.Format(allowed)))
	}
	return min(asked, most), nil
}
