// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"cmp"
	"slices"
	"time"
)

// twin recounts a node by brute force, in another way than the inventory: without agents it knows GPUs only by their clocks, with them it
// goes through the devices one by one.
type twin struct {
	free   []int            // the clocks of free slots, or never
	sick   int              // how many of those that are never free are withdrawn
	leases map[string][]int // lease pods to the clocks of their slots
	locals map[string]int   // local pods to their slots
	clock  []int            // device by device
	dirty  []int            // device by device: the agent's report at the end of the lease, or never
	worked []bool           // device by device: a lease has it
}

// seen is what the twin makes of a node before any policy.
type seen struct {
	total, healthy, idle, leased int32
	clocks                       []int // of the free GPUs that are open
	held                         map[Reason]int32
}

func (n *worldNode) recount(now int) seen {
	if n.agent {
		return n.byDevice(now)
	}
	return n.bySlots(now)
}

// bySlots recounts a node whose GPUs nothing tells apart.
func (n *worldNode) bySlots(now int) seen {
	t := &n.twin
	if t.leases == nil {
		t.leases, t.locals = map[string][]int{}, map[string]int{}
		for range n.capacity {
			t.free = append(t.free, never)
		}
	}
	there := map[string]*worldPod{}
	for _, pod := range n.live() {
		there[pod.uid] = pod
	}
	for uid, clocks := range t.leases {
		if there[uid] == nil {
			t.free = append(t.free, clocks...)
			delete(t.leases, uid)
		}
	}
	for uid, slots := range t.locals {
		if there[uid] == nil {
			for range slots {
				t.free = append(t.free, never)
			}
			delete(t.locals, uid)
		}
	}
	slices.Sort(t.free) // never, the oldest, …, the newest
	for _, pod := range n.live() {
		t.take(pod)
	}
	missing := int(n.capacity - n.allocatable)
	sick := min(missing, len(t.free)) // the others are missing from local pods: the world spares leases
	unfree := 0
	for _, clock := range t.free {
		if clock == never {
			unfree++
		}
	}
	for over := sick - unfree; over > 0; over-- { // the newest go first
		t.free[len(t.free)-1] = never
		slices.Sort(t.free)
	}
	t.sick = sick
	blocked := n.hold != "" || n.down
	s := seen{total: n.capacity, held: map[Reason]int32{}}
	well := n.allocatable
	for i := range t.free {
		switch {
		case blocked:
			t.free[i] = never
		case i >= sick && t.free[i] == never:
			t.free[i] = now
		}
		if t.free[i] != never {
			s.clocks = append(s.clocks, t.free[i])
		}
	}
	leased, localHeld := n.held()
	for uid := range t.leases {
		for i := range t.leases[uid] {
			if blocked {
				t.leases[uid][i] = never
			} else if t.leases[uid][i] == never {
				t.leases[uid][i] = now
			}
		}
	}
	slices.Sort(t.free)
	s.held[Unhealthy] = int32(missing)
	if n.down {
		s.held[n.hold] += n.capacity - int32(missing)
		return s
	}
	s.healthy, s.leased, s.idle = well, leased, int32(len(t.free)-sick)
	localWell := localHeld - int32(missing-sick)
	if blocked {
		s.held[n.hold] += int32(len(t.free)-sick) + localWell
	} else {
		s.held[LocalPods] += localWell
	}
	return s
}

// take gives a new pod its slots: to a lease what was free for longest, to a local pod what was for the shortest time.
func (t *twin) take(pod *worldPod) {
	if _, has := t.leases[pod.uid]; has {
		return
	}
	if _, has := t.locals[pod.uid]; has {
		return
	}
	order := slices.Clone(t.free)
	sick := order[:t.sick] // they are among those that are never free, and taken last
	order = order[t.sick:]
	slices.SortFunc(order, func(a, b int) int {
		if pod.lease != "" { // the oldest, …, the newest, then those that are not open
			return cmp.Or(cmp.Compare(number(a == never), number(b == never)), cmp.Compare(a, b))
		}
		return cmp.Or(cmp.Compare(number(b == never), number(a == never)), cmp.Compare(b, a))
	})
	order = append(order, sick...)
	taken := order[:pod.gpus]
	t.free = slices.Clone(order[pod.gpus:])
	slices.Sort(t.free)
	if pod.lease != "" {
		t.leases[pod.uid] = slices.Clone(taken)
	} else {
		t.locals[pod.uid] = int(pod.gpus)
	}
}

// byDevice recounts a node whose agent says all of each device.
func (n *worldNode) byDevice(now int) seen {
	t := &n.twin
	if t.clock == nil {
		for range n.devices {
			t.clock, t.dirty, t.worked = append(t.clock, never), append(t.dirty, never), append(t.worked, false)
		}
	}
	s := seen{total: int32(len(n.devices)), held: map[Reason]int32{}}
	for d, device := range n.devices {
		var pod *worldPod
		for _, candidate := range n.live() {
			if slices.Contains(candidate.devices, d) {
				pod = candidate
			}
		}
		leased := pod != nil && pod.lease != ""
		switch {
		case pod != nil:
			t.dirty[d] = never
		case t.worked[d]:
			t.dirty[d] = n.report
		case t.dirty[d] != never && t.dirty[d] != n.report && device.Processes == 0:
			t.dirty[d] = never
		}
		t.worked[d] = leased
		why := n.why(device, pod, t.dirty[d] != never)
		if why != "" {
			t.clock[d] = never
		} else if t.clock[d] == never {
			t.clock[d] = now
		}
		well := device.Fault == "" && !n.down
		s.healthy += number(well)
		s.idle += number(well && pod == nil && t.dirty[d] == never && device.Processes == 0)
		switch {
		case leased && well:
			s.leased++
		case why != "":
			s.held[why]++
		case t.dirty[d] != never:
			s.held[NotClean]++
		default:
			s.clocks = append(s.clocks, t.clock[d])
		}
	}
	return s
}

// why is the first reason that applies to a device by itself.
func (n *worldNode) why(device Device, pod *worldPod, dirty bool) Reason {
	leased := pod != nil && pod.lease != ""
	for _, rule := range []struct {
		applies bool
		reason  Reason
	}{
		{device.Fault != "", Unhealthy},
		{device.Conflict, IdentityConflict},
		{n.hold != "", n.hold},
		{pod != nil && !leased, LocalPods},
		{device.Processes > 0 && !leased && !dirty, HostProcess},
		{device.Limited && !dirty, PowerLimited},
	} {
		if rule.applies {
			return rule.reason
		}
	}
	return ""
}

// expected applies the policy to what the twin saw, by sums alone.
func expected(nodes []*worldNode, policy Policy, now int) (total Counts, models map[string]Counts, held map[Reason]int32) {
	models, held = map[string]Counts{}, map[Reason]int32{}
	ready := map[string]int32{}
	for _, n := range nodes {
		s := n.recount(now)
		for reason, gpus := range s.held {
			held[reason] += gpus
		}
		for _, clock := range s.clocks {
			if now-clock >= int(policy.IdleFor/time.Second) {
				ready[n.model.Name]++
			} else {
				held[StillCooling]++
			}
		}
		models[n.model.Name] = models[n.model.Name].Add(Counts{Total: s.total, Healthy: s.healthy, Idle: s.idle, Leased: s.leased, Offered: s.leased})
	}
	var open int32
	for name, counts := range models {
		for _, promise := range policy.Promises {
			if promise.Model == name {
				kept := min(promise.GPUs, ready[name])
				counts = counts.Add(Counts{Leased: kept, Offered: kept, Idle: -kept})
				ready[name] -= kept
			}
		}
		models[name] = counts
		for _, keep := range []Held{{Reserved, policy.Reserve}, {PendingPods, policy.Pending[name]}} {
			kept := min(keep.GPUs, ready[name])
			held[keep.Reason] += kept
			ready[name] -= kept
		}
		total = total.Add(counts)
		open += ready[name]
	}
	over := max(0, min(open, total.Leased+open-policy.Limit))
	held[OverBudget] += over
	open -= over
	if policy.Stop != "" {
		held[policy.Stop] += open
		open = 0
	}
	total.Offered += open
	for reason, gpus := range held {
		if gpus == 0 {
			delete(held, reason)
		}
	}
	return total, models, held
}
