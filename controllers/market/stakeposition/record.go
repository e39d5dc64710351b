// SPDX-License-Identifier: Apache-2.0

package stakeposition

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/stake"
)

// wrong is what keeps a stake from being looked up: the reason of the condition, and the sentence for people.
type wrong struct{ reason, message string }

// Error returns the sentence.
func (w *wrong) Error() string { return w.message }

// found is what was learned of one position.
type found struct {
	market   *boursev1.Market
	place    contract.StakePlace
	view     stake.View
	required money.Amount
	own      bool
}

// record writes down what the chain says. A chain that cannot be asked changes nothing that is known.
func (r *Reconciler) record(ctx context.Context, position *boursev1.StakePosition) (reconcile.Result, error) {
	at, err := r.find(ctx, position)
	if problem, ok := errors.AsType[*wrong](err); ok {
		kube.Failed(position, boursev1.StakeBonded, problem.reason, problem.message)
		sumUp(position)
		return reconcile.Result{RequeueAfter: lookEvery}, nil
	}
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "Could not ask the chain about a stake")
		if meta.FindStatusCondition(position.Status.Conditions, boursev1.StakeBonded) == nil {
			kube.Waiting(position, boursev1.StakeBonded, boursev1.ReasonChainUnreachable, "The chain could not be asked")
			sumUp(position)
		}
		return reconcile.Result{RequeueAfter: soon}, nil
	}
	if err := fill(position, at); err != nil {
		return reconcile.Result{}, err
	}
	if err := judge(position, at); err != nil {
		return reconcile.Result{}, err
	}
	sumUp(position)
	return reconcile.Result{RequeueAfter: r.again(position)}, nil
}

// again is when to look at the chain again.
func (r *Reconciler) again(position *boursev1.StakePosition) time.Duration {
	if !kube.IsTrue(position, boursev1.StakeBonded) {
		return soon
	}
	return lookEvery
}

// find looks the stake up. What is wrong with the position, or stands wrong on the chain, is a *wrong.
func (r *Reconciler) find(ctx context.Context, position *boursev1.StakePosition) (found, error) {
	wallet, err := r.wallet(ctx, position.Namespace)
	if err != nil {
		return found{}, err
	}
	at := found{market: &boursev1.Market{}, own: position.Spec.DelegateTo == ""}
	err = r.Hub.Get(ctx, types.NamespacedName{Name: position.Spec.Market}, at.market)
	if apierrors.IsNotFound(err) {
		return found{}, &wrong{boursev1.ReasonNoMarket, "There is no market " + position.Spec.Market}
	}
	if err != nil {
		return found{}, fmt.Errorf("get market: %w", err)
	}
	owner := boursev1.SolanaAddress(wallet.String())
	if !at.own {
		owner = position.Spec.DelegateTo
	}
	if at.place, err = contract.Stake(at.market, position.Spec.Token, owner); err != nil {
		return found{}, &wrong{boursev1.ReasonNoStake, err.Error()}
	}
	at.view, err = stake.Look(ctx, r.Chain, at.place.Pool, at.place.Authority, wallet)
	if refusal, ok := errors.AsType[*escrow.Refusal](err); ok {
		return found{}, &wrong{boursev1.ReasonPoolRefused, "What stands on chain is not what the market says: " + refusal.Error()}
	}
	if err == nil && at.own && at.market.Spec.Stake != nil {
		at.required, err = r.require(ctx, position.Namespace, at.market.Spec.Stake, at.place.Token)
	}
	return at, err
}

// wallet returns the wallet of a namespace's admitted member.
func (r *Reconciler) wallet(ctx context.Context, namespace string) (chain.Address, error) {
	var member boursev1.Member
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: namespace, Name: boursev1.MemberName}, &member)
	if apierrors.IsNotFound(err) || err == nil && !kube.IsTrue(&member, boursev1.Ready) {
		return chain.Address{}, &wrong{boursev1.ReasonNoMember, "The namespace has no admitted Member"}
	}
	if err != nil {
		return chain.Address{}, fmt.Errorf("get member: %w", err)
	}
	wallet, err := chain.ParseAddress(string(member.Spec.Wallet))
	if err != nil {
		return chain.Address{}, &wrong{boursev1.ReasonWalletInvalid, "The member's wallet is not a Solana address"}
	}
	return wallet, nil
}

// fill writes the amounts.
func fill(position *boursev1.StakePosition, at found) error {
	account, err := at.place.Pool.Account()
	if err != nil {
		return err
	}
	bonded, err := at.view.Bonded()
	if err != nil {
		return err
	}
	unbonding, err := at.view.Unbonding()
	if err != nil {
		return err
	}
	status := &position.Status
	status.Pool, status.Amount = boursev1.SolanaAddress(account.String()), at.place.Token.Format(bonded)
	status.Unbonding, status.UnlockTime, status.Slash = nil, nil, nil
	amounts := map[**int64]money.Amount{&status.Bonded: bonded}
	if unbonding > 0 {
		amounts[&status.Unbonding] = unbonding
		status.UnlockTime = new(metav1.NewTime(at.view.Position.UnlockAt))
	}
	if err := at.amounts(status, amounts); err != nil {
		return err
	}
	return at.slash(status)
}

// amounts adds what the pool says, and stores all amounts.
func (at found) amounts(status *boursev1.StakePositionStatus, amounts map[**int64]money.Amount) error {
	status.Delegated, status.Effective, status.Required, status.Slashed = nil, nil, nil, nil
	if pool := at.view.Pool; pool != nil {
		effective, err := pool.Effective(at.view.Config.Current.MaxDelegationBps)
		if err != nil {
			return err
		}
		delegated, err := pool.Delegated()
		if err != nil {
			return err
		}
		amounts[&status.Effective], amounts[&status.Slashed] = effective, pool.Slashed
		if at.own {
			amounts[&status.Delegated] = delegated
		}
	}
	if at.own && at.market.Spec.Stake != nil {
		amounts[&status.Required] = at.required
	}
	for into, amount := range amounts {
		units, err := contract.Signed(amount)
		if err != nil {
			return err
		}
		*into = &units
	}
	return nil
}

// slash writes down the slash that is pending, and the position's part of it.
func (at found) slash(status *boursev1.StakePositionStatus) error {
	if at.view.Pool == nil || at.view.Pool.Slash == nil {
		return nil
	}
	slash := at.view.Pool.Slash
	share, err := at.share(slash.Amount)
	if err != nil {
		return err
	}
	amount, err := contract.Signed(slash.Amount)
	if err != nil {
		return err
	}
	part, err := contract.Signed(share)
	if err != nil {
		return err
	}
	status.Slash = &boursev1.PendingSlash{
		Reason: contract.SlashReason(slash.Cause), Amount: &amount, Share: &part, Evidence: contract.EvidenceText(slash.Evidence),
		ExecutableAt: metav1.NewTime(slash.AppealUntil), State: boursev1.PendingSlashProposed,
	}
	if slash.Appealed {
		status.Slash.ExecutableAt, status.Slash.State = metav1.NewTime(slash.DecideUntil), boursev1.PendingSlashAppealed
	}
	return nil
}

// share is the position's part of what the pool would lose.
func (at found) share(amount money.Amount) (money.Amount, error) {
	if at.view.Position == nil {
		return 0, nil
	}
	return stake.Value(at.view.Position.Shares+at.view.Position.Unbonding, at.view.Pool.Shares, amount)
}
