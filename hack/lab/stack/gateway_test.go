// SPDX-License-Identifier: Apache-2.0

package stack

import "testing"

// Where members are apart from the hub, they reach its gateway at another address than the one at which it listens.
func TestWhereMembersReachTheGateway(t *testing.T) {
	cases := map[string]struct {
		hub                    Place
		wantListen, wantPublic string // empty: a free port of the machine's, the same for both
	}{
		"a hub on the machine's own loopback address": {},
		"a hub in the network of its real nodes":      {Place{Host: localhost, Namespace: "/run/netns/nodes"}, "127.0.0.1:4003", "127.0.0.1:4003"},
		"a hub whose members are apart":               {Place{Host: localhost, Namespace: "/run/netns/hub", Address: "10.201.0.1"}, "127.0.0.1:4003", "10.201.0.1:9445"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lab := newLab(t)
			if tc.hub.Namespace != "" {
				lab.state.Places = map[string]Place{Hub: tc.hub}
				lab.ports = map[string]*ports{Hub: {api: 4001, chain: 4002, gateway: 4003}}
			}
			listen, public, err := lab.gateway(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if tc.wantListen == "" && listen == public && listen != "" {
				return
			}
			if listen != tc.wantListen || public != tc.wantPublic {
				t.Errorf("it listens at %q and is reached at %q, want %q and %q", listen, public, tc.wantListen, tc.wantPublic)
			}
		})
	}
}
