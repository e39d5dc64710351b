// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/fakenode"
	"github.com/bourse-dev/bourse/hack/lab/process"
)

// readyWithin is how long the nodes may take from their start to Ready on a busy machine.
const readyWithin = 3 * time.Minute

// introduce sets up what the nodes expect of the cluster, and starts its DNS server.
func (c Config) introduce(ctx context.Context, s site, agent string) error {
	if err := c.kubectl(ctx, clusterServices(), "apply", "-f", "-"); err != nil {
		return err
	}
	_, err := s.table().Start(process.Spec{
		Name: "dns",
		Args: s.inNamespace(hub, agent, "dns",
			"--kubeconfig", c.Kubeconfigs[c.Names[0]],
			"--listen", hubAddress.String()+":53", "--domain", clusterDomain),
	})
	return err
}

// awaitReady waits until every node is Ready and offers its GPUs.
func (c Config) awaitReady(ctx context.Context, s site) error {
	var nodes []string
	for _, name := range c.Names {
		nodes = append(nodes, "node/"+name)
	}
	offers := `--for=jsonpath={.status.allocatable.nvidia\.com/gpu}=` + strconv.Itoa(c.GPUs)
	for _, wanted := range []string{"--for=create", "--for=condition=Ready", offers} {
		args := append([]string{"wait", wanted, "--timeout=" + readyWithin.String()}, nodes...)
		if err := c.kubectl(ctx, "", args...); err != nil {
			return fmt.Errorf("await nodes: %w\n%s", err, s.tails())
		}
	}
	return nil
}

// tails returns the ends of all logs, to explain a failure.
func (s site) tails() string {
	records, err := s.table().List()
	if err != nil {
		return err.Error()
	}
	var tails []string
	for _, record := range records {
		tails = append(tails, record.Tail())
	}
	return strings.Join(tails, "\n")
}

func (c Config) kubectl(ctx context.Context, input string, args ...string) error {
	cmd := exec.CommandContext(ctx, c.Localcluster, append([]string{"kubectl", "--kubeconfig", c.Admin}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("kubectl %s: %w: %s", args[0], err, strings.TrimSpace(string(output)))
	}
	return nil
}

// discovered returns a node's labels, the same as those of a fake node with such GPUs
// but for the ones that a kubelet sets by itself.
func discovered(pool, model string, gpus int) (map[string]string, error) {
	file, err := fakenode.Parse(fmt.Appendf(nil,
		"pools: [{name: %q, region: local-1, zone: local-1a, nodes: [{model: %q, count: 1, gpus: %d}]}]", pool, model, gpus))
	if err != nil {
		return nil, fmt.Errorf("describe node: %w", err)
	}
	nodes := file.Nodes("hub")
	if len(nodes) != 1 {
		return nil, errors.New("describe node: no such node")
	}
	labels := nodes[0].Metadata.Labels
	for _, own := range []string{"hostname", "arch", "os"} {
		delete(labels, "kubernetes.io/"+own)
	}
	return labels, nil
}
