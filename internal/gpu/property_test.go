// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// never is the clock of a GPU that is not free.
const never = -1

// worldPod is a pod of the random cluster. Its UID is its own; its name is not.
type worldPod struct {
	uid, namespace, name string
	gpus                 int32
	lease                string
	ending, failed       bool
	devices              []int
}

// worldNode is one node's GPUs of one vendor in the random cluster, and what the twin remembers of them.
type worldNode struct {
	node, kind  string
	model       Model
	capacity    int32
	allocatable int32
	hold        Reason
	down        bool
	agent       bool
	report      int
	devices     []Device
	pods        []*worldPod

	twin twin
}

// live are the pods that still hold something.
func (n *worldNode) live() []*worldPod {
	var live []*worldPod
	for _, pod := range n.pods {
		if !pod.failed {
			live = append(live, pod)
		}
	}
	return live
}

func (n *worldNode) held() (leased, localHeld int32) {
	for _, pod := range n.live() {
		if pod.lease != "" {
			leased += pod.gpus
		} else {
			localHeld += pod.gpus
		}
	}
	return leased, localHeld
}

func (n *worldNode) stock() Stock {
	stock := Stock{
		Node: n.node, Kind: n.kind, Hold: n.hold, Down: n.down, Allocatable: n.allocatable, Slots: n.capacity, Model: n.model,
	}
	if n.agent {
		stock.Slots, stock.Report, stock.Devices = 0, strconv.Itoa(n.report), slices.Clone(n.devices)
	}
	for _, pod := range n.live() {
		stock.Holders = append(stock.Holders, Holder{UID: pod.uid, GPUs: pod.gpus, Lease: pod.lease, Ending: pod.ending})
		for _, d := range pod.devices {
			stock.Devices[d].Holder = pod.uid
		}
	}
	return stock
}

// world is a random cluster: nodes with GPUs of two vendors, half of them with an agent.
type world struct {
	random *rand.Rand
	nodes  []*worldNode
	pods   int
	now    int
}

func newWorld(random *rand.Rand) *world {
	w := &world{random: random}
	for i := range 6 {
		for _, kind := range []string{"nvidia.com/gpu", "amd.com/gpu"}[:1+i%2] {
			n := &worldNode{node: "node-" + strconv.Itoa(i), kind: kind, capacity: 4, allocatable: 4, agent: i%3 != 0}
			n.model = Model{Name: kind[:3] + strconv.Itoa(i%4/2), MemoryMiB: 1000}
			for d := range 4 {
				n.devices = append(n.devices, Device{ID: fmt.Sprintf("%s-%s-%d", n.node, kind[:3], d), Model: n.model})
			}
			w.nodes = append(w.nodes, n)
		}
	}
	return w
}

func (w *world) chance(in int) bool { return w.random.IntN(in) == 0 }

// step lets one thing happen.
func (w *world) step() {
	w.now += w.random.IntN(4)
	n := w.nodes[w.random.IntN(len(w.nodes))]
	switch w.random.IntN(12) {
	case 0, 1, 2:
		w.bind(n)
	case 3, 4:
		w.end(n)
	case 5:
		n.hold, n.down = "", false
		if w.chance(2) {
			n.hold = []Reason{NodeNotReady, Cordoned, Tainted, Unplaceable}[w.random.IntN(4)]
			n.down = n.hold == NodeNotReady && w.chance(2)
		}
		if n.agent && w.chance(4) {
			n.hold, n.down = []Reason{AgentSilent, RecordRefused}[w.random.IntN(2)], false
		}
	case 6, 7:
		w.shrink(n)
	case 8, 9:
		w.change(&n.devices[w.random.IntN(len(n.devices))])
	default:
		n.report++
	}
}

// bind starts a pod where the scheduler would let it. Names come from a short list, so that two namespaces often have the same.
func (w *world) bind(n *worldNode) {
	leased, localHeld := n.held()
	want := int32(1 + w.random.IntN(3))
	if leased+localHeld+want > n.allocatable {
		return
	}
	w.pods++
	pod := &worldPod{
		uid: strconv.Itoa(w.random.IntN(1<<20)) + "-" + strconv.Itoa(w.pods), namespace: []string{"team-a", "team-b"}[w.random.IntN(2)],
		name: "train-" + strconv.Itoa(w.random.IntN(3)), gpus: want,
	}
	if w.chance(2) {
		pod.lease = pod.namespace + "/" + pod.name
	}
	for d := 0; n.agent && len(pod.devices) < int(want); d++ {
		taken := slices.ContainsFunc(n.live(), func(p *worldPod) bool { return slices.Contains(p.devices, d) })
		if !taken {
			pod.devices = append(pod.devices, d)
		}
	}
	n.report++
	n.pods = append(n.pods, pod)
}

// end lets a pod end, fail or begin to end.
func (w *world) end(n *worldNode) {
	if len(n.pods) == 0 {
		return
	}
	which := w.random.IntN(len(n.pods))
	switch w.random.IntN(3) {
	case 0:
		n.pods[which].ending = true
	case 1:
		n.pods[which].failed = true
	default:
		n.pods = slices.Delete(n.pods, which, which+1)
	}
}

// shrink changes what the device plugin says. It spares leases: which of several leases loses a GPU is for nobody to know.
func (w *world) shrink(n *worldNode) {
	leased, _ := n.held()
	n.allocatable = leased + int32(w.random.IntN(int(n.capacity-leased)+1))
	if n.agent { // it sees what the plugin sees
		n.allocatable = n.capacity
	}
}

func (w *world) change(d *Device) {
	switch w.random.IntN(4) {
	case 0:
		d.Fault = []string{"", "XID 79"}[w.random.IntN(2)]
	case 1:
		d.Conflict = w.chance(3)
	case 2:
		d.Limited = w.chance(3)
	default:
		d.Processes = int32(max(0, w.random.IntN(4)-2))
	}
}

func (w *world) stocks() []Stock {
	stocks := make([]Stock, 0, len(w.nodes))
	for _, n := range w.nodes {
		stocks = append(stocks, n.stock())
	}
	return stocks
}

func (w *world) policy() Policy {
	policy := Policy{IdleFor: 10 * time.Second, Limit: Unlimited}
	if w.chance(2) {
		policy.Reserve = int32(w.random.IntN(3))
		policy.Pending = map[string]int32{"nvi0": int32(w.random.IntN(4))}
		policy.Promises = []Promise{{"none", "nvi1", int32(w.random.IntN(3))}}
	}
	if w.chance(3) {
		policy.Limit = int32(w.random.IntN(30))
	}
	if w.chance(4) {
		policy.Stop = []Reason{OnHold, InDrain, Maintenance}[w.random.IntN(3)]
	}
	return policy
}

// TestRecount lets 100 000 things happen to a cluster, and recounts it after each of them.
func TestRecount(t *testing.T) {
	steps := 100_000
	if testing.Short() {
		steps = 10_000
	}
	w := newWorld(rand.New(rand.NewPCG(7, 8)))
	var i Inventory
	for step := range steps {
		w.step()
		policy := w.policy()
		i.Observe(w.stocks(), at(w.now))
		report := i.Decide(policy, at(w.now))
		inOrder(t, report)
		total, models, held := expected(w.nodes, policy, w.now)
		if total != report.Total {
			t.Fatalf("step %d, counts (-twin +inventory):\n%s", step, cmp.Diff(total, report.Total))
		}
		got := map[Reason]int32{}
		for _, h := range report.HeldBack {
			got[h.Reason] = h.GPUs
		}
		if !maps.Equal(held, got) {
			t.Fatalf("step %d, held back (-twin +inventory):\n%s", step, cmp.Diff(held, got))
		}
		for _, holding := range report.Models {
			want := models[holding.Name]
			want.Offered = holding.Counts.Offered // which model a budget keeps back depends on the nodes
			if want != holding.Counts {
				t.Fatalf("step %d, %s (-twin +inventory):\n%s", step, holding.Name, cmp.Diff(want, holding.Counts))
			}
		}
	}
}

// inOrder holds a report to what always holds.
func inOrder(tb testing.TB, report Report) {
	tb.Helper()
	var free, held int32
	counts := append(make([]Counts, 0, 1+len(report.Models)), report.Total)
	for _, holding := range report.Models {
		counts = append(counts, holding.Counts)
		for _, gpus := range holding.Free {
			free += gpus
		}
	}
	for _, c := range counts {
		if 0 > c.Leased || c.Leased > c.Offered || c.Offered > c.Healthy || c.Healthy > c.Total || 0 > c.Idle || c.Idle > c.Healthy {
			tb.Fatalf("counts %+v are out of order", c)
		}
	}
	for _, h := range report.HeldBack {
		held += h.GPUs
	}
	if free != report.Total.Free() || held+report.Total.Offered != report.Total.Total {
		tb.Fatalf("%d free on the nodes, %d held back, of %+v", free, held, report.Total)
	}
}

// FuzzInventory feeds the inventory what no sane cluster would say: more pods than GPUs, negative numbers, agents that come, go and lie.
func FuzzInventory(f *testing.F) {
	f.Add([]byte("a node, a pod, an agent that lies"))
	f.Add([]byte{0, 255, 3, 7, 9, 200, 100, 50, 25, 12, 6, 3, 1, 0, 0, 0, 255, 255})
	f.Fuzz(func(t *testing.T, input []byte) {
		next := func() int {
			if len(input) == 0 {
				return 0
			}
			value := input[0]
			input = input[1:]
			return int(value)
		}
		var i Inventory
		for now := 0; len(input) > 0; now += next() % 16 {
			stocks := make([]Stock, 0, 3)
			for n := range 1 + next()%3 {
				stock := Stock{
					Node: "n" + strconv.Itoa(n), Kind: "k", Allocatable: int32(next()%16) - 4, Slots: int32(next()%12) - 2, Model: l4,
					Report: strconv.Itoa(next() % 3), Down: next()%5 == 0, Hold: append(Reasons(), "", "", "")[next()%22],
				}
				for d := range next() % 6 {
					stock.Devices = append(stock.Devices, Device{
						ID: strconv.Itoa(d * (1 + next()%2)), Model: Model{Name: "m" + strconv.Itoa(next()%2), MemoryMiB: 1},
						Fault: []string{"", "", "x"}[next()%3], Conflict: next()%4 == 0, Processes: int32(next()%3) - 1, Holder: "p" + strconv.Itoa(next()%4),
					})
				}
				for p := range next() % 4 {
					stock.Holders = append(stock.Holders, Holder{
						UID: "p" + strconv.Itoa(p), GPUs: int32(next()%8) - 2, Lease: []string{"", "a", "b"}[next()%3], Ending: next()%3 == 0, Gone: next()%4 == 0,
					})
				}
				stocks = append(stocks, stock)
			}
			i.Observe(stocks, at(now))
			if next()%8 == 0 {
				i.Seed("l4", []Shape{{Free: 3, Nodes: 2}})
			}
			policy := Policy{IdleFor: time.Duration(next()%8) * time.Second, Reserve: int32(next()%6) - 2, Limit: int32(next()%40) - 2}
			policy.Promises = []Promise{{"a", "l4", int32(next()%6) - 1}}
			inOrder(t, i.Decide(policy, at(now)))
		}
	})
}
