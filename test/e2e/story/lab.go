// SPDX-License-Identifier: Apache-2.0

// Package story tells the life of jobs in a lab: it applies manifests, follows what happens to them in the API and on the
// chain, and checks the money by reading the chain itself. It knows the lab only by its state file and its addresses.
package story

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// Lab is a running lab.
type Lab struct {
	// Dir is the lab's folder.
	Dir string
	// Clusters are its Kubernetes APIs by name.
	Clusters map[string]struct {
		Kubeconfig string `json:"kubeconfig"`
		Server     string `json:"server"`
	} `json:"clusters"`
	// Suppliers are those that are clusters of their own. Each has one name, which is also that of its cluster and of its namespace in the hub.
	Suppliers map[string]struct {
		HubKubeconfig string `json:"hubKubeconfig"`
		Link          string `json:"link"`
	} `json:"suppliers"`
	// Buyer is the buyer, if it is a cluster of its own.
	Buyer *struct {
		HubKubeconfig string `json:"hubKubeconfig"`
		Link          string `json:"link"`
	} `json:"buyer"`
	// Members are the kubeconfigs of the members that have no cluster of their own, with a member's rights in the hub.
	Members map[string]string `json:"members"`
	// Isolation is how a federation's clusters are kept apart, and Places where each of them runs.
	Isolation string `json:"isolation"`
	Places    map[string]struct {
		Host      string `json:"host"`
		Namespace string `json:"namespace"`
		Address   string `json:"address"`
	} `json:"places"`
	// Chain is its Solana chain.
	Chain struct {
		RPC       string `json:"rpc"`
		ProgramID string `json:"programID"`
		Mints     map[string]struct {
			Address  string `json:"address"`
			Decimals uint8  `json:"decimals"`
		} `json:"mints"`
	} `json:"chain"`
	// Bin are its programs by name.
	Bin map[string]string `json:"bin"`
	// Client speaks to the hub's API.
	Client client.WithWatch `json:"-"`

	clients map[string]client.WithWatch
}

const (
	// hub is the name of the cluster that the market is in.
	hub = "hub"
	// buyer is that of the buyer's own cluster, if it has one.
	buyer = "buyer"
)

// Open reads the state of the lab in dir and connects to its hub.
func Open(dir string) (*Lab, error) {
	data, err := os.ReadFile(filepath.Join(dir, "lab.json"))
	if err != nil {
		return nil, fmt.Errorf("read the lab's state: %w", err)
	}
	lab := &Lab{Dir: dir}
	if err := json.Unmarshal(data, lab); err != nil {
		return nil, fmt.Errorf("parse the lab's state: %w", err)
	}
	lab.clients = map[string]client.WithWatch{}
	for name, cluster := range lab.Clusters {
		if lab.clients[name], err = Connect(cluster.Kubeconfig); err != nil {
			return nil, fmt.Errorf("connect to cluster %s: %w", name, err)
		}
	}
	lab.Client = lab.clients[hub]
	return lab, nil
}

// Connect speaks to the API that a kubeconfig leads to, with the rights that it gives.
func Connect(kubeconfig string) (client.WithWatch, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("read the kubeconfig: %w", err)
	}
	config.QPS = -1 // the API server's own limits are enough
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return nil, err
	}
	if err := boursev1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	return client.NewWithWatch(config, client.Options{Scheme: scheme})
}

// Kubeconfig is the path of the hub's kubeconfig.
func (l *Lab) Kubeconfig() string { return l.Clusters[hub].Kubeconfig }

// ClusterOf is the cluster whose GPUs are sold from a namespace of the hub: the supplier's own one, or the hub.
func (l *Lab) ClusterOf(namespace string) string {
	if _, apart := l.Suppliers[namespace]; apart {
		return namespace
	}
	return hub
}

// Sellers are the clusters whose GPUs are sold.
func (l *Lab) Sellers() []string {
	if len(l.Suppliers) == 0 {
		return []string{hub}
	}
	return slices.Sorted(maps.Keys(l.Suppliers))
}

// Orders is the cluster in which jobs are applied: the buyer's own one, or the hub.
func (l *Lab) Orders() string {
	if l.Buyer != nil {
		return buyer
	}
	return hub
}

// Enter returns the command that runs where a cluster does.
func (l *Lab) Enter(cluster string, command ...string) []string {
	if namespace := l.Places[cluster].Namespace; namespace != "" {
		return append([]string{"nsenter", "--net=" + namespace}, command...)
	}
	return command
}

// Access is the path of the kubeconfig by which a member reaches the hub: with its own rights, and no others.
func (l *Lab) Access(member string) string {
	if member == buyer && l.Buyer != nil {
		return l.Buyer.HubKubeconfig
	}
	if supplier, apart := l.Suppliers[member]; apart {
		return supplier.HubKubeconfig
	}
	return l.Members[member]
}

// Bourse is kubectl bourse as a member runs it: in its own place, and with its own credential.
func (l *Lab) Bourse(ctx context.Context, member string, args ...string) *exec.Cmd {
	command := l.Enter(member, append(append([]string{l.Bin["kubectl-bourse"]}, args...), "--kubeconfig", l.Access(member))...)
	return exec.CommandContext(ctx, command[0], command[1:]...)
}

// Logs is what kubectl bourse logs shows a member of a job. The error says why it shows nothing.
func (l *Lab) Logs(ctx context.Context, member string, job *Job, which ...string) (string, error) {
	text, err := l.Bourse(ctx, member, append([]string{"logs", job.Name, "-n", job.Namespace}, which...)...).Output()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(append([]string{"kubectl bourse logs"}, which...), " "), err, bytes.TrimSpace(exit.Stderr))
	}
	return string(text), err
}

// In speaks to the API of one of the clusters.
func (l *Lab) In(cluster string) client.WithWatch { return l.clients[cluster] }

// Kubectl runs kubectl against the hub and returns what it prints.
func (l *Lab) Kubectl(ctx context.Context, args ...string) (string, error) {
	return l.KubectlIn(ctx, hub, args...)
}

// KubectlIn runs kubectl against one of the clusters and returns what it prints.
func (l *Lab) KubectlIn(ctx context.Context, cluster string, args ...string) (string, error) {
	args = append([]string{"kubectl", "--kubeconfig", l.Clusters[cluster].Kubeconfig}, args...)
	out, err := exec.CommandContext(ctx, l.Bin["localcluster"], args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args[3:], " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
