// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/joinhttp"
	"github.com/bourse-dev/bourse/internal/kube"
)

// How a hub is waited for that did not answer when the manager started.
const (
	firstReach = time.Second
	lastReach  = 30 * time.Second
	reachIn    = 10 * time.Second // how long the hub's API server may take to say which kinds it has
	// reachJitter is the part of every wait that differs between members, so that they do not all come at once after an outage.
	reachJitter = 0.2
	// fillWithin is how long the caches of a hub may take to fill. A manager that gave up would only start again and wait.
	fillWithin = 365 * 24 * time.Hour
)

// errBegin says that the hub answered, and that the manager cannot work with it as its flags say. Waiting mends nothing.
var errBegin = errors.New("begin in the hub")

// remote says whether the hub is another cluster than the manager's own.
func (o options) remote() bool { return o.hubJoin.url != "" || o.hubKubeconfig != "" }

// farHub is a hub in another cluster. It may be away when the manager starts: then it is waited for, the process stays and is not ready, and
// the controllers begin when it has answered. It is a part of the manager, in every replica.
type farHub struct {
	options options
	mgr     ctrl.Manager
	scheme  *runtime.Scheme
	keeper  *joinhttp.Keeper // nil where the hub is reached by a kubeconfig
	config  *rest.Config     // by a kubeconfig, or once it was joined
	begin   func(ctx context.Context, hub cluster.Cluster, namespace string) error
	log     logr.Logger

	reached atomic.Pointer[cluster.Cluster]
}

// newFarHub reads what the flags name, and asks the hub nothing.
func newFarHub(mgr ctrl.Manager, o options, scheme *runtime.Scheme, now func() time.Time) (*farHub, error) {
	h := &farHub{options: o, mgr: mgr, scheme: scheme, log: mgr.GetLogger().WithName("hub")}
	var err error
	if o.hubJoin.url != "" {
		h.keeper, err = o.hubJoin.keeper(mgr, o, now)
	} else {
		h.config, err = fileConfig("--hub-kubeconfig", o.hubKubeconfig)
	}
	if err != nil {
		return nil, err
	}
	return h, nil
}

// NeedLeaderElection says no: whoever waits for the lead reads the hub too.
func (*farHub) NeedLeaderElection() bool { return false }

// Start waits for the hub and begins what needs it. It says once that it waits, and again when the hub refuses for another reason.
func (h *farHub) Start(ctx context.Context) error {
	told, wait := "", firstReach
	for {
		err := h.reach(ctx)
		switch {
		case err == nil:
			if told != "" {
				h.log.Info("Reached the hub")
			}
			return nil
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case errors.Is(err, errBegin):
			return err
		}
		if why := trouble(err); why != told {
			h.log.Error(err, "Did not reach the hub, and keeps trying; what runs goes on")
			told = why
		}
		if !sleep(ctx, wait) {
			return nil
		}
		wait = min(2*wait, lastReach)
	}
}

// trouble tells one reason to wait from another. All ways in which a hub does not answer are one.
func trouble(err error) string {
	if refusal, ok := errors.AsType[*join.Refusal](err); ok && refusal.Reason != join.Busy {
		return string(refusal.Reason)
	}
	if errors.Is(err, errNoKind) || meta.IsNoMatchError(err) {
		return errNoKind.Error()
	}
	return "away"
}

// reach tries once.
func (h *farHub) reach(ctx context.Context) error {
	namespace, err := h.access(ctx)
	if err != nil {
		return err
	}
	kinds, err := mapperOf(h.config)
	if err != nil {
		return err
	}
	if err := requireHubKinds(kinds); err != nil {
		return err
	}
	o := h.options
	o.memberNamespace = namespace
	hub, err := cluster.New(h.config, func(c *cluster.Options) {
		c.Scheme = h.scheme
		c.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return kinds, nil }
		c.Client = clientOptions()
		c.Cache = cacheOptions()
		c.Cache.ByObject, c.Cache.NewInformer = ownOnly(o), kube.NewPatientInformer
	})
	if err != nil {
		return fmt.Errorf("reach hub: %w", err)
	}
	if err := h.begin(ctx, hub, namespace); err != nil {
		return fmt.Errorf("%w: %w", errBegin, err)
	}
	if err := h.mgr.Add(hub); err != nil {
		return fmt.Errorf("%w: add hub: %w", errBegin, err)
	}
	h.reached.Store(&hub)
	return nil
}

// access is the member's namespace, once there is access to the hub. A hub that was joined says which one it is.
func (h *farHub) access(ctx context.Context) (string, error) {
	if h.keeper == nil || h.config != nil {
		return h.options.memberNamespace, nil
	}
	access, err := h.keeper.Renew(ctx)
	if err != nil {
		return "", fmt.Errorf("--hub-join: get a token of the hub: %w", err)
	}
	if given := h.options.memberNamespace; given != "" && given != access.Namespace {
		return "", fmt.Errorf("%w: --member-namespace: your wallet's namespace in this hub is %s: say so, or leave the flag out",
			errBegin, access.Namespace)
	}
	if err := h.mgr.Add(h.keeper); err != nil {
		return "", fmt.Errorf("%w: add keeper of the hub's token: %w", errBegin, err)
	}
	h.options.memberNamespace = access.Namespace
	h.config = &rest.Config{Host: access.Server, TLSClientConfig: rest.TLSClientConfig{CAData: access.CA}, QPS: -1}
	h.config.Wrap(h.keeper.Wrap)
	return access.Namespace, nil
}

// mapperOf knows the kinds of an API server. It asks when it is asked, and gives the server little time, since the manager may be told to stop.
func mapperOf(config *rest.Config) (meta.RESTMapper, error) {
	config = rest.CopyConfig(config)
	config.Timeout = reachIn
	web, err := rest.HTTPClientFor(config)
	if err != nil {
		return nil, fmt.Errorf("reach hub: %w", err)
	}
	kinds, err := apiutil.NewDynamicRESTMapper(config, web)
	if err != nil {
		return nil, fmt.Errorf("reach hub: %w", err)
	}
	return kinds, nil
}

// filled is the readiness check of the hub's caches.
func (h *farHub) filled(request *http.Request) error {
	hub := h.reached.Load()
	if hub == nil {
		return errors.New("the hub has not answered since the manager started")
	}
	return filled(*hub)(request)
}

// sleep waits, a little less than asked; it says no when the context ends.
func sleep(ctx context.Context, wait time.Duration) bool {
	timer := time.NewTimer(time.Duration(float64(wait) * (1 - reachJitter*rand.Float64()))) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
