// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io"
	"strings"
	"testing"
	"time"
)

func TestParseNamesTheFlagAndTheFix(t *testing.T) {
	cases := map[string]struct {
		args []string
		want []string // parts of the error; none: the flags are good
	}{
		"a node is enough":             {args: []string{"--node=n"}},
		"no node":                      {args: nil, want: []string{"--node is required"}},
		"a node that cannot be one":    {args: []string{"--node=A_B"}, want: []string{"--node", "A_B"}},
		"a device that does not exist": {args: []string{"--node=n", "--devices=nvidia,tpu"}, want: []string{"--devices", `"tpu"`, "nvidia, amd, apple and cpu"}},
		"the same device twice":        {args: []string{"--node=n", "--devices=cpu,cpu"}, want: []string{"--devices"}},
		"no device":                    {args: []string{"--node=n", "--devices="}, want: []string{"--devices"}},
		"a namespace in capitals":      {args: []string{"--node=n", "--namespace=Me"}, want: []string{"--namespace"}},
		"a key somewhere":              {args: []string{"--node=n", "--key=agent.key"}, want: []string{"--key", "absolute"}},
		"no pause between readings":    {args: []string{"--node=n", "--interval=1ms"}, want: []string{"--interval"}},
		"an address without a port":    {args: []string{"--node=n", "--address=localhost"}, want: []string{"--address"}},
		"nothing is served":            {args: []string{"--node=n", "--address=0"}},
		"a word among the flags":       {args: []string{"--node=n", "help"}, want: []string{`"help"`}},
		"everything that is wrong":     {args: []string{"--namespace=Me", "--heartbeat=0s"}, want: []string{"--node", "--namespace", "--heartbeat"}},
		"the version needs no node":    {args: []string{"--version"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("NODE_NAME", "")
			_, err := parse(tc.args, io.Discard)
			if (err != nil) != (len(tc.want) > 0) {
				t.Fatalf("err = %v", err)
			}
			for _, part := range tc.want {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("the error does not say %q: %v", part, err)
				}
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	t.Setenv("NODE_NAME", "from-the-pod")
	o, err := parse(nil, io.Discard)
	if err != nil || o.node != "from-the-pod" || o.interval != 30*time.Second || o.heartbeat != 30*time.Second || strings.Join(o.devices, ",") != "nvidia,amd" {
		t.Errorf("options %+v, %v", o, err)
	}
}
