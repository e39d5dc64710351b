// SPDX-License-Identifier: Apache-2.0

package mockrental

import (
	"context"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
)

// rent makes one pod for each node that has free GPUs, and takes in how they fare. One that has other GPUs than are free now, because
// other work came or went, gives way to one that has them.
func (p *pass) rent(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	pods, err := p.pods(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	for _, node := range p.nodes {
		trial := p.trial(pool, node.name, node.free)
		if err := p.fit(ctx, node, trial, pods[trial.Name()]); err != nil {
			return reconcile.Result{}, err
		}
		delete(pods, trial.Name())
	}
	for _, pod := range pods { // of nodes that are kept out by now
		if err := p.remove(ctx, pod); err != nil {
			return reconcile.Result{}, err
		}
	}
	return reconcile.Result{}, nil
}

// fit makes a node's mock rental what it is to be, and takes in how it fares.
func (p *pass) fit(ctx context.Context, node candidate, trial ray.Trial, pod *corev1.Pod) error {
	switch {
	case pod == nil && node.free == 0:
		return nil
	case pod == nil:
		p.note(node.name, "the mock rental begins")
		return p.create(ctx, trial)
	case ray.Requested(pod) != node.free:
		p.note(node.name, "other GPUs are free than the mock rental has")
		return p.remove(ctx, pod)
	}
	why, lost := ray.Trouble(pod)
	if lost {
		p.trouble, p.hopeless = "", true
	}
	p.note(node.name, why)
	return nil
}

// pods returns the pods of the pool's mock rentals by name.
func (p *pass) pods(ctx context.Context) (map[string]*corev1.Pod, error) {
	var list corev1.PodList
	if err := p.Local.List(ctx, &list, client.InNamespace(p.space.Name)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	pods := map[string]*corev1.Pod{}
	for i := range list.Items {
		pods[list.Items[i].Name] = &list.Items[i]
	}
	return pods, nil
}

// create makes a mock rental, and what its namespace must have before.
func (p *pass) create(ctx context.Context, trial ray.Trial) error {
	for _, object := range append(trial.Space()[1:], trial.Pod()) {
		if err := p.Local.Create(ctx, object); client.IgnoreAlreadyExists(err) != nil {
			return fmt.Errorf("create %T %s: %w", object, object.GetName(), err)
		}
	}
	return nil
}

func (p *pass) remove(ctx context.Context, pod *corev1.Pod) error {
	if !pod.DeletionTimestamp.IsZero() {
		return nil
	}
	if err := p.Local.Delete(ctx, pod); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("delete pod: %w", err)
	}
	return nil
}

// judge lets the pool's GPUs be sold again, waits, or gives the attempt up until the next one.
func (p *pass) judge(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	left := began(pool).Add(attemptLimit).Sub(p.Now())
	switch {
	case p.trouble == "":
		var gpus int32
		for _, node := range p.nodes {
			gpus += node.free
		}
		metav1.SetMetaDataAnnotation(&pool.ObjectMeta, boursev1.AnnotationRecycled, pool.Annotations[boursev1.AnnotationRecycle])
		p.tell = &event{corev1.EventTypeNormal, reasonPassed, fmt.Sprintf(
			"Every mock rental passed: %d free GPUs on %d nodes were tried and can be sold again", gpus, len(p.nodes))}
		return reconcile.Result{}, nil
	case left > 0 && !p.hopeless:
		return reconcile.Result{RequeueAfter: left}, nil
	default:
		return p.fail(ctx, pool)
	}
}

// fail ends the attempt, says why, and lets the next one begin later each time.
func (p *pass) fail(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	pods, err := p.pods(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	for _, pod := range pods {
		if err := p.remove(ctx, pod); err != nil {
			return reconcile.Result{}, err
		}
	}
	wait, failed := firstRetry, tries(pool)
	for range failed {
		wait = min(wait+wait, lastRetry)
	}
	metav1.SetMetaDataAnnotation(&pool.ObjectMeta, annotationTries, strconv.Itoa(failed+1))
	metav1.SetMetaDataAnnotation(&pool.ObjectMeta, annotationBegan, stamp(p.Now().Add(wait)))
	p.tell = &event{corev1.EventTypeWarning, reasonFailed, fmt.Sprintf("%s; the next mock rental is in %s", p.trouble, wait)}
	return reconcile.Result{RequeueAfter: wait}, nil
}
