// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
)

// Hold puts the finalizer on the object, in a locked patch of its own that leaves everything else of obj as it is in memory.
func Hold(ctx context.Context, c client.Client, obj client.Object, finalizer string) error {
	return finalize(ctx, c, obj, "add finalizer", func(o client.Object) bool {
		return controllerutil.AddFinalizer(o, finalizer)
	})
}

// Free takes the finalizer off the object, so that the API server may remove it.
func Free(ctx context.Context, c client.Client, obj client.Object, finalizer string) error {
	return finalize(ctx, c, obj, "remove finalizer", func(o client.Object) bool {
		return controllerutil.RemoveFinalizer(o, finalizer)
	})
}

func finalize(ctx context.Context, c client.Client, obj client.Object, what string, change func(client.Object) bool) error {
	next, ok := obj.DeepCopyObject().(client.Object)
	if !ok {
		return fmt.Errorf("%s: %T is no API object", what, obj)
	}
	if !change(next) {
		return nil
	}
	patch, err := finalizersOf(next)
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := c.Patch(ctx, next, patch); err != nil {
		return wrapWrite(what, err)
	}
	obj.SetFinalizers(next.GetFinalizers())
	obj.SetResourceVersion(next.GetResourceVersion())
	return nil
}

// finalizersOf is the locked patch that gives an object its finalizers as they are in memory. Nothing else of it is looked at.
func finalizersOf(obj client.Object) (client.Patch, error) {
	type metadata struct {
		ResourceVersion string   `json:"resourceVersion"`
		Finalizers      []string `json:"finalizers"` // none is null, which takes the field away
	}
	data, err := json.Marshal(struct {
		Metadata metadata `json:"metadata"`
	}{metadata{obj.GetResourceVersion(), obj.GetFinalizers()}})
	if err != nil {
		return nil, fmt.Errorf("write patch: %w", err)
	}
	return client.RawPatch(types.MergePatchType, data), nil
}
