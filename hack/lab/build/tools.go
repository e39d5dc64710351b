// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// kubernetesVersion is the version of hack/lab/cluster/go.mod; without it the programs call themselves v0.0.0.
const kubernetesVersion = "1.35.4"

// Localcluster is the control plane, the node programs and kubectl.
func Localcluster(repo string) Tool {
	set := func(variable, value string) string { return "-X k8s.io/" + variable + "=" + value }
	return Tool{
		Name:    "localcluster",
		Module:  filepath.Join(repo, "hack/lab/cluster"),
		Package: "./cmd/localcluster",
		Sources: []string{"."},
		LDFlags: strings.Join([]string{
			set("component-base/version.gitVersion", "v"+kubernetesVersion),
			set("component-base/version.gitMajor", "1"),
			set("component-base/version.gitMinor", "35"),
			set("component-base/version.gitTreeState", "clean"),
			set("component-base/version.gitCommit", "local"),
			set("client-go/pkg/version.gitVersion", "v"+kubernetesVersion),
		}, " "),
	}
}

// Kwok plays the kubelets of fake nodes.
func Kwok(repo string) Tool {
	return Tool{
		Name:    "kwok",
		Module:  filepath.Join(repo, "hack/lab/kwok"),
		Package: "sigs.k8s.io/kwok/cmd/kwok",
		Sources: []string{"go.mod", "go.sum"},
	}
}

// KubeRay is the KubeRay operator.
func KubeRay(repo string) Tool {
	return Tool{
		Name:    "kuberay",
		Module:  filepath.Join(repo, "hack/lab/kuberay"),
		Package: "github.com/ray-project/kuberay/ray-operator",
		Sources: []string{"go.mod", "go.sum"},
	}
}

// Manager is Bourse's own manager.
func Manager(repo string) Tool {
	return Tool{
		Name:    "manager",
		Module:  repo,
		Package: "./cmd/manager",
		Sources: []string{"go.mod", "go.sum", "api", "cmd", "controllers", "internal"},
	}
}

// Plugin is the command by which members ask the market: kubectl bourse.
func Plugin(repo string) Tool {
	return Tool{
		Name:    "kubectl-bourse",
		Module:  repo,
		Package: "./cmd/kubectl-bourse",
		Sources: []string{"go.mod", "go.sum", "api", "cmd/kubectl-bourse", "internal"},
	}
}

// Relay is a link between a member and the hub that can be broken.
func Relay(repo string) Tool {
	return Tool{
		Name:    "relay",
		Module:  filepath.Join(repo, "hack/lab"),
		Package: "./cmd/relay",
		Sources: []string{"go.mod", "go.sum", "cmd/relay", "relay"},
	}
}

// Gate joins addresses of a network namespace with others.
func Gate(repo string) Tool {
	return Tool{
		Name:    "gate",
		Module:  filepath.Join(repo, "hack/lab"),
		Package: "./cmd/gate",
		Sources: []string{"go.mod", "go.sum", "cmd/gate", "relay"},
	}
}

// Assets returns a folder with the programs etcd, kube-apiserver and kubectl, as envtest looks for them.
// They are links to localcluster.
func (c Cache) Assets(ctx context.Context, repo string) (string, error) {
	localcluster, err := c.Path(ctx, Localcluster(repo))
	if err != nil {
		return "", err
	}
	dir := filepath.Join(c.Dir, "assets", strings.TrimPrefix(filepath.Base(localcluster), "localcluster-"))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		if err := os.Symlink(localcluster, filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return "", fmt.Errorf("link %s: %w", name, err)
		}
	}
	return dir, nil
}

// ModuleDir returns where the source of a module that another module requires lies.
func ModuleDir(ctx context.Context, in, module string) (string, error) {
	list := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", module)
	list.Dir, list.Env = in, Environment()
	out, err := list.Output()
	if err != nil {
		return "", fmt.Errorf("find module %s: %w", module, err)
	}
	dir := strings.TrimSpace(string(out))
	if dir == "" {
		return "", fmt.Errorf("find module %s: not downloaded", module)
	}
	return dir, nil
}
