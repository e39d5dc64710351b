// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

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
	_, err := l.table().Start(process.Spec{
		Name: "kwok-" + cluster,
		Args: []string{
			l.state.Bin["kwok"],
			"--kubeconfig", l.path("clusters", cluster, "admin.kubeconfig"),
			"--config", filepath.Join(l.Repo, "hack/lab/kwok/stages.yaml"),
			"--manage-all-nodes=false",
			"--manage-nodes-with-annotation-selector", fakenode.Annotation + "=fake",
			"--node-lease-duration-seconds=40",
			// Addresses for show: nothing listens there and nothing is routed there.
			"--node-ip=198.18.0.1",
			"--cidr=198.19.0.0/16",
		},
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
