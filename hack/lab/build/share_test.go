// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/hack/lab/build"
)

// TestModulesShareKubernetes keeps the first build short: modules that name the same versions of client-go and of all that it needs
// compile it once for all of them.
func TestModulesShareKubernetes(t *testing.T) {
	groups := map[string][]string{
		"the operator's": {".", "hack/tools", "hack/lab/kwok"},
		"the cluster's":  {"hack/lab/cluster", "hack/lab/kuberay", "hack/lab/nodes/agents"},
	}
	for name, modules := range groups {
		t.Run(name, func(t *testing.T) {
			first := clientGo(t, modules[0])
			for _, module := range modules[1:] {
				if diff := cmp.Diff(first, clientGo(t, module)); diff != "" {
					t.Errorf("client-go is compiled once more for %s: bring these versions together with go get (-%s +%s):\n%s",
						module, modules[0], module, diff)
				}
			}
		})
	}
}

// clientGo returns the modules that a module of this repository compiles client-go from, with their versions.
func clientGo(t *testing.T, module string) map[string]string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{with .Module}}{{.Path}} {{.Version}}{{end}}", "k8s.io/client-go/kubernetes")
	list.Dir, list.Env = filepath.Join("../../..", module), build.Environment()
	out, err := list.Output()
	if err != nil {
		t.Fatalf("list packages in %s: %v", module, err)
	}
	versions := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, version, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			versions[path] = version
		}
	}
	return versions
}
