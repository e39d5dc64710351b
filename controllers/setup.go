// SPDX-License-Identifier: Apache-2.0

// Package controllers holds the one list of Bourse's controllers, by role. It knows what each of them is given, and nothing of
// what they decide.
package controllers

import (
	"context"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"github.com/bourse-dev/bourse/controllers/market/gpuoffer"
	"github.com/bourse-dev/bourse/controllers/market/member"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
)

// eventSource is how the operator signs its events.
const eventSource = "bourse"

// Options is what the controllers are given.
type Options struct {
	Roles   Roles
	Hub     cluster.Cluster // the market's API server
	Local   cluster.Cluster // the member's own one; in a standalone market, the same
	Now     func() time.Time
	Metrics *metrics.Metrics
}

// Setup adds the controllers of every role to the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	var all []controller
	if o.Roles.Has(Market) {
		all = append(all, o.market()...)
	}
	for _, c := range all {
		if err := c.reconciler.SetupWithManager(ctx, sideOf(mgr, c.side)); err != nil {
			return fmt.Errorf("set up controller %s: %w", c.name, err)
		}
	}
	return nil
}

// controller is a reconciler and the side that the objects it reconciles are on.
type controller struct {
	name       string
	side       cluster.Cluster
	reconciler interface {
		SetupWithManager(ctx context.Context, mgr ctrl.Manager) error
	}
}

func (o Options) market() []controller {
	hub, teller := o.Hub.GetClient(), o.teller(o.Hub)
	return []controller{
		{"market/member", o.Hub, &member.Reconciler{Teller: teller, Hub: hub}},
		{"market/gpuoffer", o.Hub, &gpuoffer.Reconciler{Teller: teller, Hub: hub, Now: o.Now}},
	}
}

// teller writes statuses and events on one side.
func (o Options) teller(side cluster.Cluster) *kube.Teller {
	return &kube.Teller{Client: side.GetClient(), Recorder: side.GetEventRecorder(eventSource), Metrics: o.Metrics}
}
