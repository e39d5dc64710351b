// SPDX-License-Identifier: Apache-2.0

package gpuoffer

import (
	"context"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// longest is for how long an offer may stand without its supplier. Suppliers ask for a third of it, so that their clocks may differ.
const longest = 15 * time.Minute

// kept is how long an offer is kept after it has expired: longer than a supplier is away that comes back, and makes its offers anew.
const kept = 24 * time.Hour

// validate says whether the offer counts now. Each renewal is a generation of its own, and nearly all of what is written to a hub: so that the
// market need not answer every one with a write that says the same again, what it says names no generation.
func (r *Reconciler) validate(ctx context.Context, offer *boursev1.GPUOffer) (reconcile.Result, error) {
	result, err := r.judge(ctx, offer)
	if ready := meta.FindStatusCondition(offer.Status.Conditions, boursev1.Ready); ready != nil {
		ready.ObservedGeneration = 0
	}
	return result, err
}

// judge finds out whether the offer counts now, and comes back when it expires. One that expired long ago is removed.
func (r *Reconciler) judge(ctx context.Context, offer *boursev1.GPUOffer) (reconcile.Result, error) {
	left := offer.Spec.ValidUntil.Sub(r.Now())
	if left <= 0 {
		if left > -kept {
			kube.Failed(offer, boursev1.Ready, boursev1.ReasonExpired, "The supplier did not renew the offer in time")
			return reconcile.Result{RequeueAfter: left + kept}, nil
		}
		err := r.Hub.Delete(ctx, offer, client.Preconditions{ResourceVersion: &offer.ResourceVersion}) // it may be renewed this moment
		if client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return reconcile.Result{}, fmt.Errorf("delete offer: %w", err)
		}
		return reconcile.Result{}, nil
	}
	if left > longest {
		kube.Failed(offer, boursev1.Ready, boursev1.ReasonTooFarAhead,
			"spec.validUntil is more than 15 minutes ahead: check the supplier's clock, and renew the offer more often")
		return reconcile.Result{RequeueAfter: left - longest}, nil
	}
	admitted, err := r.admitted(ctx, offer.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	var markets boursev1.MarketList
	if err := r.Hub.List(ctx, &markets); err != nil {
		return reconcile.Result{}, fmt.Errorf("list markets: %w", err)
	}
	switch {
	case !admitted:
		kube.Failed(offer, boursev1.Ready, boursev1.ReasonMemberNotReady, "The offer's namespace has no admitted Member")
	case !anyReady(markets.Items):
		kube.Waiting(offer, boursev1.Ready, boursev1.ReasonNoMarket, "The hub has no Market that is ready")
	case !takesAny(markets.Items, offer.Spec.Tokens):
		kube.Failed(offer, boursev1.Ready, boursev1.ReasonUnknownToken, "The market takes none of the offer's tokens")
	default:
		kube.True(offer, boursev1.Ready, boursev1.ReasonValid, "Jobs are matched to the offer")
	}
	return reconcile.Result{RequeueAfter: left}, nil
}

func (r *Reconciler) admitted(ctx context.Context, namespace string) (bool, error) {
	var member boursev1.Member
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: namespace, Name: boursev1.MemberName}, &member)
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("get member: %w", err)
	}
	return kube.IsTrue(&member, boursev1.Ready), nil
}

func anyReady(markets []boursev1.Market) bool {
	for i := range markets {
		if kube.IsTrue(&markets[i], boursev1.Ready) {
			return true
		}
	}
	return false
}

func takesAny(markets []boursev1.Market, tokens []boursev1.TokenSymbol) bool {
	for i := range markets {
		if !kube.IsTrue(&markets[i], boursev1.Ready) {
			continue
		}
		for _, token := range markets[i].Spec.Tokens {
			if slices.Contains(tokens, token.Symbol) {
				return true
			}
		}
	}
	return false
}
