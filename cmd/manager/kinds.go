// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers"
)

// requireKinds checks that the API servers know the kinds that the controllers watch, because a watch of an unknown kind would
// only fail minutes later, and without a word on what to do.
func requireKinds(local, hub cluster.Cluster, roles controllers.Roles) error {
	const installCRDs = "install Bourse's CRDs (crds.enabled in the chart, or kubectl apply -k config/crd)"
	jobs := boursev1.GroupVersion.WithKind("ComputeJob")
	if err := requireKind(hub, jobs, "the hub", installCRDs); err != nil {
		return err
	}
	if roles.Has(controllers.Buyer) {
		if err := requireKind(local, jobs, "this cluster", installCRDs); err != nil {
			return err
		}
	}
	if !roles.Has(controllers.Supplier) {
		return nil
	}
	if err := requireKind(local, boursev1.GroupVersion.WithKind("GPUPool"), "this cluster", installCRDs); err != nil {
		return err
	}
	return requireKind(local, schema.GroupVersionKind{Group: "ray.io", Version: "v1", Kind: "RayCluster"}, "this cluster",
		"install the KubeRay operator, which the role supplier needs")
}

func requireKind(side cluster.Cluster, kind schema.GroupVersionKind, where, fix string) error {
	_, err := side.GetRESTMapper().RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("%s has no kind %s of %s: %s", where, kind.Kind, kind.GroupVersion(), fix)
	}
	if err != nil {
		return fmt.Errorf("ask %s for its kinds: %w", where, err)
	}
	return nil
}
