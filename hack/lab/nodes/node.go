// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/process"
)

const (
	containerdSocket = "/run/containerd/containerd.sock"
	// startWithin is how long one part of a node may take to start on a busy machine.
	startWithin = 2 * time.Minute
)

//go:embed join.sh
var joinScript string

//go:embed enter.sh
var enterScript string

// node starts one node.
type node struct {
	Config
	site
	programs

	name string
	// index counts from 1.
	index int
}

func (n node) file(elements ...string) string {
	return n.site.path(append([]string{n.name}, elements...)...)
}

func (n node) start(ctx context.Context) error {
	if err := n.writeFiles(); err != nil {
		return err
	}
	if err := makeCgroup(n.cgroup(n.name)); err != nil {
		return err
	}
	if err := cloneStore(ctx, n.images, n.file("containerd")); err != nil {
		return fmt.Errorf("copy images: %w", err)
	}
	runtime, err := n.startContainerd(ctx)
	if err != nil {
		return err
	}
	if err := n.startKubelet(ctx, runtime); err != nil {
		return err
	}
	_, err = n.table().Start(process.Spec{Name: n.name + "-kube-proxy", Args: n.inNamespace(n.name, n.proxy()...)})
	return err
}

// startContainerd starts containerd as the first process of the node's mount namespace.
func (n node) startContainerd(ctx context.Context) (process.Record, error) {
	record, err := n.table().Start(process.Spec{
		Name: n.name + "-containerd",
		Args: n.inNamespace(n.name, "unshare", "--mount", "--uts", "--propagation", "private",
			"sh", "-c", enterScript, "enter", n.name, n.file(),
			"containerd", "--config", n.file("containerd.toml")),
	})
	if err != nil {
		return record, err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	// Through the process's root, the path is short enough for a socket wherever the folder lies.
	socket := filepath.Join("/proc", strconv.Itoa(record.PID), "root", containerdSocket)
	if err := record.Await(ctx, func() (bool, error) { return answers(ctx, socket), nil }); err != nil {
		return record, err
	}
	return record, run(ctx, "ctr", "--address", socket, "--namespace", "k8s.io", "images", "tag", "--force", RayImage, publishedRayImage)
}

// startKubelet starts the kubelet and, once that runs, the device plugin.
func (n node) startKubelet(ctx context.Context, runtime process.Record) error {
	labels, err := discovered(n.Pool, n.Model, n.GPUs)
	if err != nil {
		return err
	}
	kubelet, err := n.table().Start(process.Spec{
		Name: n.name + "-kubelet",
		Args: n.beside(runtime, append([]string{n.Localcluster}, n.kubelet(labels)...)...),
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	socket := filepath.Join("/proc", strconv.Itoa(runtime.PID), "root/var/lib/kubelet/device-plugins/kubelet.sock")
	if err := kubelet.Await(ctx, func() (bool, error) { return answers(ctx, socket), nil }); err != nil {
		return err
	}
	_, err = n.table().Start(process.Spec{
		Name: n.name + "-gpu",
		Args: n.beside(runtime, n.agent, "gpu", "--node", n.name, "--count", strconv.Itoa(n.GPUs)),
	})
	return err
}

// beside returns the arguments that run a command in all the namespaces of the node's container runtime.
func (n node) beside(runtime process.Record, command ...string) []string {
	enter := []string{"nsenter", "--target", strconv.Itoa(runtime.PID), "--mount", "--uts"}
	return n.inNamespace(n.name, append(enter, command...)...)
}

func (n node) kubelet(labels map[string]string) []string {
	return []string{
		"kubelet",
		"--config=" + n.file("kubelet.yaml"),
		"--kubeconfig=" + n.Kubeconfigs[n.name],
		"--hostname-override=" + n.name,
		"--node-ip=" + nodeAddress(n.index),
		"--node-labels=" + flat(labels),
	}
}

func (n node) proxy() []string {
	return []string{
		n.Localcluster, "kube-proxy",
		"--kubeconfig=" + n.Kubeconfigs[n.name],
		"--proxy-mode=nftables",
		"--hostname-override=" + n.name,
		"--cluster-cidr=10.244.0.0/16",
		// The limit belongs to the machine, not to one of several nodes on it.
		"--conntrack-max-per-core=0",
	}
}

// flat writes labels as a kubelet's flag wants them.
func flat(labels map[string]string) string {
	var pairs []string
	for _, key := range slices.Sorted(maps.Keys(labels)) {
		pairs = append(pairs, key+"="+labels[key])
	}
	return strings.Join(pairs, ",")
}

func (n node) writeFiles() error {
	for _, dir := range []string{"net.d", "pod-logs", "volume-plugins"} {
		if err := os.MkdirAll(n.file(dir), 0o755); err != nil {
			return fmt.Errorf("make folder: %w", err)
		}
	}
	authority, err := authority(n.Kubeconfigs[n.name])
	if err != nil {
		return err
	}
	for name, content := range map[string]string{
		"ca.crt":                authority,
		"containerd.toml":       containerdConfig(n.file()),
		"kubelet.yaml":          kubeletConfig(n.file(), n.cgroup(n.name)),
		"net.d/10-pod.conflist": podNetwork(n.file("ipam"), podRange(n.index)),
		"resolv.conf":           "",
	} {
		if err := os.WriteFile(n.file(name), []byte(content), 0o600); err != nil {
			return fmt.Errorf("write config: %w", err)
		}
	}
	return nil
}

func answers(ctx context.Context, socket string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}
