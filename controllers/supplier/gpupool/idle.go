// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
)

// maxModels is how many models a status counts.
const maxModels = 32

// model is what a pool has of one GPU model.
type model struct {
	gpu.Model
	nodes []gpu.Counts // node by node
	total gpu.Counts
}

// idle finds out which GPUs have been free for long enough, and keeps back what is reserved: for local work by spec.idle.reserve, for
// local pods that wait for a place, and for leases whose pods are on their way.
func (p *pass) idle(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	now, least := p.Now(), time.Duration(number(pool.Spec.Idle.ForSeconds))*time.Second
	tracker, err := p.tracker(ctx, pool)
	if err != nil {
		return reconcile.Result{}, err
	}
	known := map[string]bool{}
	byName := map[string]*model{}
	for _, facts := range p.nodes {
		known[facts.Name] = true
		tracker.Observe(facts.Name, facts.Available(), now)
		entry := byName[facts.Model.Name]
		if entry == nil {
			entry = &model{Model: facts.Model}
			byName[facts.Model.Name] = entry
		}
		entry.MemoryMiB = min(entry.MemoryMiB, facts.Model.MemoryMiB)
		entry.nodes = append(entry.nodes, facts.Count(tracker.Idle(facts.Name, least, now)))
	}
	tracker.Forget(known)
	if left, cooling := tracker.Next(least, now); cooling {
		p.cooling, p.wake = true, left
	}
	for _, entry := range byName {
		keep, err := p.reserved(ctx, pool, entry.Name)
		if err != nil {
			return reconcile.Result{}, err
		}
		if pool.Spec.Mode == boursev1.PoolHold {
			keep = 1 << 20
		}
		gpu.HoldBack(entry.nodes, keep)
		for _, counts := range entry.nodes {
			entry.total = entry.total.Add(counts)
		}
		p.models = append(p.models, entry)
	}
	slices.SortFunc(p.models, func(a, b *model) int { return cmp.Compare(a.Name, b.Name) })
	tell(pool, p.models)
	return reconcile.Result{}, nil
}

// tracker returns the pool's tracker. A new one, after a restart, is seeded with what the market was offered before, so that nothing
// is withdrawn; each node is given what its leases hold and its share of what was free.
func (p *pass) tracker(ctx context.Context, pool *boursev1.GPUPool) (*gpu.Tracker, error) {
	if tracker := p.trackers[pool.Name]; tracker != nil {
		return tracker, nil
	}
	offers, err := p.offers(ctx, pool)
	if err != nil {
		return nil, err
	}
	rooms, leased := map[string]map[string]int32{}, map[string]int32{}
	for _, facts := range p.nodes {
		if rooms[facts.Model.Name] == nil {
			rooms[facts.Model.Name] = map[string]int32{}
		}
		leased[facts.Name] = min(facts.Leased, facts.Available())
		rooms[facts.Model.Name][facts.Name] = facts.Available() - leased[facts.Name]
	}
	seeds := map[string]int32{}
	for i := range offers {
		shapes := make([]gpu.Shape, 0, len(offers[i].Spec.Shapes))
		for _, shape := range offers[i].Spec.Shapes {
			shapes = append(shapes, gpu.Shape{Free: shape.FreeGPUs, Nodes: shape.Nodes})
		}
		maps.Copy(seeds, gpu.Spread(shapes, rooms[string(offers[i].Spec.Model)]))
	}
	tracker, now := &gpu.Tracker{}, p.Now()
	for _, facts := range p.nodes {
		tracker.Seed(facts.Name, leased[facts.Name]+seeds[facts.Name], now)
	}
	if p.trackers == nil {
		p.trackers = map[string]*gpu.Tracker{}
	}
	p.trackers[pool.Name] = tracker
	return tracker, nil
}

// reserved is how many free GPUs of a model are kept out of the market's sight.
func (p *pass) reserved(ctx context.Context, pool *boursev1.GPUPool, model string) (int32, error) {
	keep := number(pool.Spec.Idle.Reserve)
	for i := range p.held.waiting {
		if p.mightRun(&p.held.waiting[i], model) {
			keep += requests(&p.held.waiting[i])
		}
	}
	var leases boursev1.GPULeaseList
	if err := p.Hub.List(ctx, &leases, client.InNamespace(p.Namespace)); err != nil {
		return 0, fmt.Errorf("list leases: %w", err)
	}
	for i := range leases.Items {
		lease := &leases.Items[i]
		runs := kube.IsTrue(lease, boursev1.LeaseAccepted) && lease.Status.End == nil
		if runs && lease.Spec.Pool == pool.Name && string(lease.Spec.Model) == model {
			keep += max(0, lease.Spec.Workers*lease.Spec.PerWorker-p.held.leases[lease.Name])
		}
	}
	return keep, nil
}

// mightRun says whether a waiting local pod could use a node of the model, as far as its selector tells. What else keeps it waiting
// is not looked at, so that local work comes first.
func (p *pass) mightRun(pod *corev1.Pod, model string) bool {
	selector := labels.SelectorFromSet(pod.Spec.NodeSelector)
	return slices.ContainsFunc(p.nodes, func(facts gpu.Facts) bool {
		return facts.Model.Name == model && selector.Matches(p.labels[facts.Name])
	})
}

// tell writes the counts into the status.
func tell(pool *boursev1.GPUPool, models []*model) {
	var sum gpu.Counts
	var rows []boursev1.PoolModel
	for _, entry := range models {
		sum = sum.Add(entry.total)
		if len(rows) < maxModels {
			rows = append(rows, boursev1.PoolModel{Model: boursev1.GPUModel(entry.Name), GPUs: countsOf(entry.total)})
		}
	}
	pool.Status.GPUs, pool.Status.Models = countsOf(sum), rows
}

func countsOf(c gpu.Counts) boursev1.GPUCounts {
	return boursev1.GPUCounts{Total: &c.Total, Healthy: &c.Healthy, Idle: &c.Idle, Offered: &c.Offered, Leased: &c.Leased}
}

func number(value *int32) int32 {
	if value == nil {
		return 0
	}
	return *value
}
