// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/metrics"
)

// supplyOf sums up the GPUs of all pools, as their statuses say.
func supplyOf(ctx context.Context, local client.Reader) func() (metrics.Supply, error) {
	return func() (metrics.Supply, error) {
		var pools boursev1.GPUPoolList
		if err := local.List(ctx, &pools); err != nil {
			return metrics.Supply{}, fmt.Errorf("list pools: %w", err)
		}
		sum := metrics.Supply{GPUs: map[metrics.GPUState]int32{}, HeldBack: map[string]int32{}}
		for i := range pools.Items {
			for _, of := range pools.Items[i].Status.Models {
				addGPUs(sum.GPUs, string(of.Model), of.GPUs)
			}
			for _, held := range pools.Items[i].Status.HeldBack {
				sum.HeldBack[string(held.Reason)] += held.GPUs
			}
		}
		return sum, nil
	}
}

// addGPUs puts each GPU into one state.
func addGPUs(sum map[metrics.GPUState]int32, model string, gpus boursev1.GPUCounts) {
	count := func(of *int32) int32 {
		if of == nil {
			return 0
		}
		return *of
	}
	leased, offered, healthy := count(gpus.Leased), count(gpus.Offered), count(gpus.Healthy)
	sum[metrics.GPUState{Model: model, State: metrics.StateLeased}] += leased
	sum[metrics.GPUState{Model: model, State: metrics.StateFree}] += offered - leased
	sum[metrics.GPUState{Model: model, State: metrics.StateWithheld}] += healthy - offered
	sum[metrics.GPUState{Model: model, State: metrics.StateUnhealthy}] += count(gpus.Total) - healthy
}
