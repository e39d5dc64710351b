// SPDX-License-Identifier: Apache-2.0

package chaintest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
)

// TB is what Run needs of a test.
type TB interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
}

// Run starts a chain for a test and stops it at the test's end. Without Node
// the test is skipped on a developer's machine, and fails where CI is set.
func Run(t TB, config Config) *Process {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil && os.Getenv("CI") == "" {
		fmt.Fprintf(os.Stderr, "chaintest: SKIPPED, because Node is not installed: %v\n", err)
		t.Skipf("the local chain needs Node %d or later: %v", oldestNode, err)
	}
	process, err := Start(t.Context(), config)
	if err != nil {
		t.Fatalf("start chain: %v", err)
	}
	t.Cleanup(func() {
		if err := process.Stop(); err != nil {
			t.Errorf("stop chain: %v", err)
		}
	})
	return process
}
