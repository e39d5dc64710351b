// SPDX-License-Identifier: Apache-2.0

package chart

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

var withGateway = []string{"--set", "gateway.enabled=true,gateway.certificateSecretName=gateway-tls"}

func TestAHubHasAGatewayIfItsAdministratorSaysSo(t *testing.T) {
	cases := map[string]struct {
		preset string
		more   []string
		want   bool
	}{
		"a hub as it comes":            {"hub", nil, false},
		"a hub with a gateway":         {"hub", withGateway, true},
		"a supplier, whatever is said": {"supplier", withGateway, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			all := objects(t, append(slices.Clone(presets[tc.preset]), tc.more...)...)
			serves := slices.ContainsFunc(ofKind(all, "Service"), func(o *unstructured.Unstructured) bool { return strings.HasSuffix(o.GetName(), "-gateway") })
			flagged := strings.Contains(strings.Join(deployment(t, all).Spec.Template.Spec.Containers[0].Args, " "), "--gateway-address")
			granted := slices.ContainsFunc(ofKind(all, "ClusterRole"), func(o *unstructured.Unstructured) bool { return o.GetName() == "bourse-gateway" })
			if serves != tc.want || flagged != tc.want || granted != tc.want {
				t.Errorf("service %v, flags %v, rights %v; want %v", serves, flagged, granted, tc.want)
			}
		})
	}
}

// The gateway asks who somebody is and what he may do, and decides nothing else with rights of its own.
func TestTheGatewaysRightsAreReviews(t *testing.T) {
	all := objects(t, append(slices.Clone(presets["hub"]), withGateway...)...)
	want := map[string]bool{"tokenreviews/create": true, "subjectaccessreviews/create": true}
	if diff := cmp.Diff(want, rightsOf(t, all, "bourse-gateway")); diff != "" {
		t.Errorf("rights (-want +got):\n%s", diff)
	}
}

// Tunnels and their users meet in one replica: a client that was told to try again must not be kept at the one that told it.
func TestTheGatewaysServiceKeepsNobodyAtAReplica(t *testing.T) {
	for _, object := range ofKind(objects(t, presets["full"]...), "Service") {
		if !strings.HasSuffix(object.GetName(), "-gateway") {
			continue
		}
		if spec := convert[corev1.Service](t, object).Spec; spec.SessionAffinity != "" {
			t.Errorf("service %+v", spec)
		}
		return
	}
	t.Error("there is no Service")
}

func TestASupplierReachesItsLeasesDashboards(t *testing.T) {
	for more, want := range map[string]int{"supplier.tunnel=true": 3, "supplier.tunnel=false": 2} {
		all := objects(t, append(slices.Clone(presets["supplier"]), "--set", "networkPolicy.enabled=true,"+more)...)
		for _, object := range ofKind(all, "NetworkPolicy") {
			if policy := convert[networkingv1.NetworkPolicy](t, object); policy.Name == "bourse" && len(policy.Spec.Egress) != want {
				t.Errorf("%s: egress %+v", more, policy.Spec.Egress)
			}
		}
		if args := deployment(t, all).Spec.Template.Spec.Containers[0].Args; slices.Contains(args, "--tunnel=false") != strings.HasSuffix(more, "=false") {
			t.Errorf("%s: flags %v", more, args)
		}
	}
}
