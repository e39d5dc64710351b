// SPDX-License-Identifier: Apache-2.0

package contract

import (
	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/reputation"
)

// ReputationOf returns what a supplier's offers are ranked with, in parts per million: what its history comes to, and not less than the
// middle while it is a newcomer. One whose history nobody has looked at yet has none, so it is a newcomer too.
func ReputationOf(member *boursev1.Member) uint32 {
	known := member.Status.Reputation
	if known == nil {
		return reputation.Newcomer
	}
	var overall uint32
	if known.OverallPPM != nil {
		overall = uint32(min(max(0, *known.OverallPPM), reputation.PPM))
	}
	if known.Standing == boursev1.StandingNewcomer {
		return max(overall, reputation.Newcomer)
	}
	return overall
}
