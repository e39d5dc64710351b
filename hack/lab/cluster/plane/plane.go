// SPDX-License-Identifier: Apache-2.0

// Package plane decides the files, credentials and flags of one local control
// plane, and when it is ready. It does not know Kubernetes' own code: whoever
// runs the components gets their flags from here.
package plane

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/cluster/pki"
)

// The components of a control plane, by the name of their program.
const (
	Etcd              = "etcd"
	APIServer         = "kube-apiserver"
	ControllerManager = "kube-controller-manager"
	Scheduler         = "kube-scheduler"
)

// serviceRange is the cluster's service network; its first address is the API server's own service.
const serviceRange = "10.96.0.0/16"

// Config says where one control plane keeps its files and where it listens.
type Config struct {
	// Name is the cluster's name in kubeconfigs.
	Name string
	// Dir holds every file of the control plane. Prepare makes it, and refuses one that exists.
	Dir string
	// Bind is the address the API server listens on; so does etcd, if it is a loopback address, and else on 127.0.0.1.
	Bind net.IP
	// Server is the URL in admin.kubeconfig, when clients reach the API server by another way than Bind. Empty: Bind and Port.
	Server string
	// Port, EtcdPort and PeerPort must be free.
	Port, EtcdPort, PeerPort int
	// Nodes are the real nodes that get a credential and a kubeconfig.
	Nodes []string
	// NodeGrace is how long a node may be silent before it counts as lost.
	NodeGrace time.Duration
}

// Validate reports what is missing or contradictory.
func (c Config) Validate() error {
	switch {
	case c.Name == "":
		return errors.New("name is empty")
	case c.Dir == "":
		return errors.New("folder is empty")
	case c.Bind == nil || c.Bind.IsUnspecified():
		return errors.New("bind address must be one address, never all of them")
	case c.Port <= 0 || c.EtcdPort <= 0 || c.PeerPort <= 0:
		return errors.New("a port is missing")
	case c.Port == c.EtcdPort || c.Port == c.PeerPort || c.EtcdPort == c.PeerPort:
		return errors.New("ports must differ")
	case c.NodeGrace <= 0:
		return errors.New("node grace period must be positive")
	}
	return nil
}

// EtcdHost is the address that etcd listens on: a loopback one, since it asks for no credential.
func (c Config) EtcdHost() net.IP {
	if c.Bind.IsLoopback() {
		return c.Bind
	}
	return net.IPv4(127, 0, 0, 1)
}

// Plane is a prepared control plane: its credentials exist, its components do not run yet.
type Plane struct {
	Config

	ca *pki.Authority
}

// Prepare makes the folder, all credentials and all kubeconfigs.
func Prepare(c Config, now time.Time) (*Plane, error) {
	if err := c.Validate(); err != nil {
		return nil, fmt.Errorf("validate config: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(c.Dir), 0o700); err != nil {
		return nil, fmt.Errorf("make parent folder: %w", err)
	}
	if err := os.Mkdir(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	ca, err := pki.New(filepath.Join(c.Dir, "pki"), now)
	if err != nil {
		return nil, fmt.Errorf("make authority: %w", err)
	}
	p := &Plane{Config: c, ca: ca}
	for _, id := range p.identities() {
		if err := ca.Issue(id); err != nil {
			return nil, fmt.Errorf("issue %s: %w", id.Name, err)
		}
	}
	for name, server := range p.kubeconfigs() {
		if err := ca.Kubeconfig(p.Kubeconfig(name), c.Name, server, name); err != nil {
			return nil, fmt.Errorf("make kubeconfig of %s: %w", name, err)
		}
	}
	return p, nil
}

// URL is where the API server listens.
func (p *Plane) URL() string {
	return "https://" + net.JoinHostPort(p.Bind.String(), strconv.Itoa(p.Port))
}

// PublicURL is how clients reach the API server.
func (p *Plane) PublicURL() string {
	if p.Server != "" {
		return p.Server
	}
	return p.URL()
}

// EtcdURL is where etcd serves clients.
func (p *Plane) EtcdURL() string { return p.etcdURL(p.EtcdPort) }

// PeerURL is where etcd would serve other members.
func (p *Plane) PeerURL() string { return p.etcdURL(p.PeerPort) }

func (p *Plane) etcdURL(port int) string {
	return "http://" + net.JoinHostPort(p.EtcdHost().String(), strconv.Itoa(port))
}

// EtcdDir is where etcd keeps its data.
func (p *Plane) EtcdDir() string { return filepath.Join(p.Dir, "etcd") }

// Kubeconfig is the path of a holder's kubeconfig: admin, controller-manager, scheduler, or a node's name.
func (p *Plane) Kubeconfig(name string) string { return filepath.Join(p.Dir, name+".kubeconfig") }

func (p *Plane) identities() []pki.Identity {
	serving := []net.IP{net.IPv4(127, 0, 0, 1), p.Bind, net.IPv4(10, 96, 0, 1)}
	names := []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	masters := []string{"system:masters"}
	ids := []pki.Identity{
		{Name: "apiserver", User: "kube-apiserver", IPs: serving, DNS: names},
		{Name: "apiserver-kubelet-client", User: "kube-apiserver-kubelet-client", Groups: masters},
		{Name: "admin", User: "admin", Groups: masters},
		// One account acts for all controllers, so it needs every right that any of them has.
		{Name: "controller-manager", User: "system:kube-controller-manager", Groups: masters},
		{Name: "scheduler", User: "system:kube-scheduler"},
		{Name: "service-account", User: "service-account"},
	}
	for _, n := range p.Nodes {
		ids = append(ids, pki.Identity{Name: n, User: "system:node:" + n, Groups: []string{"system:nodes"}, DNS: []string{n}})
	}
	return ids
}

// kubeconfigs maps each holder of a kubeconfig to the server it uses.
func (p *Plane) kubeconfigs() map[string]string {
	servers := map[string]string{"admin": p.PublicURL(), "controller-manager": p.URL(), "scheduler": p.URL()}
	for _, n := range p.Nodes {
		servers[n] = p.URL()
	}
	return servers
}
