// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers"
)

// errNoKind says that an API server lacks a kind that the controllers watch. A watch of it would only fail minutes later, and without a word
// on what to do.
var errNoKind = errors.New("a kind is missing")

// ourKinds is how Bourse's own kinds come about.
const ourKinds = "install Bourse's CRDs (crds.enabled in the chart, or kubectl apply -k config/crd)"

// requireHubKinds checks that the hub knows the market's kinds.
func requireHubKinds(kinds meta.RESTMapper) error {
	return requireKind(kinds, boursev1.GroupVersion.WithKind("ComputeJob"), "the hub", ourKinds)
}

// requireLocalKinds checks that this cluster knows the kinds of the roles that work in it.
func requireLocalKinds(kinds meta.RESTMapper, roles controllers.Roles) error {
	if roles.Has(controllers.Buyer) {
		if err := requireKind(kinds, boursev1.GroupVersion.WithKind("ComputeJob"), "this cluster", ourKinds); err != nil {
			return err
		}
	}
	if !roles.Has(controllers.Supplier) {
		return nil
	}
	if err := requireKind(kinds, boursev1.GroupVersion.WithKind("GPUPool"), "this cluster", ourKinds); err != nil {
		return err
	}
	return requireKind(kinds, schema.GroupVersionKind{Group: "ray.io", Version: "v1", Kind: "RayCluster"}, "this cluster",
		"install the KubeRay operator, which the role supplier needs")
}

func requireKind(kinds meta.RESTMapper, kind schema.GroupVersionKind, where, fix string) error {
	_, err := kinds.RESTMapping(kind.GroupKind(), kind.Version)
	if meta.IsNoMatchError(err) {
		return fmt.Errorf("%w: %s has no %s of %s: %s", errNoKind, where, kind.Kind, kind.GroupVersion(), fix)
	}
	if err != nil {
		return fmt.Errorf("ask %s for its kinds: %w", where, err)
	}
	return nil
}
