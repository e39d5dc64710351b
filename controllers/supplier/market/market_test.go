// SPDX-License-Identifier: Apache-2.0

package market

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

type tunnel struct{ to access.Gateway }

func (t *tunnel) Point(to access.Gateway) { t.to = to }

func of(name, url string, ready metav1.ConditionStatus) *boursev1.Market {
	market := builders.Market()
	market.Name = name
	market.Status.Conditions[0].Status = ready
	if url != "" {
		market.Spec.Gateway = &boursev1.MarketGateway{URL: url, CABundle: "authorities of " + url}
	}
	return market
}

func TestTheTunnelLeadsWhereTheMarketSays(t *testing.T) {
	before := access.Gateway{URL: "https://before.example"}
	to := func(url string) access.Gateway { return access.Gateway{URL: url, Authorities: "authorities of " + url} }
	cases := map[string]struct {
		markets []client.Object
		want    access.Gateway
	}{
		"no market":                         {nil, access.Gateway{}},
		"a market with a gateway":           {[]client.Object{of("main", "https://a.example", "True")}, to("https://a.example")},
		"a market without one":              {[]client.Object{of("main", "", "True")}, access.Gateway{}},
		"the first of two that are ready":   {[]client.Object{of("b", "https://b.example", "True"), of("a", "https://a.example", "True")}, to("https://a.example")},
		"the one that is ready":             {[]client.Object{of("b", "https://b.example", "True"), of("a", "https://a.example", "False")}, to("https://b.example")},
		"a market that cannot be asked now": {[]client.Object{of("main", "https://a.example", "Unknown")}, before},
		"a market that was found to be ill": {[]client.Object{of("main", "", "False")}, before},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			hub := fakehub.New(t, nil, tc.markets...)
			followed := &tunnel{to: before}
			r := &Reconciler{Hub: hub, Tunnel: followed}
			for range 2 {
				wrote := hub.Writes(func() {
					if result, err := r.Reconcile(t.Context(), reconcile.Request{}); err != nil || !result.IsZero() {
						t.Errorf("got %+v, %v", result, err)
					}
				})
				if followed.to != tc.want || len(wrote) > 0 {
					t.Errorf("the tunnel leads to %v, want %v; wrote %v", followed.to, tc.want, wrote)
				}
			}
		})
	}
}
