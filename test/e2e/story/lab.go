// SPDX-License-Identifier: Apache-2.0

// Package story tells the life of jobs in a lab: it applies manifests, follows what happens to them in the API and on the
// chain, and checks the money by reading the chain itself. It knows the lab only by its state file and its addresses.
package story

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
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
	} `json:"clusters"`
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
	Client client.Client `json:"-"`
}

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
	config, err := clientcmd.BuildConfigFromFlags("", lab.Kubeconfig())
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
	if lab.Client, err = client.New(config, client.Options{Scheme: scheme}); err != nil {
		return nil, fmt.Errorf("connect to the hub: %w", err)
	}
	return lab, nil
}

// Kubeconfig is the path of the hub's kubeconfig.
func (l *Lab) Kubeconfig() string { return l.Clusters["hub"].Kubeconfig }

// Kubectl runs kubectl against the hub and returns what it prints.
func (l *Lab) Kubectl(ctx context.Context, args ...string) (string, error) {
	args = append([]string{"kubectl", "--kubeconfig", l.Kubeconfig()}, args...)
	out, err := exec.CommandContext(ctx, l.Bin["localcluster"], args...).CombinedOutput()
	if err != nil {
		return string(out), fmt.Errorf("kubectl %s: %w: %s", strings.Join(args[3:], " "), err, strings.TrimSpace(string(out)))
	}
	return string(out), nil
}
