// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/gateway"
	"github.com/bourse-dev/bourse/internal/leaseview"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/tunnel"
)

// mostTunnels is how many suppliers a gateway has room for.
const mostTunnels = 2048

// gatewayOptions are the flags of the server by which buyers look at their leases, and of the suppliers' end of it.
type gatewayOptions struct {
	address      string
	certificates string
	selfSigned   string
	tunnel       bool
}

func (g *gatewayOptions) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&g.address, "gateway-address", "",
		"`address` at which buyers see logs and dashboards of their jobs by HTTPS, such as :9445; default: nobody does")
	fs.StringVar(&g.certificates, "gateway-cert-dir", "", "`folder` with tls.crt and tls.key for it")
	fs.StringVar(&g.selfSigned, "gateway-self-signed", "",
		"make a self-signed certificate for this `host` in that folder if it has none; for a lab")
	fs.BoolVar(&g.tunnel, "tunnel", true,
		"as a supplier, open a tunnel to the market's gateway, so that buyers see logs and dashboards of their leases, and nothing else")
}

// check returns what is wrong with the flags.
func (g *gatewayOptions) check(roles controllers.Roles) error {
	if g.address == "" {
		if g.certificates+g.selfSigned != "" {
			return errors.New("the flags --gateway-… go with --gateway-address: give it too, such as --gateway-address=:9445")
		}
		return nil
	}
	var problems []error
	if !roles.Has(controllers.Market) {
		problems = append(problems, errors.New("--gateway-address is for the role market: leave it out, or add market to --roles"))
	}
	if _, _, err := net.SplitHostPort(g.address); err != nil {
		problems = append(problems, fmt.Errorf("--gateway-address: %q is not host:port", g.address))
	}
	if g.certificates == "" {
		problems = append(problems, errors.New("--gateway-cert-dir is required by --gateway-address: name a folder with tls.crt and tls.key"))
	}
	return errors.Join(problems...)
}

// open adds the gateway to the manager.
func (g *gatewayOptions) open(setup *controllers.Options, mgr ctrl.Manager, hub cluster.Cluster) error {
	if g.address == "" {
		return nil
	}
	if g.selfSigned != "" {
		if err := selfSign(g.certificates, g.selfSigned); err != nil {
			return fmt.Errorf("--gateway-self-signed: %w", err)
		}
	}
	certificate, err := certwatcher.New(filepath.Join(g.certificates, "tls.crt"), filepath.Join(g.certificates, "tls.key"))
	if err != nil {
		return fmt.Errorf("--gateway-cert-dir: %w", err)
	}
	tunnels := tunnel.NewHub(mostTunnels, tunnel.DefaultPulse())
	metrics.CollectTunnels(ctrlmetrics.Registry, tunnels.Open)
	logger := mgr.GetLogger().WithName("gateway")
	runs := &gatewayServer{address: g.address, certificate: certificate, log: logger, server: gateway.NewServer(gateway.Options{
		Hub: hub.GetClient(), Reviewer: hub.GetClient(), Tunnels: tunnels, Leads: mgr.Elected(),
		Recorder: setup.Metrics, Log: logger, Now: setup.Now,
	})}
	if err := errors.Join(mgr.Add(certificate), mgr.Add(runs)); err != nil {
		return fmt.Errorf("add gateway: %w", err)
	}
	return nil
}

// gatewayServer runs the gateway as a part of the manager, in every replica: those that wait for the lead say so.
type gatewayServer struct {
	address     string
	certificate *certwatcher.CertWatcher
	server      *gateway.Server
	log         logr.Logger
}

// NeedLeaderElection says no.
func (*gatewayServer) NeedLeaderElection() bool { return false }

// Start serves until the context ends.
func (s *gatewayServer) Start(ctx context.Context) error {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.address)
	if err != nil {
		return fmt.Errorf("--gateway-address: %w", err)
	}
	s.log.Info("Opened the gateway", "address", listener.Addr().String())
	return s.server.Serve(ctx, listener, s.certificate.GetCertificate)
}

// dial adds the supplier's tunnel to the manager.
func (g *gatewayOptions) dial(setup *controllers.Options, mgr ctrl.Manager, hub cluster.Cluster) error {
	if !g.tunnel || !setup.Roles.Has(controllers.Supplier) {
		return nil
	}
	logger := mgr.GetLogger().WithName("tunnel")
	view, err := leaseview.New(leaseview.Options{
		Hub: hub.GetClient(), Local: mgr.GetClient(), Secrets: mgr.GetAPIReader(), Config: mgr.GetConfig(),
		Namespace: setup.MemberNamespace, Log: logger,
	})
	if err != nil {
		return err
	}
	member := tunnel.NewMember(tunnel.MemberOptions{
		Namespace: setup.MemberNamespace, Handler: view.Handler(), Pulse: tunnel.DefaultPulse(), Log: logger, Now: setup.Now,
		Authorize: withAccess(hub.GetConfig()),
	})
	metrics.CollectTunnel(ctrlmetrics.Registry, member.Connected)
	if err := mgr.Add(member); err != nil {
		return fmt.Errorf("add tunnel: %w", err)
	}
	setup.Tunnel = member
	return nil
}

// withAccess puts the manager's access to the hub on requests to its gateway: the token that it has by then, and nothing else of it.
func withAccess(config *rest.Config) func(next http.RoundTripper) (http.RoundTripper, error) {
	return func(next http.RoundTripper) (http.RoundTripper, error) {
		return rest.HTTPWrappersForConfig(config, next)
	}
}
