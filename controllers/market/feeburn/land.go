// SPDX-License-Identifier: Apache-2.0

package feeburn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/buyback"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
)

const (
	// drive is how often a transaction that may be on its way is looked after.
	drive = time.Second
	// retry is how often a buy-back is tried that could not be signed, or failed once; after more failures it waits that many times as
	// long, but no longer than rest.
	retry = time.Minute
	rest  = time.Hour
	// errorText is as much of an error as a transaction's record holds.
	errorText = 256
)

// land sends a journalled buy-back until the chain has decided about it, and then says what it did. It needs no market and no key.
func (r *Reconciler) land(ctx context.Context, burn *boursev1.FeeBurn) (reconcile.Result, error) {
	back := burn.Status.BuyBack
	if back == nil || back.Transaction.State != boursev1.TransactionSigned {
		return reconcile.Result{}, nil
	}
	record, err := contract.Journalled(&back.Transaction)
	if err != nil {
		return reconcile.Result{}, err
	}
	outcome, err := outbox.Drive(ctx, r.Chain, record)
	if err != nil {
		return reconcile.Result{}, err
	}
	switch outcome.State {
	case outbox.Landed:
		return r.landed(ctx, burn)
	case outbox.Failed:
		return failed(burn, outcome.Failure.Error())
	case outbox.Expired:
		return failed(burn, "It expired before it landed")
	case outbox.Forgotten: // whether it landed, the epoch's receipt tells
		result, err := r.landed(ctx, burn)
		if errors.Is(err, buyback.ErrNotFound) {
			return failed(burn, "It did not land in time")
		}
		return result, err
	case outbox.Pending: // the same bytes again, next time
	}
	return reconcile.Result{RequeueAfter: drive}, nil
}

// landed reads from the chain what the epoch's transaction did.
func (r *Reconciler) landed(ctx context.Context, burn *boursev1.FeeBurn) (reconcile.Result, error) {
	rule, err := r.rule(ctx, burn)
	if err != nil {
		return reconcile.Result{}, err
	}
	terms, err := rule.terms(burn)
	if err != nil {
		return reconcile.Result{}, err
	}
	done, err := terms.Find(ctx, r.Chain)
	if err != nil {
		return reconcile.Result{}, err
	}
	return reconcile.Result{}, rule.finish(burn, done)
}

// finish notes what the chain says of the epoch's transaction, whoever signed it.
func (r rule) finish(burn *boursev1.FeeBurn, done buyback.Done) error {
	back := burn.Status.BuyBack
	if back == nil {
		back = &boursev1.FeeBurnBuyBack{Token: r.market.Spec.BuyBack.Token, Mint: r.ours().Mint, Transaction: boursev1.Transaction{Attempt: 1}}
	}
	for _, amount := range []money.Amount{done.Spent, done.Burned, money.Amount(done.Slot)} {
		if amount > math.MaxInt64 {
			return fmt.Errorf("store buy-back of %s: %w", burn.Name, money.ErrOverflow)
		}
	}
	spent, burned, slot := int64(done.Spent), int64(done.Burned), int64(done.Slot) //nolint:gosec // checked above
	back.Spent, back.Burned = &spent, &burned
	tx := &back.Transaction
	if back.Spend == nil || tx.Signature != boursev1.SolanaSignature(done.Signature.String()) {
		back.Spend, back.Burn, tx.LastValidBlockHeight, tx.Slot = &spent, &burned, &slot, &slot
	}
	tx.Purpose, tx.State, tx.Raw, tx.Error = boursev1.TransactionBuyBack, boursev1.TransactionLanded, "", ""
	tx.Signature = boursev1.SolanaSignature(done.Signature.String())
	burn.Status.BuyBack = back
	burn.Status.Amount = format(r.bought(back), done.Burned)
	final(burn)
	return nil
}

// final says that the epoch is over: its fees were bought back.
func final(burn *boursev1.FeeBurn) {
	message := "The epoch is over; its fees were bought back and burned"
	if units(burn.Status.Fees) > units(burn.Status.BuyBack.Spent) {
		message = "The epoch is over; its fees were bought back and burned as far as spec.buyBack.maxPerEpochUSD and the time of the claims allowed"
	}
	kube.True(burn, boursev1.Succeeded, boursev1.ReasonBurned, message)
}

// failed notes that the signed transaction did nothing and never can. Another one follows, the later the more often that happened.
func failed(burn *boursev1.FeeBurn, problem string) (reconcile.Result, error) {
	tx := &burn.Status.BuyBack.Transaction
	tx.State, tx.Raw, tx.Error = boursev1.TransactionFailed, "", problem[:min(len(problem), errorText)]
	kube.Waiting(burn, boursev1.Succeeded, boursev1.ReasonBuyBackFailed, "The chain refused the signed buy-back, which spent nothing but its fee; another one follows")
	return reconcile.Result{RequeueAfter: min(time.Duration(tx.Attempt)*retry, rest)}, nil
}

// ours is the market's own token, or nil.
func (r rule) ours() *boursev1.MarketToken {
	for i := range r.market.Spec.Tokens {
		if token := &r.market.Spec.Tokens[i]; token.Symbol == r.market.Spec.BuyBack.Token && token.Decimals != nil {
			return token
		}
	}
	return nil
}

// terms are the epoch's buy-back as the chain knows it. A journalled one keeps its own mint, whatever the market buys now.
func (r rule) terms(burn *boursev1.FeeBurn) (buyback.Terms, error) {
	if r.market == nil || r.market.Spec.BuyBack == nil && burn.Status.BuyBack == nil {
		return buyback.Terms{}, fmt.Errorf("read buy-back of %s: %w", burn.Name, errNoMarket)
	}
	var mint boursev1.SolanaAddress
	var token *money.Token
	if back := burn.Status.BuyBack; back != nil {
		mint, token = back.Mint, r.bought(back)
	} else if ours := r.ours(); ours != nil {
		mint, token = ours.Mint, tokenOf(ours.Symbol, ours)
	}
	if token == nil {
		return buyback.Terms{}, fmt.Errorf("read buy-back of %s: %w", burn.Name, errNoMarket)
	}
	terms := buyback.Terms{Decimals: token.Decimals, Epoch: burn.Name}
	for _, address := range []struct {
		into *chain.Address
		text boursev1.SolanaAddress
	}{{&terms.Treasury, r.market.Spec.Treasury}, {&terms.Paid, burn.Spec.Mint}, {&terms.Burned, mint}} {
		var err error
		if *address.into, err = chain.ParseAddress(string(address.text)); err != nil {
			return buyback.Terms{}, fmt.Errorf("read buy-back of %s: %w", burn.Name, err)
		}
	}
	return terms, nil
}

var errNoMarket = errors.New("no market lists the tokens")
