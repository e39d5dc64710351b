// SPDX-License-Identifier: Apache-2.0

package contract

import (
	"k8s.io/apimachinery/pkg/api/meta"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// Serving returns the Market that serves jobs: of several that are ready, the first by name; nil when none is ready.
func Serving(markets []boursev1.Market) *boursev1.Market {
	var first *boursev1.Market
	for i := range markets {
		market := &markets[i]
		if meta.IsStatusConditionTrue(market.Status.Conditions, boursev1.Ready) && (first == nil || market.Name < first.Name) {
			first = market
		}
	}
	return first
}
