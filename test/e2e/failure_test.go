// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/test/e2e/story"
)

const (
	lookWithin = time.Minute // for all that is told of a lab that failed
	lastLines  = 12          // of each list and each log
)

// trouble are the lines of a log that say what went wrong, whoever wrote them.
var trouble = regexp.MustCompile(`(?i)error|panic|fatal|fail|denied|forbidden|refused|timed? ?out`)

// showFailure tells of a lab in which a test failed what is gone with the lab: what runs, what its clusters hold, and what its processes
// complained of.
func showFailure(tb testing.TB, dir string) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), lookWithin) // the test's own has ended
	defer cancel()
	if err := command(ctx, tb, "status", "--dir", dir); err != nil {
		tb.Logf("lab status: %v", err)
	}
	lab, err := story.Open(dir)
	if err != nil {
		tb.Logf("nothing can be told of its clusters: %v", err)
		return
	}
	for _, cluster := range slices.Sorted(maps.Keys(lab.Clusters)) {
		for _, what := range []string{
			"computejobs,gpuleases,vouchers -A -o wide", "rayclusters,rayjobs -A", "pods -A -o wide", "events -A --sort-by=.lastTimestamp",
		} {
			out, err := lab.KubectlIn(ctx, cluster, append([]string{"get"}, strings.Fields(what)...)...)
			if err != nil {
				out = err.Error() // not every cluster has every kind
			}
			tb.Logf("%s: kubectl get %s\n%s", cluster, what, lastOf(strings.Split(strings.TrimSpace(out), "\n")))
		}
	}
	logs, err := filepath.Glob(filepath.Join(dir, "logs", "*.log"))
	if err != nil {
		tb.Log(err)
	}
	for _, path := range logs {
		if text := complaints(path); text != "" {
			tb.Logf("%s\n%s", filepath.Base(path), text)
		}
	}
}

// complaints are the last lines of a log that say what went wrong.
func complaints(path string) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	var lines []string
	for line := range bytes.Lines(data) {
		if trouble.Match(line) {
			lines = append(lines, fmt.Sprintf("%.400s", bytes.TrimSpace(line)))
		}
	}
	return lastOf(lines)
}

// lastOf joins the first line, which may be a table's head, and the last ones.
func lastOf(lines []string) string {
	if len(lines) > lastLines+1 {
		lines = append(lines[:1:1], lines[len(lines)-lastLines:]...)
	}
	return strings.Join(lines, "\n")
}
