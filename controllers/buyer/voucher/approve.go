// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
)

const (
	// startAllowance is how much longer than term and grace an escrow may stay open.
	startAllowance = 15 * time.Minute
	msPerSecond    = 1000
)

// refusal says why the buyer does not pay. It is a decision, not a fault.
type refusal string

// Error returns why.
func (r refusal) Error() string { return string(r) }

// refusedPrefix is how every refusal begins.
const refusedPrefix = "Refused: "

func refuse(format string, values ...any) error {
	const most = 512
	text := refusedPrefix + fmt.Sprintf(format, values...)
	return refusal(text[:min(len(text), most)])
}

// approve returns a refusal unless the lease is what the job asked for, or a part of it, under the rules of a market on this chain, at a
// price and a deposit that the bid allows. It recomputes every amount and address and believes none.
func (r *Reconciler) approve(ctx context.Context, lease *boursev1.GPULease, job *boursev1.ComputeJob) error {
	market, err := r.market(ctx, lease)
	if err != nil {
		return err
	}
	token := tokenOf(market, lease.Spec.Payment.Token)
	if token == nil {
		return refuse("the market does not take %s", lease.Spec.Payment.Token)
	}
	if err := approveWork(lease, job); err != nil {
		return err
	}
	if err := approveRules(lease, market, token); err != nil {
		return err
	}
	if err := r.approveEscrow(lease, market); err != nil {
		return err
	}
	if err := approveAmounts(lease, job, token); err != nil {
		return err
	}
	return r.approveConfig(ctx, lease, market)
}

// market returns the lease's market, if it settles on the chain that the wallet signs for.
func (r *Reconciler) market(ctx context.Context, lease *boursev1.GPULease) (*boursev1.Market, error) {
	var market boursev1.Market
	err := r.Hub.Get(ctx, types.NamespacedName{Name: lease.Spec.Payment.Market}, &market)
	if apierrors.IsNotFound(err) {
		return nil, refuse("there is no market %s", lease.Spec.Payment.Market)
	}
	if err != nil {
		return nil, fmt.Errorf("get market: %w", err)
	}
	genesis, err := r.Chain.GenesisHash(ctx)
	if err != nil {
		return nil, err
	}
	if genesis.String() != string(market.Spec.GenesisHash) {
		return nil, refuse("the market settles on another chain")
	}
	return &market, nil
}

// job returns the very job that the lease serves, as long as somebody wants it.
func (r *Reconciler) job(ctx context.Context, lease *boursev1.GPULease) (*boursev1.ComputeJob, error) {
	var job boursev1.ComputeJob
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: lease.Spec.Job.Namespace, Name: lease.Spec.Job.Name}, &job)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get job: %w", err)
	}
	if err != nil || string(job.UID) != lease.Spec.Job.UID || !job.DeletionTimestamp.IsZero() {
		return nil, refuse("the job is gone")
	}
	return &job, nil
}

func tokenOf(market *boursev1.Market, symbol boursev1.TokenSymbol) *boursev1.MarketToken {
	for i := range market.Spec.Tokens {
		if market.Spec.Tokens[i].Symbol == symbol {
			return &market.Spec.Tokens[i]
		}
	}
	return nil
}

// approveWork compares what the lease runs with what the job asked for.
func approveWork(lease *boursev1.GPULease, job *boursev1.ComputeJob) error {
	spec, want := &lease.Spec, &job.Spec
	workers := want.GPUs.Workers
	if spec.Part != nil { // which are compared together
		workers = spec.Workers
	}
	switch {
	case !slices.Contains(want.GPUs.Models, spec.Model):
		return refuse("the job does not accept the model %s", spec.Model)
	case spec.Workers != workers || spec.PerWorker != want.GPUs.PerWorker:
		return refuse("the job asks for %d workers of %d GPUs", want.GPUs.Workers, want.GPUs.PerWorker)
	case spec.Terms.DurationSeconds != want.DurationSeconds:
		return refuse("the job asks for %d seconds", want.DurationSeconds)
	case spec.Terms.Tier != want.Placement.Tier:
		return refuse("the job asks for the tier %s", want.Placement.Tier)
	case spec.Terms.Egress != want.Placement.Egress:
		return refuse("the job asks for the egress %s", want.Placement.Egress)
	case strength(spec.Terms.Isolation) < strength(want.Placement.Isolation):
		return refuse("the job asks for the isolation %s", want.Placement.Isolation)
	}
	if differs := contract.Runs(lease, job.Status.ProgramSalt, &want.Ray); differs != "" {
		return refuse("the lease %s", differs)
	}
	return nil
}

// strength orders isolation, weakest first.
func strength(of boursev1.Isolation) int {
	return slices.Index([]boursev1.Isolation{
		boursev1.IsolationContainer, boursev1.IsolationSandbox, boursev1.IsolationVM, boursev1.IsolationConfidential,
	}, of)
}

// approveRules compares what the lease says of the market with the market itself.
func approveRules(lease *boursev1.GPULease, market *boursev1.Market, token *boursev1.MarketToken) error {
	pay := &lease.Spec.Payment
	if differs := contract.Rules(lease, market); differs != "" {
		return refuse("the lease %s", differs)
	}
	switch {
	case pay.Mint != token.Mint || number(pay.Decimals) != number(token.Decimals):
		return refuse("the mint is not the market's %s", token.Symbol)
	case number(pay.BuyerFeeBps) > number(market.Spec.Fees.BuyerBps)+number(token.FacilitationBps):
		return refuse("the buyer's fee is higher than the market's")
	}
	return nil
}

// approveEscrow recomputes the escrow's address and refuses to lock the deposit for longer than the market's grace allows.
func (r *Reconciler) approveEscrow(lease *boursev1.GPULease, market *boursev1.Market) error {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return refuse("%s", err)
	}
	address, err := terms.Address()
	if err != nil {
		return refuse("%s", err)
	}
	if address.String() != string(lease.Spec.Escrow.Address) {
		return refuse("the escrow's address does not follow from the lease")
	}
	longest := startAllowance + time.Duration(lease.Spec.Terms.DurationSeconds+market.Spec.Settlement.GraceSeconds)*time.Second
	if terms.Deadline.After(r.Now().Add(longest)) {
		return refuse("the escrow would be open for longer than the market's grace")
	}
	return nil
}

// approveConfig refuses a lease that the market's configuration on chain does not allow: the market itself is not believed.
func (r *Reconciler) approveConfig(ctx context.Context, lease *boursev1.GPULease, market *boursev1.Market) error {
	terms, err := contract.Escrow(lease)
	if err != nil {
		return refuse("%s", err)
	}
	authority, err := chain.ParseAddress(string(market.Spec.Authority))
	if err != nil {
		return refuse("the market's authority: %s", err)
	}
	accounts, err := r.Chain.Accounts(ctx, chain.Finalized, terms.Config)
	if err != nil {
		return fmt.Errorf("read configuration: %w", err)
	}
	facts, err := escrow.VerifyConfig(terms.Program, authority, accounts[0])
	if err == nil {
		err = facts.Allows(terms)
	}
	if refused, ok := errors.AsType[*escrow.Refusal](err); ok {
		return refuse("the market's configuration on chain: %s", refused.Detail)
	}
	return err
}

// approveAmounts recomputes price and deposit, and compares both with the bid.
func approveAmounts(lease *boursev1.GPULease, job *boursev1.ComputeJob, token *boursev1.MarketToken) error {
	terms, err := contract.Meter(lease)
	if err != nil {
		return refuse("%s", err)
	}
	paidIn, err := contract.Token(&lease.Spec.Payment)
	if err != nil {
		return refuse("%s", err)
	}
	most, budget, err := bid(job, token, paidIn)
	if err != nil {
		return err
	}
	gross, err := money.Gross(terms.Price, uint64(terms.GPUs)*uint64(lease.Spec.Terms.DurationSeconds)*msPerSecond) //nolint:gosec // positive
	if err != nil {
		return refuse("%s", err)
	}
	split, err := terms.Fees.Split(gross)
	if err != nil {
		return refuse("%s", err)
	}
	switch {
	case lease.Spec.Payment.Token != job.Spec.Bid.Token:
		return refuse("the job pays in %s", job.Spec.Bid.Token)
	case terms.Price > most:
		return refuse("a GPU-hour costs %s, and the bid is %s", paidIn.Format(terms.Price), paidIn.Format(most))
	case terms.Deposit != split.Debit:
		return refuse("the deposit is %s, and the term costs %s", paidIn.Format(terms.Deposit), paidIn.Format(split.Debit))
	case terms.Deposit > budget:
		return refuse("the deposit is %s, and the budget is worth %s", paidIn.Format(terms.Deposit), paidIn.Format(budget))
	}
	return nil
}

// bid returns the job's highest price and its budget in the token.
func bid(job *boursev1.ComputeJob, token *boursev1.MarketToken, in money.Token) (most, budget money.Amount, err error) {
	perToken, err := money.ParseUSD(string(token.PriceUSD))
	if err != nil {
		return 0, 0, err
	}
	highest, err := money.ParseUSD(string(job.Spec.Bid.MaxPriceUSD))
	if err != nil {
		return 0, 0, err
	}
	whole, err := money.ParseUSD(string(job.Spec.Bid.BudgetUSD))
	if err != nil {
		return 0, 0, err
	}
	if most, err = money.PriceInToken(highest, perToken, in); err != nil {
		return 0, 0, err
	}
	budget, err = money.WorthInToken(whole, perToken, in)
	return most, budget, err
}

func number(of *int32) int32 {
	if of == nil {
		return 0
	}
	return *of
}
