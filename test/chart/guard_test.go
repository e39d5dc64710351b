// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A hub is guarded against its members as it comes; only a hub has members, and only one that is open has strangers.
func TestAHubIsGuarded(t *testing.T) {
	policies, market := []string{"bourse-member-leases", "bourse-member-objects"}, []string{"bourse-market"}
	open := append([]string{"bourse-join-deletes"}, policies...)
	cases := map[string]struct {
		preset           string
		more             []string
		policies, levels []string
	}{
		"a hub as it comes":         {"hub", nil, policies, market},
		"a hub that is open":        {"hub", joinable, open, []string{"bourse-market", "bourse-members"}},
		"without the policies":      {"hub", []string{"--set", "guard.admissionPolicy=false"}, nil, market},
		"without the levels":        {"hub", append([]string{"--set", "guard.flowControl=false"}, joinable...), open, nil},
		"a supplier by itself":      {"supplier", nil, nil, nil},
		"a standalone market":       {"standalone", nil, policies, market},
		"a buyer, whatever is said": {"buyer", joinable, nil, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all := objects(t, append(slices.Clone(presets[tc.preset]), tc.more...)...)
			names := func(kind string) []string {
				var found []string
				for _, object := range ofKind(all, kind) {
					if object.GetName() != "bourse-agent" { // a supplier's own
						found = append(found, object.GetName())
					}
				}
				slices.Sort(found)
				return found
			}
			for kind, want := range map[string][]string{
				"ValidatingAdmissionPolicy": tc.policies, "ValidatingAdmissionPolicyBinding": tc.policies,
				"PriorityLevelConfiguration": tc.levels, "FlowSchema": tc.levels,
			} {
				if diff := cmp.Diff(want, names(kind)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", kind, diff)
				}
			}
		})
	}
}

// Whoever the policies bind and whoever they do not is told apart by two rights, which the roles must give.
func TestTheRolesSayWhomTheGuardsBind(t *testing.T) {
	all := objects(t, presets["hub"]...)
	member, market := rightsOf(t, all, "bourse-member"), rightsOf(t, all, "bourse-market")
	if !member["members/trade"] || member["members/manage"] {
		t.Errorf("a member's rights are %v, want to trade and not to manage", member)
	}
	if !market["members/manage"] {
		t.Errorf("the market's rights are %v, want to manage", market)
	}
}
