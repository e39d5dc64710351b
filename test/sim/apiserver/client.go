// SPDX-License-Identifier: Apache-2.0

package apiserver

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Client is one process's access: writes go to the server, reads come from the process's own view, which lags behind until CatchUp.
// Methods that controllers do not use are not there, and fail loudly.
type Client struct {
	client.Client
	server *Server
	view   map[Key]client.Object // nil: reads are never stale
	at     int                   // how much of the server's log the view has seen
	around func(verb string, obj client.Object, write func() error) error
	unlock bool
}

// NewClient returns a client whose view is of now. Around surrounds every write: it decides whether it happens and what is answered.
func (s *Server) NewClient(around func(verb string, obj client.Object, write func() error) error) *Client {
	return &Client{server: s, view: maps.Clone(s.objects), at: len(s.log), around: around}
}

// Live returns a client whose reads are never stale and whose writes nothing disturbs.
func (s *Server) Live() *Client {
	return &Client{server: s, around: func(_ string, _ client.Object, write func() error) error { return write() }}
}

// Unlocked makes the client forget the locks of its patches, which no client should.
func (c *Client) Unlocked() { c.unlock = true }

// Live returns reads of this client that are not stale.
func (c *Client) Live() client.Reader { return c.server.Live() }

// Behind says how many changes the view has not seen.
func (c *Client) Behind() int { return len(c.server.log) - c.at }

// CatchUp lets the view see up to so many more changes, and tells of each: the object as it is, or as it was when it is gone.
func (c *Client) CatchUp(changes int, tell func(obj client.Object)) {
	for range min(changes, c.Behind()) {
		next := c.server.log[c.at]
		c.at++
		seen := next.obj
		if seen == nil {
			if seen = c.view[next.key]; seen == nil {
				continue
			}
			delete(c.view, next.key)
		} else {
			c.view[next.key] = seen
		}
		tell(seen)
	}
}

func (c *Client) state() map[Key]client.Object {
	if c.view != nil {
		return c.view
	}
	return c.server.objects
}

// Get implements client.Reader.
func (c *Client) Get(_ context.Context, name client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	found, ok := c.state()[Key{Kind: reflect.TypeOf(obj), NamespacedName: name}]
	if !ok {
		return apierrors.NewNotFound(resourceOf(obj), name.String())
	}
	fill(obj, found)
	return nil
}

// List implements client.Reader for namespaces, labels and one indexed field.
func (c *Client) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	options := client.ListOptions{}
	options.ApplyOptions(opts)
	items, err := meta.GetItemsPtr(list)
	if err != nil {
		return err
	}
	into := reflect.ValueOf(items).Elem()
	kind := reflect.PointerTo(into.Type().Elem())
	var found []client.Object
	for key, obj := range c.state() {
		if key.Kind == kind && c.matches(obj, &options) {
			found = append(found, obj)
		}
	}
	slices.SortFunc(found, func(a, b client.Object) int {
		return strings.Compare(a.GetNamespace()+"/"+a.GetName(), b.GetNamespace()+"/"+b.GetName())
	})
	into.Set(reflect.MakeSlice(into.Type(), 0, len(found)))
	for _, obj := range found {
		into.Set(reflect.Append(into, reflect.ValueOf(copyOf(obj)).Elem()))
	}
	return nil
}

func (c *Client) matches(obj client.Object, options *client.ListOptions) bool {
	if options.Namespace != "" && obj.GetNamespace() != options.Namespace {
		return false
	}
	if options.LabelSelector != nil && !options.LabelSelector.Matches(labels.Set(obj.GetLabels())) {
		return false
	}
	if options.FieldSelector == nil {
		return true
	}
	for _, want := range options.FieldSelector.Requirements() {
		if !slices.Contains(c.server.indexes[want.Field](obj), want.Value) {
			return false
		}
	}
	return true
}

// Create implements client.Writer.
func (c *Client) Create(_ context.Context, obj client.Object, _ ...client.CreateOption) error {
	return c.around("create", obj, func() error {
		if _, exists := c.server.objects[KeyOf(obj)]; exists {
			return apierrors.NewAlreadyExists(resourceOf(obj), obj.GetName())
		}
		fill(obj, c.server.create(obj))
		return nil
	})
}

// Delete implements client.Writer. An object with finalizers stays until the last one is gone.
func (c *Client) Delete(_ context.Context, obj client.Object, _ ...client.DeleteOption) error {
	return c.around("delete", obj, func() error {
		found, ok := c.server.objects[KeyOf(obj)]
		switch {
		case !ok:
			return apierrors.NewNotFound(resourceOf(obj), obj.GetName())
		case len(found.GetFinalizers()) == 0:
			c.server.remove(KeyOf(obj))
		case found.GetDeletionTimestamp() == nil:
			next := copyOf(found)
			now := metav1.NewTime(c.server.now())
			next.SetDeletionTimestamp(&now)
			c.server.put(KeyOf(obj), next)
		}
		return nil
	})
}

// Update implements client.Writer: it replaces everything but the status, locked when the object has a version.
func (c *Client) Update(_ context.Context, obj client.Object, _ ...client.UpdateOption) error {
	return c.around("update", obj, func() error { return c.replace(obj, obj.GetResourceVersion(), false) })
}

// Patch implements client.Writer for merge patches that were made from the object's last known state.
func (c *Client) Patch(_ context.Context, obj client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return c.patch("patch", obj, patch, false)
}

func (c *Client) patch(verb string, obj client.Object, patch client.Patch, status bool) error {
	return c.around(verb, obj, func() error {
		if found, ok := c.server.objects[KeyOf(obj)]; ok && found.GetResourceVersion() == obj.GetResourceVersion() {
			return c.replace(obj, "", status) // whether it is locked makes no difference, and a lock is dear to read
		}
		version, err := lockOf(obj, patch)
		if err != nil {
			return err
		}
		return c.replace(obj, version, status)
	})
}

// lockOf returns the version that a patch is locked to, or nothing.
func lockOf(obj client.Object, patch client.Patch) (string, error) {
	data, err := patch.Data(obj)
	if err != nil {
		return "", err
	}
	var body struct {
		Metadata struct {
			ResourceVersion string `json:"resourceVersion"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(data, &body); err != nil {
		return "", fmt.Errorf("read patch: %w", err)
	}
	return body.Metadata.ResourceVersion, nil
}

// replace stores the object's status, or everything else of it, unless it changed since the version.
func (c *Client) replace(obj client.Object, version string, status bool) error {
	key := KeyOf(obj)
	found, ok := c.server.objects[key]
	if !ok {
		return apierrors.NewNotFound(resourceOf(obj), obj.GetName())
	}
	if version != "" && version != found.GetResourceVersion() && !c.unlock {
		return apierrors.NewConflict(resourceOf(obj), obj.GetName(), fmt.Errorf("it is at %s, not %s", found.GetResourceVersion(), version))
	}
	next := copyOf(obj)
	if kept := statusOf(found); kept.IsValid() {
		if status {
			next = copyOf(found)
			statusOf(next).Set(statusOf(copyOf(obj)))
		} else {
			statusOf(next).Set(statusOf(copyOf(found)))
			next.SetGeneration(found.GetGeneration())
			if !reflect.DeepEqual(specOf(found), specOf(next)) {
				next.SetGeneration(found.GetGeneration() + 1)
			}
		}
	}
	if next.GetDeletionTimestamp() != nil && len(next.GetFinalizers()) == 0 {
		c.server.remove(key)
		return nil
	}
	fill(obj, c.server.put(key, next))
	return nil
}

// statusOf returns the field that the status subresource is about; invalid for kinds without one.
func statusOf(obj client.Object) reflect.Value {
	return reflect.ValueOf(obj).Elem().FieldByName("Status")
}

func specOf(obj client.Object) any {
	return reflect.ValueOf(obj).Elem().FieldByName("Spec").Interface()
}

// Status implements client.Client.
func (c *Client) Status() client.SubResourceWriter { return statusWriter{client: c} }

// GroupVersionKindFor implements client.Client: the name of the type is enough here.
func (c *Client) GroupVersionKindFor(obj runtime.Object) (schema.GroupVersionKind, error) {
	return schema.GroupVersionKind{Kind: nameOf(obj)}, nil
}

type statusWriter struct {
	client.SubResourceWriter
	client *Client
}

// Patch implements client.SubResourceWriter.
func (w statusWriter) Patch(_ context.Context, obj client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	return w.client.patch("patch status", obj, patch, true)
}

// Update implements client.SubResourceWriter.
func (w statusWriter) Update(_ context.Context, obj client.Object, _ ...client.SubResourceUpdateOption) error {
	return w.client.around("update status", obj, func() error { return w.client.replace(obj, obj.GetResourceVersion(), true) })
}

func fill(obj, from client.Object) {
	reflect.ValueOf(obj).Elem().Set(reflect.ValueOf(copyOf(from)).Elem())
}

func resourceOf(obj client.Object) schema.GroupResource {
	return schema.GroupResource{Resource: nameOf(obj)}
}

func nameOf(obj runtime.Object) string { return reflect.TypeOf(obj).Elem().Name() }
