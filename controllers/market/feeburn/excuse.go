// SPDX-License-Identifier: Apache-2.0

package feeburn

import (
	"context"
	"errors"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/buyback"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/oracle"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/swap"
)

// What stands in the way of a buy-back besides what other packages name.
var (
	errNoKey = errors.New("the treasury's key is not here")
	errShort = errors.New("the treasury holds less than the fees")
	errTable = errors.New("unusable lookup table")
)

// why is what people read about an error: the reason, one sentence, and whether it passes by itself.
type why struct {
	reason, message string
	passes          bool
}

// excuses are the errors that stand in the way of a buy-back, the first that fits first. Messages say nothing that changes from try to
// try: figures are in the log.
var excuses = []struct { //nolint:gochecknoglobals // a table: it is read, never written
	err error
	why why
}{
	{errNoKey, why{boursev1.ReasonTreasuryKeyMissing, "This operator cannot sign for the market's treasury: start it with --treasury-keypair, or with the treasury's remote signer", false}},
	{errShort, why{boursev1.ReasonTreasuryShort, "The treasury's token account holds less than the epoch's fees: give back what was taken from it", false}},
	{errTable, why{boursev1.ReasonRouteRefused, "The swap API's route needs a lookup table that the chain does not have, or is closing", true}},
	{buyback.ErrNotFound, why{boursev1.ReasonBuyingBack, "The epoch's receipt is on chain; its transaction is not final yet, or the node has forgotten it", true}},
	{oracle.Stale, why{boursev1.ReasonPriceStale, "The oracle's price is older than spec.buyBack.oracle.maxAgeSeconds, or from the future", true}},
	{oracle.Uncertain, why{boursev1.ReasonPriceUncertain, "The oracle's publishers disagree by more than spec.buyBack.oracle.maxConfidenceBps", true}},
	{oracle.Unverified, why{boursev1.ReasonPriceUncertain, "The oracle's price is not fully verified", true}},
	{oracle.NoPrice, why{boursev1.ReasonPriceUncertain, "The oracle's account holds no usable price", true}},
	{oracle.Absent, why{boursev1.ReasonOracleMissing, "There is no account at spec.buyBack.oracle.account", false}},
	{oracle.WrongOwner, why{boursev1.ReasonOracleMissing, "The account at spec.buyBack.oracle.account is not of the program in spec.buyBack.oracle.programID", false}},
	{oracle.WrongShape, why{boursev1.ReasonOracleMissing, "The account at spec.buyBack.oracle.account is no price update", false}},
	{oracle.WrongFeed, why{boursev1.ReasonOracleMissing, "The account at spec.buyBack.oracle.account is of another feed than spec.buyBack.oracle.feedID", false}},
	{oracle.ErrNoBound, why{boursev1.ReasonPriceOutsideBound, "What the fees are worth at the oracle's price cannot be counted in the bought token", false}},
	{swap.Unavailable, why{boursev1.ReasonSwapUnavailable, "The swap API at spec.buyBack.endpoint does not answer, or asks to wait", true}},
	{swap.Unauthorized, why{boursev1.ReasonSwapUnavailable, "The swap API refuses the API key: check --swap-api-key-file", false}},
	{swap.NoRoute, why{boursev1.ReasonSwapUnavailable, "The swap API at spec.buyBack.endpoint has no route for the swap", true}},
	{swap.Garbage, why{boursev1.ReasonRouteRefused, "What is at spec.buyBack.endpoint does not answer as the swap API does", false}},
	{swap.OutsideBound, why{boursev1.ReasonPriceOutsideBound, "The swap API's route yields too little, or suspiciously much, at the oracle's price", true}},
	{swap.Tip, why{boursev1.ReasonRouteRefused, "The swap API's route pays a tip", false}},
	{swap.WrongAmount, why{boursev1.ReasonRouteRefused, "The swap API's route takes another amount than was asked", false}},
	{swap.ForeignProgram, why{boursev1.ReasonRouteRefused, "The swap API's route calls a program that is not in spec.buyBack.programs, or may never be", false}},
	{swap.ForeignSigner, why{boursev1.ReasonRouteRefused, "The swap API's route needs the signature of somebody else", false}},
	{swap.ForeignAccount, why{boursev1.ReasonRouteRefused, "The swap API's route would write another token account of the treasury", false}},
	{swap.Detour, why{boursev1.ReasonRouteRefused, "The swap API's route does not lead from the treasury's fees to the account that is burned from", false}},
	{buyback.ErrYield, why{boursev1.ReasonPriceOutsideBound, "Simulated, the swap yields less, or suspiciously more, than the oracle's price says", true}},
	{buyback.ErrTakes, why{boursev1.ReasonRouteRefused, "Simulated, the swap takes another amount of the fees than was asked", true}},
	{buyback.ErrBurns, why{boursev1.ReasonRouteRefused, "Simulated, the transaction burns another amount than planned", true}},
	{buyback.ErrCosts, why{boursev1.ReasonRouteRefused, "Simulated, the swap costs the treasury more lamports than it may", false}},
	{chain.ErrTooBig, why{boursev1.ReasonRouteRefused, "The swap API's route does not fit into one transaction with the burn", true}},
}

// excuse says in the condition why no buy-back was signed, and when it is tried again. An error that only says that nothing was learned
// stays an error.
func (r *Reconciler) excuse(ctx context.Context, burn *boursev1.FeeBurn, err error) (reconcile.Result, error) {
	found, ok := explain(err)
	if !ok {
		return reconcile.Result{}, err
	}
	ctrl.LoggerFrom(ctx).Info("Did not buy back", "reason", found.reason, "cause", err.Error())
	if found.passes {
		kube.Waiting(burn, boursev1.Succeeded, found.reason, found.message)
	} else {
		kube.Failed(burn, boursev1.Succeeded, found.reason, found.message)
	}
	return reconcile.Result{RequeueAfter: retry}, nil
}

func explain(err error) (why, bool) {
	for _, excuse := range excuses {
		if errors.Is(err, excuse.err) {
			return excuse.why, true
		}
	}
	if failure, ok := errors.AsType[*chain.Failure](err); ok {
		return why{boursev1.ReasonRouteRefused, "Simulated, the transaction fails on chain: " + failure.Error(), true}, true
	}
	if refusal, ok := errors.AsType[*signer.Refusal](err); ok {
		return why{string(refusal.Reason), refusal.Detail, false}, true
	}
	if refusal, ok := errors.AsType[*escrow.Refusal](err); ok {
		return why{boursev1.ReasonTreasuryRefused, refusal.Detail, false}, true
	}
	return why{}, false
}
