// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/signer"
)

// options are the flags.
type options struct {
	kubeconfig, hubKubeconfig     string
	roles                         controllers.Roles
	memberNamespace               string
	jobNamespaces                 []string
	join                          joinOptions
	hubJoin                       hubJoinOptions
	gateway                       gatewayOptions
	chainRPC                      []string
	chainQuorum                   int
	chainTimeout                  time.Duration
	leasePrograms                 []chain.Address
	supplierWallet, buyerWallet   walletOptions
	authorityWallet               authorityOptions
	signerTimeout                 time.Duration
	stateNamespace                string
	registryCIDRs                 []string
	holdImage                     string
	treasury                      treasuryOptions
	leaderElect                   bool
	leaderNamespace               string
	healthAddress, metricsAddress string
	metricsPlain                  bool
	metricsCertificates           string
	logLevel, logFormat           string
	shutdownTimeout               time.Duration
	version                       bool
}

// parse reads the flags and checks them. Its errors name the flag and say what to do.
func parse(args []string, output io.Writer) (options, error) {
	var o options
	roles := ""
	fs := flag.NewFlagSet("bourse-manager", flag.ContinueOnError)
	fs.SetOutput(output)
	fs.StringVar(&roles, "roles", "market,supplier,buyer", "`list` of the parts to play: market, supplier, buyer")
	fs.StringVar(&o.kubeconfig, "kubeconfig", "", "`file` with access to this cluster; default: the pod's service account, then $KUBECONFIG")
	o.addHubFlags(fs)
	o.addChainFlags(fs)
	o.addWalletFlags(fs)
	o.treasury.addFlags(fs)
	fs.StringVar(&o.holdImage, "hold-image", "registry.k8s.io/pause:3.10.1", "`image` of the pods that hold GPUs for a lease until it is funded")
	fs.Func("registry-cidr", "`CIDR` that leases with the egress Registry may reach; give it several times, or a list", func(list string) error {
		for cidr := range strings.SplitSeq(list, ",") {
			if _, err := netip.ParsePrefix(cidr); err != nil {
				return fmt.Errorf("%q is no CIDR such as 203.0.113.0/24", cidr)
			}
			o.registryCIDRs = append(o.registryCIDRs, cidr)
		}
		return nil
	})
	fs.BoolVar(&o.leaderElect, "leader-elect", false, "act only while holding the Lease bourse-manager-<roles>, so that several replicas can run")
	fs.StringVar(&o.leaderNamespace, "leader-elect-namespace", "", "`namespace` of that Lease; default: the pod's own")
	fs.StringVar(&o.healthAddress, "health-address", "127.0.0.1:8081", "`address` of /healthz and /readyz; 0 turns them off")
	fs.StringVar(&o.metricsAddress, "metrics-address", "127.0.0.1:8443", "`address` of /metrics, by HTTPS to those whom the cluster allows; 0 turns it off")
	fs.StringVar(&o.metricsCertificates, "metrics-cert-dir", "", "`folder` with tls.crt and tls.key for /metrics; default: a self-signed certificate")
	fs.BoolVar(&o.metricsPlain, "metrics-plain", false, "serve /metrics by HTTP to anybody; only on a loopback address")
	fs.StringVar(&o.logLevel, "log-level", "info", "debug, info or error")
	fs.StringVar(&o.logFormat, "log-format", "json", "json or console")
	fs.DurationVar(&o.shutdownTimeout, "shutdown-timeout", 30*time.Second, "how long a stop waits for passes that are under way")
	fs.BoolVar(&o.version, "version", false, "print the version and stop")
	if err := fs.Parse(args); err != nil {
		return options{}, err
	}
	if fs.NArg() > 0 {
		return options{}, fmt.Errorf("unexpected argument %q: flags begin with --", fs.Arg(0))
	}
	var err error
	if o.roles, err = controllers.ParseRoles(roles); err != nil {
		return options{}, fmt.Errorf("--roles: %w", err)
	}
	if o.version {
		return o, nil
	}
	return o, o.check()
}

// addHubFlags adds the flags that say where the hub is, and how it is joined.
func (o *options) addHubFlags(fs *flag.FlagSet) {
	fs.StringVar(&o.hubKubeconfig, "hub-kubeconfig", "", "`file` with access to the market's hub; default: the hub is this cluster")
	fs.StringVar(&o.memberNamespace, "member-namespace", "",
		"your `namespace` in the hub, which holds your Member, a supplier's offers and a buyer's jobs; with --hub-join, that of the wallet")
	fs.Func("job-namespaces", "`list` of this cluster's namespaces whose ComputeJobs the role buyer mirrors into the hub; default: all", func(list string) error {
		for name := range strings.SplitSeq(list, ",") {
			o.jobNamespaces = append(o.jobNamespaces, strings.TrimSpace(name))
		}
		return nil
	})
	o.join.addFlags(fs)
	o.hubJoin.addFlags(fs)
	o.gateway.addFlags(fs)
}

// addWalletFlags adds the flags about keys and about what is signed with them.
func (o *options) addWalletFlags(fs *flag.FlagSet) {
	o.supplierWallet.addFlags(fs, controllers.Supplier)
	o.buyerWallet.addFlags(fs, controllers.Buyer)
	o.authorityWallet.addFlags(fs)
	fs.DurationVar(&o.signerTimeout, "signer-timeout", signer.DefaultTimeout, "how long a remote signer has for one signature")
	fs.Func("lease-program", "`address` of a lease program that the wallets sign for, and no other; give it several times, or a list", func(list string) error {
		for text := range strings.SplitSeq(list, ",") {
			address, err := chain.ParseAddress(strings.TrimSpace(text))
			if err != nil {
				return err
			}
			o.leasePrograms = append(o.leasePrograms, address)
		}
		return nil
	})
	fs.StringVar(&o.stateNamespace, "state-namespace", "",
		"`namespace` of this cluster that holds the wallets' state, where ConfigMap bourse-pause stops them, and node agents' heartbeats; default: the pod's own")
}

// addChainFlags adds the flags that say how the chain is read.
func (o *options) addChainFlags(fs *flag.FlagSet) {
	fs.Func("chain-rpc", "`URL` of a Solana JSON-RPC endpoint; give it several times, or a list, for several endpoints", func(list string) error {
		for endpoint := range strings.SplitSeq(list, ",") {
			o.chainRPC = append(o.chainRPC, strings.TrimSpace(endpoint))
		}
		return nil
	})
	fs.IntVar(&o.chainQuorum, "chain-quorum", 0,
		"`how many` of the endpoints must say the same before money depends on it; 1: the first that answers; default: more than half of them")
	fs.DurationVar(&o.chainTimeout, "chain-timeout", 10*time.Second, "how long one request to the chain may take")
}

// check returns everything that is wrong, one line each.
func (o options) check() error {
	problems := []error{
		o.checkChain(), o.checkMember(), o.join.check(o.roles), o.hubJoin.check(o), o.gateway.check(o.roles),
		o.checkWallets(), o.treasury.check(o.roles), o.checkMetrics(),
	}
	if o.holdImage == "" && o.roles.Has(controllers.Supplier) {
		problems = append(problems, errors.New("--hold-image must not be empty: name an image that does nothing, such as pause"))
	}
	return errors.Join(problems...)
}

func (o options) checkChain() error {
	if len(o.chainRPC) == 0 {
		return errors.New("--chain-rpc is required: give the URL of a Solana JSON-RPC endpoint, such as https://api.devnet.solana.com")
	}
	for _, endpoint := range o.chainRPC {
		address, err := url.Parse(endpoint)
		if err != nil || (address.Scheme != "http" && address.Scheme != "https") || address.Host == "" {
			return errors.New("--chain-rpc: every endpoint must be a URL that begins with https:// or http://")
		}
	}
	if _, err := chain.NewQuorum(o.chainRPC, o.chainQuorum, chain.Options{}); err != nil {
		return fmt.Errorf("--chain-quorum: %w", err)
	}
	if o.chainTimeout <= 0 {
		return errors.New("--chain-timeout must be more than 0: 10s is a good value")
	}
	return nil
}

// checkMember checks which namespace of the hub is the member's: a supplier's offers are there, and in a hub that is another cluster a
// buyer's jobs too.
func (o options) checkMember() error {
	problems := []error{o.checkJobNamespaces()}
	named := o.memberNamespace != ""
	switch buys := o.roles.Has(controllers.Buyer) && o.hubKubeconfig != ""; {
	case !o.roles.Has(controllers.Supplier) && !buys, !named && o.hubJoin.url != "":
	case !named && o.roles.Has(controllers.Supplier):
		problems = append(problems, errors.New("--member-namespace is required by the role supplier: name the hub's namespace that holds your Member"))
	case !named:
		problems = append(problems, errors.New("--member-namespace is required by the role buyer with --hub-kubeconfig: "+
			"name the hub's namespace that holds your Member, where this cluster's jobs are mirrored"))
	default:
		if wrong := validation.IsDNS1123Label(o.memberNamespace); len(wrong) > 0 {
			problems = append(problems, fmt.Errorf("--member-namespace: %q cannot be a namespace: %s", o.memberNamespace, wrong[0]))
		}
	}
	return errors.Join(problems...)
}

func (o options) checkJobNamespaces() error {
	if len(o.jobNamespaces) == 0 {
		return nil
	}
	if !o.roles.Has(controllers.Buyer) || o.hubKubeconfig == "" && o.hubJoin.url == "" {
		return errors.New("--job-namespaces is for the role buyer with a hub that is another cluster: give --hub-join or --hub-kubeconfig too, or leave it out")
	}
	for _, name := range o.jobNamespaces {
		if wrong := validation.IsDNS1123Label(name); len(wrong) > 0 {
			return fmt.Errorf("--job-namespaces: %q cannot be a namespace: %s", name, wrong[0])
		}
	}
	return nil
}

func (o options) checkWallets() error {
	problems := []error{o.authorityWallet.check(o.roles)}
	for _, wallet := range []walletOptions{o.supplierWallet, o.buyerWallet} {
		if o.roles.Has(wallet.role) {
			problems = append(problems, wallet.check())
		}
	}
	if o.signerTimeout <= 0 {
		problems = append(problems, errors.New("--signer-timeout must be more than 0: 10s is a good value"))
	}
	return errors.Join(problems...)
}

func (o options) checkMetrics() error {
	if !o.metricsPlain || o.metricsAddress == "0" {
		return nil
	}
	host, _, err := net.SplitHostPort(o.metricsAddress)
	if err != nil {
		return fmt.Errorf("--metrics-address: %q is not host:port", o.metricsAddress)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("--metrics-plain would show the metrics to the network: use a loopback --metrics-address such as 127.0.0.1:8080, not %q", o.metricsAddress)
	}
	return nil
}
