// SPDX-License-Identifier: Apache-2.0

package contract_test

import (
	"testing"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/test/builders"
)

func TestReputationOf(t *testing.T) {
	of := func(standing boursev1.SupplierStanding, overall int32) *boursev1.MemberReputation {
		return &boursev1.MemberReputation{Standing: standing, OverallPPM: &overall}
	}
	cases := map[string]struct {
		reputation *boursev1.MemberReputation
		want       uint32
	}{
		"nobody leased from it yet":                     {nil, 500_000},
		"a newcomer is not ranked below 0.5":            {of(boursev1.StandingNewcomer, 206_543), 500_000},
		"but above it, if it deserves that":             {of(boursev1.StandingNewcomer, 700_000), 700_000},
		"who is known is ranked by its history":         {of(boursev1.StandingKnown, 206_543), 206_543},
		"which may be as bad as can be":                 {of(boursev1.StandingKnown, 0), 0},
		"or as good":                                    {of(boursev1.StandingKnown, 1_000_000), 1_000_000},
		"nobody is better than one whole":               {of(boursev1.StandingKnown, 1_000_001), 1_000_000},
		"nor worse than nothing":                        {of(boursev1.StandingKnown, -1), 0},
		"a known one without a score has none":          {&boursev1.MemberReputation{Standing: boursev1.StandingKnown}, 0},
		"a newcomer without one is still in the middle": {&boursev1.MemberReputation{Standing: boursev1.StandingNewcomer}, 500_000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			member := builders.Member(builders.Supplier)
			member.Status.Reputation = tc.reputation
			if got := contract.ReputationOf(member); got != tc.want {
				t.Errorf("ranked with %d, want %d", got, tc.want)
			}
		})
	}
}
