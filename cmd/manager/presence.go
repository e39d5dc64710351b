// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/selection"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers"
	"github.com/bourse-dev/bourse/internal/presence"
)

// showPresence has a member's manager say in the hub, for each of its roles, that it is there. Where the hub is this cluster everybody sees
// the manager itself.
func showPresence(mgr ctrl.Manager, hub cluster.Cluster, o options, namespace string, now func() time.Time) error {
	if !o.remote() || o.roles.Has(controllers.Market) || namespace == "" {
		return nil
	}
	holder, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("find out the host's name: %w", err)
	}
	for _, role := range o.roles {
		sign := &presence.Sign{
			Client: hub.GetClient(), Namespace: namespace, Role: string(role), Holder: holder, Now: now,
			Log: mgr.GetLogger().WithName("presence"),
		}
		if err := mgr.Add(sign); err != nil {
			return fmt.Errorf("add sign of presence: %w", err)
		}
	}
	return nil
}

// presences selects the Leases by which members' managers say that they are there.
func presences() labels.Selector {
	has, err := labels.NewRequirement(boursev1.LabelPresence, selection.Exists, nil)
	if err != nil {
		panic(err) // the key is a constant
	}
	return labels.NewSelector().Add(*has)
}
