// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/bourse-dev/bourse/hack/lab/build"
	"github.com/bourse-dev/bourse/hack/lab/fakenode"
)

// pluginName is what kubectl finds its part bourse by.
const pluginName = "kubectl-bourse"

// Hub is the cluster that the market runs in, with everything else unless told otherwise.
const Hub = "hub"

// Options say which parts a lab has.
type Options struct {
	// Clusters are the clusters' names; the first must be hub.
	Clusters []string
	// Mode is how control planes run: single or procs.
	Mode string
	// FakeNodes is the file that describes the fake GPU nodes; empty for none.
	FakeNodes string
	// KubeRay tells whether every cluster has KubeRay.
	KubeRay bool
	// Chain tells whether the lab has a local Solana chain.
	Chain bool
	// SlotMS is the length of the chain's slots in milliseconds.
	SlotMS int
	// RealNodes is how many real nodes the hub has.
	RealNodes int
	// Chart tells whether Bourse itself is installed, with a market and a running manager.
	Chart bool
	// Federated tells whether each pool of fake nodes is a supplier with a cluster of its own. So is the buyer then, and the hub is the market's.
	Federated bool
	// Isolation is how the clusters of a federation are kept apart.
	Isolation string
}

// partName keeps the names of clusters and wallets usable as names of files and processes.
var partName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,30}$`)

// Validate reports what is wrong with the options.
func (o Options) Validate() error {
	if err := validateClusters(o.Clusters); err != nil {
		return err
	}
	if err := errors.Join(o.validateFederation(), o.validateIsolation()); err != nil {
		return err
	}
	switch {
	case o.Chain && o.SlotMS < 10:
		return errors.New("slots of less than 10 ms are too short for this chain")
	case o.RealNodes < 0:
		return errors.New("a negative number of real nodes")
	case o.Chart && (!o.Chain || !o.KubeRay):
		return errors.New("the chart needs the chain and KubeRay: use --chart=false")
	case o.Mode != "single" && o.Mode != "procs":
		return errors.New("mode is single or procs")
	}
	return nil
}

func validateClusters(names []string) error {
	if len(names) == 0 || names[0] != Hub {
		return fmt.Errorf("the first cluster must be %s", Hub)
	}
	for i, name := range names {
		if !partName.MatchString(name) {
			return fmt.Errorf("cluster name %q: use lower-case letters, digits and dashes", name)
		}
		if slices.Contains(names[:i], name) {
			return fmt.Errorf("cluster %s is named twice", name)
		}
	}
	return nil
}

// Up starts a lab and returns when everything in it is ready.
// When it fails, what has started stays for inspection, until Down.
func (l *Lab) Up(ctx context.Context, o Options) error {
	fake, err := o.readFakeNodes()
	if err != nil {
		return err
	}
	if o.Federated {
		fake = fake.Apart()
		o.Clusters = append(append(o.Clusters, fake.Clusters()...), Buyer)
	}
	if err := o.Validate(); err != nil {
		return err
	}
	l.began = l.Now()
	if err := l.create(); err != nil {
		return err
	}
	if err := l.build(ctx, o); err != nil {
		return err
	}
	if err := l.isolate(ctx, o); err != nil {
		return err
	}
	if err := l.prepareNodes(ctx, o); err != nil {
		return err
	}
	if err := l.start(ctx, o, fake); err != nil {
		return err
	}
	if err := l.startBourse(ctx, o, fake); err != nil {
		return err
	}
	if err := l.note(func(s *State) { s.Ready = true }); err != nil {
		return err
	}
	l.step("the lab is ready: export KUBECONFIG=%s", l.state.Clusters[Hub].Kubeconfig)
	return nil
}

// build makes sure that every program exists, one after the other since each build uses all processors.
func (l *Lab) build(ctx context.Context, o Options) error {
	for _, tool := range l.tools(o) {
		path, err := l.Cache.Path(ctx, tool)
		if err != nil {
			return err
		}
		if err := l.note(func(s *State) { s.Bin[tool.Name] = path }); err != nil {
			return err
		}
	}
	bin := l.path("bin")
	if err := os.MkdirAll(bin, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	for name, tool := range map[string]string{"kubectl": "localcluster", pluginName: pluginName} {
		if l.state.Bin[tool] == "" {
			continue
		}
		if err := os.Symlink(l.state.Bin[tool], filepath.Join(bin, name)); err != nil {
			return fmt.Errorf("link %s: %w", name, err)
		}
	}
	l.step("programs are built")
	return nil
}

func (l *Lab) tools(o Options) []build.Tool {
	tools := []build.Tool{build.Localcluster(l.Repo)}
	if o.FakeNodes != "" {
		tools = append(tools, build.Kwok(l.Repo))
	}
	if o.KubeRay {
		tools = append(tools, build.KubeRay(l.Repo))
	}
	if o.Chart {
		tools = append(tools, build.Manager(l.Repo), build.Plugin(l.Repo))
	}
	if o.Federated {
		tools = append(tools, build.Relay(l.Repo))
	}
	if o.Federated || o.RealNodes > 0 {
		tools = append(tools, build.Gate(l.Repo))
	}
	return tools
}

// start starts the parts. What does not depend on each other starts at the same time.
func (l *Lab) start(ctx context.Context, o Options, fake fakenode.File) error {
	group, ctx := errgroup.WithContext(ctx)
	if o.Chain {
		group.Go(func() error { return l.startChain(ctx, o) })
	}
	for _, name := range o.Clusters {
		group.Go(func() error {
			if err := l.fillCluster(ctx, name, o, fake); err != nil {
				return fmt.Errorf("start cluster %s: %w", name, err)
			}
			return nil
		})
	}
	return group.Wait()
}

// fillCluster starts a cluster and everything that belongs to it.
func (l *Lab) fillCluster(ctx context.Context, name string, o Options, fake fakenode.File) error {
	if err := l.startCluster(ctx, name, o); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return l.startFakeNodes(ctx, name, fake) })
	if o.KubeRay && (!o.Federated || slices.Contains(o.suppliers(), name)) {
		group.Go(func() error { return l.startKubeRay(ctx, name) })
	}
	if name == Hub && o.RealNodes > 0 {
		group.Go(func() error { return l.startNodes(ctx, o) })
	}
	return group.Wait()
}

// startBourse installs the chart, opens the market and runs the manager.
func (l *Lab) startBourse(ctx context.Context, o Options, fake fakenode.File) error {
	if !o.Chart {
		return nil
	}
	if o.Federated {
		return l.startFederation(ctx, o)
	}
	manager, err := l.installChart(ctx, Hub, gatewayValues...)
	if err != nil {
		return fmt.Errorf("install chart: %w", err)
	}
	if err := l.applyMarket(ctx); err != nil {
		return fmt.Errorf("open market: %w", err)
	}
	if err := l.applyPools(ctx, Hub, o.pools(fake)...); err != nil {
		return fmt.Errorf("make pools: %w", err)
	}
	if err := l.startAllRoles(ctx, o, manager); err != nil {
		return fmt.Errorf("start manager: %w", err)
	}
	for _, name := range []string{Supplier, Buyer} {
		if err := l.letIn(ctx, name); err != nil {
			return fmt.Errorf("let in member %s: %w", name, err)
		}
	}
	return nil
}
