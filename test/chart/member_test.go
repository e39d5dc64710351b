// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"testing"
)

// A hub has the roles of members whose cluster is another one, also where nobody joins by himself, and only a hub has them.
func TestAHubHasTheRolesOfItsMembers(t *testing.T) {
	hub, supplier := objects(t, presets["hub"]...), objects(t, presets["supplier"]...)
	for name, needs := range map[string][]string{
		"bourse-member": {
			"computejobs/create", "computejobs/delete", "computejobs/patch", "computejobs/watch",
			"events/create", "events/patch", "gpuleases/patch", "gpuleases/status/patch", "gpuleases/watch", "gpuoffers/create", "gpuoffers/delete",
			"gpuoffers/patch", "gpuoffers/watch", "leaseprograms/watch", "leases/create", "leases/patch", "members/watch", "stakepositions/patch", "stakepositions/watch",
		},
		"bourse-member-reader": {"gpuleases/watch", "markets/get", "markets/list", "markets/watch", "vouchers/get", "vouchers/list", "vouchers/watch"},
	} {
		rights := rightsOf(t, hub, name)
		for _, right := range needs {
			if !rights[right] {
				t.Errorf("%s lacks %s", name, right)
			}
		}
	}
	for _, object := range ofKind(supplier, "ClusterRole") {
		if name := object.GetName(); slices.Contains([]string{"bourse-member", "bourse-member-reader"}, name) {
			t.Errorf("a supplier's own cluster has %s, which only a hub has use for", name)
		}
	}
}
