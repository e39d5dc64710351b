// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/internal/gpu"
)

// workload is what is read of a Workload of Kueue that waits: the same in v1beta1 and v1beta2.
type workload struct {
	Spec struct {
		Active  *bool `json:"active"`
		PodSets []struct {
			Count    int32                  `json:"count"`
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"podSets"`
	} `json:"spec"`
}

// queued lists what waits in Kueue's queues, if there is a Kueue. Its pods do not exist yet, or are gated, so they are not counted twice.
func (r *Reconciler) queued(ctx context.Context) ([]demand, error) {
	if r.queue == nil {
		return nil, nil
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(r.queueKind)
	if err := r.queue.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list workloads: %w", err)
	}
	var waiting []demand
	for i := range list.Items {
		if settled(list.Items[i].Object) {
			continue
		}
		var work workload
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(list.Items[i].Object, &work); err != nil {
			return nil, fmt.Errorf("read workload %s/%s: %w", list.Items[i].GetNamespace(), list.Items[i].GetName(), err)
		}
		waiting = append(waiting, work.demands()...)
	}
	return waiting, nil
}

// settled says whether a workload has its quota, or has ended. Most have: they are told apart without being converted.
func settled(object map[string]any) bool {
	status, _ := object["status"].(map[string]any)
	conditions, _ := status["conditions"].([]any)
	return slices.ContainsFunc(conditions, func(entry any) bool {
		condition, _ := entry.(map[string]any)
		return condition["status"] == "True" && (condition["type"] == "QuotaReserved" || condition["type"] == "Finished")
	})
}

// demands is what a workload waits for: nothing if it was stopped.
func (w *workload) demands() []demand {
	if w.Spec.Active != nil && !*w.Spec.Active {
		return nil
	}
	var waiting []demand
	for i := range w.Spec.PodSets {
		set := &w.Spec.PodSets[i]
		for _, from := range vendors() {
			if gpus := requests(&set.Template.Spec, from.resource) * max(0, set.Count); gpus > 0 {
				waiting = append(waiting, demand{set.Template.Spec.NodeSelector, from.resource, gpus})
			}
		}
	}
	return waiting
}

// pressure sums up, by model, how many GPUs local work waits for that might run on the pool's nodes, as far as its selectors tell. What
// else keeps it waiting is not looked at, so that local work comes first. Work that could use several models counts for each.
func (p *pass) pressure() map[string]int32 {
	pending := map[string]int32{}
	fits := map[string][]string{} // what asks in the same way, to the models that it could use
	for _, work := range p.held.waiting {
		key := string(work.resource) + "?" + labels.Set(work.selector).String()
		models, known := fits[key]
		if !known {
			models = p.usable(work)
			fits[key] = models
		}
		for _, model := range models {
			pending[model] = min(pending[model]+work.gpus, gpu.Unlimited)
		}
	}
	return pending
}

// usable lists the models of the nodes that the work selects.
func (p *pass) usable(work demand) []string {
	selector := labels.SelectorFromSet(work.selector)
	var models []string
	for i := range p.stocks {
		stock := &p.stocks[i]
		if stock.Kind != string(work.resource) || !selector.Matches(labels.Set(p.nodes[stock.Node].Labels)) {
			continue
		}
		if len(stock.Devices) == 0 {
			models = append(models, stock.Model.Name)
		}
		for d := range stock.Devices {
			models = append(models, stock.Devices[d].Model.Name)
		}
	}
	slices.Sort(models)
	return slices.Compact(models)
}
