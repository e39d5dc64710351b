// SPDX-License-Identifier: Apache-2.0

package apple

import (
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/device"
)

func TestParse(t *testing.T) {
	printed, err := os.ReadFile("testdata/m2-ultra.json")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parse(printed, "137438953472\n")
	if err != nil {
		t.Fatal(err)
	}
	want := device.Reading{
		Class: device.Apple, Present: []string{"APPLE-9f0c1d2e-3b4a-5c6d-7e8f-0123456789ab"},
		Devices: []device.Device{{
			UUID: "APPLE-9f0c1d2e-3b4a-5c6d-7e8f-0123456789ab", Class: device.Apple, Product: "Apple M2 Ultra 76-core GPU", Model: "apple-m2-ultra-76-core-gpu", MemoryMiB: 131072,
		}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reading (-want +got):\n%s", diff)
	}
}

func TestParseRefuses(t *testing.T) {
	const machine = `"SPHardwareDataType":[{"chip_type":"x","platform_UUID":"9F0C1D2E"}]`
	cases := map[string]struct {
		printed, memory string
		wantAbsent      bool
	}{
		"a machine with Intel's processor": {`{` + machine + `,"SPDisplaysDataType":[{"sppci_model":"AMD Radeon Pro 5500M","spdisplays_vendor":"sppci_vendor_amd"}]}`, "1048576", true},
		"a machine without a GPU":          {`{` + machine + `}`, "1048576", true},
		"no machine":                       {`{}`, "1048576", false},
		"no profile":                       {``, "1048576", false},
		"no memory":                        {`{` + machine + `}`, "", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got, err := parse([]byte(tc.printed), tc.memory); err == nil || errors.Is(err, device.ErrAbsent) != tc.wantAbsent {
				t.Errorf("reading %+v, err = %v", got, err)
			}
		})
	}
}
