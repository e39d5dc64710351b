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
	"github.com/bourse-dev/bourse/internal/contract"
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

// record sums up the epoch's settlements. The sums follow them for ever. Once no more can come, they are called final, unless there are
// fees to be bought back: then the next phases go on.
func (r *Reconciler) record(ctx context.Context, burn *boursev1.FeeBurn) (reconcile.Result, error) {
	rule, err := r.rule(ctx, burn)
	if err != nil {
		return reconcile.Result{}, err
	}
	sums, err := r.sum(ctx, burn, rule.waits() || burn.Status.BuyBack != nil)
	if err != nil {
		return reconcile.Result{}, err
	}
	if err := rule.report(burn, sums); err != nil {
		return reconcile.Result{}, err
	}
	switch left := burn.Spec.To.Add(late).Sub(r.Now()); {
	case left > 0:
		kube.Waiting(burn, boursev1.Succeeded, boursev1.ReasonEpochOpen, "More claims of the epoch may still come")
		return reconcile.Result{RequeueAfter: left}, nil
	case sums.burned > 0 && sums.fees == 0:
		kube.True(burn, boursev1.Succeeded, boursev1.ReasonBurned, "The epoch is over and its sum is final")
	case sums.fees == 0:
		kube.True(burn, boursev1.Succeeded, boursev1.ReasonNothingToBurn, "The market keeps fees in its own token that its claims do not burn")
	}
	return reconcile.Result{}, nil
}

// sums are what an epoch's claims burned, and what they paid that waits for a buy-back.
type sums struct {
	claims       int
	burned, fees money.Amount
}

func (r *Reconciler) sum(ctx context.Context, burn *boursev1.FeeBurn, waits bool) (sums, error) {
	var total sums
	settlements, err := r.settlements(ctx, burn.Name)
	if err != nil {
		return sums{}, err
	}
	for i := range settlements {
		spec := &settlements[i].Spec
		if spec.Mint != burn.Spec.Mint {
			return sums{}, fmt.Errorf("sum %s: %w", burn.Name, errTwoMints)
		}
		burned, fees := units(spec.Burned), money.Amount(0)
		if waits {
			fees = units(spec.TreasuryPaid)
		}
		if burned > 0 || fees > 0 {
			total.claims++
		}
		if total.burned, err = total.burned.Add(burned); err != nil {
			return sums{}, fmt.Errorf("sum %s: %w", burn.Name, err)
		}
		if total.fees, err = total.fees.Add(fees); err != nil {
			return sums{}, fmt.Errorf("sum %s: %w", burn.Name, err)
		}
	}
	if total.burned > math.MaxInt64 || total.fees > math.MaxInt64 || total.claims > math.MaxInt32 {
		return sums{}, fmt.Errorf("sum %s: %w", burn.Name, money.ErrOverflow)
	}
	return total, nil
}

func (r *Reconciler) settlements(ctx context.Context, name string) ([]boursev1.Settlement, error) {
	var list boursev1.SettlementList
	if err := r.Hub.List(ctx, &list, client.InNamespace(boursev1.PublicNamespace), client.MatchingFields{byEpoch: name}); err != nil {
		return nil, fmt.Errorf("list settlements: %w", err)
	}
	return list.Items, nil
}

// units reads an amount of the API; none is zero.
func units(value *int64) money.Amount {
	if value == nil {
		return 0
	}
	return money.Amount(max(0, *value))
}

// report writes the sums, and as people read them.
func (r rule) report(burn *boursev1.FeeBurn, sums sums) error {
	status := &burn.Status
	was := units(status.Burned)
	burned, err := contract.Signed(sums.burned)
	if err != nil {
		return err
	}
	status.Claims, status.Burned = new(int32(sums.claims)), &burned //nolint:gosec // sum refuses more claims
	switch back := status.BuyBack; {
	case back != nil && back.Burned != nil:
		status.Amount = format(r.bought(back), units(back.Burned))
	case r.token != nil || status.Amount == "" || was != sums.burned:
		status.Amount = format(r.paid(burn), sums.burned)
	}
	if sums.fees == 0 && status.Fees == nil {
		return nil
	}
	fees, err := contract.Signed(sums.fees)
	if err != nil {
		return err
	}
	status.Fees, status.FeesAmount = &fees, format(r.paid(burn), sums.fees)
	return nil
}

// format writes an amount for people; in base units where no market says what a whole token is.
func format(token *money.Token, amount money.Amount) string {
	if token == nil {
		return amount.String() + " base units"
	}
	return token.Format(amount)
}
