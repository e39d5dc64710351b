// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
)

// market returns the Market that serves jobs, or nil.
func (r *Reconciler) market(ctx context.Context) (*boursev1.Market, error) {
	var markets boursev1.MarketList
	if err := r.Hub.List(ctx, &markets); err != nil {
		return nil, fmt.Errorf("list markets: %w", err)
	}
	return contract.Serving(markets.Items), nil
}

// member returns the admitted Member of a namespace, or nil.
func (r *Reconciler) member(ctx context.Context, namespace string) (*boursev1.Member, error) {
	var member boursev1.Member
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: namespace, Name: boursev1.MemberName}, &member)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("get member: %w", err)
	}
	if !kube.IsTrue(&member, boursev1.Ready) {
		return nil, nil //nolint:nilnil // as good as absent
	}
	return &member, nil
}

// stake returns the own StakePosition of a namespace's member, or nil.
func (r *Reconciler) stake(ctx context.Context, namespace string) (*boursev1.StakePosition, error) {
	var stake boursev1.StakePosition
	err := r.Hub.Get(ctx, types.NamespacedName{Namespace: namespace, Name: boursev1.OwnStakeName}, &stake)
	if apierrors.IsNotFound(err) {
		return nil, nil //nolint:nilnil // absence is an answer here
	}
	if err != nil {
		return nil, fmt.Errorf("get stake: %w", err)
	}
	return &stake, nil
}
