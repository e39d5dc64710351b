// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/controllers/member"
)

// A supplier whose hub is elsewhere is given there what its controllers do, and no more: not one right that it would not have had in a
// cluster of its own, nothing of other members but what buyers promise, and no Secret.
func TestSuppliersElsewhereGetTheirPartOfTheHub(t *testing.T) {
	hub, supplier := objects(t, presets["hub"]...), objects(t, presets["supplier"]...)
	want := map[string][]string{
		member.Role: {
			"events/create", "events/patch",
			"gpuleases/get", "gpuleases/list", "gpuleases/patch", "gpuleases/status/patch", "gpuleases/watch",
			"gpuoffers/create", "gpuoffers/delete", "gpuoffers/get", "gpuoffers/list", "gpuoffers/patch", "gpuoffers/watch",
			"members/get", "members/list", "members/watch",
			"stakepositions/get", "stakepositions/list", "stakepositions/patch", "stakepositions/watch",
		},
		member.ReaderRole: {"markets/get", "markets/list", "markets/watch", "vouchers/get", "vouchers/list", "vouchers/watch"},
	}
	own := rightsOf(t, supplier, "bourse-supplier")
	for name, rights := range want {
		got := rightsOf(t, hub, name)
		if diff := cmp.Diff(rights, slices.Sorted(maps.Keys(got))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for right := range got {
			if !own[right] {
				t.Errorf("%s has %s, which no controller of a supplier has a marker for", name, right)
			}
		}
	}
	for _, object := range ofKind(supplier, "ClusterRole") {
		if name := object.GetName(); name == member.Role || name == member.ReaderRole {
			t.Errorf("a supplier's own cluster has %s, which only a hub has use for", name)
		}
	}
}
