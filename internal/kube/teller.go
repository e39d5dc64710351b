// SPDX-License-Identifier: Apache-2.0

package kube

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/internal/metrics"
)

// A Teller is the Writer of a controller that owns an object's status. It tells of each condition that changed, but only after
// the API server accepted the change, so that a retry repeats nothing.
type Teller struct {
	Client   client.Client
	Recorder events.EventRecorder
	Metrics  *metrics.Metrics
}

// Write patches the status, then logs, records and counts each condition that changed. An object that is gone is no error.
func (t *Teller) Write(ctx context.Context, before, after Conditioned) error {
	base, err := baseOf(before, after)
	if err != nil {
		return err
	}
	if apiequality.Semantic.DeepEqual(base, after) {
		return nil
	}
	gvk, err := t.Client.GroupVersionKindFor(after)
	if err != nil {
		return fmt.Errorf("name kind: %w", err)
	}
	told := slices.Clone(*after.Conditions()) // the patch decodes the answer into after
	// A JSON merge patch replaces the whole list of conditions; the lock turns a stale one into a conflict.
	if err := t.Client.Status().Patch(ctx, after, locked(base)); err != nil {
		if apierrors.IsConflict(err) {
			t.Metrics.Conflict(gvk.Kind)
		}
		return wrapWrite("patch status", err)
	}
	for _, now := range told {
		was := meta.FindStatusCondition(*before.Conditions(), now.Type)
		if was == nil || was.Status != now.Status || was.Reason != now.Reason {
			t.tell(ctx, gvk, after, now)
		}
	}
	return nil
}

func (t *Teller) tell(ctx context.Context, gvk schema.GroupVersionKind, obj Conditioned, now metav1.Condition) {
	ctrl.LoggerFrom(ctx).Info("Changed condition",
		"condition", now.Type, "conditionStatus", now.Status, "reason", now.Reason, "message", now.Message)
	severity := corev1.EventTypeNormal
	if now.Status == metav1.ConditionFalse {
		severity = corev1.EventTypeWarning
	}
	t.Recorder.Eventf(obj, nil, severity, now.Reason, now.Type, "%s", now.Message)
	t.Metrics.Transition(gvk.Kind, now.Type, string(now.Status), now.Reason)
}

// A SpecWriter is the Writer of a controller that owns an object's spec. Conditions are another's to change and to tell.
type SpecWriter struct {
	Client client.Client
}

// Write patches the spec. An object that is gone is no error.
func (w *SpecWriter) Write(ctx context.Context, before, after Conditioned) error {
	base, err := baseOf(before, after)
	if err != nil {
		return err
	}
	if apiequality.Semantic.DeepEqual(base, after) {
		return nil
	}
	return wrapWrite("patch spec", w.Client.Patch(ctx, after, locked(base)))
}

// baseOf is before with the metadata of after, because finalizers are written by Hold and Free, in patches of their own.
func baseOf(before, after Conditioned) (Conditioned, error) {
	base, ok := before.DeepCopyObject().(Conditioned)
	if !ok {
		return nil, fmt.Errorf("copy object: %T has no conditions", before)
	}
	base.SetResourceVersion(after.GetResourceVersion())
	base.SetFinalizers(after.GetFinalizers())
	return base, nil
}

func locked(base client.Object) client.Patch {
	return client.MergeFromWithOptions(base, client.MergeFromWithOptimisticLock{})
}

func wrapWrite(what string, err error) error {
	if client.IgnoreNotFound(err) == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
