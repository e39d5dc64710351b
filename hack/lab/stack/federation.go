// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/bourse-dev/bourse/hack/lab/process"
	"github.com/bourse-dev/bourse/hack/lab/relay"
)

const (
	memberFile    = "hack/lab/member.yaml"
	memberName    = "member" // the service account that a member has in its namespace of the hub
	memberRole    = "bourse-member"
	readerRole    = "bourse-member-reader"
	relayWithin   = time.Minute
	remoteSecret  = "bourse-hub-kubeconfig" // what a Deployment would read its way to the hub from
	gatewaySecret = "bourse-gateway"        // and the gateway's certificate
)

// suppliers are those that have clusters of their own.
func (o Options) suppliers() []string {
	if !o.Federated {
		return nil
	}
	return o.Clusters[1 : len(o.Clusters)-1] // the last one is the buyer
}

// validateFederation reports what does not go with suppliers that have clusters of their own.
func (o Options) validateFederation() error {
	if !o.Federated {
		return nil
	}
	// A supplier's name is also that of a namespace in the hub and of a wallet.
	taken := func(name string) bool {
		return slices.Contains([]string{Hub, Authority, Treasury, Arbiter, Supplier, Buyer, SystemNamespace}, name)
	}
	switch names := o.suppliers(); {
	case !o.Chart:
		return errors.New("a federation is of managers, which the chart brings: leave --chart=false out")
	case o.RealNodes > 0:
		return errors.New("real nodes are the hub's, and a federation's hub has none")
	case len(names) == 0:
		return errors.New("a federation needs pools of fake nodes")
	case slices.ContainsFunc(names, taken):
		return fmt.Errorf("no pool of a federation may be called %s", names[slices.IndexFunc(names, taken)])
	}
	return nil
}

// startFederation opens a market whose hub is the market's alone, and joins each supplier and the buyer to it from clusters of their own.
// Nothing of these clusters is given to the hub.
func (l *Lab) startFederation(ctx context.Context, o Options) error {
	// The market's members are known by these.
	err := l.note(func(s *State) {
		s.Suppliers = map[string]Remote{}
		for _, name := range o.suppliers() {
			s.Suppliers[name] = Remote{}
		}
	})
	if err != nil {
		return err
	}
	manager, err := l.installChart(ctx, Hub, append([]string{"roles={market}"}, gatewayValues...)...)
	if err != nil {
		return fmt.Errorf("install chart: %w", err)
	}
	if err := l.applyMarket(ctx); err != nil {
		return fmt.Errorf("open market: %w", err)
	}
	if err := l.startMarket(ctx, manager, nil); err != nil {
		return fmt.Errorf("start manager: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	for _, name := range o.suppliers() {
		group.Go(func() error {
			if err := l.joinSupplier(ctx, name); err != nil {
				return fmt.Errorf("join supplier %s: %w", name, err)
			}
			return nil
		})
	}
	group.Go(func() error {
		if err := l.joinBuyer(ctx); err != nil {
			return fmt.Errorf("join buyer: %w", err)
		}
		return nil
	})
	return group.Wait()
}

// joinSupplier runs a supplier: its pool and its manager in its own cluster, and in the hub no more than a member's rights.
func (l *Lab) joinSupplier(ctx context.Context, name string) error {
	way, err := l.join(ctx, name)
	if err != nil {
		return err
	}
	from, err := l.installChart(ctx, name, "roles={supplier}", "supplier.memberNamespace="+name, "hub.kubeconfig.secretName="+remoteSecret)
	if err != nil {
		return fmt.Errorf("install chart: %w", err)
	}
	if err := l.applyPools(ctx, name, name); err != nil {
		return fmt.Errorf("make pool: %w", err)
	}
	way.Manager, err = l.prepareManager(ctx, name, from, map[string]string{
		"hub-kubeconfig": way.HubKubeconfig, "supplier-keypair": l.state.Wallets[name].Keypair,
	})
	if err != nil {
		return err
	}
	if err := l.note(func(s *State) { s.Suppliers[name] = way }); err != nil {
		return err
	}
	return l.runManager(ctx, managerOf(name), way.Manager)
}

// joinBuyer runs the buyer: its manager in its own cluster, with a namespace for its jobs, and in the hub no more than a member's rights.
func (l *Lab) joinBuyer(ctx context.Context) error {
	way, err := l.join(ctx, Buyer)
	if err != nil {
		return err
	}
	from, err := l.installChart(ctx, Buyer, "roles={buyer}", "buyer.memberNamespace="+Buyer, "hub.kubeconfig.secretName="+remoteSecret)
	if err != nil {
		return fmt.Errorf("install chart: %w", err)
	}
	if _, err := l.kubectl(ctx, Buyer, "", "create", "namespace", Buyer); err != nil {
		return err
	}
	way.Manager, err = l.prepareManager(ctx, Buyer, from, map[string]string{
		"hub-kubeconfig": way.HubKubeconfig, "buyer-keypair": l.state.Wallets[Buyer].Keypair,
	})
	if err != nil {
		return err
	}
	if err := l.note(func(s *State) { s.Buyer = &way }); err != nil {
		return err
	}
	return l.runManager(ctx, managerOf(Buyer), way.Manager)
}

// join gives a member its rights in the hub, and a link to it. Its manager is not known yet.
func (l *Lab) join(ctx context.Context, name string) (Remote, error) {
	if err := l.admit(ctx, name); err != nil {
		return Remote{}, fmt.Errorf("admit member: %w", err)
	}
	server, link, err := l.startRelay(ctx, name)
	if err != nil {
		return Remote{}, fmt.Errorf("start relay: %w", err)
	}
	hub := l.path("clusters", name, "hub.kubeconfig")
	err = l.writeKubeconfig(ctx, account{cluster: Hub, namespace: name, name: memberName, server: server}, hub)
	return Remote{HubKubeconfig: hub, Link: link}, err
}

// managerOf is how the process of a member's manager is called.
func managerOf(member string) string { return managerName + "-" + member }

// admit gives a member's service account its rights in the hub. The namespace and the Member are the market's to make.
func (l *Lab) admit(ctx context.Context, name string) error {
	rights, err := renderFile(filepath.Join(l.Repo, memberFile), map[string]string{
		"Namespace": name, "Account": memberName, "Role": memberRole, "ReaderRole": readerRole,
	})
	if err != nil {
		return err
	}
	_, err = l.kubectl(ctx, Hub, rights, "apply", "--server-side", "-f", "-")
	return err
}

// letIn gives a member that has no cluster of its own its rights in the hub, and a kubeconfig that has no others.
func (l *Lab) letIn(ctx context.Context, name string) error {
	if err := l.admit(ctx, name); err != nil {
		return fmt.Errorf("admit member: %w", err)
	}
	path := l.path("clusters", Hub, name+".kubeconfig")
	if err := l.writeKubeconfig(ctx, account{cluster: Hub, namespace: name, name: memberName}, path); err != nil {
		return err
	}
	return l.note(func(s *State) { s.Members[name] = path })
}

// startRelay starts a member's link to the hub. It returns where the hub is reached through it, and where its fault is set.
func (l *Lab) startRelay(ctx context.Context, name string) (server, fault string, err error) {
	hub, err := url.Parse(l.state.Clusters[Hub].Server)
	if err != nil {
		return "", "", fmt.Errorf("parse the hub's address: %w", err)
	}
	var addresses [2]string
	for i := range addresses {
		if addresses[i], err = l.address(ctx, name); err != nil {
			return "", "", err
		}
	}
	record, err := l.table().Start(process.Spec{
		Name: "relay-" + name,
		Args: l.place(name).enter(
			l.state.Bin["relay"], "--listen", addresses[0], "--control", addresses[1], "--target", l.hubHost(hub.Host)),
	})
	if err != nil {
		return "", "", err
	}
	ctx, cancel := context.WithTimeout(ctx, relayWithin)
	defer cancel()
	fault = "http://" + addresses[1] + relay.FaultPath
	if err := record.Await(ctx, func() (bool, error) { return answers(ctx, fault), nil }); err != nil {
		return "", "", err
	}
	return "https://" + addresses[0], fault, nil
}
