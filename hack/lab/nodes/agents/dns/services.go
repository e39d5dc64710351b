// SPDX-License-Identifier: Apache-2.0

package dns

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	corelisters "k8s.io/client-go/listers/core/v1"
	discoverylisters "k8s.io/client-go/listers/discovery/v1"
)

// Services finds service addresses in a cache of the API server's objects.
type Services struct {
	services corelisters.ServiceLister
	slices   discoverylisters.EndpointSliceLister
}

// NewServices starts the cache, which lives until ctx ends, and returns once it is filled.
func NewServices(ctx context.Context, client kubernetes.Interface) (*Services, error) {
	factory := informers.NewSharedInformerFactory(client, 0)
	s := &Services{
		services: factory.Core().V1().Services().Lister(),
		slices:   factory.Discovery().V1().EndpointSlices().Lister(),
	}
	factory.Start(ctx.Done())
	for kind, synced := range factory.WaitForCacheSync(ctx.Done()) {
		if !synced {
			return nil, fmt.Errorf("fill cache of %s: %w", kind, context.Cause(ctx))
		}
	}
	return s, nil
}

// Lookup returns a service's cluster address, or its ready pods' addresses when it is headless.
func (s *Services) Lookup(namespace, service string) ([]netip.Addr, error) {
	found, err := s.services.Services(namespace).Get(service)
	if apierrors.IsNotFound(err) {
		return nil, ErrNoName
	}
	if err != nil {
		return nil, fmt.Errorf("get service: %w", err)
	}
	switch found.Spec.ClusterIP {
	case "":
		return nil, ErrNoName
	case corev1.ClusterIPNone:
		return s.ready(namespace, service)
	default:
		return parse([]string{found.Spec.ClusterIP})
	}
}

func (s *Services) ready(namespace, service string) ([]netip.Addr, error) {
	of := labels.SelectorFromSet(labels.Set{discoveryv1.LabelServiceName: service})
	found, err := s.slices.EndpointSlices(namespace).List(of)
	if err != nil {
		return nil, fmt.Errorf("list endpoint slices: %w", err)
	}
	var texts []string
	for _, slice := range found {
		for _, endpoint := range slice.Endpoints {
			if endpoint.Conditions.Ready == nil || *endpoint.Conditions.Ready {
				texts = append(texts, endpoint.Addresses...)
			}
		}
	}
	slices.Sort(texts)
	return parse(slices.Compact(texts))
}

func parse(texts []string) ([]netip.Addr, error) {
	addresses := make([]netip.Addr, 0, len(texts))
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("parse address: %w", err)
		}
		addresses = append(addresses, address)
	}
	return addresses, nil
}
