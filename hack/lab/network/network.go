// SPDX-License-Identifier: Apache-2.0

// Package network owns the network namespaces in which the clusters of a federation run: the links between them, the firewall that lets
// members call and nobody call members, and the lab's own ways in. It does not know what runs in them.
package network

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/hack/lab/process"
)

const (
	// idPrefix begins the names of all namespaces. It differs from those of real nodes.
	idPrefix   = "bourse-fed-"
	folder     = "/run/netns"
	loopback   = "127.0.0.1"
	maxMembers = 250
	// HubAddress is where members reach the hub.
	HubAddress = "10.201.0.1"
	// APIPort, ChainPort and GatewayPort are the hub's ports that members reach.
	APIPort     = 6443
	ChainPort   = 8899
	GatewayPort = 9445
	// uplink is a member's end of its link.
	uplink = "uplink"
)

// Place is where a cluster runs: a network namespace whose loopback address has some ports which the machine's loopback address has, too.
// So one URL leads to the same server from inside and, for whoever runs the lab, from outside.
type Place struct {
	// Namespace is the path of the network namespace.
	Namespace string
	// Address is the cluster's own on its link.
	Address string
	// Ports are free on the loopback address of the namespace, and lead there from that of the machine.
	Ports []int
}

// Config says which namespaces a lab has.
type Config struct {
	// Dir is the lab's folder. The names follow from it, so that nothing which a killed command left is lost.
	Dir string
	// Hub and Members are the clusters' names.
	Hub     string
	Members []string
	// Ports is how many ports each needs.
	Ports int
	// Gate is the path of the program that passes connections on.
	Gate string
}

// front are the hub's ports on its address, in the order of the ports behind them.
var front = []int{APIPort, ChainPort, GatewayPort}

// name is that of a cluster's namespace.
func name(dir, cluster string) string { return id(dir) + "-" + cluster }

// id begins the names of everything that a lab has outside of its folder.
func id(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return idPrefix + hex.EncodeToString(sum[:4])
}

// Up makes the namespaces and starts their gates. First it removes what a lab in the same folder, or one that was killed, has left.
func Up(ctx context.Context, c Config) (map[string]Place, error) {
	if len(c.Members) > maxMembers {
		return nil, fmt.Errorf("%d members: have %d at the most", len(c.Members), maxMembers)
	}
	unlock, err := lock()
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := sweep(ctx); err != nil {
		return nil, fmt.Errorf("remove leftovers: %w", err)
	}
	if err := remove(ctx, id(c.Dir)); err != nil {
		return nil, fmt.Errorf("remove leftovers: %w", err)
	}
	if err := remember(c.Dir); err != nil {
		return nil, err
	}
	places := map[string]Place{c.Hub: {Namespace: filepath.Join(folder, name(c.Dir, c.Hub)), Address: HubAddress}}
	if err := c.makeHub(ctx); err != nil {
		return nil, fmt.Errorf("make the hub's namespace: %w", err)
	}
	for i, member := range c.Members {
		if err := c.makeMember(ctx, i+1, member); err != nil {
			return nil, fmt.Errorf("make the namespace of %s: %w", member, err)
		}
		places[member] = Place{Namespace: filepath.Join(folder, name(c.Dir, member)), Address: memberAddress(i + 1)}
	}
	for cluster, place := range places {
		if places[cluster], err = c.open(ctx, cluster, place); err != nil {
			return nil, fmt.Errorf("open the gate of %s: %w", cluster, err)
		}
	}
	return places, nil
}

func memberAddress(index int) string { return "10.201." + strconv.Itoa(index) + ".2" }

func gatewayAddress(index int) string { return "10.201." + strconv.Itoa(index) + ".1" }

// makeHub makes the hub's namespace. Its address is on no link, so that it is the same for all members.
func (c Config) makeHub(ctx context.Context) error {
	hub := name(c.Dir, c.Hub)
	for _, step := range [][]string{
		{"ip", "netns", "add", hub},
		{"ip", "-n", hub, "link", "set", "lo", "up"},
		{"ip", "-n", hub, "addr", "add", HubAddress + "/32", "dev", "lo"},
	} {
		if err := run(ctx, "", step...); err != nil {
			return err
		}
	}
	return run(ctx, hubRules(), inside(hub, "nft", "-f", "-")...)
}

// makeMember makes a member's namespace, with one link that leads to the hub.
func (c Config) makeMember(ctx context.Context, index int, member string) error {
	hub, own, port := name(c.Dir, c.Hub), name(c.Dir, member), "member"+strconv.Itoa(index)
	for _, step := range [][]string{
		{"ip", "netns", "add", own},
		{"ip", "-n", own, "link", "set", "lo", "up"},
		{"ip", "link", "add", port, "netns", hub, "type", "veth", "peer", "name", uplink, "netns", own},
	} {
		if err := run(ctx, "", step...); err != nil {
			return err
		}
	}
	// Before the link is up, so that nothing ever goes by.
	if err := run(ctx, memberRules(), inside(own, "nft", "-f", "-")...); err != nil {
		return err
	}
	for _, step := range [][]string{
		{"ip", "-n", hub, "addr", "add", gatewayAddress(index) + "/30", "dev", port},
		{"ip", "-n", hub, "link", "set", port, "up"},
		{"ip", "-n", own, "addr", "add", memberAddress(index) + "/30", "dev", uplink},
		{"ip", "-n", own, "link", "set", uplink, "up"},
		{"ip", "-n", own, "route", "add", "default", "via", gatewayAddress(index)},
	} {
		if err := run(ctx, "", step...); err != nil {
			return err
		}
	}
	return nil
}

// open starts the gate of a place. On the link itself a member offers the same ports, as a cluster does in a data centre, so that it is the
// firewall that keeps callers away, and not that nothing listens there.
func (c Config) open(ctx context.Context, cluster string, place Place) (Place, error) {
	return c.start(ctx, cluster, place, func(i, port int) []string {
		local := net.JoinHostPort(loopback, strconv.Itoa(port))
		switch {
		case cluster != c.Hub:
			return []string{net.JoinHostPort(place.Address, strconv.Itoa(port)) + "=" + local}
		case i < len(front):
			return []string{net.JoinHostPort(place.Address, strconv.Itoa(front[i])) + "=" + local}
		default:
			return nil
		}
	})
}

// Open makes a place of a namespace that somebody else has made, and will remove: the hub's, which has no members then. Its gate also passes
// on the given ways in the namespace, each LISTEN=TARGET.
func Open(ctx context.Context, c Config, namespace string, ways ...string) (Place, error) {
	return c.start(ctx, c.Hub, Place{Namespace: namespace}, func(i, _ int) []string {
		if i > 0 {
			return nil
		}
		return ways
	})
}

// start starts a gate with a place's ports, and with the ways that each of them adds. Its sockets towards the lab listen on the machine's
// loopback address, while the process that has them lives in the namespace: no packet of the lab's own crosses a link.
func (c Config) start(ctx context.Context, cluster string, place Place, more func(i, port int) []string) (Place, error) {
	var sockets []*os.File
	defer func() {
		for _, socket := range sockets {
			_ = socket.Close() // the gate has its own copy
		}
	}()
	command := place.Enter(c.Gate)
	for i := range c.Ports {
		socket, port, err := listen(ctx)
		if err != nil {
			return place, err
		}
		sockets, place.Ports = append(sockets, socket), append(place.Ports, port)
		command = append(command, fmt.Sprintf("fd:%d=%s", 3+i, net.JoinHostPort(loopback, strconv.Itoa(port))))
		command = append(command, more(i, port)...)
	}
	if err := reserve(ctx, place); err != nil {
		return place, err
	}
	_, err := process.Table{Dir: c.Dir}.Start(process.Spec{Name: "gate-" + cluster, Args: command, Files: sockets})
	return place, err
}

// listen opens a socket on the machine's loopback address.
func listen(ctx context.Context) (*os.File, int, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(loopback, "0"))
	if err != nil {
		return nil, 0, fmt.Errorf("listen: %w", err)
	}
	defer listener.Close() //nolint:errcheck // the file is a copy
	tcp, ok := listener.(*net.TCPListener)
	if !ok {
		return nil, 0, fmt.Errorf("listener is a %T", listener)
	}
	socket, err := tcp.File()
	if err != nil {
		return nil, 0, fmt.Errorf("copy socket: %w", err)
	}
	return socket, tcp.Addr().(*net.TCPAddr).Port, nil
}

// reserve keeps the kernel from giving the place's ports to others in the namespace.
func reserve(ctx context.Context, place Place) error {
	var ports []string
	for _, port := range place.Ports {
		ports = append(ports, strconv.Itoa(port))
	}
	set := "net.ipv4.ip_local_reserved_ports=" + strings.Join(ports, ",")
	return run(ctx, "", "ip", "netns", "exec", filepath.Base(place.Namespace), "sysctl", "-qw", set)
}

// Enter returns the command that runs in the place.
func (p Place) Enter(command ...string) []string {
	return append([]string{"nsenter", "--net=" + p.Namespace}, command...)
}

func inside(namespace string, command ...string) []string {
	return Place{Namespace: filepath.Join(folder, namespace)}.Enter(command...)
}

// Down ends and removes everything of a lab's network. It may be called at any time: also when Up failed half-way or never ran.
func Down(ctx context.Context, dir string) error {
	if !possible() {
		return nil // there can be none
	}
	unlock, err := lock()
	if err != nil {
		return err
	}
	defer unlock()
	return errors.Join(remove(ctx, id(dir)), forget(id(dir)))
}
