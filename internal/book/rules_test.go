// SPDX-License-Identifier: Apache-2.0

package book

import "testing"

func TestASupplierServesWhomItNames(t *testing.T) {
	for buyer, want := range map[string]bool{"alice": true, "mallory": false, "": false} {
		d := demand(t, func(d *Demand) { d.Buyer = buyer })
		got := decide(t, d, []Offer{offer(t, "oslo", "1.85", func(o *Offer) { o.Buyers = []string{"bob", "alice"} })})
		if (got.Won() != nil) != want {
			t.Errorf("%q is served: %t, want %t: %s", buyer, !want, want, got.Explain())
		}
	}
}

func TestImagesAreAllowedByRepository(t *testing.T) {
	cases := map[string]struct {
		repositories []string
		image        string
		want         bool
	}{
		"any":                           {nil, "evil/miner", true},
		"the repository":                {[]string{"rayproject/ray"}, "rayproject/ray", true},
		"with a tag":                    {[]string{"rayproject/ray"}, "rayproject/ray:2.54.1", true},
		"with a digest":                 {[]string{"rayproject/ray"}, "rayproject/ray@sha256:00", true},
		"with both":                     {[]string{"rayproject/ray"}, "rayproject/ray:2.54.1@sha256:00", true},
		"on a port":                     {[]string{"localhost:5000/ray"}, "localhost:5000/ray:2", true},
		"on a port, without a tag":      {[]string{"localhost:5000/ray"}, "localhost:5000/ray", true},
		"one of several":                {[]string{"acme/", "rayproject/ray"}, "rayproject/ray:1", true},
		"by its beginning":              {[]string{"ghcr.io/acme/"}, "ghcr.io/acme/train/llm:1", true},
		"a longer name":                 {[]string{"rayproject/ray"}, "rayproject/ray-evil", false},
		"below a name without a slash":  {[]string{"rayproject/ray"}, "rayproject/ray/evil", false},
		"another beginning":             {[]string{"ghcr.io/acme/"}, "ghcr.io/acme-evil/ray", false},
		"the name in front of the path": {[]string{"acme/ray"}, "evil.example/acme/ray", false},
		"the name as a tag":             {[]string{"rayproject/ray"}, "evil:rayproject/ray", false},
		"no image":                      {[]string{"rayproject/ray"}, "", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := ImageAllowed(tc.repositories, tc.image); got != tc.want {
				t.Errorf("%q is allowed by %q: %t, want %t", tc.image, tc.repositories, got, tc.want)
			}
		})
	}
}
