// SPDX-License-Identifier: Apache-2.0

package gpu

import "testing"

func TestRequests(t *testing.T) {
	cases := map[string]struct {
		containers []int32
		inits      []Init
		want       int32
	}{
		"nothing":                 {nil, nil, 0},
		"containers run together": {[]int32{1, 2}, nil, 3},
		"init containers run one after the other":        {[]int32{1}, []Init{{GPUs: 4}, {GPUs: 2}}, 4},
		"a small init container adds nothing":            {[]int32{4}, []Init{{GPUs: 1}}, 4},
		"a sidecar runs beside the containers":           {[]int32{4}, []Init{{GPUs: 1, Sidecar: true}}, 5},
		"a sidecar runs beside later init containers":    {[]int32{1}, []Init{{GPUs: 2, Sidecar: true}, {GPUs: 4}}, 6},
		"a sidecar does not run beside earlier ones":     {[]int32{1}, []Init{{GPUs: 4}, {GPUs: 2, Sidecar: true}}, 4},
		"several sidecars add up before containers come": {nil, []Init{{GPUs: 2, Sidecar: true}, {GPUs: 3, Sidecar: true}}, 5},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Requests(tc.containers, tc.inits); got != tc.want {
				t.Errorf("%d GPUs, want %d", got, tc.want)
			}
		})
	}
}
