// SPDX-License-Identifier: Apache-2.0

package market

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/money"
)

var update = flag.Bool("update", false, "rewrite the golden file")

// busy is a market that is too small for the excerpt's jobs.
const busy = `{seed: 1, nodes: 4, suppliers: 2, stepSeconds: 300, patienceSeconds: 86400, lowestAskUSD: "0.60", highestAskUSD: "1.10",
lowestValueUSD: "0.51", highestValueUSD: "2.21", index: {target: 900000, gain: 20000, step: 20000, floor: 600000, ceiling: 2500000}}`

func excerpt(t *testing.T) []Job {
	t.Helper()
	jobs, err := Read(os.DirFS(filepath.Join("testdata", "gavel")))
	if err != nil {
		t.Fatal(err)
	}
	return jobs
}

func played(t *testing.T, text string) Report {
	t.Helper()
	p, err := Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return Play(excerpt(t), p)
}

func printed(t *testing.T, report Report) string {
	t.Helper()
	var out bytes.Buffer
	if err := report.Print(&out); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTheSameSeedIsTheSameMarket(t *testing.T) {
	golden := filepath.Join("testdata", "busy.txt")
	got := printed(t, played(t, busy))
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("report (-want +got), go test ./test/sim/market -update accepts it:\n%s", diff)
	}
}

func TestParametersMatter(t *testing.T) {
	before := printed(t, played(t, busy))
	for what, change := range map[string][2]string{
		"the seed":                   {"seed: 1", "seed: 2"},
		"the index's target":         {"target: 900000", "target: 700000"},
		"how long jobs wait":         {"patienceSeconds: 86400", "patienceSeconds: 3600"},
		"that asks stay as they are": {", index: {target: 900000, gain: 20000, step: 20000, floor: 600000, ceiling: 2500000}", ""},
	} {
		text := strings.Replace(busy, change[0], change[1], 1)
		if text == busy || printed(t, played(t, text)) == before {
			t.Errorf("%s changed nothing", what)
		}
	}
}

// What jobs paid is what suppliers earned, nobody pays more than a job is worth, and every job is served or leaves.
func TestNothingIsLostInAMarket(t *testing.T) {
	report := played(t, busy)
	var earned money.USD
	for _, income := range report.Earned {
		earned += income
	}
	if earned != report.Paid {
		t.Errorf("%s was paid and %s earned", report.Paid, earned)
	}
	if report.Served+report.Left != report.Jobs || report.Served == 0 || report.Left == 0 {
		t.Errorf("%d served and %d left of %d", report.Served, report.Left, report.Jobs)
	}
	if highest := money.USD(report.SoldSeconds) * 2_210_000_000 / 3600; report.Paid > highest {
		t.Errorf("%s was paid for what is worth %s at the most", report.Paid, highest)
	}
}

func TestParseNamesWhatIsWrong(t *testing.T) {
	for change, want := range map[[2]string]string{
		{"suppliers: 2", "suppliers: 3"}:                  "nodes",
		{"stepSeconds: 300", "stepSeconds: 0"}:            "stepSeconds",
		{`lowestAskUSD: "0.60"`, `lowestAskUSD: "cheap"`}: "lowestAskUSD",
		{`lowestAskUSD: "0.60"`, `lowestAskUSD: "3"`}:     "lowestAskUSD must not exceed",
		{"target: 900000", "target: 0"}:                   "index: target",
		{"seed: 1", "sede: 1"}:                            "sede",
	} {
		if _, err := Parse([]byte(strings.Replace(busy, change[0], change[1], 1))); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", change[1], err, want)
		}
	}
}

func TestReadNamesTheLine(t *testing.T) {
	line := "ResNet-18 (batch size 16)\t-\t-\t1\tmany\t0.0\t1"
	if _, err := parse(line, throughputs{}); err == nil || !strings.Contains(err.Error(), "steps") {
		t.Errorf("%v", err)
	}
	gang, err := parse("A\t-\t-\t1\t100\t7.9\t20", throughputs{"('A', 8)": 2})
	if diff := cmp.Diff(Job{At: 7, Duration: 50, Workers: 3, PerWorker: 8}, gang); diff != "" || err != nil {
		t.Errorf("a gang: %v (-want +got):\n%s", err, diff)
	}
}
