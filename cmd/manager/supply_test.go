// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/test/fakehub"
)

func pool(name string, total, healthy, offered, leased int32) *boursev1.GPUPool {
	counts := boursev1.GPUCounts{Total: &total, Healthy: &healthy, Offered: &offered, Leased: &leased}
	return &boursev1.GPUPool{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Status: boursev1.GPUPoolStatus{
			Models:   []boursev1.PoolModel{{Model: "l4", GPUs: counts}},
			HeldBack: []boursev1.HeldBack{{Reason: boursev1.HoldLocalPods, GPUs: total - offered}},
		},
	}
}

func TestSupplyIsSummedUpWhenItIsScraped(t *testing.T) {
	hub := fakehub.New(t, nil, pool("a", 8, 7, 5, 2), pool("b", 4, 4, 4, 0))
	reg := prometheus.NewPedanticRegistry()
	metrics.CollectSupply(reg, supplyOf(t.Context(), hub))
	want := `# HELP bourse_gpus GPUs of the supplier's pools, by model and state (leased, free, withheld, unhealthy).
# TYPE bourse_gpus gauge
bourse_gpus{model="l4",state="free"} 7
bourse_gpus{model="l4",state="leased"} 2
bourse_gpus{model="l4",state="unhealthy"} 1
bourse_gpus{model="l4",state="withheld"} 2
# HELP bourse_gpus_held_back GPUs of the supplier's pools that are not with the market, by the first reason that applies.
# TYPE bourse_gpus_held_back gauge
bourse_gpus_held_back{reason="LocalPods"} 3
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestSupplyThatCannotBeReadIsNotZero(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	metrics.CollectSupply(reg, func() (metrics.Supply, error) { return metrics.Supply{}, errors.New("the cache is not filled") })
	if count, err := testutil.GatherAndCount(reg); err != nil || count != 0 {
		t.Errorf("%d series, %v; want none", count, err)
	}
}
