// SPDX-License-Identifier: Apache-2.0

package namespace

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// Reconcile looks at one namespace. It clears one whose lease the hub has had no more for some time, and one whose lease nothing can come of.
func (r *Reconciler) Reconcile(ctx context.Context, space *corev1.Namespace) (reconcile.Result, error) {
	name := space.Labels[boursev1.LabelLease]
	if name == "" || !space.DeletionTimestamp.IsZero() || r.others(space) {
		return reconcile.Result{}, nil
	}
	if at, err := time.Parse(time.RFC3339, space.Annotations[boursev1.AnnotationGivenUp]); err == nil && !r.Now().Before(at) {
		return r.clear(ctx, space, "Nothing can be earned by lease %s any more: its escrow's deadline has passed", name)
	}
	gone, err := r.gone(ctx, name)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !gone {
		delete(r.vanished, space.UID)
		return reconcile.Result{RequeueAfter: lookAgain}, nil
	}
	since, known := r.vanished[space.UID]
	if !known {
		since = r.Now()
		if r.vanished == nil {
			r.vanished = map[types.UID]time.Time{}
		}
		r.vanished[space.UID] = since
		r.Recorder.Eventf(space, nil, corev1.EventTypeWarning, reasonVanished, "Look",
			"The hub has no lease %s any more: if it does not come back within %s, what it runs here is cleared", name, grace)
	}
	if left := since.Add(grace).Sub(r.Now()); left > 0 {
		return reconcile.Result{RequeueAfter: min(left, lookAgain)}, nil
	}
	return r.clear(ctx, space, "The hub has had no lease %s for too long: nobody can pay for it", name)
}

// others says whether the namespace is of a lease of another member, as after the supplier's manager was given another one.
func (r *Reconciler) others(space *corev1.Namespace) bool {
	home := space.Annotations[boursev1.AnnotationHubNamespace]
	return home != "" && home != r.Namespace
}

// clear removes the namespace with all that runs in it.
func (r *Reconciler) clear(ctx context.Context, space *corev1.Namespace, why, lease string) (reconcile.Result, error) {
	if err := r.Local.Delete(ctx, space, client.Preconditions{UID: &space.UID}); client.IgnoreNotFound(err) != nil {
		return reconcile.Result{}, fmt.Errorf("delete namespace: %w", err)
	}
	delete(r.vanished, space.UID)
	r.Recorder.Eventf(space, nil, corev1.EventTypeWarning, reasonCleared, "Clear", why, lease)
	return reconcile.Result{}, nil
}

// gone says whether the hub itself says that it has no such lease. A hub that does not answer, or does not let us look, says nothing; and
// neither does one that does not know us, or has not the kind: it may be another one, or may not be whole.
func (r *Reconciler) gone(ctx context.Context, name string) (bool, error) {
	lease := &boursev1.GPULease{}
	key := client.ObjectKey{Namespace: r.Namespace, Name: name}
	if err := r.Hub.Get(ctx, key, lease); !apierrors.IsNotFound(err) {
		return false, wrap("get lease", err)
	}
	err := r.Live.Get(ctx, client.ObjectKey{Namespace: r.Namespace, Name: boursev1.MemberName}, &boursev1.Member{})
	if apierrors.IsNotFound(err) {
		return false, nil
	}
	if err != nil {
		return false, wrap("get member from the hub", err)
	}
	err = r.Live.Get(ctx, key, lease)
	if named(err, name) {
		return true, nil
	}
	return false, wrap("get lease from the hub", err)
}

// named says whether the error tells of an object of this name that there is none, and not that its kind is unknown.
func named(err error, name string) bool {
	status, ok := errors.AsType[*apierrors.StatusError](err)
	return ok && apierrors.IsNotFound(err) && status.Status().Details != nil && status.Status().Details.Name == name
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", what, err)
}
