// SPDX-License-Identifier: Apache-2.0

package conformance_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/bourse-dev/bourse/test/chaintest"
)

// TestTheChainsOwnUnitTestsPass runs them with the dependencies that the chain
// itself gets.
func TestTheChainsOwnUnitTestsPass(t *testing.T) {
	source, err := chaintest.Source()
	if err != nil {
		t.Fatal(err)
	}
	modules, err := chaintest.Install(t.Context(), source, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	command := exec.CommandContext(t.Context(), "node", "--test")
	command.Dir = source
	command.Env = append(os.Environ(), "NODE_PATH="+modules)
	if output, err := command.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}
