// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// launch creates the Ray cluster or job on the nodes that hold the lease's GPUs, and lets these go once the workers wait for them.
func (r *Reconciler) launch(ctx context.Context, lease *boursev1.GPULease) (reconcile.Result, error) {
	if lease.Status.End != nil || !kube.IsTrue(lease, boursev1.LeaseFunded) {
		return reconcile.Result{}, nil
	}
	state, err := r.state(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	object, launched, err := r.running(ctx, lease)
	if err != nil {
		return reconcile.Result{}, err
	}
	if !launched && state.Workers == 0 {
		return r.start(ctx, lease, state)
	}
	if state.Workers >= int(lease.Spec.Workers) {
		for i := range state.Holders {
			if err := r.Local.Delete(ctx, &state.Holders[i]); client.IgnoreNotFound(err) != nil {
				return reconcile.Result{}, fmt.Errorf("delete holding pod: %w", err)
			}
		}
	}
	r.tellRunning(lease, state, state.Obstacle(object))
	return reconcile.Result{}, nil
}

// start creates what the lease runs. Holding pods that are gone were seen before, so somebody took the GPUs: the API server says so itself,
// since the cache of a process that has just begun may be older than what another one made.
func (r *Reconciler) start(ctx context.Context, lease *boursev1.GPULease, state ray.State) (reconcile.Result, error) {
	hosts, placed := held(lease, state)
	if !placed {
		gone, err := r.gone(ctx, lease)
		if err != nil {
			return reconcile.Result{}, err
		}
		if !gone {
			return reconcile.Result{RequeueAfter: pollGone}, nil
		}
		message := "The GPUs were taken for other work before the lease began"
		if meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseRunning) != nil {
			message = "What the lease ran was removed from the supplier's cluster"
		}
		r.end(lease, taken(lease), boursev1.PartySupplier, r.Now(), message)
		return reconcile.Result{}, nil
	}
	return reconcile.Result{}, r.run(ctx, lease, state, hosts)
}

// held returns the nodes that hold the lease's place; ok is false while a pod of those that hold it has none, or is missing.
func held(lease *boursev1.GPULease, state ray.State) (hosts []string, ok bool) {
	hosts, ok = ray.Hosts(state.Holders)
	return hosts, ok && len(state.Holders) > int(lease.Spec.Workers)
}

// gone says whether the API server itself has neither what the lease runs nor all of the pods that hold its place.
func (r *Reconciler) gone(ctx context.Context, lease *boursev1.GPULease) (bool, error) {
	object := ray.Empty(space(lease), lease.Spec.Ends == boursev1.EndsWithTerm)
	err := r.LocalLive.Get(ctx, client.ObjectKeyFromObject(object), object)
	if err == nil {
		return false, nil
	}
	if !apierrors.IsNotFound(err) || apierrors.HasStatusCause(err, metav1.CauseTypeUnexpectedServerResponse) { // the kind may be away for a while
		return false, fmt.Errorf("get %T: %w", object, err)
	}
	var pods corev1.PodList
	if err := r.LocalLive.List(ctx, &pods, client.InNamespace(space(lease))); err != nil {
		return false, fmt.Errorf("list pods: %w", err)
	}
	_, placed := held(lease, ray.Read(pods.Items, lease.Spec.Workers, nil))
	return !placed, nil
}

// run creates what the lease runs, where its place is held.
func (r *Reconciler) run(ctx context.Context, lease *boursev1.GPULease, state ray.State, hosts []string) error {
	program, err := r.program(ctx, lease)
	switch {
	case errors.Is(err, errNoProgram): // it was here when the lease was accepted: it comes again, or the time to start runs out
		const message = "What the lease runs is gone from the hub, and is waited for"
		kube.Waiting(lease, boursev1.LeaseRunning, boursev1.ReasonAwaitingProgram, message)
		kube.Waiting(lease, boursev1.Succeeded, boursev1.ReasonAwaitingProgram, message)
		return nil
	case err != nil:
		return err
	}
	if differs := contract.Runs(lease, program.Spec.Salt, &program.Spec.Ray); differs != "" {
		r.end(lease, boursev1.EndFault, boursev1.PartyMarket, r.Now(), "The lease "+differs)
		return nil
	}
	plan := r.plan(lease, &program.Spec.Ray)
	plan.HeadHosts = hosts
	plan.Hosts, _ = ray.Hosts(slices.DeleteFunc(slices.Clone(state.Holders), func(pod corev1.Pod) bool {
		return ray.GPUs(&pod) == 0 // where only the head's place is held, free GPUs are another lease's, or nobody's
	}))
	plan.Token = rand.Text() // if the Secret is there already, its own stays
	if err := r.create(ctx, plan.Objects()...); err != nil {
		return err
	}
	r.tellRunning(lease, state, "")
	return nil
}

// tellRunning says how far the workers are, and what is in their way, if that is known.
func (r *Reconciler) tellRunning(lease *boursev1.GPULease, state ray.State, obstacle string) {
	switch {
	case state.AllReady(lease.Spec.Workers):
		mended(lease, state.Since)
		kube.True(lease, boursev1.LeaseRunning, boursev1.ReasonWorkersReady, "Every worker is ready")
		kube.Waiting(lease, boursev1.Succeeded, boursev1.ReasonRunning, "The lease runs")
	case lease.Status.Usage != nil && state.Silent:
		mended(lease, r.Now())
		r.tellInterrupted(lease, boursev1.ReasonNodeSilent, "A worker's node does not report, so the meter stands still")
	case lease.Status.Usage != nil:
		r.tellInterrupted(lease, boursev1.ReasonWorkersNotReady, "A worker is not ready, so the meter stands still")
	default:
		message := because("The workers are starting", obstacle)
		kube.Waiting(lease, boursev1.LeaseRunning, boursev1.ReasonStarting, message)
		kube.Waiting(lease, boursev1.Succeeded, boursev1.ReasonStarting, message)
	}
}

// because adds a cause to a message, if there is one.
func because(message, cause string) string {
	if cause == "" {
		return message
	}
	return message + ": " + cause
}

// tellInterrupted says why the workers are not known to be ready. Its time is when that began; what was not seen in the silence of
// a node is no part of it.
func (r *Reconciler) tellInterrupted(lease *boursev1.GPULease, reason, message string) {
	since := metav1.NewTime(r.Now()) // conclude reads it by the same clock
	if was := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseRunning); was != nil && was.Reason != reason {
		was.LastTransitionTime = since
	}
	meta.SetStatusCondition(&lease.Status.Conditions, metav1.Condition{
		Type: boursev1.LeaseRunning, Status: metav1.ConditionUnknown, Reason: reason, Message: message,
		ObservedGeneration: lease.Generation, LastTransitionTime: since,
	})
}

// running returns the lease's RayCluster or RayJob, and whether there is one.
func (r *Reconciler) running(ctx context.Context, lease *boursev1.GPULease) (client.Object, bool, error) {
	object := ray.Empty(space(lease), lease.Spec.Ends == boursev1.EndsWithTerm)
	err := r.Local.Get(ctx, client.ObjectKeyFromObject(object), object)
	if apierrors.IsNotFound(err) {
		return object, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("get %T: %w", object, err)
	}
	return object, true, nil
}
