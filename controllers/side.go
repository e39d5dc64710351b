// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
)

// sideManager is the manager with another cluster's caches and clients, so that one leader runs controllers on both sides. What
// a cluster.Cluster has comes from the side, because it is embedded less deeply; all else comes from the manager.
type sideManager struct {
	cluster.Cluster
	leader
}

type leader struct{ ctrl.Manager }

// Start starts the manager, which has the side among its parts.
func (m sideManager) Start(ctx context.Context) error { return m.leader.Start(ctx) }

// sideOf returns a manager that watches the side.
func sideOf(mgr ctrl.Manager, side cluster.Cluster) ctrl.Manager {
	if side == cluster.Cluster(mgr) {
		return mgr
	}
	return sideManager{Cluster: side, leader: leader{mgr}}
}
