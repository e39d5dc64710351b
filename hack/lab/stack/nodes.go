// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/hack/lab/network"
	"github.com/bourse-dev/bourse/hack/lab/nodes"
)

// realPool is the pool in the labels of real nodes.
const realPool = "real"

// apiPort is where nodes expect the API server in its namespace.
const apiPort = 6443

// prepareNodes makes the namespaces in which the hub's control plane and the real nodes will run.
func (l *Lab) prepareNodes(ctx context.Context, o Options) error {
	if o.RealNodes == 0 {
		return nil
	}
	// Noted first, so that Down also removes what a failed attempt leaves.
	if err := l.note(func(s *State) { s.Nodes = l.path("nodes") }); err != nil {
		return err
	}
	made, err := nodes.Network(ctx, l.nodesConfig(o))
	if err != nil {
		return fmt.Errorf("prepare real nodes: %w", err)
	}
	l.network = &made
	if err := l.enterNodes(ctx); err != nil {
		return fmt.Errorf("enter the nodes' network: %w", err)
	}
	l.step("network namespaces are ready")
	return nil
}

// enterNodes makes the nodes' network the place of all that runs beside the hub, so that the manager reaches pods as one in a pod does.
// The API server has the same URL in there as outside.
func (l *Lab) enterNodes(ctx context.Context) error {
	server, err := url.Parse(l.network.Server)
	if err != nil {
		return fmt.Errorf("parse the API server's address: %w", err)
	}
	place, err := network.Open(ctx, network.Config{Dir: l.Dir, Hub: Hub, Ports: placePorts, Gate: l.state.Bin["gate"]}, l.network.Namespace,
		server.Host+"="+net.JoinHostPort(l.network.Bind.String(), strconv.Itoa(apiPort)))
	if err != nil {
		return err
	}
	l.ports = map[string]*ports{Hub: portsOf(place)}
	return l.note(func(s *State) { s.Places = map[string]Place{Hub: {Host: localhost, Namespace: place.Namespace}} })
}

// controlPlane returns the command that starts a cluster's control plane, in the nodes' network if it has real ones.
func (l *Lab) controlPlane(cluster string, o Options) []string {
	up := []string{
		l.state.Bin["localcluster"], "up",
		"--name", cluster, "--dir", l.path("clusters", cluster), "--mode", o.Mode,
	}
	if cluster != Hub || l.network == nil {
		host, port := l.apiServer(cluster)
		return l.place(cluster).enter(append(up, "--bind", host, "--port", port)...)
	}
	up = append(up,
		"--bind", l.network.Bind.String(), "--port", strconv.Itoa(apiPort),
		"--server", l.network.Server, "--nodes", strings.Join(o.nodeNames(), ","))
	return append([]string{"nsenter", "--net=" + l.network.Namespace}, up...)
}

// startNodes joins the real nodes to the hub.
func (l *Lab) startNodes(ctx context.Context, o Options) error {
	config := l.nodesConfig(o)
	config.Localcluster = l.state.Bin["localcluster"]
	config.Admin = l.path("clusters", Hub, "admin.kubeconfig")
	config.Kubeconfigs = map[string]string{}
	for _, name := range config.Names {
		config.Kubeconfigs[name] = l.path("clusters", Hub, name+".kubeconfig")
	}
	if err := nodes.Up(ctx, config); err != nil {
		return fmt.Errorf("start real nodes: %w", err)
	}
	l.step("cluster %s has %d real nodes", Hub, o.RealNodes)
	return nil
}

func (l *Lab) nodesConfig(o Options) nodes.Config {
	return nodes.Config{
		Dir: l.path("nodes"), Names: o.nodeNames(), Pool: realPool,
		Repo: l.Repo, Cache: l.Cache, Out: l.Out,
	}
}

func (o Options) nodeNames() []string {
	var names []string
	for i := range o.RealNodes {
		names = append(names, fmt.Sprintf("real-%d", i+1))
	}
	return names
}

func (l *Lab) downNodes(ctx context.Context, state State) error {
	if state.Nodes == "" {
		return nil
	}
	return nodes.Down(ctx, state.Nodes)
}
