// SPDX-License-Identifier: Apache-2.0

package book

import (
	"math/rand/v2"
	"testing"

	"github.com/bourse-dev/bourse/internal/money"
)

// A survey says of each offer what the decision counts, and begins with the offer that the demand gets.
func TestASurveyAgreesWithTheDecision(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	surveyed, won := 0, 0
	for range 5000 {
		d, offers := randomMarket(rng)
		b := bookOf(offers)
		decision, verdicts := b.Judge(d), b.Survey(d)
		if len(verdicts) != decision.Offers {
			t.Fatalf("%d verdicts on %d offers", len(verdicts), decision.Offers)
		}
		var fit int
		var rejected [ruleCount]int
		for i, v := range verdicts {
			surveyed++
			if len(v.Breaks) != len(v.Has) {
				t.Fatalf("offer %s breaks %v and has %v there", v.Offer.Name, v.Breaks, v.Has)
			}
			if len(v.Breaks) > 0 {
				rejected[v.Breaks[0]]++
				continue
			}
			if fit++; fit != i+1 {
				t.Fatalf("offer %s fits, and comes after one that does not", v.Offer.Name)
			}
		}
		if fit != decision.Fit || rejected != decision.Rejected {
			t.Fatalf("the survey has %d that fit and rejects %v, the decision %d and %v", fit, rejected, decision.Fit, decision.Rejected)
		}
		if first := decision.Won(); first != nil && !d.split() {
			won++
			if v := verdicts[0]; v.Offer.Name != first.Name || v.Score != money.USD(decision.Fills[0].Score) {
				t.Fatalf("the survey begins with %s at %s, and %s won", v.Offer.Name, v.Score, first.Name)
			}
		}
	}
	if surveyed == 0 || won == 0 {
		t.Errorf("%d offers were surveyed and %d demands won", surveyed, won)
	}
}
