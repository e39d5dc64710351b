// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/fakenode"
	"github.com/bourse-dev/bourse/hack/lab/process"
)

// DefaultFakeNodes is the file that describes the fake nodes of a lab which names no other.
const DefaultFakeNodes = "hack/lab/kwok/nodes.yaml"

// readFakeNodes returns what the file describes.
func (o Options) readFakeNodes() (fakenode.File, error) {
	if o.FakeNodes == "" {
		return fakenode.File{}, nil
	}
	data, err := os.ReadFile(o.FakeNodes)
	if err != nil {
		return fakenode.File{}, fmt.Errorf("read fake nodes: %w", err)
	}
	return fakenode.Parse(data)
}

// startFakeNodes makes a cluster's fake nodes, starts kwok, and waits until the nodes are Ready.
func (l *Lab) startFakeNodes(ctx context.Context, cluster string, file fakenode.File) error {
	nodes := file.Nodes(cluster)
	if len(nodes) == 0 {
		return nil
	}
	kubelet, err := l.address(ctx, cluster)
	if err != nil {
		return err
	}
	host, port, err := net.SplitHostPort(kubelet)
	if err != nil {
		return fmt.Errorf("split the kubelet's address: %w", err)
	}
	logs, err := l.writeFakeLogs(cluster)
	if err != nil {
		return err
	}
	_, err = l.table().Start(process.Spec{
		Name: "kwok-" + cluster,
		Args: l.place(cluster).enter(
			l.state.Bin["kwok"],
			"--kubeconfig", l.path("clusters", cluster, "admin.kubeconfig"),
			"--config", filepath.Join(l.Repo, "hack/lab/kwok/stages.yaml"),
			"--config", logs,
			"--manage-all-nodes=false",
			"--manage-nodes-with-annotation-selector", fakenode.Annotation+"=fake",
			"--node-lease-duration-seconds=40",
			// Where the API server asks for logs. The certificate is kwok's own, and nobody checks it.
			"--server-address="+kubelet,
			"--node-ip="+host,
			"--node-port="+port,
			// Pods' addresses are for show: nothing listens there and nothing is routed there.
			"--cidr=198.19.0.0/16",
		),
	})
	if err != nil {
		return err
	}
	list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": nodes})
	if err != nil {
		return fmt.Errorf("encode nodes: %w", err)
	}
	if _, err := l.kubectl(ctx, cluster, string(list), "create", "-f", "-"); err != nil {
		return err
	}
	if _, err := l.kubectl(ctx, cluster, "", "wait", "--for=condition=Ready", "nodes", "-l", fakenode.PoolLabel, "--timeout=2m"); err != nil {
		return err
	}
	l.step("cluster %s has %d fake GPU nodes", cluster, len(nodes))
	return nil
}

// namedContainers are those whose logs name them. kwok has one text for all containers of a name, and so none that names the pod.
var namedContainers = []string{"ray-head", "ray-worker"}

// writeFakeLogs writes what fake pods print, and returns the file that makes kwok show it.
func (l *Lab) writeFakeLogs(cluster string) (string, error) {
	all, err := l.writeFakeLog(cluster, "fake.log", "it")
	if err != nil {
		return "", err
	}
	logs := []any{map[string]any{"logsFile": all}}
	for _, container := range namedContainers {
		own, err := l.writeFakeLog(cluster, "fake-"+container+".log", "its container "+container)
		if err != nil {
			return "", err
		}
		logs = append(logs, map[string]any{"logsFile": own, "containers": []string{container}})
	}
	config, err := json.Marshal(map[string]any{
		"apiVersion": "kwok.x-k8s.io/v1alpha1", "kind": "ClusterLogs", "metadata": map[string]string{"name": "fake-pods"},
		"spec": map[string]any{"logs": logs},
	})
	if err != nil {
		return "", fmt.Errorf("encode kwok's configuration: %w", err)
	}
	path := l.path("clusters", cluster, "kwok-logs.yaml")
	if err := os.WriteFile(path, config, 0o600); err != nil {
		return "", fmt.Errorf("write kwok's configuration: %w", err)
	}
	return path, nil
}

// writeFakeLog writes one such text, as a container runtime keeps it.
func (l *Lab) writeFakeLog(cluster, name, where string) (string, error) {
	var text bytes.Buffer
	for _, line := range []string{
		"This pod is fake: kwok plays it, and no program runs in " + where + ".",
		"A lab with real nodes runs real programs: lab up --real-nodes 2",
	} {
		fmt.Fprintf(&text, "%s stdout F %s\n", l.Now().UTC().Format(time.RFC3339Nano), line)
	}
	path := l.path("clusters", cluster, name)
	if err := os.WriteFile(path, text.Bytes(), 0o600); err != nil {
		return "", fmt.Errorf("write fake pods' output: %w", err)
	}
	return path, nil
}
