// SPDX-License-Identifier: Apache-2.0

package process

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	rest := " S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4242 20"
	cases := map[string]struct {
		line      string
		want      uint64
		wantAlive bool
		wantErr   bool
	}{
		"a plain name":                       {"7 (node)" + rest, 4242, true, false},
		"a name with spaces and parentheses": {"7 (a) S (b)" + rest, 4242, true, false},
		"a zombie does not live":             {"7 (node) Z" + rest[2:], 4242, false, false},
		"a dead process does not live":       {"7 (node) X" + rest[2:], 4242, false, false},
		"a line that is too short":           {"7 (node) S 1 2 3", 0, false, true},
		"a line without a name":              {"", 0, false, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, alive, err := parseStat(tc.line)
			if got != tc.want || alive != tc.wantAlive || (err != nil) != tc.wantErr {
				t.Errorf("parseStat(%q) = %d, %t, %v; want %d, %t, error %t", tc.line, got, alive, err, tc.want, tc.wantAlive, tc.wantErr)
			}
		})
	}
}

func TestAProcessIsStartedFoundAndStopped(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	table := Table{Dir: t.TempDir()}
	// The shell's child is in its group: it must end too.
	started, err := table.Start(Spec{Name: "sleeper", Args: []string{"sh", "-c", "sleep 60 & echo $! $WORD; wait"}, Env: []string{"WORD=hello"}})
	if err != nil {
		t.Fatal(err)
	}
	var child string
	err = started.Await(ctx, func() (bool, error) {
		data, err := os.ReadFile(started.Log)
		child = strings.TrimSpace(string(data))
		return strings.HasSuffix(child, "hello"), err
	})
	if err != nil {
		t.Fatal(err)
	}
	records, err := table.List()
	if err != nil {
		t.Fatal(err)
	}
	if len(records) != 1 || records[0].PID != started.PID || !records[0].Alive() {
		t.Fatalf("List() = %+v, want the living %+v", records, started)
	}
	if err := table.Stop(ctx, records, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if started.Alive() {
		t.Error("the process lives after Stop")
	}
	if state, err := exec.CommandContext(ctx, "ps", "-o", "stat=", "-p", strings.Fields(child)[0]).Output(); err == nil && !strings.HasPrefix(string(state), "Z") {
		t.Errorf("the process's child lives after Stop: %s", state)
	}
	if records, err = table.List(); err != nil || len(records) != 0 {
		t.Errorf("List() after Stop = %v, %v; want nothing", records, err)
	}
}

func TestAwaitReportsAnEndWithTheLog(t *testing.T) {
	table := Table{Dir: t.TempDir()}
	started, err := table.Start(Spec{Name: "failing", Args: []string{"sh", "-c", "echo the reason; exit 3"}})
	if err != nil {
		t.Fatal(err)
	}
	err = started.Await(t.Context(), func() (bool, error) { return false, nil })
	if !errors.Is(err, ErrEnded) || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("Await: error %v, want %v with the log", err, ErrEnded)
	}
}

func TestAForeignProcessWithOurPIDIsLeftAlone(t *testing.T) {
	table := Table{Dir: t.TempDir()}
	own, _, err := born(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	stale := Record{Name: "stale", PID: os.Getpid(), Born: own - 1}
	if stale.Alive() {
		t.Error("a record with another start time counts as alive")
	}
	// Were it taken for ours, this would end the test itself.
	if err := table.Stop(t.Context(), []Record{stale}, syscall.SIGKILL); err != nil {
		t.Errorf("Stop: %v", err)
	}
}
