// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"

	"github.com/bourse-dev/bourse/hack/lab/network"
)

// How the clusters of a federation are kept apart.
const (
	// IsolationAuto is Namespaces where this machine lets us, and Loopback elsewhere.
	IsolationAuto = "auto"
	// IsolationNamespaces gives each cluster a network namespace, whose firewall lets nobody call a member.
	IsolationNamespaces = "namespaces"
	// IsolationLoopback gives each cluster a loopback address. Nothing keeps others from it, but the kernel tells who is connected.
	IsolationLoopback = "loopback"
)

const (
	// placePorts is how many ports a cluster in a namespace has: its API server's, and those of what runs beside it.
	placePorts = 11
	localhost  = "127.0.0.1"
)

// ports are those of a cluster in a namespace. The first three of the hub's are what members reach.
type ports struct {
	api, chain, gateway int
	free                []int
}

func portsOf(place network.Place) *ports {
	return &ports{api: place.Ports[0], chain: place.Ports[1], gateway: place.Ports[2], free: place.Ports[3:]}
}

// validateIsolation reports what is wrong with how clusters are kept apart.
func (o Options) validateIsolation() error {
	switch o.Isolation {
	case "", IsolationAuto:
	case IsolationNamespaces, IsolationLoopback:
		if !o.Federated {
			return fmt.Errorf("--isolation=%s is for the clusters of a federation: add --federated", o.Isolation)
		}
	default:
		return fmt.Errorf("isolation is %s, %s or %s", IsolationAuto, IsolationNamespaces, IsolationLoopback)
	}
	return nil
}

// isolate decides where each cluster of a federation runs, and prepares it.
func (l *Lab) isolate(ctx context.Context, o Options) error {
	if !o.Federated {
		return nil
	}
	kind := o.Isolation
	if kind == "" || kind == IsolationAuto {
		kind = IsolationNamespaces
		if err := network.Check(ctx); err != nil {
			l.step("clusters have loopback addresses instead of network namespaces: %v", err)
			kind = IsolationLoopback
		}
	}
	// Noted first, so that Down also removes what a failed attempt leaves.
	err := l.note(func(s *State) {
		s.Isolation, s.Places = kind, map[string]Place{}
		for i, cluster := range o.Clusters {
			s.Places[cluster] = Place{Host: "127.0.1." + strconv.Itoa(i+1)}
		}
	})
	if err != nil || kind == IsolationLoopback {
		return err
	}
	places, err := network.Up(ctx, network.Config{
		Dir: l.Dir, Hub: o.Clusters[0], Members: o.Clusters[1:], Ports: placePorts, Gate: l.state.Bin["gate"],
	})
	if err != nil {
		return fmt.Errorf("make network namespaces: %w", err)
	}
	err = l.note(func(s *State) {
		for cluster, place := range places {
			s.Places[cluster] = Place{Host: localhost, Namespace: place.Namespace, Address: place.Address}
		}
	})
	if err != nil {
		return err
	}
	l.ports = map[string]*ports{}
	for cluster, place := range places {
		l.ports[cluster] = portsOf(place)
	}
	l.step("network namespaces are ready: %d members, which nobody can call", len(o.Clusters)-1)
	return nil
}

// place is where a cluster runs: on the machine's loopback address, unless it was given another.
func (l *Lab) place(cluster string) Place {
	l.lock.Lock()
	defer l.lock.Unlock()
	if place, apart := l.state.Places[cluster]; apart {
		return place
	}
	return Place{Host: localhost}
}

// enter returns the command that runs where the cluster does.
func (p Place) enter(command ...string) []string {
	if p.Namespace == "" {
		return command
	}
	return network.Place{Namespace: p.Namespace}.Enter(command...)
}

// address returns an address for something beside a cluster to listen on, with a port that was free just now.
func (l *Lab) address(ctx context.Context, cluster string) (string, error) {
	place := l.place(cluster)
	if place.Namespace == "" {
		return freeAddress(ctx, place.Host)
	}
	l.lock.Lock()
	defer l.lock.Unlock()
	of := l.ports[cluster]
	if len(of.free) == 0 {
		return "", fmt.Errorf("cluster %s has no port left in its network namespace", cluster)
	}
	port := of.free[0]
	of.free = of.free[1:]
	return net.JoinHostPort(place.Host, strconv.Itoa(port)), nil
}

// apiServer is where a cluster's API server listens; port 0 is a free one.
func (l *Lab) apiServer(cluster string) (host, port string) {
	place := l.place(cluster)
	if place.Namespace == "" {
		return place.Host, "0"
	}
	return place.Host, strconv.Itoa(l.ports[cluster].api)
}

// chainPort is where the chain listens; 0 is a free port.
func (l *Lab) chainPort() int {
	if l.place(Hub).Namespace == "" {
		return 0
	}
	return l.ports[Hub].chain
}

// chainURL is where a cluster reaches the chain.
func (l *Lab) chainURL(cluster string) string {
	if cluster == Hub || l.place(cluster).Namespace == "" {
		return l.state.Chain.RPC
	}
	return "http://" + net.JoinHostPort(network.HubAddress, strconv.Itoa(network.ChainPort))
}

// gateway is where the hub's gateway listens, and where members reach it.
func (l *Lab) gateway(ctx context.Context) (listen, public string, err error) {
	place := l.place(Hub)
	if place.Namespace == "" {
		listen, err = freeAddress(ctx, place.Host)
		return listen, listen, err
	}
	listen = net.JoinHostPort(place.Host, strconv.Itoa(l.ports[Hub].gateway))
	if place.Address == "" {
		return listen, listen, nil // its members are where it is
	}
	return listen, net.JoinHostPort(network.HubAddress, strconv.Itoa(network.GatewayPort)), nil
}

// hubHost is the hub's API server as members reach it, host and port.
func (l *Lab) hubHost(server string) string {
	if l.place(Hub).Namespace == "" {
		return server
	}
	return net.JoinHostPort(network.HubAddress, strconv.Itoa(network.APIPort))
}

// isolationStatus writes how the clusters are kept apart, and what the firewalls have seen.
func (l *Lab) isolationStatus(ctx context.Context, out io.Writer, state State) error {
	switch state.Isolation {
	case IsolationLoopback:
		fmt.Fprintln(out, "isolation: a loopback address for each cluster; nothing keeps others from it")
	case IsolationNamespaces:
		fmt.Fprintln(out, "isolation: a network namespace for each cluster, with a firewall that lets nobody call a member")
	}
	var failed []error
	for _, cluster := range slices.Sorted(maps.Keys(state.Places)) {
		place := state.Places[cluster]
		if place.Namespace == "" || cluster == Hub {
			continue
		}
		seen, err := network.Place{Namespace: place.Namespace}.Count(ctx)
		if err != nil {
			failed = append(failed, err)
			continue
		}
		fmt.Fprintf(out, "firewall of %s, packets: %d asked, %d answers, %d refused, %d entered; %d astray, %d late\n",
			cluster, seen.Asked, seen.Answers, seen.Refused, seen.Entered, seen.Astray, seen.Late)
	}
	return errors.Join(failed...)
}
