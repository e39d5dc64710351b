// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/bourse-dev/bourse/hack/lab/build"
	"github.com/bourse-dev/bourse/hack/lab/nodes"
	"github.com/bourse-dev/bourse/hack/lab/process"
)

const (
	// SystemNamespace is where the chart is installed.
	SystemNamespace = "bourse-system"

	chartFolder   = "charts/bourse"
	valuesFile    = "hack/lab/values.yaml"
	managerName   = "manager"
	managerWithin = 2 * time.Minute
)

// Manager tells how to watch the lab's manager.
type Manager struct {
	// Kubeconfig holds a token of the chart's service account.
	Kubeconfig string `json:"kubeconfig"`
	Health     string `json:"health"`
	Metrics    string `json:"metrics"`
	// Args are the whole command.
	Args []string `json:"args"`
}

// installChart renders the chart and applies it. The Deployment has no replicas in a
// lab: its command runs here, with the rights of its service account.
func (l *Lab) installChart(ctx context.Context) (deployment, error) {
	rendered, err := l.renderChart(ctx)
	if err != nil {
		return deployment{}, err
	}
	found, err := findDeployment(rendered)
	if err != nil {
		return deployment{}, err
	}
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + SystemNamespace + "}\n---\n"
	if _, err := l.kubectl(ctx, Hub, namespace+rendered, "apply", "--server-side", "-f", "-"); err != nil {
		return deployment{}, err
	}
	if err := l.awaitKinds(ctx, Hub, "-l", "app.kubernetes.io/name=bourse"); err != nil {
		return deployment{}, err
	}
	l.step("the chart is installed in %s", SystemNamespace)
	return found, nil
}

func (l *Lab) renderChart(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "run", "-C", "hack/tools", "./chart", "template", "--root", l.Repo,
		"--namespace", SystemNamespace, "--values", valuesFile, "--set", "chain.rpc={"+l.state.Chain.RPC+"}",
		"--set", "chain.leasePrograms={"+l.state.Chain.ProgramID+"}", chartFolder)
	cmd.Dir, cmd.Env = l.Repo, build.Environment()
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", fmt.Errorf("render chart: %w: %s", err, exit.Stderr)
	}
	if err != nil {
		return "", fmt.Errorf("render chart: %w", err)
	}
	return string(out), nil
}

// deployment is what the chart says about how the manager runs.
type deployment struct {
	account string
	args    []string
}

// findDeployment returns the one Deployment among rendered manifests.
func findDeployment(rendered string) (deployment, error) {
	var found []deployment
	for document := range strings.SplitSeq("\n"+rendered, "\n---") {
		var object struct {
			Kind string `json:"kind"`
			Spec struct {
				Template struct {
					Spec struct {
						ServiceAccountName string `json:"serviceAccountName"`
						Containers         []struct {
							Args []string `json:"args"`
						} `json:"containers"`
					} `json:"spec"`
				} `json:"template"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			return deployment{}, fmt.Errorf("parse chart: %w", err)
		}
		if pod := object.Spec.Template.Spec; object.Kind == "Deployment" && len(pod.Containers) > 0 {
			found = append(found, deployment{account: pod.ServiceAccountName, args: pod.Containers[0].Args})
		}
	}
	if len(found) != 1 {
		return deployment{}, fmt.Errorf("the chart has %d Deployments, want one", len(found))
	}
	return found[0], nil
}

// startManager runs the manager with the arguments of its Deployment, except what a process on this machine needs otherwise.
func (l *Lab) startManager(ctx context.Context, o Options, from deployment) error {
	kubeconfig := l.path("clusters", Hub, managerName+".kubeconfig")
	if err := l.writeKubeconfig(ctx, from.account, kubeconfig); err != nil {
		return err
	}
	var addresses [2]string
	for i := range addresses {
		var err error
		if addresses[i], err = freeAddress(ctx); err != nil {
			return err
		}
	}
	own := map[string]string{
		"kubeconfig":       kubeconfig,
		"supplier-keypair": l.state.Wallets[Supplier].Keypair,
		"buyer-keypair":    l.state.Wallets[Buyer].Keypair,
		"health-address":   addresses[0],
		"metrics-address":  addresses[1],
		// Leader election needs the namespace that a pod would read from its files.
		"leader-elect-namespace": SystemNamespace,
	}
	if o.RealNodes > 0 {
		own["hold-image"] = nodes.PauseImage
	}
	manager := Manager{
		Kubeconfig: kubeconfig, Health: "http://" + addresses[0], Metrics: "https://" + addresses[1] + "/metrics",
		Args: append([]string{l.state.Bin["manager"]}, withFlags(from.args, own)...),
	}
	if err := l.note(func(s *State) { s.Manager = &manager }); err != nil {
		return err
	}
	return l.runManager(ctx)
}

// runManager starts the manager as the state says and waits until it is ready.
func (l *Lab) runManager(ctx context.Context) error {
	manager := *l.state.Manager
	record, err := l.table().Start(process.Spec{Name: managerName, Args: manager.Args})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, managerWithin)
	defer cancel()
	if err := record.Await(ctx, func() (bool, error) { return answers(ctx, manager.Health+"/readyz"), nil }); err != nil {
		return err
	}
	l.step("the manager runs, with pid %d", record.PID)
	return nil
}

// RestartManager kills the manager as a crash would, and starts it again.
func (l *Lab) RestartManager(ctx context.Context) error {
	l.began = l.Now()
	if err := l.load(); err != nil {
		return err
	}
	if l.state.Manager == nil {
		return errors.New("this lab has no manager")
	}
	records, err := l.table().List()
	if err != nil {
		return err
	}
	records = slices.DeleteFunc(records, func(r process.Record) bool { return r.Name != managerName })
	if err := l.table().Stop(ctx, records, syscall.SIGKILL); err != nil {
		return err
	}
	return l.runManager(ctx)
}

// withFlags returns args in which every flag of set has its value from there.
// The arguments of a Deployment are single words, each --name=value or --name.
func withFlags(args []string, set map[string]string) []string {
	kept := slices.DeleteFunc(slices.Clone(args), func(arg string) bool {
		name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		_, replaced := set[name]
		return replaced
	})
	for _, name := range slices.Sorted(maps.Keys(set)) {
		kept = append(kept, "--"+name+"="+set[name])
	}
	return kept
}

// writeKubeconfig writes a kubeconfig for a service account, so that the account's own rights apply.
func (l *Lab) writeKubeconfig(ctx context.Context, account, path string) error {
	token, err := l.kubectl(ctx, Hub, "", "create", "token", account, "-n", SystemNamespace, "--duration", "168h")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(l.path("clusters", Hub, "admin.kubeconfig"))
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	var config map[string]any
	if err := yaml.Unmarshal(data, &config); err != nil {
		return fmt.Errorf("parse kubeconfig: %w", err)
	}
	user := map[string]string{"token": strings.TrimSpace(token)}
	config["users"] = []any{map[string]any{"name": account, "user": user}}
	config["contexts"] = []any{map[string]any{"name": Hub, "context": map[string]string{"cluster": Hub, "user": account}}}
	out, err := json.Marshal(config)
	if err != nil {
		return fmt.Errorf("encode kubeconfig: %w", err)
	}
	return os.WriteFile(path, out, 0o600)
}
