// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/ray"
)

// There are more nodes in no cluster, and more devices in no node.
const (
	maxNodes   = 1 << 20
	maxDevices = 1 << 10
)

// discover reads the pool's nodes, what their agents report, and what pods hold of their GPUs. A node belongs to the oldest pool that
// selects it.
func (p *pass) discover(ctx context.Context, pool *boursev1.GPUPool) (reconcile.Result, error) {
	var list corev1.NodeList
	if err := p.Local.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return reconcile.Result{}, fmt.Errorf("list nodes: %w", err)
	}
	selector := labels.SelectorFromSet(pool.Spec.NodeSelector)
	all := make(map[string]*corev1.Node, len(list.Items))
	p.nodes = map[string]*corev1.Node{}
	for i := range list.Items {
		node := &list.Items[i]
		all[node.Name] = node
		if selector.Matches(labels.Set(node.Labels)) {
			p.nodes[node.Name] = node
		}
	}
	pool.Status.Nodes = new(int32(min(len(p.nodes), maxNodes)))
	if len(p.nodes) == 0 {
		kube.Failed(pool, boursev1.PoolDiscovered, boursev1.ReasonNoNodes, "No node has the labels of spec.nodeSelector")
		return reconcile.Result{}, nil
	}
	rival, err := p.rival(ctx, pool)
	if err != nil {
		return reconcile.Result{}, err
	}
	if rival != "" {
		kube.Failed(pool, boursev1.PoolDiscovered, boursev1.ReasonOverlap, "The older pool "+rival+" selects some of the same nodes")
		return reconcile.Result{}, nil
	}
	if err := p.read(ctx, all); err != nil {
		return reconcile.Result{}, err
	}
	p.stock()
	p.tellFound(pool)
	return reconcile.Result{}, nil
}

// rival names the oldest other pool that selects one of the nodes, if it is older than this one.
func (p *pass) rival(ctx context.Context, pool *boursev1.GPUPool) (string, error) {
	var pools boursev1.GPUPoolList
	if err := p.Local.List(ctx, &pools); err != nil {
		return "", fmt.Errorf("list pools: %w", err)
	}
	byAge := func(a, b boursev1.GPUPool) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	}
	slices.SortFunc(pools.Items, byAge)
	for _, other := range pools.Items {
		if other.Name == pool.Name || byAge(other, *pool) > 0 {
			break
		}
		selector := labels.SelectorFromSet(other.Spec.NodeSelector)
		for _, node := range p.nodes {
			if selector.Matches(labels.Set(node.Labels)) {
				return other.Name, nil
			}
		}
	}
	return "", nil
}

// read takes in everything that says something about the nodes' GPUs.
func (p *pass) read(ctx context.Context, all map[string]*corev1.Node) error {
	var err error
	if p.held, err = p.holdings(ctx); err != nil {
		return err
	}
	waiting, err := p.queued(ctx)
	if err != nil {
		return err
	}
	p.held.waiting = append(p.held.waiting, waiting...)
	if err := p.agents(ctx, all); err != nil {
		return err
	}
	if p.beating, err = p.listen(ctx); err != nil {
		return err
	}
	if p.sliced, err = p.slicesOf(ctx); err != nil {
		return err
	}
	for node, devices := range p.sliced {
		for d := range devices {
			p.claim(node, devices[d].ID)
		}
	}
	for _, devices := range p.sliced {
		for d := range devices {
			devices[d].Conflict = p.twice[devices[d].ID]
		}
	}
	return nil
}

// stock sums up what each node has, in the order of the nodes' names.
func (p *pass) stock() {
	names := make([]string, 0, len(p.nodes))
	for name := range p.nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	p.stocks, p.placeable = make([]gpu.Stock, 0, len(names)), map[string]bool{}
	for _, name := range names {
		for _, from := range vendors() {
			p.stocks = append(p.stocks, p.stocksOf(p.nodes[name], from)...)
		}
	}
}

// stocksOf is what one node has of one vendor's GPUs: nothing, if nobody says what they are, or each of them is handed out several times.
func (p *pass) stocksOf(node *corev1.Node, from vendor) []gpu.Stock {
	capacity := count(node.Status.Capacity, from.resource)
	if capacity == 0 {
		return nil
	}
	says := from.describe(node.Labels)
	stock := p.inspect(node, from, says, capacity)
	if len(stock.Devices) == 0 && stock.Slots == 0 && !says.shared {
		return nil
	}
	others := apart(&stock, says)
	if oversold(&stock, says, capacity) {
		p.shared++
		return nil
	}
	stock.Down, stock.Hold = p.block(node, stock.Report != "")
	others.Down, others.Hold = stock.Down, cmp.Or(stock.Hold, gpu.Unplaceable)
	if placeable(&stock, says, from) {
		p.placeable[says.model.Name] = true
	} else if stock.Hold == "" {
		stock.Hold = gpu.Unplaceable
	}
	if len(others.Devices) == 0 {
		return []gpu.Stock{stock}
	}
	return []gpu.Stock{stock, others}
}

// inspect asks whoever knows best what the node has: its agent, then its labels, then its driver for dynamic resource allocation.
func (p *pass) inspect(node *corev1.Node, from vendor, says description, capacity int32) gpu.Stock {
	stock := gpu.Stock{
		Node: node.Name, Kind: string(from.resource), Allocatable: count(node.Status.Allocatable, from.resource),
		Holders: p.held.on[shelf{node.Name, from.resource}],
	}
	if report := p.reports[node.Name]; report != nil && !p.refused(node.Name) {
		var ghosts []gpu.Holder
		stock.Devices, ghosts = p.devices(report, from.class)
		stock.Holders = append(stock.Holders, ghosts...)
		if len(stock.Devices) > 0 {
			stock.Report = p.sign(node.Name, report.Status.Record.Sequence)
			return stock
		}
	}
	switch {
	case says.known:
		stock.Slots, stock.Model = capacity, says.model
	case from.class == boursev1.ClassNVIDIA:
		stock.Devices = p.sliced[node.Name]
	}
	return stock
}

// oversold says whether the scheduler hands out more GPUs than there are.
func oversold(stock *gpu.Stock, says description, capacity int32) bool {
	if says.shared || says.most > 0 && capacity > says.most {
		return true
	}
	return stock.Slots == 0 && int(capacity) > len(stock.Devices)
}

// apart takes those devices out of the stock that pods do not get by its resource: partitions where the node's label speaks of whole GPUs,
// which have resources of their own, and the other way round.
func apart(stock *gpu.Stock, says description) gpu.Stock {
	others := gpu.Stock{Node: stock.Node, Kind: stock.Kind + " apart", Report: stock.Report}
	if !says.known {
		return others
	}
	other := func(d gpu.Device) bool { return d.Model.Partition != says.model.Partition }
	if !slices.ContainsFunc(stock.Devices, other) {
		return others
	}
	all := stock.Devices
	stock.Devices = nil
	for _, device := range all {
		if other(device) {
			others.Devices = append(others.Devices, device)
		} else {
			stock.Devices = append(stock.Devices, device)
		}
	}
	others.Allocatable = int32(min(len(others.Devices), maxDevices))
	return others
}

// refused says whether the node's agent reports devices and does not sign for them. What it reports counts for nothing then.
func (p *pass) refused(node string) bool {
	report := p.reports[node]
	return report != nil && len(report.Status.Devices) > 0 && p.verdicts[report.UID].err != nil
}

// block is the first reason that keeps leases away from the whole node, and whether the node is not well at all.
func (p *pass) block(node *corev1.Node, watched bool) (down bool, hold gpu.Reason) {
	says := factsOf(node)
	down = !says.ready && !says.unknown
	switch {
	case p.refused(node.Name):
		return down, gpu.RecordRefused
	case watched && p.silent(node.Name):
		return down, gpu.AgentSilent
	case !says.ready:
		return down, gpu.NodeNotReady
	case says.cordoned:
		return down, gpu.Cordoned
	case says.tainted:
		return down, gpu.Tainted
	default:
		return down, ""
	}
}

// placeable says whether the pods of leases can ask for these GPUs: they request NVIDIA's resource on nodes whose product label has the
// lease's model. Where one resource stands for several models, a pod may get any of them.
func placeable(stock *gpu.Stock, says description, from vendor) bool {
	odd := func(d gpu.Device) bool { return d.Model.Name != says.model.Name }
	return from.resource == ray.ResourceGPU && says.known && !slices.ContainsFunc(stock.Devices, odd)
}

// tellFound says whether there is anything to sell.
func (p *pass) tellFound(pool *boursev1.GPUPool) {
	switch {
	case len(p.stocks) == 0 && p.shared > 0:
		kube.Failed(pool, boursev1.PoolDiscovered, boursev1.ReasonNoGPUs, "The GPUs of all nodes are shared, and would be sold several times over")
	case len(p.stocks) == 0:
		kube.Failed(pool, boursev1.PoolDiscovered, boursev1.ReasonNoGPUs,
			"No node has GPUs that can be sold: they need the labels of GPU Feature Discovery or an agent, and GPUs that are not shared")
	case p.shared > 0:
		kube.True(pool, boursev1.PoolDiscovered, boursev1.ReasonGPUsFound, "The pool's nodes have GPUs, some of which are shared and left out")
	default:
		kube.True(pool, boursev1.PoolDiscovered, boursev1.ReasonGPUsFound, "The pool's nodes have GPUs")
	}
}

// facts are what wakes the pools when it changes on a node.
type facts struct {
	ready    bool // the kubelet reports, and says that it is well
	unknown  bool // the kubelet does not report: nothing is known to be wrong
	cordoned bool // no new pod may come
	tainted  bool // a taint keeps the pods of leases away
	gpus     [2]struct{ capacity, allocatable int32 }
}

// factsOf reads what a node says of itself.
func factsOf(node *corev1.Node) facts {
	says := facts{cordoned: node.Spec.Unschedulable, tainted: slices.ContainsFunc(node.Spec.Taints, repels)}
	for i := range node.Status.Conditions {
		if condition := &node.Status.Conditions[i]; condition.Type == corev1.NodeReady {
			says.ready, says.unknown = condition.Status == corev1.ConditionTrue, condition.Status == corev1.ConditionUnknown
		}
	}
	for v, from := range vendors() {
		says.gpus[v].capacity = count(node.Status.Capacity, from.resource)
		says.gpus[v].allocatable = count(node.Status.Allocatable, from.resource)
	}
	return says
}

// repels says whether a taint keeps the pods of leases away. Cordoning is told apart by itself.
func repels(taint corev1.Taint) bool {
	switch taint.Key {
	case ray.TaintGPU, ray.TaintPool, corev1.TaintNodeUnschedulable:
		return false
	}
	return taint.Effect != corev1.TaintEffectPreferNoSchedule
}
