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
	// certifiedName is in the certificate of every API server.
	certifiedName = "localhost"
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

// installChart renders the chart, with values that count more than the lab's usual ones, and applies it in a cluster. The Deployment has
// no replicas in a lab: its command runs here, with the rights of its service account.
func (l *Lab) installChart(ctx context.Context, cluster string, values ...string) (deployment, error) {
	rendered, err := l.renderChart(ctx, cluster, values)
	if err != nil {
		return deployment{}, err
	}
	found, err := findDeployment(rendered)
	if err != nil {
		return deployment{}, err
	}
	namespace := "apiVersion: v1\nkind: Namespace\nmetadata: {name: " + SystemNamespace + "}\n---\n"
	if _, err := l.kubectl(ctx, cluster, namespace+rendered, "apply", "--server-side", "-f", "-"); err != nil {
		return deployment{}, err
	}
	if err := l.awaitKinds(ctx, cluster, "-l", "app.kubernetes.io/name=bourse"); err != nil {
		return deployment{}, err
	}
	l.step("the chart is installed in cluster %s, namespace %s", cluster, SystemNamespace)
	return found, nil
}

func (l *Lab) renderChart(ctx context.Context, cluster string, values []string) (string, error) {
	args := []string{
		"run", "-C", "hack/tools", "./chart", "template", "--root", l.Repo, "--namespace", SystemNamespace, "--values", valuesFile,
		"--set", "chain.rpc={" + l.chainURL(cluster) + "}", "--set", "chain.leasePrograms={" + l.state.Chain.ProgramID + "}",
	}
	for _, value := range values {
		args = append(args, "--set", value)
	}
	cmd := exec.CommandContext(ctx, "go", append(args, chartFolder)...)
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

// startAllRoles runs a manager that is market, supplier and buyer at once, with a gateway.
func (l *Lab) startAllRoles(ctx context.Context, o Options, from deployment) error {
	own := map[string]string{
		"buyer-keypair": l.state.Wallets[Buyer].Keypair, "supplier-keypair": l.state.Wallets[Supplier].Keypair,
	}
	if o.RealNodes > 0 {
		own["hold-image"] = nodes.PauseImage
	}
	return l.startMarket(ctx, from, own)
}

// startManager runs the hub's manager, which plays all roles that its chart was installed with.
func (l *Lab) startManager(ctx context.Context, from deployment, own map[string]string) error {
	manager, err := l.prepareManager(ctx, Hub, from, own)
	if err != nil {
		return err
	}
	if err := l.note(func(s *State) { s.Manager = &manager }); err != nil {
		return err
	}
	return l.runManager(ctx, managerName, manager)
}

// prepareManager decides how a cluster's manager runs: with the arguments of its Deployment, except its own ones and what a process on this
// machine needs otherwise.
func (l *Lab) prepareManager(ctx context.Context, cluster string, from deployment, own map[string]string) (Manager, error) {
	kubeconfig := l.path("clusters", cluster, managerName+".kubeconfig")
	if err := l.writeKubeconfig(ctx, account{cluster: cluster, namespace: SystemNamespace, name: from.account}, kubeconfig); err != nil {
		return Manager{}, err
	}
	var addresses [2]string
	for i := range addresses {
		var err error
		if addresses[i], err = l.address(ctx, cluster); err != nil {
			return Manager{}, err
		}
	}
	set := map[string]string{
		"kubeconfig":      kubeconfig,
		"health-address":  addresses[0],
		"metrics-address": addresses[1],
		// Leader election needs the namespace that a pod would read from its files.
		"leader-elect-namespace": SystemNamespace,
	}
	maps.Copy(set, own)
	return Manager{
		Kubeconfig: kubeconfig, Health: "http://" + addresses[0], Metrics: "https://" + addresses[1] + "/metrics",
		Args: l.place(cluster).enter(append([]string{l.state.Bin["manager"]}, withFlags(from.args, set)...)...),
	}, nil
}

// runManager starts a manager and waits until it is ready.
func (l *Lab) runManager(ctx context.Context, name string, manager Manager) error {
	record, err := l.table().Start(process.Spec{Name: name, Args: manager.Args})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, managerWithin)
	defer cancel()
	if err := record.Await(ctx, func() (bool, error) { return answers(ctx, manager.Health+"/readyz"), nil }); err != nil {
		return err
	}
	l.step("the %s runs, with pid %d", name, record.PID)
	return nil
}

// RestartManager kills the hub's manager, or that of a member with a cluster of its own, as a crash would, and starts it again. It waits until
// the manager is ready, unless it was told not to: a manager is not ready while its hub is away.
func (l *Lab) RestartManager(ctx context.Context, member string, wait bool) error {
	l.began = l.Now()
	if err := l.load(); err != nil {
		return err
	}
	name, manager := managerName, l.state.Manager
	if member != "" {
		remote, ok := l.state.member(member)
		if !ok {
			return fmt.Errorf("this lab has no member %s with a cluster of its own", member)
		}
		name, manager = managerOf(member), &remote.Manager
	}
	if manager == nil {
		return errors.New("this lab has no manager")
	}
	records, err := l.table().List()
	if err != nil {
		return err
	}
	records = slices.DeleteFunc(records, func(r process.Record) bool { return r.Name != name })
	if err := l.table().Stop(ctx, records, syscall.SIGKILL); err != nil {
		return err
	}
	if !wait {
		_, err := l.table().Start(process.Spec{Name: name, Args: manager.Args})
		return err
	}
	return l.runManager(ctx, name, *manager)
}

// member finds a member that has a cluster of its own.
func (s State) member(name string) (Remote, bool) {
	if name == Buyer && s.Buyer != nil {
		return *s.Buyer, true
	}
	remote, ok := s.Suppliers[name]
	return remote, ok
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

// account is a service account of a cluster.
type account struct {
	cluster, namespace, name string
	// server is where it reaches the cluster, if that is not the usual way. It has another name there than the cluster's certificate.
	server string
}

// writeKubeconfig writes a kubeconfig for a service account, so that the account's own rights apply, in its own namespace unless told otherwise.
func (l *Lab) writeKubeconfig(ctx context.Context, of account, path string) error {
	token, err := l.kubectl(ctx, of.cluster, "", "create", "token", of.name, "-n", of.namespace, "--duration", "168h")
	if err != nil {
		return err
	}
	data, err := os.ReadFile(l.path("clusters", of.cluster, "admin.kubeconfig"))
	if err != nil {
		return fmt.Errorf("read kubeconfig: %w", err)
	}
	text, err := of.kubeconfig(data, strings.TrimSpace(token))
	if err != nil {
		return err
	}
	return os.WriteFile(path, text, 0o600)
}

// kubeconfig is the administrator's kubeconfig with the account's token in the place of every other credential.
func (a account) kubeconfig(admin []byte, token string) ([]byte, error) {
	var config struct {
		Clusters []struct {
			Cluster struct {
				Server    string `json:"server"`
				Authority string `json:"certificate-authority-data"`
			} `json:"cluster"`
		} `json:"clusters"`
	}
	if err := yaml.Unmarshal(admin, &config); err != nil {
		return nil, fmt.Errorf("parse kubeconfig: %w", err)
	}
	if len(config.Clusters) != 1 {
		return nil, fmt.Errorf("the kubeconfig has %d clusters, want one", len(config.Clusters))
	}
	to := config.Clusters[0].Cluster
	way := map[string]string{"server": to.Server, "certificate-authority-data": to.Authority}
	if a.server != "" {
		way["server"], way["tls-server-name"] = a.server, certifiedName
	}
	text, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Config", "current-context": a.cluster,
		"clusters": []any{map[string]any{"name": a.cluster, "cluster": way}},
		"users":    []any{map[string]any{"name": a.name, "user": map[string]string{"token": token}}},
		"contexts": []any{map[string]any{"name": a.cluster, "context": map[string]string{"cluster": a.cluster, "user": a.name, "namespace": a.namespace}}},
	})
	if err != nil {
		return nil, fmt.Errorf("encode kubeconfig: %w", err)
	}
	return text, nil
}
