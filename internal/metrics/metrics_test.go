// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"os"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bourse-dev/bourse/internal/metrics"
)

// touched returns a registry in which every metric has at least one series, because a vector without one gathers nothing.
func touched(t *testing.T) *prometheus.Registry {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	m := metrics.New(reg)
	m.Transition("ComputeJob", "Matched", "True", "OfferFound")
	m.Conflict("ComputeJob")
	m.ChainRequest("getAccountInfo", metrics.OutcomeOK, 0.01)
	m.GatewayRequest("log", "ok")
	metrics.CollectTunnels(reg, func() int { return 3 })
	metrics.CollectTunnel(reg, func() bool { return true })
	metrics.CollectSupply(reg, func() (metrics.Supply, error) {
		return metrics.Supply{
			GPUs: map[metrics.GPUState]int32{{Model: "l4", State: metrics.StateFree}: 8}, HeldBack: map[string]int32{"Budget": 4},
		}, nil
	})
	m.JoinRequest("renew", metrics.OutcomeOK)
	metrics.CollectMembers(reg, func() (map[metrics.MemberState]int, error) {
		return map[metrics.MemberState]int{{State: metrics.MemberReady, Managers: metrics.ManagersSeen}: 3}, nil
	})
	touch(reg)
	return reg
}

func TestMetricsFollowPrometheusConventions(t *testing.T) {
	problems, err := testutil.GatherAndLint(touched(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestEveryMetricIsDocumentedAndEveryDocumentedMetricExists(t *testing.T) {
	families, err := touched(t).Gather()
	if err != nil {
		t.Fatal(err)
	}
	exported := make([]string, 0, len(families))
	for _, family := range families {
		exported = append(exported, family.GetName())
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := regexp.MustCompile("(?m)^\\| `(bourse_[a-z_]+)` \\|").FindAllSubmatch(page, -1)
	documented := make([]string, 0, len(rows))
	for _, row := range rows {
		documented = append(documented, string(row[1]))
	}
	slices.Sort(exported)
	slices.Sort(documented)
	if diff := cmp.Diff(exported, documented); diff != "" {
		t.Errorf("docs/metrics.md differs from what is exported (-exported +documented):\n%s", diff)
	}
}

func TestTransitionCountsByLabels(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	m := metrics.New(reg)
	m.Transition("ComputeJob", "Matched", "True", "OfferFound")
	m.Transition("ComputeJob", "Matched", "True", "OfferFound")
	m.Transition("GPULease", "Accepted", "False", "CapacityGone")
	count, err := testutil.GatherAndCount(reg, "bourse_condition_transitions_total")
	if err != nil || count != 2 {
		t.Errorf("series = %d, %v; want 2", count, err)
	}
}
