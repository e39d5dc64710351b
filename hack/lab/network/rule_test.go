// SPDX-License-Identifier: Apache-2.0

package network

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestCountsAreRead(t *testing.T) {
	const counter = `{"counter": {"family": "inet", "name": "NAME", "table": "bourse", "handle": 1, "packets": 7, "bytes": 420}}`
	var objects []string
	for _, name := range []string{"asked", "answers", "refused", "entered", "astray", "late"} {
		objects = append(objects, strings.Replace(counter, "NAME", name, 1))
	}
	list := func(objects []string) []byte {
		return []byte(`{"nftables": [{"metainfo": {"version": "1.0.6"}}, ` + strings.Join(objects, ", ") + `]}`)
	}
	got, err := parseCounts(list(objects))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(Counts{Asked: 7, Answers: 7, Refused: 7, Entered: 7, Astray: 7, Late: 7}, got); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
	for name, text := range map[string][]byte{"a counter is missing": list(objects[1:]), "no list": []byte("Error: No such file")} {
		if _, err := parseCounts(text); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// What a firewall does not name, it drops: only the hub's three ports, its answers and the loopback interface are named.
func TestRulesAcceptNoMoreThanTheyMust(t *testing.T) {
	cases := map[string]struct {
		rules string
		want  []string
	}{
		"a member's": {memberRules(), []string{
			`iifname "lo" accept`,
			`ct state established,related ct direction reply counter name "answers" accept`,
			`oifname "lo" accept`,
			`ip daddr 10.201.0.1 tcp dport { 6443, 8899, 9445 } counter name "asked" accept`,
		}},
		"the hub's": {hubRules(), []string{
			`iifname "lo" accept`,
			`ct state established,related accept`,
			`ip daddr 10.201.0.1 tcp dport { 6443, 8899, 9445 } accept`,
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []string
			for line := range strings.Lines(tc.rules) {
				if line = strings.TrimSpace(line); strings.HasSuffix(line, " accept") {
					got = append(got, line)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("accepted (-want +got):\n%s", diff)
			}
		})
	}
}
