// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"fmt"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/reputation"
)

// day is after how long evidence has decayed by one more step.
const day = 24 * time.Hour

// rate says what an admitted member's leases come to, and does so again when the next day begins. A member of whom nobody has leased has
// no reputation, and costs nothing.
func (r *Reconciler) rate(ctx context.Context, member *boursev1.Member) (reconcile.Result, error) {
	if !kube.IsTrue(member, boursev1.Ready) {
		return reconcile.Result{}, nil
	}
	var leases boursev1.GPULeaseList
	if err := r.Hub.List(ctx, &leases, client.InNamespace(member.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("list leases: %w", err)
	}
	if len(leases.Items) == 0 {
		member.Status.Reputation = nil
		return reconcile.Result{}, nil
	}
	paid, err := r.paid(ctx, member.Namespace)
	if err != nil {
		return reconcile.Result{}, err
	}
	events, explored := history(leases.Items, paid)
	now := r.Now().UTC()
	score := reputation.Of(events, dayOf(now))
	next := reputationOf(&score, explored, now.Truncate(day))
	if was := member.Status.Reputation; was != nil && same(*was, *next) {
		next = was
	}
	member.Status.Reputation = next
	return reconcile.Result{RequeueAfter: now.Truncate(day).Add(day).Sub(now)}, nil
}

// paid is what the chain paid for each closed lease of a supplier, by the lease's name, before fees.
func (r *Reconciler) paid(ctx context.Context, namespace string) (map[string]money.Amount, error) {
	var refunds boursev1.SettlementList
	if err := r.Hub.List(ctx, &refunds, client.InNamespace(boursev1.PublicNamespace),
		client.MatchingFields{byClosed: namespace}, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list settlements: %w", err)
	}
	paid := make(map[string]money.Amount, len(refunds.Items))
	for i := range refunds.Items {
		spec := &refunds.Items[i].Spec
		if spec.GrossTotal != nil && *spec.GrossTotal > 0 {
			paid[spec.Lease.Name] = money.Amount(*spec.GrossTotal)
		}
	}
	return paid, nil
}

// same says whether two days' figures are the same: then the older ones stand, and nothing is written.
func same(was, next boursev1.MemberReputation) bool {
	next.AsOf = was.AsOf
	return apiequality.Semantic.DeepEqual(was, next)
}

// reputationOf is a score as the API holds it.
func reputationOf(score *reputation.Score, explored uint64, asOf time.Time) *boursev1.MemberReputation {
	quota := reputation.DefaultQuota()
	found := &boursev1.MemberReputation{
		Score:      hundredths(uint64(quota.Ranked(score, explored))),
		Standing:   boursev1.StandingKnown,
		OverallPPM: ppm(score.Overall),
		Completion: partOf(score, reputation.Completion),
		Proof:      partOf(score, reputation.Proof),
		Uptime:     partOf(score, reputation.Uptime),
		Metering:   partOf(score, reputation.Metering),
		AsOf:       metav1.NewTime(asOf),
	}
	if quota.Lasts(score, explored) {
		found.Standing = boursev1.StandingNewcomer
		found.QuotaLeft = boursev1.Observations(hundredths(quota.GPUHours - explored))
	}
	return found
}

// partOf is one part of a score; nil without evidence.
func partOf(score *reputation.Score, part reputation.Part) *boursev1.ReputationPart {
	evidence := score.Evidence[part]
	if evidence.Good == 0 && evidence.Bad == 0 {
		return nil
	}
	return &boursev1.ReputationPart{
		PPM:  ppm(score.Parts[part]),
		Good: boursev1.Observations(hundredths(evidence.Good)), Bad: boursev1.Observations(hundredths(evidence.Bad)),
	}
}

func ppm(share uint32) *int32 { return new(int32(min(share, reputation.PPM))) }

// hundredths writes millionths with two decimals, rounded down.
func hundredths(millionths uint64) string {
	const each = reputation.PPM / 100
	return fmt.Sprintf("%d.%02d", millionths/reputation.PPM, millionths%reputation.PPM/each)
}
