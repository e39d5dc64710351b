// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"testing"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// someManager has a client of its own and remembers what was added and whether it was started.
type someManager struct {
	ctrl.Manager
	client         client.Client
	added, started int
}

func (m *someManager) GetClient() client.Client    { return m.client }
func (m *someManager) Add(manager.Runnable) error  { m.added++; return nil }
func (m *someManager) Start(context.Context) error { m.started++; return nil }

type someCluster struct {
	cluster.Cluster
	client client.Client
}

func (c *someCluster) GetClient() client.Client { return c.client }

func TestSideOfReadsTheSideAndRunsInTheManager(t *testing.T) {
	mgr, hub := &someManager{client: fake.NewClientBuilder().Build()}, &someCluster{client: fake.NewClientBuilder().Build()}
	side := sideOf(mgr, hub)
	if side.GetClient() != hub.client {
		t.Error("the client is not the side's")
	}
	if err := side.Add(nil); err != nil || mgr.added != 1 {
		t.Errorf("added %d controllers to the manager (%v), want 1", mgr.added, err)
	}
	if err := side.Start(t.Context()); err != nil || mgr.started != 1 {
		t.Errorf("started the manager %d times (%v), want once", mgr.started, err)
	}
}

func TestSideOfTheManagerItselfIsTheManager(t *testing.T) {
	mgr := &someManager{}
	if sideOf(mgr, mgr) != ctrl.Manager(mgr) {
		t.Error("a standalone market's manager was wrapped")
	}
}
