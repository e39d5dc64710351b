// SPDX-License-Identifier: Apache-2.0

package market

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
)

// wrong is what disagrees with the chain: the reason of the condition, and the sentence for people.
type wrong struct {
	reason  string
	message string
}

// Error returns the sentence.
func (w *wrong) Error() string { return w.message }

// verify says whether the market's rules agree with the finalized chain. A chain that cannot be asked changes nothing that is
// known of the same rules.
func (r *Reconciler) verify(ctx context.Context, market *boursev1.Market) (reconcile.Result, error) {
	err := r.check(ctx, market)
	if err == nil {
		kube.True(market, boursev1.Ready, boursev1.ReasonVerified, "The program, its configuration and every mint are on chain as the market says")
		return reconcile.Result{RequeueAfter: r.again(market)}, nil
	}
	if found, ok := errors.AsType[*wrong](err); ok {
		kube.Failed(market, boursev1.Ready, found.reason, found.message)
		return reconcile.Result{RequeueAfter: retryEvery}, nil
	}
	ctrl.LoggerFrom(ctx).Error(err, "Could not ask the chain about the market")
	known := meta.FindStatusCondition(market.Status.Conditions, boursev1.Ready)
	if known == nil || known.ObservedGeneration != market.Generation {
		kube.Waiting(market, boursev1.Ready, boursev1.ReasonChainUnreachable, "The chain could not be asked")
	}
	return reconcile.Result{RequeueAfter: retryEvery}, nil
}

// again is when to look at a market that is ready: at the chain in a while, and at what is for sale when the index moves.
func (r *Reconciler) again(market *boursev1.Market) time.Duration {
	if market.Spec.PriceIndex == nil {
		return verifyEvery
	}
	return min(verifyEvery, r.nextRound())
}

// check returns what is wrong as *wrong; any other error means that the chain could not be asked.
func (r *Reconciler) check(ctx context.Context, market *boursev1.Market) error {
	genesis, err := r.Chain.GenesisHash(ctx)
	if err != nil {
		return err
	}
	if genesis.String() != string(market.Spec.GenesisHash) {
		return &wrong{boursev1.ReasonWrongChain, fmt.Sprintf("The chain's genesis hash is %s", genesis)}
	}
	if _, err := chain.ParseAddress(string(market.Spec.Treasury)); err != nil {
		return &wrong{boursev1.ReasonTreasuryInvalid, "The treasury is not a Solana address"}
	}
	program, err := chain.ParseAddress(string(market.Spec.ProgramID))
	if err != nil {
		return &wrong{boursev1.ReasonNoProgram, "The programID is not a Solana address"}
	}
	account, err := r.Chain.Account(ctx, program, chain.Finalized)
	if err != nil {
		return err
	}
	if !account.Exists || !account.Executable {
		return &wrong{boursev1.ReasonNoProgram, "No executable program stands at the programID"}
	}
	if err := r.checkConfig(ctx, program, market); err != nil {
		return err
	}
	for i := range market.Spec.Tokens {
		if err := r.checkMint(ctx, &market.Spec.Tokens[i]); err != nil {
			return err
		}
	}
	return nil
}

// checkConfig compares the market's rules with what its authority bound it to on chain.
func (r *Reconciler) checkConfig(ctx context.Context, program chain.Address, market *boursev1.Market) error {
	authority, err := chain.ParseAddress(string(market.Spec.Authority))
	if err != nil {
		return &wrong{boursev1.ReasonNoConfig, "spec.authority is not a Solana address"}
	}
	address, _, err := escrow.ConfigAddress(program, authority)
	if err != nil {
		return &wrong{boursev1.ReasonNoConfig, fmt.Sprintf("No configuration follows from spec.authority: %v", err)}
	}
	account, err := r.Chain.Account(ctx, address, chain.Finalized)
	if err != nil {
		return err
	}
	facts, err := escrow.VerifyConfig(program, authority, account)
	if refusal, ok := errors.AsType[*escrow.Refusal](err); ok {
		return &wrong{boursev1.ReasonNoConfig, fmt.Sprintf(
			"spec.authority has no usable configuration on chain (%s): make one with that wallet, or name the wallet that has one", refusal.Detail)}
	}
	if err != nil {
		return err
	}
	if differs := disagreement(&market.Spec, &facts.Current); differs != "" {
		return &wrong{boursev1.ReasonConfigDisagrees, differs}
	}
	return nil
}

// disagreement names the first field of the spec that the configuration does not allow, and what would be allowed.
func disagreement(spec *boursev1.MarketSpec, bound *escrow.ConfigTerms) string {
	if string(spec.Treasury) != bound.Treasury.String() {
		return fmt.Sprintf("spec.treasury is not the treasury of the configuration on chain: set %s there, or have the configuration changed", bound.Treasury)
	}
	if most := int32(bound.MaxSupplierFeeBps); number(spec.Fees.SupplierBps) > most {
		return exceeds("spec.fees.supplierBps", "", most)
	}
	for i := range spec.Tokens {
		token := &spec.Tokens[i]
		if most := int32(bound.MaxBuyerFeeBps); number(spec.Fees.BuyerBps)+number(token.FacilitationBps) > most {
			return exceeds("spec.fees.buyerBps", fmt.Sprintf(" and facilitationBps of %s together", token.Symbol), most)
		}
	}
	judged := spec.Arbitration
	switch {
	case judged == nil:
		return ""
	case string(judged.Arbiter) != bound.Arbiter.String():
		return fmt.Sprintf("spec.arbitration.arbiter is not the arbiter of the configuration on chain: set %s there, or have the configuration changed",
			bound.Arbiter)
	case judged.CapBps > int32(bound.MaxArbiterCapBps):
		return exceeds("spec.arbitration.capBps", "", int32(bound.MaxArbiterCapBps))
	case time.Duration(judged.DelaySeconds)*time.Second < bound.MinDisputeDelay:
		return fmt.Sprintf("spec.arbitration.delaySeconds is below what the configuration on chain allows: set %d or more, or have the configuration changed",
			int64(bound.MinDisputeDelay/time.Second))
	}
	return ""
}

func exceeds(field, more string, most int32) string {
	return fmt.Sprintf("%s%s exceed what the configuration on chain allows: set %d or less, or have the configuration changed", field, more, most)
}

func number(of *int32) int32 {
	if of == nil {
		return 0
	}
	return *of
}

func (r *Reconciler) checkMint(ctx context.Context, token *boursev1.MarketToken) error {
	mint, err := chain.ParseAddress(string(token.Mint))
	if err != nil || token.Decimals == nil {
		return &wrong{boursev1.ReasonMintRefused, fmt.Sprintf("The mint of %s is not a Solana address", token.Symbol)}
	}
	account, err := r.Chain.Account(ctx, mint, chain.Finalized)
	if err != nil {
		return err
	}
	policy := escrow.MintPolicy{AcceptFreeze: token.FreezeAuthority == boursev1.FreezeAccept}
	err = escrow.VerifyMint(account, uint8(*token.Decimals), policy) //nolint:gosec // at most 12
	if refusal, ok := errors.AsType[*escrow.Refusal](err); ok {
		return &wrong{boursev1.ReasonMintRefused, fmt.Sprintf("%s is refused: %s", token.Symbol, refusal.Detail)}
	}
	return err
}
