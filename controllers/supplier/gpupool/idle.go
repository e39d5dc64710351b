// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
)

// maxModels is how many models a status counts.
const maxModels = 32

// cleaningLook is how soon a GPU is looked at again that waits to be found empty.
const cleaningLook = 5 * time.Second

// idle finds out which GPUs have been free for long enough, and keeps back what is not to be sold: what is reserved, what local work
// waits for, what leases are to get back, what exceeds the budget, and everything while the pool does not sell.
func (p *pass) idle(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	now := p.Now()
	p.identify(pool)
	inventory, err := p.inventory(ctx, pool)
	if err != nil {
		return reconcile.Result{}, err
	}
	promises, err := p.promises(ctx, pool)
	if err != nil {
		return reconcile.Result{}, err
	}
	maintained, next := p.maintained(pool)
	p.until, p.maintenance = next, maintained
	p.report = inventory.Decide(gpu.Policy{
		IdleFor: time.Duration(number(pool.Spec.Idle.ForSeconds)) * time.Second,
		Reserve: number(pool.Spec.Idle.Reserve),
		Pending: p.pressure(), Promises: promises,
		Limit: p.budget(pool, p.total()),
		Stop:  stop(pool, maintained),
	}, now)
	p.lookAgain(p.report.Wake)
	if p.report.Cleaning {
		p.lookAgain(cleaningLook)
	}
	tell(pool, p.report)
	return reconcile.Result{}, nil
}

// inventory returns the pool's inventory as of now. A new one, after a restart, is seeded with what the market was offered before, so that
// nothing is withdrawn; what is sick by then is not told as news.
func (p *pass) inventory(ctx context.Context, pool *boursev1.GPUPool) (*gpu.Inventory, error) {
	if inventory := p.inventories[pool.Name]; inventory != nil {
		p.faults[pool.Name] = append(p.faults[pool.Name], inventory.Observe(p.stocks, p.Now())...)
		return inventory, nil
	}
	offers, err := p.offers(ctx, pool)
	if err != nil {
		return nil, err
	}
	inventory := &gpu.Inventory{}
	inventory.Observe(p.stocks, p.Now())
	seeded := map[string]bool{}
	for i := range offers {
		shapes := make([]gpu.Shape, 0, len(offers[i].Spec.Shapes))
		for _, shape := range offers[i].Spec.Shapes {
			shapes = append(shapes, gpu.Shape{Free: shape.FreeGPUs, Nodes: shape.Nodes})
		}
		inventory.Seed(string(offers[i].Spec.Model), shapes)
		seeded[string(offers[i].Spec.Model)] = true
	}
	for _, model := range p.models() { // leases hold what was with the market, offer or not
		if !seeded[model] {
			inventory.Seed(model, nil)
		}
	}
	if p.inventories == nil {
		p.inventories, p.faults = map[string]*gpu.Inventory{}, map[string][]gpu.Fault{}
	}
	p.inventories[pool.Name] = inventory
	return inventory, nil
}

// models lists the models of all GPUs.
func (p *pass) models() []string {
	seen := map[string]bool{}
	var names []string
	note := func(name string) {
		if !seen[name] {
			seen[name] = true
			names = append(names, name)
		}
	}
	for i := range p.stocks {
		if len(p.stocks[i].Devices) == 0 {
			note(p.stocks[i].Model.Name)
		}
		for d := range p.stocks[i].Devices {
			note(p.stocks[i].Devices[d].Model.Name)
		}
	}
	return names
}

// total counts all GPUs.
func (p *pass) total() int32 {
	var total int
	for i := range p.stocks {
		total += int(p.stocks[i].Slots) + len(p.stocks[i].Devices)
	}
	return int32(min(total, maxNodes*maxDevices))
}

// promises are what accepted leases are to have beyond what their pods hold: pods that hold a place are exchanged for those that work.
func (p *pass) promises(ctx context.Context, pool *boursev1.GPUPool) ([]gpu.Promise, error) {
	var leases boursev1.GPULeaseList
	if err := p.Hub.List(ctx, &leases, client.InNamespace(p.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list leases: %w", err)
	}
	var promises []gpu.Promise
	for i := range leases.Items {
		lease := &leases.Items[i]
		runs := kube.IsTrue(lease, boursev1.LeaseAccepted) && lease.Status.End == nil
		lacks := lease.Spec.Workers*lease.Spec.PerWorker - p.held.leases[lease.Name]
		if runs && lease.Spec.Pool == pool.Name && lacks > 0 {
			promises = append(promises, gpu.Promise{Lease: lease.Name, Model: string(lease.Spec.Model), GPUs: lacks})
		}
	}
	return promises, nil
}

// tell writes the counts into the status. What offers ask stays until it is known anew.
func tell(pool *boursev1.GPUPool, report gpu.Report) {
	asked := map[boursev1.GPUModel]boursev1.USDPrice{}
	for _, row := range pool.Status.Models {
		asked[row.Model] = row.PriceUSD
	}
	models := report.Models[:min(len(report.Models), maxModels)]
	rows := make([]boursev1.PoolModel, 0, len(models))
	for _, holding := range models {
		model := boursev1.GPUModel(holding.Name)
		rows = append(rows, boursev1.PoolModel{Model: model, GPUs: countsOf(holding.Counts), PriceUSD: asked[model]})
	}
	held := make([]boursev1.HeldBack, 0, len(report.HeldBack))
	for _, h := range report.HeldBack {
		held = append(held, boursev1.HeldBack{Reason: boursev1.HoldReason(h.Reason), GPUs: h.GPUs})
	}
	pool.Status.GPUs, pool.Status.Models, pool.Status.HeldBack = countsOf(report.Total), rows, held
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
