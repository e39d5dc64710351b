// SPDX-License-Identifier: Apache-2.0

package feeburn

import (
	"context"
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
	"github.com/bourse-dev/bourse/internal/oracle"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/swap"
)

// purchase is one attempt to buy an epoch's fees back.
type purchase struct {
	rule
	terms   buyback.Terms
	at      buyback.Places
	held    buyback.Holdings
	spend   oracle.Sale
	cap     money.Amount
	bought  money.Token
	bound   oracle.Bound
	route   swap.Route
	tables  []chain.LookupTable
	plan    buyback.Plan
	attempt int32
}

// buyBack signs the epoch's buy-back and writes it down; a later pass sends it. What may not be signed now is said in the condition.
func (r *Reconciler) buyBack(ctx context.Context, burn *boursev1.FeeBurn) (reconcile.Result, error) {
	back := burn.Status.BuyBack
	if units(burn.Status.Fees) == 0 || back != nil && back.Transaction.State != boursev1.TransactionFailed {
		return reconcile.Result{}, nil
	}
	rule, err := r.rule(ctx, burn)
	if err != nil {
		return reconcile.Result{}, err
	}
	if rule.off(burn) {
		return reconcile.Result{}, nil
	}
	p := purchase{rule: rule, attempt: 1}
	if back != nil {
		p.attempt = back.Transaction.Attempt + 1
	}
	if enough, err := p.size(burn); err != nil || !enough {
		return reconcile.Result{}, err
	}
	if err := r.prepare(ctx, burn, &p); err != nil {
		return r.excuse(ctx, burn, err)
	}
	if burn.Status.BuyBack != nil && burn.Status.BuyBack.Transaction.State == boursev1.TransactionLanded {
		return reconcile.Result{}, nil // the chain had it already
	}
	return reconcile.Result{RequeueAfter: drive}, nil
}

// off says why the market does not buy back at all, if so.
func (r rule) off(burn *boursev1.FeeBurn) bool {
	switch {
	case r.twice:
		kube.Failed(burn, boursev1.Succeeded, boursev1.ReasonTwoMarkets,
			"Two markets list the token and have spec.buyBack: let only one of them buy it back")
	case r.market == nil || r.market.Spec.BuyBack == nil:
		kube.Waiting(burn, boursev1.Succeeded, boursev1.ReasonBuyBackOff,
			"The fees stay in the treasury until the market's spec.buyBack says how they are bought back")
	case r.market.Spec.BuyBack.State == boursev1.BuyBackPaused:
		kube.Waiting(burn, boursev1.Succeeded, boursev1.ReasonBuyBackPaused,
			"The market's buy-backs are paused: set spec.buyBack.state to Active to go on")
	default:
		return false
	}
	return true
}

// size decides how much is spent: the epoch's fees, up to the cap. Less than the market's minimum is nothing to burn.
func (p *purchase) size(burn *boursev1.FeeBurn) (enough bool, err error) {
	rules := p.market.Spec.BuyBack
	if p.terms, err = p.rule.terms(burn); err != nil {
		return false, err
	}
	if p.at, err = p.terms.Places(); err != nil {
		return false, err
	}
	ours := p.ours()
	p.bought = *tokenOf(ours.Symbol, ours)
	p.spend.Token = *tokenOf(p.token.Symbol, p.token)
	if p.spend.Price, err = money.ParseUSD(string(p.token.PriceUSD)); err != nil {
		return false, err
	}
	var least money.Amount
	for _, limit := range []struct {
		into *money.Amount
		text boursev1.USDPrice
	}{{&p.cap, rules.MaxPerEpochUSD}, {&least, rules.MinPerEpochUSD}} {
		usd, err := money.ParseUSD(string(limit.text))
		if err != nil {
			return false, err
		}
		if *limit.into, err = money.WorthInToken(usd, p.spend.Price, p.spend.Token); err != nil {
			return false, err
		}
	}
	p.spend.Amount = min(units(burn.Status.Fees), p.cap)
	if p.spend.Amount == 0 || p.spend.Amount < least {
		kube.True(burn, boursev1.Succeeded, boursev1.ReasonNothingToBurn,
			"The epoch is over; its fees are less than spec.buyBack.minPerEpochUSD and stay in the treasury")
		return false, nil
	}
	return true, nil
}

// prepare takes the attempt from the treasury's balance to a signed transaction in the status. Its errors say what stands in the way.
func (r *Reconciler) prepare(ctx context.Context, burn *boursev1.FeeBurn, p *purchase) error {
	if r.Treasury == nil || r.Treasury.PublicKey() != p.terms.Treasury {
		return errNoKey
	}
	if err := r.look(ctx, p); err != nil {
		return err
	}
	if p.held.Done { // its record was lost: what it did is on the chain
		done, err := p.terms.Find(ctx, r.Chain)
		if err != nil {
			return err
		}
		return p.finish(burn, done)
	}
	if p.held.Paid < p.spend.Amount {
		return errShort
	}
	if err := r.quote(ctx, p); err != nil {
		return err
	}
	var err error
	if p.plan, err = p.terms.Plan(p.route, p.bound, p.held); err != nil {
		return err
	}
	record, err := outbox.PrepareDraft(ctx, r.Chain, r.Treasury, outbox.Draft{
		Purpose: string(boursev1.TransactionBuyBack), Instructions: p.plan.Instructions, Tables: p.tables, Attempt: p.attempt,
		Try: func(ctx context.Context, unsigned []byte) (chain.Simulation, error) { return r.try(ctx, p, unsigned) },
	})
	if err != nil {
		return err
	}
	return p.journal(burn, record)
}

// look reads what the treasury holds, as it is finalized, and what the oracle says now.
func (r *Reconciler) look(ctx context.Context, p *purchase) error {
	feed, account, err := feedOf(&p.market.Spec.BuyBack.Oracle)
	if err != nil {
		return err
	}
	watched, err := p.terms.Watched()
	if err != nil {
		return err
	}
	accounts, err := r.Chain.Accounts(ctx, chain.Finalized, watched...)
	if err != nil {
		return fmt.Errorf("read treasury: %w", err)
	}
	if p.held, err = p.terms.ReadHoldings(accounts); err != nil || p.held.Done {
		return err
	}
	said, err := r.Chain.Accounts(ctx, chain.Confirmed, account)
	if err != nil {
		return fmt.Errorf("read oracle: %w", err)
	}
	if len(said) != 1 {
		return fmt.Errorf("read oracle: %d accounts instead of one", len(said))
	}
	price, err := feed.Read(said[0], r.Now())
	if err != nil {
		return err
	}
	p.bound, err = price.Bound(p.spend, p.bought, uint16(p.market.Spec.BuyBack.MaxSlippageBps)) //nolint:gosec // the API bounds it
	return err
}

// quote asks for a route and judges it before anything is tried.
func (r *Reconciler) quote(ctx context.Context, p *purchase) error {
	buy := p.market.Spec.BuyBack
	rules := swap.Rules{
		Request: swap.Request{
			Taker: p.terms.Treasury, Pay: p.terms.Paid, Get: p.terms.Burned, From: p.at.From, Into: p.at.Into, Amount: p.spend.Amount,
			SlippageBps: uint16(buy.MaxSlippageBps / 2), //nolint:gosec // the API bounds it; half is left for the route's own price
		},
		Cap: p.cap, Bound: p.bound,
	}
	for _, text := range buy.Programs {
		program, err := chain.ParseAddress(string(text))
		if err != nil {
			return fmt.Errorf("read spec.buyBack.programs: %w", err)
		}
		rules.Programs = append(rules.Programs, program)
	}
	var err error
	if p.route, err = r.Swaps(buy.Endpoint).Build(ctx, rules.Request); err != nil {
		return err
	}
	if err := rules.Check(p.route); err != nil {
		return err
	}
	writes := rules.Writes(p.route)
	accounts, err := r.Chain.Accounts(ctx, chain.Finalized, append(writes, p.route.Tables...)...)
	if err != nil {
		return fmt.Errorf("read accounts of the route: %w", err)
	}
	if err := rules.CheckWrites(accounts[:len(writes)]); err != nil {
		return err
	}
	for _, account := range accounts[len(writes):] {
		table, err := chain.ReadLookupTable(account)
		if err != nil {
			return fmt.Errorf("%w: %w", errTable, err)
		}
		p.tables = append(p.tables, table)
	}
	p.tables, err = p.terms.Spell(p.tables)
	return err
}

// try simulates the transaction and compares what it would move with the plan.
func (r *Reconciler) try(ctx context.Context, p *purchase, unsigned []byte) (chain.Simulation, error) {
	watched, err := p.terms.Watched()
	if err != nil {
		return chain.Simulation{}, err
	}
	simulation, accounts, err := r.Chain.SimulateAccounts(ctx, unsigned, watched...)
	if err != nil || simulation.Failure != nil {
		return simulation, err
	}
	after, err := p.terms.ReadHoldings(accounts)
	if err != nil {
		return chain.Simulation{}, err
	}
	return simulation, p.plan.Check(p.held, after)
}

// journal writes the signed transaction down. It is sent only by a pass that reads it back.
func (p *purchase) journal(burn *boursev1.FeeBurn, record outbox.Record) error {
	tx, err := contract.Journal(record)
	if err != nil {
		return err
	}
	if p.plan.Spend > math.MaxInt64 || p.plan.Burn > math.MaxInt64 {
		return fmt.Errorf("store buy-back: %w", money.ErrOverflow)
	}
	ours := p.ours()
	burn.Status.BuyBack = &boursev1.FeeBurnBuyBack{
		Token: ours.Symbol, Mint: ours.Mint, Spend: new(int64(p.plan.Spend)), Burn: new(int64(p.plan.Burn)), Transaction: *tx,
	}
	kube.Waiting(burn, boursev1.Succeeded, boursev1.ReasonBuyingBack, "The buy-back is signed; its transaction is not final yet")
	return nil
}

// feedOf reads where the price is, and how good it must be.
func feedOf(from *boursev1.MarketOracle) (oracle.Feed, chain.Address, error) {
	account, err := chain.ParseAddress(string(from.Account))
	if err != nil {
		return oracle.Feed{}, chain.Address{}, fmt.Errorf("read spec.buyBack.oracle.account: %w", err)
	}
	program, err := chain.ParseAddress(string(from.ProgramID))
	if err != nil {
		return oracle.Feed{}, chain.Address{}, fmt.Errorf("read spec.buyBack.oracle.programID: %w", err)
	}
	id, err := oracle.ParseFeedID(from.FeedID)
	if err != nil {
		return oracle.Feed{}, chain.Address{}, fmt.Errorf("read spec.buyBack.oracle.feedID: %w", err)
	}
	return oracle.Feed{
		Program: program, ID: id, MaxAge: time.Duration(from.MaxAgeSeconds) * time.Second,
		MaxConfidenceBps: uint16(from.MaxConfidenceBps), //nolint:gosec // the API bounds it
	}, account, nil
}
