// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/recorder"
)

// sideManager is the manager with another cluster's caches and clients, so that one leader runs controllers on both sides.
type sideManager struct {
	ctrl.Manager
	side cluster.Cluster
}

// sideOf returns a manager that watches the side.
func sideOf(mgr ctrl.Manager, side cluster.Cluster) ctrl.Manager {
	if side == cluster.Cluster(mgr) {
		return mgr
	}
	return sideManager{Manager: mgr, side: side}
}

func (m sideManager) GetHTTPClient() *http.Client          { return m.side.GetHTTPClient() }
func (m sideManager) GetConfig() *rest.Config              { return m.side.GetConfig() }
func (m sideManager) GetCache() cache.Cache                { return m.side.GetCache() }
func (m sideManager) GetScheme() *runtime.Scheme           { return m.side.GetScheme() }
func (m sideManager) GetClient() client.Client             { return m.side.GetClient() }
func (m sideManager) GetFieldIndexer() client.FieldIndexer { return m.side.GetFieldIndexer() }
func (m sideManager) GetRESTMapper() meta.RESTMapper       { return m.side.GetRESTMapper() }
func (m sideManager) GetAPIReader() client.Reader          { return m.side.GetAPIReader() }
func (m sideManager) GetEventRecorder(name string) recorder.EventRecorder {
	return m.side.GetEventRecorder(name)
}
func (m sideManager) GetEventRecorderFor(name string) record.EventRecorder {
	return m.side.GetEventRecorderFor(name) //nolint:staticcheck // the interface still has it
}
