// SPDX-License-Identifier: Apache-2.0

// Package e2e runs the real binaries in the lab: the demo's flow, what the operator must survive, and real Ray.
package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/bourse-dev/bourse/test/e2e/story"
)

var (
	labModule = filepath.Join("..", "..", "hack", "lab")
	samples   = filepath.Join("..", "..", "config", "samples")
)

func TestMain(m *testing.M) {
	log.SetLogger(logr.Discard()) // the client has nothing to say that the tests do not
	os.Exit(m.Run())
}

// up starts a lab of the test's own and removes it when the test ends.
func up(tb testing.TB, args ...string) *story.Lab {
	tb.Helper()
	dir := filepath.Join(tb.TempDir(), "lab")
	tb.Cleanup(func() {
		if tb.Failed() {
			showFailure(tb, dir)
		}
		// The test's own context has ended by then, and the lab must go all the same.
		if err := command(context.Background(), tb, "down", "--dir", dir); err != nil {
			tb.Errorf("lab down: %v", err)
		}
	})
	if err := command(tb.Context(), tb, append([]string{"up", "--dir", dir}, args...)...); err != nil {
		tb.Fatalf("lab up: %v", err)
	}
	lab, err := story.Open(dir)
	if err != nil {
		tb.Fatal(err)
	}
	return lab
}

// command runs the lab's own command.
func command(ctx context.Context, tb testing.TB, args ...string) error {
	tb.Helper()
	cmd := exec.CommandContext(ctx, "go", append([]string{"run", "-C", labModule, "./cmd/lab"}, args...)...)
	cmd.Stdout, cmd.Stderr = tb.Output(), tb.Output()
	return cmd.Run()
}

func TestInteractiveJobsArePaidToTheBaseUnit(t *testing.T) {
	t.Parallel() // it mostly waits, as the next one does; real Ray has the machine to itself
	lab := up(t)
	if err := story.NewTeller(t.Output(), time.Now).Interactive(t.Context(), lab, samples); err != nil {
		t.Fatal(err)
	}
}

func TestRealRayProgramEarnsItsSupplierTokens(t *testing.T) {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		t.Skip("SKIPPED: real kubelets need root on Linux; run `sudo make demo-ray` or the tests as root")
	}
	lab := up(t, "--real-nodes", "2", "--no-fake-nodes")
	if err := story.NewTeller(t.Output(), time.Now).Batch(t.Context(), lab, samples); err != nil {
		t.Fatal(err)
	}
}
