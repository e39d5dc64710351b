// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	ctrlmetrics "sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/filters"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/ray"
)

// syncWait is how long a readiness probe waits to hear that the caches are filled.
const syncWait = 500 * time.Millisecond

// run builds the manager and runs it until the context ends.
func run(ctx context.Context, o options, now func() time.Time) error {
	scheme, err := newScheme()
	if err != nil {
		return err
	}
	config, err := localConfig(o.kubeconfig)
	if err != nil {
		return err
	}
	namespace, err := o.ownNamespace()
	if err != nil {
		return err
	}
	mgr, err := ctrl.NewManager(config, managerOptions(o, scheme, namespace))
	if err != nil {
		return fmt.Errorf("make manager: %w", err)
	}
	setup, err := setupOptions(o, mgr, now)
	if err != nil {
		return err
	}
	setup.SystemNamespace = namespace
	if o.roles.Has(controllers.Supplier) {
		metrics.CollectSupply(ctrlmetrics.Registry, supplyOf(ctx, mgr.GetClient()))
	}
	if err := requireLocalKinds(mgr.GetRESTMapper(), o.roles); err != nil {
		return err
	}
	if err := addHub(ctx, mgr, o, setup, scheme); err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("run manager: %w", err)
	}
	return nil
}

// addHub adds the controllers, which need the hub: at once where it is this cluster, and otherwise when it answers.
func addHub(ctx context.Context, mgr ctrl.Manager, o options, setup controllers.Options, scheme *runtime.Scheme) error {
	if !o.remote() {
		if err := requireHubKinds(mgr.GetRESTMapper()); err != nil {
			return err
		}
		if err := addProbes(mgr, filled(mgr)); err != nil {
			return err
		}
		return begin(ctx, mgr, o, setup, mgr, o.memberNamespace)
	}
	far, err := newFarHub(mgr, o, scheme, setup.Now)
	if err != nil {
		return err
	}
	if far.keeper != nil {
		setup.NotMember = far.keeper.NotMember
	}
	far.begin = func(ctx context.Context, hub cluster.Cluster, namespace string) error {
		return begin(ctx, mgr, o, setup, hub, namespace)
	}
	if err := addProbes(mgr, far.filled); err != nil {
		return err
	}
	if err := mgr.Add(far); err != nil {
		return fmt.Errorf("add hub: %w", err)
	}
	return nil
}

// begin adds the controllers, and what else works in the hub.
func begin(ctx context.Context, mgr ctrl.Manager, o options, setup controllers.Options, hub cluster.Cluster, namespace string) error {
	setup.Hub, setup.MemberNamespace = hub, namespace
	if err := errors.Join(o.join.open(&setup, mgr, hub), o.gateway.open(&setup, mgr, hub), o.gateway.dial(&setup, mgr, hub)); err != nil {
		return err
	}
	if o.roles.Has(controllers.Market) {
		metrics.CollectMembers(ctrlmetrics.Registry, membersOf(ctx, hub.GetClient()))
	}
	if err := showPresence(mgr, hub, o, namespace, setup.Now); err != nil {
		return err
	}
	return controllers.Setup(ctx, mgr, setup)
}

func newScheme() (*runtime.Scheme, error) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, boursev1.AddToScheme, ray.AddToScheme} {
		if err := add(scheme); err != nil {
			return nil, fmt.Errorf("register types: %w", err)
		}
	}
	return scheme, nil
}

// localConfig is the access to the cluster that the manager runs in or is pointed at.
func localConfig(kubeconfig string) (*rest.Config, error) {
	if kubeconfig != "" {
		return fileConfig("--kubeconfig", kubeconfig)
	}
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, fmt.Errorf("find a cluster: %w; run the manager in a pod, or give --kubeconfig", err)
	}
	return config, nil
}

func fileConfig(flagName, path string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", flagName, err)
	}
	config.QPS = -1 // the API server's priority and fairness is the limit
	return config, nil
}

func managerOptions(o options, scheme *runtime.Scheme, namespace string) ctrl.Options {
	caches := cacheOptions()
	// Leases of other namespaces are the heartbeats of kubelets, by the thousand, but for those of members' managers.
	leases := map[string]cache.Config{namespace: {}}
	if o.roles.Has(controllers.Market) {
		leases[cache.AllNamespaces] = cache.Config{LabelSelector: presences()}
	}
	caches.ByObject = map[client.Object]cache.ByObject{&coordinationv1.Lease{}: {Namespaces: leases}}
	var waits ctrlconfig.Controller
	if o.remote() {
		waits.CacheSyncTimeout = fillWithin
	}
	return ctrl.Options{
		Scheme:                        scheme,
		Controller:                    waits,
		Cache:                         caches,
		Client:                        clientOptions(),
		Metrics:                       metricsOptions(o),
		HealthProbeBindAddress:        o.healthAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "bourse-manager-" + strings.ReplaceAll(o.roles.String(), ",", "-"),
		LeaderElectionNamespace:       o.leaderNamespace,
		LeaderElectionReleaseOnCancel: true, // the process ends right after
		GracefulShutdownTimeout:       &o.shutdownTimeout,
	}
}

// cacheOptions keep out of memory what no controller reads.
func cacheOptions() cache.Options {
	return cache.Options{DefaultTransform: cache.TransformStripManagedFields()}
}

// clientOptions let reads of Secrets and ConfigMaps go to the API server, so that the manager needs no right to list them all.
func clientOptions() client.Options {
	return client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}, &corev1.ConfigMap{}}}}
}

func metricsOptions(o options) metricsserver.Options {
	options := metricsserver.Options{BindAddress: o.metricsAddress}
	if !o.metricsPlain {
		options.SecureServing = true
		options.FilterProvider = filters.WithAuthenticationAndAuthorization
		options.CertDir = o.metricsCertificates
		options.TLSOpts = []func(*tls.Config){func(config *tls.Config) {
			config.MinVersion = tls.VersionTLS12
			config.NextProtos = []string{"http/1.1"} // HTTP/2 lets one client reset streams without end
		}}
	}
	return options
}

// ownOnly keeps what is not the member's out of its manager's memory, and what a member may not read out of its requests. Of what all may
// read it keeps what the member is a party of: a supplier the vouchers for its own leases, and a buyer the leases of its own jobs.
func ownOnly(o options) map[client.Object]cache.ByObject {
	if o.roles.Has(controllers.Market) {
		return map[client.Object]cache.ByObject{&coordinationv1.Lease{}: {Label: presences()}}
	}
	own := cache.ByObject{Namespaces: map[string]cache.Config{o.memberNamespace: {}}}
	scoped := map[client.Object]cache.ByObject{
		&boursev1.GPUOffer{}: own, &boursev1.ComputeJob{}: own, &boursev1.LeaseProgram{}: own, &boursev1.Member{}: own,
		&boursev1.StakePosition{}: own,
	}
	leases, vouchers := map[string]cache.Config{}, map[string]cache.Config{}
	if o.roles.Has(controllers.Supplier) {
		leases[o.memberNamespace] = cache.Config{}
		vouchers[cache.AllNamespaces] = whose("spec.lease.namespace", o)
	}
	if o.roles.Has(controllers.Buyer) {
		leases[cache.AllNamespaces] = whose("spec.job.namespace", o)
		vouchers[o.memberNamespace] = cache.Config{}
	}
	scoped[&boursev1.GPULease{}] = cache.ByObject{Namespaces: leases}
	scoped[&boursev1.Voucher{}] = cache.ByObject{Namespaces: vouchers}
	return scoped
}

// whose selects the objects whose field names the member's namespace.
func whose(field string, o options) cache.Config {
	return cache.Config{FieldSelector: fields.OneTermEqualSelector(field, o.memberNamespace)}
}

// addProbes adds /healthz, which says that the process answers, and /readyz, which says that its caches are filled. Neither asks
// for anything remote: a restart mends no outage.
func addProbes(mgr ctrl.Manager, hub healthz.Checker) error {
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return fmt.Errorf("add health check: %w", err)
	}
	for name, check := range map[string]healthz.Checker{"local-cache": filled(mgr), "hub-cache": hub} {
		if err := mgr.AddReadyzCheck(name, check); err != nil {
			return fmt.Errorf("add readiness check: %w", err)
		}
	}
	return nil
}

// filled checks that the caches of a side are filled.
func filled(side cluster.Cluster) healthz.Checker {
	return func(request *http.Request) error {
		ctx, cancel := context.WithTimeout(request.Context(), syncWait)
		defer cancel()
		if !side.GetCache().WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}

func setupOptions(o options, mgr ctrl.Manager, now func() time.Time) (controllers.Options, error) {
	told := metrics.New(ctrlmetrics.Registry)
	quorum, err := chain.NewQuorum(o.chainRPC, o.chainQuorum, chainOptions(o, told, now))
	if err != nil {
		return controllers.Options{}, fmt.Errorf("--chain-quorum: %w", err)
	}
	setup := controllers.Options{
		Roles: o.roles, Local: mgr, Now: now, Metrics: told,
		Chain:         quorum,
		JobNamespaces: o.jobNamespaces, HoldImage: o.holdImage, RegistryCIDRs: o.registryCIDRs,
	}
	if err := o.treasury.open(&setup, o, mgr.GetClient()); err != nil {
		return controllers.Options{}, err
	}
	if o.roles.Has(controllers.Supplier) {
		if setup.SupplierSigner, err = o.supplierWallet.policed(o, mgr.GetClient(), now); err != nil {
			return controllers.Options{}, err
		}
	}
	if o.authorityWallet.given() {
		if setup.AuthoritySigner, err = o.authorityWallet.policed(o, mgr.GetClient(), now); err != nil {
			return controllers.Options{}, err
		}
	}
	if o.roles.Has(controllers.Buyer) {
		if setup.BuyerSigner, err = o.buyerWallet.policed(o, mgr.GetClient(), now); err != nil {
			return controllers.Options{}, err
		}
	}
	return setup, nil
}

// chainOptions time every request, but for those that were ended because enough endpoints had answered.
func chainOptions(o options, told *metrics.Metrics, now func() time.Time) chain.Options {
	return chain.Options{
		Timeout: o.chainTimeout,
		Observe: func(method string) func(error) {
			began := now()
			return func(err error) {
				if errors.Is(err, context.Canceled) {
					return
				}
				outcome := metrics.OutcomeOK
				if err != nil {
					outcome = metrics.OutcomeError
				}
				told.ChainRequest(method, outcome, now().Sub(began).Seconds())
			}
		},
	}
}
