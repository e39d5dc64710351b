// SPDX-License-Identifier: Apache-2.0

// Package nodes owns a lab's real Kubernetes nodes: network namespaces with
// containerd, runc, kubelet and kube-proxy, made-up GPUs, and the images they
// run. It does not know who uses the cluster, nor how its control plane runs.
package nodes

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sync/errgroup"

	"github.com/bourse-dev/bourse/hack/lab/build"
	"github.com/bourse-dev/bourse/hack/lab/nodes/rayimage"
	"github.com/bourse-dev/bourse/hack/lab/process"
)

const (
	// PauseImage holds a pod open and does nothing; it suits placeholder pods, too.
	PauseImage = "localhost/pause:1"
	// RayImage is real Ray of version RayVersion, made to run as user 1000.
	RayImage = rayimage.Name
	// publishedRayImage is the name of Ray's own image, which the samples ask for and no registry can give here:
	// on the lab's nodes it stands for RayImage, which holds the same published wheel.
	publishedRayImage = "docker.io/rayproject/ray:" + rayimage.Version
	// RayVersion is the version of Ray in RayImage.
	RayVersion = rayimage.Version
)

// maxNodes keeps addresses within one byte.
const maxNodes = 50

// Config says which nodes a lab has.
type Config struct {
	// Dir holds everything of the nodes; Network makes it and Down removes it. It must be absolute.
	Dir string
	// Names are the nodes' names.
	Names []string
	// GPUs is how many each node offers; 0 means 4.
	GPUs int
	// Model is the product name of the GPUs; empty means NVIDIA-H100-80GB-HBM3.
	Model string
	// Pool is the pool in the nodes' labels; empty means real.
	Pool string
	// Localcluster is the path of the program with kubelet, kube-proxy and kubectl.
	Localcluster string
	// Repo is the root of the source tree.
	Repo string
	// Cache keeps built programs and images.
	Cache build.Cache
	// Admin is a kubeconfig of an administrator that works in this process's network namespace.
	Admin string
	// Kubeconfigs has each node's kubeconfig, which works in the nodes' network namespaces.
	Kubeconfigs map[string]string
	// Out gets progress lines.
	Out io.Writer
}

// Net tells where a control plane must run for the nodes to reach it.
type Net struct {
	// Namespace is the path of the network namespace.
	Namespace string
	// Bind is the address in it on which the API server must listen, at port 6443.
	Bind net.IP
	// Server is the API server's URL for this process's network namespace; it listens on loopback.
	Server string
}

func (c Config) withDefaults() (Config, error) {
	switch {
	case !filepath.IsAbs(c.Dir):
		return c, fmt.Errorf("folder %q is not absolute", c.Dir)
	case len(c.Names) == 0 || len(c.Names) > maxNodes:
		return c, fmt.Errorf("%d nodes: have 1 to %d", len(c.Names), maxNodes)
	}
	if c.GPUs == 0 {
		c.GPUs = 4
	}
	if c.Model == "" {
		c.Model = "NVIDIA-H100-80GB-HBM3"
	}
	if c.Pool == "" {
		c.Pool = "real"
	}
	return c, nil
}

// idPrefix begins the names of everything that a lab has outside of its folder.
const idPrefix = "bourse-"

// site names what belongs to one lab outside of its folder. The names follow from
// the folder, so that nothing which a killed command left is lost.
type site struct{ dir string }

func (s site) id() string {
	sum := sha256.Sum256([]byte(s.dir))
	return idPrefix + hex.EncodeToString(sum[:4])
}

func (s site) namespace(of string) string { return s.id() + "-" + of }

func (s site) namespacePath(of string) string {
	return filepath.Join("/run/netns", s.namespace(of))
}

func (s site) cgroup(of string) string { return s.id() + "/" + of }

func (s site) path(elements ...string) string {
	return filepath.Join(append([]string{s.dir}, elements...)...)
}

func (s site) table() process.Table { return process.Table{Dir: s.dir} }

// Network prepares the machine and makes the namespaces in which the control plane and the nodes will run.
// It removes first whatever an earlier lab in the same folder left.
func Network(ctx context.Context, c Config) (Net, error) {
	c, err := c.withDefaults()
	if err != nil {
		return Net{}, err
	}
	if err := Check(ctx); err != nil {
		return Net{}, err
	}
	if err := install(ctx, c.Out); err != nil {
		return Net{}, fmt.Errorf("install packages: %w", err)
	}
	if err := Down(ctx, c.Dir); err != nil {
		return Net{}, fmt.Errorf("remove leftovers: %w", err)
	}
	s := site{c.Dir}
	if err := s.mark(); err != nil {
		return Net{}, err
	}
	if err := s.enterHost(); err != nil {
		return Net{}, err
	}
	agent, err := c.Cache.Path(ctx, agentTool(c.Repo))
	if err != nil {
		return Net{}, err
	}
	if err := s.connect(ctx, c.Names); err != nil {
		return Net{}, fmt.Errorf("connect namespaces: %w", err)
	}
	server, err := s.forward(ctx, agent)
	if err != nil {
		return Net{}, fmt.Errorf("forward to the API server: %w", err)
	}
	return Net{Namespace: s.namespacePath(hub), Bind: hubAddress, Server: server}, nil
}

// Up starts the nodes and returns when all are Ready and offer their GPUs. The control plane must be ready.
func Up(ctx context.Context, c Config) error {
	c, err := c.withDefaults()
	if err != nil {
		return err
	}
	programs, err := c.prepare(ctx)
	if err != nil {
		return err
	}
	s := site{c.Dir}
	if err := c.introduce(ctx, s, programs.agent); err != nil {
		return fmt.Errorf("set up cluster services: %w", err)
	}
	group, groupCtx := errgroup.WithContext(ctx)
	for i, name := range c.Names {
		group.Go(func() error {
			n := node{Config: c, site: s, programs: programs, name: name, index: i + 1}
			if err := n.start(groupCtx); err != nil {
				return fmt.Errorf("start node %s: %w", name, err)
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	return c.awaitReady(ctx, s)
}

// programs are what the nodes run, besides what Debian has.
type programs struct {
	agent string
	// images is a containerd root that holds the images, unpacked.
	images string
}

func (c Config) prepare(ctx context.Context) (programs, error) {
	agent, err := c.Cache.Path(ctx, agentTool(c.Repo))
	if err != nil {
		return programs{}, err
	}
	pause, err := c.Cache.Path(ctx, pauseTool(c.Repo))
	if err != nil {
		return programs{}, err
	}
	images, err := c.store(ctx, pause)
	if err != nil {
		return programs{}, fmt.Errorf("prepare images: %w", err)
	}
	return programs{agent: agent, images: images}, nil
}

func agentTool(repo string) build.Tool {
	return build.Tool{Name: "nodeagent", Module: filepath.Join(repo, "hack/lab/nodes/agents"), Package: "./cmd/nodeagent", Sources: []string{"."}}
}

func pauseTool(repo string) build.Tool {
	return build.Tool{Name: "pause", Module: filepath.Join(repo, "hack/lab/nodes/agents"), Package: "./cmd/pause", Sources: []string{"go.mod", "cmd/pause"}}
}

// Check tells in one message why this machine cannot run real nodes, if it cannot.
func Check(context.Context) error {
	var missing []error
	if runtime.GOOS != "linux" {
		missing = append(missing, fmt.Errorf("need Linux, this is %s", runtime.GOOS))
	}
	if runtime.GOARCH != "amd64" {
		missing = append(missing, fmt.Errorf("need amd64 for the Ray image, this is %s", runtime.GOARCH))
	}
	if os.Geteuid() != 0 {
		missing = append(missing, errors.New("need root for namespaces and containers: run as root, or use fake nodes"))
	}
	if needed := missingPackages(); len(needed) > 0 && !canInstall() {
		missing = append(missing, fmt.Errorf("need the programs of the Debian packages %v, and there is no apt-get to install them", needed))
	}
	if len(missing) > 0 {
		return fmt.Errorf("real nodes cannot run here: %w", errors.Join(missing...))
	}
	return nil
}
