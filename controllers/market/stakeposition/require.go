// SPDX-License-Identifier: Apache-2.0

package stakeposition

import (
	"context"
	"fmt"
	"math"

	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/stake"
)

// require returns the stake that a supplier's GPUs need: those that it offers, and those that it has leased out.
func (r *Reconciler) require(ctx context.Context, namespace string, rules *boursev1.MarketStake, token money.Token) (money.Amount, error) {
	var offers boursev1.GPUOfferList
	if err := r.Hub.List(ctx, &offers, client.InNamespace(namespace)); err != nil {
		return 0, fmt.Errorf("list offers: %w", err)
	}
	var leases boursev1.GPULeaseList
	if err := r.Hub.List(ctx, &leases, client.InNamespace(namespace)); err != nil {
		return 0, fmt.Errorf("list leases: %w", err)
	}
	gpus := map[boursev1.GPUModel]int64{}
	for i := range offers.Items {
		if free := offers.Items[i].Spec.FreeGPUs; free != nil {
			gpus[offers.Items[i].Spec.Model] += int64(*free)
		}
	}
	for i := range leases.Items {
		if lease := &leases.Items[i]; listing.Open(lease) {
			gpus[lease.Spec.Model] += int64(lease.Spec.Workers) * int64(lease.Spec.PerWorker)
		}
	}
	return requireOf(gpus, rules, token)
}

func requireOf(gpus map[boursev1.GPUModel]int64, rules *boursev1.MarketStake, token money.Token) (money.Amount, error) {
	perGPU, err := token.Parse(string(rules.PerGPU))
	if err != nil {
		return 0, &wrong{boursev1.ReasonNoStake, "The market's spec.stake.perGPU: " + err.Error()}
	}
	var sum money.Amount
	for model, count := range gpus {
		multiplier, err := contract.Multiplier(rules, model)
		if err != nil {
			return 0, &wrong{boursev1.ReasonNoStake, "The market's spec.stake: " + err.Error()}
		}
		if count < 0 || count > math.MaxUint32 {
			return 0, fmt.Errorf("count %d GPUs: %w", count, money.ErrOverflow)
		}
		part, err := stake.Required(perGPU, multiplier, uint32(count))
		if err != nil {
			return 0, err
		}
		if sum, err = sum.Add(part); err != nil {
			return 0, err
		}
	}
	return sum, nil
}
