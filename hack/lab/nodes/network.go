// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/hack/lab/process"
)

const (
	// hub names the namespace of the control plane, to which all nodes are connected.
	hub     = "hub"
	apiPort = 6443
)

var hubAddress = net.IPv4(10, 200, 0, 1)

func nodeAddress(index int) string { return "10.200.0." + strconv.Itoa(10+index) }

func podRange(index int) string { return "10.244." + strconv.Itoa(index) + ".0/24" }

// connect makes a bridge in the hub's namespace and joins each node's namespace to it.
// Neither has a link to this process's namespace, nor to the outside.
func (s site) connect(ctx context.Context, names []string) error {
	central := s.namespace(hub)
	steps := [][]string{
		{"ip", "netns", "add", central},
		{"ip", "-n", central, "link", "set", "lo", "up"},
		{"ip", "-n", central, "link", "add", "br0", "type", "bridge"},
		{"ip", "-n", central, "addr", "add", hubAddress.String() + "/24", "dev", "br0"},
		{"ip", "-n", central, "link", "set", "br0", "up"},
	}
	for i, name := range names {
		steps = append(steps, s.join(name, i+1, len(names))...)
	}
	for _, step := range steps {
		if err := run(ctx, step...); err != nil {
			return err
		}
	}
	for _, name := range append([]string{hub}, names...) {
		if err := run(ctx, "ip", "netns", "exec", s.namespace(name), "sysctl", "-qw", "net.ipv4.ip_forward=1"); err != nil {
			return err
		}
	}
	return nil
}

// join returns the steps that connect one of count nodes.
func (s site) join(name string, index, count int) [][]string {
	central, own, port := s.namespace(hub), s.namespace(name), "veth"+strconv.Itoa(index)
	steps := [][]string{
		{"ip", "netns", "add", own},
		{"ip", "link", "add", port, "netns", central, "type", "veth", "peer", "name", "eth0", "netns", own},
		{"ip", "-n", central, "link", "set", port, "master", "br0", "up"},
		{"ip", "-n", own, "link", "set", "lo", "up"},
		{"ip", "-n", own, "addr", "add", nodeAddress(index) + "/24", "dev", "eth0"},
		{"ip", "-n", own, "link", "set", "eth0", "up"},
		{"ip", "-n", own, "route", "add", "default", "via", hubAddress.String()},
		{"ip", "-n", central, "route", "add", podRange(index), "via", nodeAddress(index)},
	}
	for other := 1; other <= count; other++ {
		if other != index {
			steps = append(steps, []string{"ip", "-n", own, "route", "add", podRange(other), "via", nodeAddress(other)})
		}
	}
	return steps
}

// forward lets this process's namespace reach the API server: it listens here,
// on loopback, and hands the socket to a process in the hub's namespace.
func (s site) forward(ctx context.Context, agent string) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	defer listener.Close() //nolint:errcheck // The forwarder has its own copy.
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return "", fmt.Errorf("listener is a %T", listener)
	}
	socket, err := tcp.File()
	if err != nil {
		return "", fmt.Errorf("copy socket: %w", err)
	}
	defer socket.Close() //nolint:errcheck // The forwarder has its own copy.
	to := net.JoinHostPort(hubAddress.String(), strconv.Itoa(apiPort))
	_, err = s.table().Start(process.Spec{
		Name:  "forward",
		Args:  s.inNamespace(hub, agent, "forward", "--fd", "3", "--to", to),
		Files: []*os.File{socket},
	})
	return "https://" + listener.Addr().String(), err
}

// inNamespace returns the arguments that run a command in the network namespace and the cgroup of a node or the hub.
func (s site) inNamespace(of string, command ...string) []string {
	return append([]string{"nsenter", "--net=" + s.namespacePath(of), "sh", "-c", joinScript, "join", s.cgroup(of)}, command...)
}

// run runs a command to its end. Its output is in the error.
func run(ctx context.Context, args ...string) error {
	output, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
