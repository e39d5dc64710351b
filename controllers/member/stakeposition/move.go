// SPDX-License-Identifier: Apache-2.0

package stakeposition

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
)

const (
	// mostAttempts is how often a move is signed for one spec.amount: each attempt that fails on the chain costs its fee.
	mostAttempts = 5
	// refusalText is as much as a refusal holds.
	refusalText = 512
)

// move signs the next transaction that the position needs, and writes it down. A later pass sends it.
func (r *Reconciler) move(ctx context.Context, wallet signer.Signer, position *boursev1.StakePosition) (reconcile.Result, error) {
	result, err := r.next(ctx, wallet, position)
	if obstacle, ok := errors.AsType[stake.Obstacle](err); ok {
		if position.Spec.Journal == nil {
			position.Spec.Journal = &boursev1.StakeJournal{}
		}
		position.Spec.Journal.Refusal = clip(obstacle.Error())
		return reconcile.Result{RequeueAfter: retry}, nil
	}
	return result, err
}

func (r *Reconciler) next(ctx context.Context, wallet signer.Signer, position *boursev1.StakePosition) (reconcile.Result, error) {
	place, err := r.place(ctx, wallet, position)
	if err != nil {
		return reconcile.Result{}, err
	}
	want, err := wanted(wallet, position, place)
	if err != nil {
		return reconcile.Result{}, err
	}
	view, err := stake.Look(ctx, r.Chain, place.Pool, place.Authority, want.Staker)
	if refusal, ok := errors.AsType[*escrow.Refusal](err); ok {
		return reconcile.Result{}, stake.Obstacle("What stands on chain is not what the market says: " + refusal.Error())
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if slot := position.Spec.Journal.Slot; slot != nil && view.Slot < uint64(*slot) { //nolint:gosec // never negative
		return reconcile.Result{RequeueAfter: drive}, nil // this node has not seen our last transaction yet
	}
	step, err := stake.Next(place.Pool, want, view, place.Token, r.Now())
	if err != nil {
		return reconcile.Result{}, err
	}
	switch step.Move {
	case stake.MoveNone, stake.MoveReached:
		position.Spec.Journal.Refusal = ""
		if step.Move == stake.MoveReached {
			position.Spec.Journal.Reached = position.Spec.Amount
		}
		return reconcile.Result{RequeueAfter: step.Again}, nil
	default:
		return r.sign(ctx, wallet, position, place.Pool, view, step)
	}
}

// place returns where the stake is. It refuses a market on another chain, and one that has moved since the position began.
func (r *Reconciler) place(ctx context.Context, wallet signer.Signer, position *boursev1.StakePosition) (contract.StakePlace, error) {
	var market boursev1.Market
	err := r.Hub.Get(ctx, types.NamespacedName{Name: position.Spec.Market}, &market)
	if apierrors.IsNotFound(err) {
		return contract.StakePlace{}, stake.Obstacle("There is no market " + position.Spec.Market)
	}
	if err != nil {
		return contract.StakePlace{}, fmt.Errorf("get market: %w", err)
	}
	genesis, err := r.Chain.GenesisHash(ctx)
	if err != nil {
		return contract.StakePlace{}, err
	}
	if genesis.String() != string(market.Spec.GenesisHash) {
		return contract.StakePlace{}, stake.Obstacle("The market settles on another chain than this operator's")
	}
	owner := position.Spec.DelegateTo
	if owner == "" {
		owner = boursev1.SolanaAddress(wallet.PublicKey().String())
	}
	place, err := contract.Stake(&market, position.Spec.Token, owner)
	if err != nil {
		return contract.StakePlace{}, stake.Obstacle(err.Error())
	}
	account, err := place.Pool.Account()
	if err != nil {
		return contract.StakePlace{}, err
	}
	pool := boursev1.SolanaAddress(account.String())
	switch {
	case position.Spec.Journal == nil:
		position.Spec.Journal = &boursev1.StakeJournal{Pool: pool}
	case position.Spec.Journal.Pool == "":
		position.Spec.Journal.Pool = pool
	case position.Spec.Journal.Pool != pool:
		return contract.StakePlace{}, stake.Obstacle(fmt.Sprintf(
			"The market's program or authority has changed: the stake is in the pool %s, and the market now names %s", position.Spec.Journal.Pool, pool))
	}
	return place, nil
}

// wanted reads what the member wants.
func wanted(wallet signer.Signer, position *boursev1.StakePosition, place contract.StakePlace) (stake.Want, error) {
	want := stake.Want{Staker: wallet.PublicKey()}
	var err error
	if want.Amount, err = place.Token.Parse(string(position.Spec.Amount)); err != nil {
		return stake.Want{}, stake.Obstacle("spec.amount: " + err.Error())
	}
	if reached := position.Spec.Journal.Reached; reached != "" {
		amount, err := place.Token.Parse(string(reached))
		if err != nil {
			return stake.Want{}, fmt.Errorf("read journal: %w", err)
		}
		want.Reached = &amount
	}
	if position.Spec.Appeal != "" {
		evidence, err := contract.Evidence(position.Spec.Appeal)
		if err != nil {
			return stake.Want{}, stake.Obstacle("spec.appeal: " + err.Error())
		}
		want.Appeal = &evidence
	}
	return want, nil
}

// sign prepares the step's transaction and writes it down.
func (r *Reconciler) sign(
	ctx context.Context, wallet signer.Signer, position *boursev1.StakePosition, pool stake.Pool, view stake.View, step stake.Step,
) (reconcile.Result, error) {
	journal := position.Spec.Journal
	attempt := int32(1)
	if last := journal.Transaction; last != nil && last.State == boursev1.TransactionFailed &&
		string(last.Purpose) == string(step.Move) && journal.Wanted == position.Spec.Amount {
		attempt = last.Attempt + 1
	}
	if attempt > mostAttempts {
		return reconcile.Result{}, stake.Obstacle(fmt.Sprintf(
			"%s failed %d times, the last time so: %s. Change spec.amount to have it tried again", step.Move, mostAttempts, journal.Transaction.Error))
	}
	instructions, err := step.Instructions(pool, wallet.PublicKey(), view)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := kube.Hold(ctx, r.Hub, position, finalizer); err != nil {
		return reconcile.Result{}, err
	}
	record, err := outbox.Prepare(ctx, r.Chain, wallet, string(step.Move), instructions, attempt)
	if failure, ok := errors.AsType[*chain.Failure](err); ok {
		return reconcile.Result{}, stake.Obstacle(fmt.Sprintf("%s would fail on chain: %s", step.Move, explain(failure)))
	}
	if refusal, ok := errors.AsType[*signer.Refusal](err); ok {
		return reconcile.Result{}, stake.Obstacle(refusal.Detail)
	}
	if err != nil {
		return reconcile.Result{}, err
	}
	if journal.Transaction, err = contract.Journal(record); err != nil {
		return reconcile.Result{}, err
	}
	journal.Wanted, journal.Refusal = position.Spec.Amount, ""
	return reconcile.Result{RequeueAfter: drive}, nil
}

// explain says in words what the program refuses.
func explain(failure *chain.Failure) string {
	for code, words := range map[uint32]string{
		escrow.CodeCap:    "more would be delegated than the market allows for what the pool's owner has at stake",
		escrow.CodeHeld:   "a slash of the pool is pending",
		escrow.CodeTime:   "the chain's clock says that it is too early or too late",
		escrow.CodeMint:   "the market stakes another token",
		escrow.CodeAmount: "there is not so much",
	} {
		if failure.IsCustom(code) {
			return words
		}
	}
	return failure.Error()
}

func clip(text string) string { return text[:min(len(text), refusalText)] }
