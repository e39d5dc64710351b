// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"math"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/hubjoin"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/joinhttp"
	"github.com/bourse-dev/bourse/internal/metrics"
)

const (
	// shortestToken and longestToken are bounds of a token's life. The API server makes none that is shorter.
	shortestToken = 10 * time.Minute
	longestToken  = time.Hour
	// leastUnseen and mostUnseen are bounds of the days after which a member that is not seen is let go; it is told a week before.
	leastUnseen, usualUnseen, mostUnseen = 14, 30, 3650
	// askNetwork is how long the join server waits before it asks the chain again which network it is.
	askNetwork = 5 * time.Second
)

// joinOptions are the flags of the server by which strangers join the market's hub.
type joinOptions struct {
	address, url   string
	certificates   string
	selfSigned     bool
	hubURL, hubCA  string
	tokensLifetime time.Duration
	minStake       uint
	unseenDays     uint
}

func (j *joinOptions) addFlags(fs *flag.FlagSet) {
	fs.StringVar(&j.address, "join-address", "", "`address` at which strangers join the hub by HTTPS, such as :9444; default: nobody can")
	fs.StringVar(&j.url, "join-url", "", "`URL` of that server as they reach it; what they sign names it, so it must not change under them")
	fs.StringVar(&j.certificates, "join-cert-dir", "", "`folder` with tls.crt and tls.key for it")
	fs.BoolVar(&j.selfSigned, "join-self-signed", false, "make a self-signed certificate in that folder if it has none; for a lab")
	fs.StringVar(&j.hubURL, "join-hub-url", "", "`URL` of the hub's API server as members reach it; default: as this manager does")
	fs.StringVar(&j.hubCA, "join-hub-ca", "",
		"`file` with the certificates that members know it by; default: those that this manager knows it by")
	fs.UintVar(&j.minStake, "join-min-stake", 0,
		"how many whole tokens of the market's spec.stake a wallet must have bonded in its own pool to become a member; default: none")
	fs.UintVar(&j.unseenDays, "join-unseen-days", usualUnseen,
		"after how many days on which nothing was seen of a member that joined the market lets it go, from 14; 0 for never")
	fs.DurationVar(&j.tokensLifetime, "join-token-lifetime", longestToken, "how long a member's token is good, from 10m to 1h")
}

// check returns what is wrong with the flags.
func (j *joinOptions) check(roles controllers.Roles) error {
	if j.address == "" {
		if j.url+j.certificates+j.hubURL+j.hubCA != "" || j.selfSigned || j.minStake > 0 {
			return errors.New("the flags --join-… go with --join-address: give it too, such as --join-address=:9444")
		}
		return nil
	}
	problems := []error{j.checkURLs()}
	if !roles.Has(controllers.Market) {
		problems = append(problems, errors.New("--join-address is for the role market: leave it out, or add market to --roles"))
	}
	if _, _, err := net.SplitHostPort(j.address); err != nil {
		problems = append(problems, fmt.Errorf("--join-address: %q is not host:port", j.address))
	}
	if j.certificates == "" {
		problems = append(problems, errors.New("--join-cert-dir is required by --join-address: name a folder with tls.crt and tls.key"))
	}
	return errors.Join(append(problems, j.bounds()...)...)
}

// bounds returns which numbers are out of their bounds.
func (j *joinOptions) bounds() (problems []error) {
	if j.tokensLifetime < shortestToken || j.tokensLifetime > longestToken {
		problems = append(problems, fmt.Errorf("--join-token-lifetime must be from %s to %s", shortestToken, longestToken))
	}
	if j.unseenDays != 0 && (j.unseenDays < leastUnseen || j.unseenDays > mostUnseen) {
		problems = append(problems, fmt.Errorf("--join-unseen-days must be from %d to %d, or 0 for never", leastUnseen, mostUnseen))
	}
	if j.minStake > math.MaxUint32 {
		problems = append(problems, fmt.Errorf("--join-min-stake must be at most %d", uint32(math.MaxUint32)))
	}
	return problems
}

// checkURLs returns what is wrong with what members are told.
func (j *joinOptions) checkURLs() error {
	var problems []error
	if _, err := join.HubOf(j.url); err != nil {
		problems = append(problems, fmt.Errorf("--join-url: %w", err))
	}
	if err := join.CheckServer(j.hubURL); j.hubURL != "" && err != nil {
		problems = append(problems, fmt.Errorf("--join-hub-url: %w", err))
	}
	return errors.Join(problems...)
}

// open adds the join server to the manager, and what takes access away to the controllers' options.
func (j *joinOptions) open(setup *controllers.Options, mgr ctrl.Manager, hub cluster.Cluster) error {
	if j.address == "" {
		return nil
	}
	server, authorities, err := j.hubAccess(hub.GetConfig())
	if err != nil {
		return err
	}
	if err := j.makeCertificate(); err != nil {
		return err
	}
	certificate, err := certwatcher.New(filepath.Join(j.certificates, "tls.crt"), filepath.Join(j.certificates, "tls.key"))
	if err != nil {
		return fmt.Errorf("--join-cert-dir: %w", err)
	}
	members := hubjoin.New(hubjoin.Options{
		Client: hub.GetClient(), Live: hub.GetAPIReader(), Server: server, CA: authorities, Lifetime: j.tokensLifetime, Now: setup.Now,
		Stake: hubjoin.StakeRule{Least: uint32(j.minStake), Chain: setup.Chain}, //nolint:gosec // checked with the flags
	})
	setup.Access = members
	setup.MostUnseenDays = int32(j.unseenDays) //nolint:gosec // checked with the flags
	runs := &joinServer{
		options: *j, members: members, certificate: certificate, network: setup.Chain.GenesisHash,
		log: mgr.GetLogger().WithName("join"), now: setup.Now, told: setup.Metrics,
	}
	if err := errors.Join(mgr.Add(certificate), mgr.Add(runs)); err != nil {
		return fmt.Errorf("add join server: %w", err)
	}
	return nil
}

// hubAccess is where members find the hub's API, and the certificates that they know it by.
func (j *joinOptions) hubAccess(config *rest.Config) (server string, authorities []byte, err error) {
	config = rest.CopyConfig(config)
	if err := rest.LoadTLSFiles(config); err != nil {
		return "", nil, fmt.Errorf("read the hub's certificates: %w", err)
	}
	server, authorities = config.Host, config.CAData
	if j.hubURL != "" {
		server = j.hubURL
	}
	if j.hubCA != "" {
		if authorities, err = os.ReadFile(j.hubCA); err != nil {
			return "", nil, fmt.Errorf("--join-hub-ca: %w", err)
		}
	}
	return server, authorities, nil
}

// makeCertificate makes a certificate for the host of the URL if there is none and that is wanted.
func (j *joinOptions) makeCertificate() error {
	if !j.selfSigned {
		return nil
	}
	address, err := url.Parse(j.url)
	if err != nil {
		return fmt.Errorf("--join-url: %w", err)
	}
	if err := selfSign(j.certificates, address.Hostname()); err != nil {
		return fmt.Errorf("--join-self-signed: %w", err)
	}
	return nil
}

// joinServer runs the join server as a part of the manager, in every replica: what a replica must know to check an answer to a challenge of
// its own, it alone knows.
type joinServer struct {
	options     joinOptions
	members     joinhttp.Admitter
	certificate *certwatcher.CertWatcher
	network     func(ctx context.Context) (chain.Hash, error)
	log         logr.Logger
	now         func() time.Time
	told        *metrics.Metrics
}

// NeedLeaderElection says no.
func (*joinServer) NeedLeaderElection() bool { return false }

// Start serves until the context ends. Nobody can join before the chain has said which network it is.
func (s *joinServer) Start(ctx context.Context) error {
	network, known := s.askNetwork(ctx)
	if !known {
		return nil
	}
	hub, err := join.HubOf(s.options.url)
	if err != nil {
		return err
	}
	gate, err := join.NewGate(join.GateOptions{Hub: hub, Network: join.Network(network), Random: rand.Reader, Now: s.now})
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.options.address)
	if err != nil {
		return fmt.Errorf("--join-address: %w", err)
	}
	s.log.Info("Opened the hub to those who join", "address", listener.Addr().String(), "hub", hub, "network", network.String())
	server := joinhttp.NewServer(gate, s.members, s.log, s.now)
	server.Observe = s.told.JoinRequest
	return server.Serve(ctx, listener, s.certificate.GetCertificate)
}

// askNetwork asks until the chain answers or the context ends.
func (s *joinServer) askNetwork(ctx context.Context) (chain.Hash, bool) {
	for {
		network, err := s.network(ctx)
		if err == nil {
			return network, true
		}
		if ctx.Err() == nil {
			s.log.Error(err, "Could not open the hub, since the chain did not say which network it is")
		}
		if !sleep(ctx, askNetwork) {
			return chain.Hash{}, false
		}
	}
}
