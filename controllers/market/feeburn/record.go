// SPDX-License-Identifier: Apache-2.0

package feeburn

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
)

const (
	epoch = 24 * time.Hour
	// late is how long after an epoch's end its last claims may still become final and be recorded.
	late = time.Hour
)

var errTwoMints = errors.New("settlements of two mints share one token's epoch")

// open makes the FeeBurn of an epoch that has a settlement.
func (r *Reconciler) open(ctx context.Context, key types.NamespacedName) error {
	settlements, err := r.settlements(ctx, key.Name)
	if err != nil || len(settlements) == 0 {
		return err
	}
	first := &settlements[0].Spec
	from := first.Time.UTC().Truncate(epoch)
	err = r.Hub.Create(ctx, &boursev1.FeeBurn{
		ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name},
		Spec: boursev1.FeeBurnSpec{
			Token: first.Token, Mint: first.Mint, From: metav1.NewTime(from), To: metav1.NewTime(from.Add(epoch)),
		},
	})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("create fee burn: %w", err)
	}
	return nil
}

// record sums up the epoch's settlements. The sum follows them for ever; it is called final when no more can come.
func (r *Reconciler) record(ctx context.Context, burn *boursev1.FeeBurn) (reconcile.Result, error) {
	settlements, err := r.settlements(ctx, burn.Name)
	if err != nil {
		return reconcile.Result{}, err
	}
	var sum money.Amount
	for i := range settlements {
		if settlements[i].Spec.Mint != burn.Spec.Mint {
			return reconcile.Result{}, fmt.Errorf("sum %s: %w", burn.Name, errTwoMints)
		}
		if sum, err = sum.Add(money.Amount(max(0, *settlements[i].Spec.Burned))); err != nil {
			return reconcile.Result{}, fmt.Errorf("sum %s: %w", burn.Name, err)
		}
	}
	if sum > math.MaxInt64 || len(settlements) > math.MaxInt32 {
		return reconcile.Result{}, fmt.Errorf("sum %s: %w", burn.Name, money.ErrOverflow)
	}
	text, err := r.format(ctx, burn, sum)
	if err != nil {
		return reconcile.Result{}, err
	}
	burn.Status.Claims = new(int32(len(settlements))) //nolint:gosec // checked above
	burn.Status.Burned = new(int64(sum))
	burn.Status.Amount = text
	if left := burn.Spec.To.Add(late).Sub(r.Now()); left > 0 {
		kube.Waiting(burn, boursev1.Succeeded, boursev1.ReasonEpochOpen, "More claims of the epoch may still come")
		return reconcile.Result{RequeueAfter: left}, nil
	}
	kube.True(burn, boursev1.Succeeded, boursev1.ReasonBurned, "The epoch is over and its sum is final")
	return reconcile.Result{}, nil
}

func (r *Reconciler) settlements(ctx context.Context, name string) ([]boursev1.Settlement, error) {
	var list boursev1.SettlementList
	if err := r.Hub.List(ctx, &list, client.InNamespace(boursev1.PublicNamespace), client.MatchingFields{byEpoch: name}); err != nil {
		return nil, fmt.Errorf("list settlements: %w", err)
	}
	return list.Items, nil
}

// format writes the sum for people, with the decimals that a market states for the mint.
func (r *Reconciler) format(ctx context.Context, burn *boursev1.FeeBurn, sum money.Amount) (string, error) {
	var markets boursev1.MarketList
	if err := r.Hub.List(ctx, &markets); err != nil {
		return "", fmt.Errorf("list markets: %w", err)
	}
	for i := range markets.Items {
		for _, token := range markets.Items[i].Spec.Tokens {
			if token.Mint == burn.Spec.Mint && token.Decimals != nil {
				return money.Token{Symbol: string(burn.Spec.Token), Decimals: uint8(*token.Decimals)}.Format(sum), nil //nolint:gosec // at most 12
			}
		}
	}
	if burn.Status.Amount != "" && burn.Status.Burned != nil && *burn.Status.Burned == int64(sum) { //nolint:gosec // checked by record
		return burn.Status.Amount, nil
	}
	return sum.String() + " base units", nil
}
