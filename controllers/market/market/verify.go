// SPDX-License-Identifier: Apache-2.0

package market

import (
	"context"
	"errors"
	"fmt"

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
		kube.True(market, boursev1.Ready, boursev1.ReasonVerified, "The program and every mint are on chain as the market says")
		return reconcile.Result{RequeueAfter: verifyEvery}, nil
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
	for i := range market.Spec.Tokens {
		if err := r.checkMint(ctx, &market.Spec.Tokens[i]); err != nil {
			return err
		}
	}
	return nil
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
