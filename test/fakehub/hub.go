// SPDX-License-Identifier: Apache-2.0

// Package fakehub is a hub in memory for the tests of controllers: a fake API server that counts writes, a clock that stands still
// until it is told to move on, and the events that were told.
package fakehub

import (
	"context"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/test/builders"
)

// manyEvents is more than any test tells.
const manyEvents = 1000

// Index is a field index that a controller lists by.
type Index struct {
	Of     client.Object
	Name   string
	Values client.IndexerFunc
}

// Hub is the hub.
type Hub struct {
	client.Client
	Recorder *events.FakeRecorder

	t      testing.TB
	now    time.Time
	writes []string
	fail   func(verb string, obj client.Object) error
}

// New returns a hub that holds the objects.
func New(tb testing.TB, indexes []Index, objects ...client.Object) *Hub {
	tb.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{boursev1.AddToScheme, clientgoscheme.AddToScheme, ray.AddToScheme} {
		if err := add(scheme); err != nil {
			tb.Fatal(err)
		}
	}
	h := &Hub{Recorder: events.NewFakeRecorder(manyEvents), t: tb, now: builders.Start}
	builder := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithInterceptorFuncs(h.interceptor()).WithStatusSubresource(
		&boursev1.ComputeJob{}, &boursev1.FeeBurn{}, &boursev1.GPULease{}, &boursev1.GPUNode{}, &boursev1.GPUOffer{}, &boursev1.GPUPool{}, &boursev1.Market{}, &boursev1.Member{},
		&boursev1.Settlement{}, &boursev1.Slash{}, &boursev1.StakePosition{}, &boursev1.Voucher{},
	)
	for _, index := range indexes {
		builder = builder.WithIndex(index.Of, index.Name, index.Values)
	}
	h.Client = builder.Build()
	return h
}

// Teller returns a writer of statuses whose events the hub keeps.
func (h *Hub) Teller() *kube.Teller {
	return &kube.Teller{Client: h.Client, Recorder: h.Recorder, Metrics: metrics.New(prometheus.NewRegistry())}
}

// Now is the hub's clock.
func (h *Hub) Now() time.Time { return h.now }

// Step moves the clock on.
func (h *Hub) Step(by time.Duration) { h.now = h.now.Add(by) }

// Fail makes writes fail from now on as it decides; nil lets all pass.
func (h *Hub) Fail(decide func(verb string, obj client.Object) error) { h.fail = decide }

// Read fills the object with what the hub holds under its name.
func (h *Hub) Read(obj client.Object) {
	h.t.Helper()
	if err := h.Get(h.t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		h.t.Fatal(err)
	}
}

// Edit changes what the hub holds, as somebody else would: spec and metadata.
func (h *Hub) Edit(obj client.Object) {
	h.t.Helper()
	if err := h.Update(h.t.Context(), obj); err != nil {
		h.t.Fatal(err)
	}
}

// EditStatus changes the status that the hub holds, as somebody else would.
func (h *Hub) EditStatus(obj client.Object) {
	h.t.Helper()
	if err := h.Status().Update(h.t.Context(), obj); err != nil {
		h.t.Fatal(err)
	}
}

// Writes returns what do wrote, one "verb Type name" each.
func (h *Hub) Writes(do func()) []string {
	before := len(h.writes)
	do()
	return h.writes[before:]
}

// Events returns how many events were told so far.
func (h *Hub) Events() int { return len(h.Recorder.Events) }

func (h *Hub) note(verb string, obj client.Object) error {
	if h.fail != nil {
		if err := h.fail(verb, obj); err != nil {
			return err
		}
	}
	h.writes = append(h.writes, verb+" "+obj.GetName())
	return nil
}

func (h *Hub) interceptor() interceptor.Funcs {
	return interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.CreateOption) error {
			if err := h.note("create", obj); err != nil {
				return err
			}
			return c.Create(ctx, obj, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, obj client.Object, opts ...client.DeleteOption) error {
			if err := h.note("delete", obj); err != nil {
				return err
			}
			return c.Delete(ctx, obj, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
			if err := h.note("patch", obj); err != nil {
				return err
			}
			return c.Patch(ctx, obj, patch, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, obj client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if err := h.note("patch "+sub, obj); err != nil {
				return err
			}
			return c.SubResource(sub).Patch(ctx, obj, patch, opts...)
		},
	}
}
