// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

var start = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }

var l4 = Model{Name: "l4", MemoryMiB: 23034}

// slots is a well node of eight GPUs that nothing tells apart.
func slots(node string) Stock {
	return Stock{Node: node, Kind: "nvidia.com/gpu", Allocatable: 8, Slots: 8, Model: l4}
}

// cards is a well node of eight GPUs that an agent watches.
func cards(node string) Stock {
	s := Stock{Node: node, Kind: "nvidia.com/gpu", Allocatable: 8, Report: "1"}
	for i := range 8 {
		s.Devices = append(s.Devices, Device{ID: node + "-" + strconv.Itoa(i), Model: l4})
	}
	return s
}

func local(uid string, gpus int32) Holder { return Holder{UID: uid, GPUs: gpus} }

func lease(uid string, gpus int32) Holder { return Holder{UID: uid, GPUs: gpus, Lease: "train"} }

// holders makes a change that puts pods on a node.
func holders(h ...Holder) func(*Stock) { return func(s *Stock) { s.Holders = h } }

func device(of int, change func(*Device)) func(*Stock) {
	return func(s *Stock) { change(&s.Devices[of]) }
}

// states are what a node's GPUs are, in the order of their identities, as letters: U B C I O L D K (cleaning).
func states(i *Inventory) string {
	letters := map[State]byte{Unknown: 'U', Busy: 'B', Cooling: 'C', Idle: 'I', Offered: 'O', Leased: 'L', Draining: 'D', Cleaning: 'K'}
	text := make([]byte, 0, 16)
	for _, s := range i.order {
		for c := range s.cards {
			text = append(text, letters[s.cards[c].state])
		}
	}
	return string(text)
}

// TestWhyAGPUIsKeptBack changes a node whose eight GPUs are offered.
func TestWhyAGPUIsKeptBack(t *testing.T) {
	cases := map[string]struct {
		change func(*Stock)
		states string
		counts Counts
		held   []Held
	}{
		"nothing":                               {func(*Stock) {}, "OOOOOOOO", Counts{8, 8, 8, 8, 0}, nil},
		"a fault takes one device":              {device(2, func(d *Device) { d.Fault = "XID 79" }), "OOUOOOOO", Counts{8, 7, 7, 7, 0}, []Held{{Unhealthy, 1}}},
		"the scheduler was told of fewer":       {func(s *Stock) { s.Allocatable = 6 }, "UUOOOOOO", Counts{8, 6, 6, 6, 0}, []Held{{Unhealthy, 2}}},
		"an identity that is there twice":       {device(2, func(d *Device) { d.Conflict = true }), "OOUOOOOO", Counts{8, 8, 8, 7, 0}, []Held{{IdentityConflict, 1}}},
		"a record that is refused":              {func(s *Stock) { s.Hold = RecordRefused }, "UUUUUUUU", Counts{8, 8, 8, 0, 0}, []Held{{RecordRefused, 8}}},
		"a node that is not well":               {func(s *Stock) { s.Hold, s.Down = NodeNotReady, true }, "UUUUUUUU", Counts{8, 0, 0, 0, 0}, []Held{{NodeNotReady, 8}}},
		"a local pod":                           {holders(local("a", 3)), "BBBOOOOO", Counts{8, 8, 5, 5, 0}, []Held{{LocalPods, 3}}},
		"a process outside of all pods":         {device(2, func(d *Device) { d.Processes = 1 }), "OOBOOOOO", Counts{8, 8, 7, 7, 0}, []Held{{HostProcess, 1}}},
		"a process of a lease is its own":       {func(s *Stock) { s.Holders = []Holder{lease("a", 8)}; s.Devices[2].Processes = 1 }, "LLLLLLLL", Counts{8, 8, 0, 8, 8}, nil},
		"a card with little power":              {device(2, func(d *Device) { d.Limited = true }), "OOUOOOOO", Counts{8, 8, 8, 7, 0}, []Held{{PowerLimited, 1}}},
		"a lease":                               {holders(lease("a", 3)), "LLLOOOOO", Counts{8, 8, 5, 8, 3}, nil},
		"a lease that ends":                     {holders(Holder{UID: "a", GPUs: 3, Lease: "train", Ending: true}), "DDDOOOOO", Counts{8, 8, 5, 8, 3}, nil},
		"a lease outlives its silent agent":     {func(s *Stock) { s.Hold = AgentSilent; s.Holders = []Holder{lease("a", 3)} }, "LLLUUUUU", Counts{8, 8, 5, 3, 3}, []Held{{AgentSilent, 5}}},
		"a lease on a sick device":              {func(s *Stock) { s.Holders = []Holder{lease("a", 8)}; s.Devices[2].Fault = "ECC" }, "LLLLLLLL", Counts{8, 7, 0, 7, 7}, []Held{{Unhealthy, 1}}},
		"a sick one is none that a lease holds": {func(s *Stock) { s.Holders = []Holder{lease("a", 3)}; s.Allocatable = 7 }, "LLLUOOOO", Counts{8, 7, 4, 7, 3}, []Held{{Unhealthy, 1}}},
		"the first reason counts": {func(s *Stock) {
			s.Hold, s.Holders, s.Devices[0].Fault, s.Devices[1].Conflict = Cordoned, []Holder{local("a", 1)}, "Lost", true
		}, "UBUUUUUU", Counts{8, 7, 6, 0, 0}, []Held{{Unhealthy, 1}, {IdentityConflict, 1}, {Cordoned, 6}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var i Inventory
			i.Observe([]Stock{cards("n")}, at(0))
			changed := cards("n")
			tc.change(&changed)
			i.Observe([]Stock{changed}, at(60))
			report := i.Decide(Policy{IdleFor: time.Minute, Limit: Unlimited}, at(60))
			if diff := cmp.Diff(tc.counts, report.Total); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.held, report.HeldBack); diff != "" {
				t.Errorf("held back (-want +got):\n%s", diff)
			}
			if got := states(&i); got != tc.states {
				t.Errorf("states %s, want %s", got, tc.states)
			}
		})
	}
}

// TestPolicyKeepsBack has two whole nodes and one that local pods use, with 18 idle GPUs.
func TestPolicyKeepsBack(t *testing.T) {
	cases := map[string]struct {
		policy Policy
		free   []int32
		held   []Held
	}{
		"nothing":                  {Policy{Limit: Unlimited}, []int32{8, 8, 2}, nil},
		"a reserve":                {Policy{Limit: Unlimited, Reserve: 3}, []int32{7, 8}, []Held{{Reserved, 3}}},
		"local work that waits":    {Policy{Limit: Unlimited, Pending: map[string]int32{"l4": 4, "h100": 9}}, []int32{6, 8}, []Held{{PendingPods, 4}}},
		"a budget":                 {Policy{Limit: 9}, []int32{1, 8}, []Held{{OverBudget, 9}}},
		"a budget of nothing":      {Policy{}, nil, []Held{{OverBudget, 18}}},
		"each GPU once, in order":  {Policy{Limit: 8, Reserve: 1, Pending: map[string]int32{"l4": 1}, Stop: InDrain}, nil, []Held{{Reserved, 1}, {PendingPods, 1}, {OverBudget, 8}, {InDrain, 8}}},
		"a stop":                   {Policy{Limit: Unlimited, Stop: Maintenance}, nil, []Held{{Maintenance, 18}}},
		"more than there is":       {Policy{Limit: Unlimited, Reserve: 99}, nil, []Held{{Reserved, 18}}},
		"a promise counts as lent": {Policy{Limit: 9, Promises: []Promise{{"train", "l4", 4}, {"other", "h100", 4}}}, []int32{5}, []Held{{OverBudget, 9}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var i Inventory
			third := slots("c")
			third.Holders = []Holder{local("a", 6)}
			i.Observe([]Stock{slots("a"), slots("b"), third}, at(0))
			report := i.Decide(tc.policy, at(0))
			var free []int32
			for _, holding := range report.Models {
				free = append(free, holding.Free...)
			}
			if diff := cmp.Diff(tc.free, free); diff != "" {
				t.Errorf("free (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(append(tc.held, Held{LocalPods, 6}), append(without(report.HeldBack, LocalPods), Held{LocalPods, 6})); diff != "" {
				t.Errorf("held back (-want +got):\n%s", diff)
			}
		})
	}
}

func without(held []Held, reason Reason) []Held {
	var rest []Held
	for _, h := range held {
		if h.Reason != reason {
			rest = append(rest, h)
		}
	}
	return rest
}

// TestClocks looks at one node, step by step, with GPUs that must be free for ten seconds.
func TestClocks(t *testing.T) {
	type step struct {
		at     int
		change func(*Stock)
		states string
	}
	some := func(gpus int32) func(*Stock) {
		return func(s *Stock) { s.Allocatable, s.Slots, s.Devices, s.Report = gpus, gpus, nil, "" }
	}
	cases := map[string][]step{
		"idle only after ten seconds, and gone at once": {
			{0, some(2), "CC"},
			{9, some(2), "CC"},
			{10, some(2), "OO"},
			{11, func(s *Stock) { some(2)(s); s.Holders = []Holder{local("a", 1)} }, "BO"},
			{12, some(2), "CO"},
			{21, some(2), "CO"},
			{22, some(2), "OO"},
		},
		"long-idle GPUs stay idle when local pods come and go": {
			{0, some(2), "CC"},
			{5, some(4), "CCCC"},
			{10, some(4), "OOCC"},
			{11, func(s *Stock) { some(4)(s); s.Holders = []Holder{local("a", 2)} }, "OOBB"},
			{12, some(4), "OOCC"},
		},
		"leases take what was offered": {
			{0, some(2), "CC"},
			{5, some(4), "CCCC"},
			{10, func(s *Stock) { some(4)(s); s.Holders = []Holder{lease("a", 2)} }, "LLCC"},
			{11, some(4), "OOCC"},
		},
		"a device that flaps cools anew each time": {
			{0, nil, "CCCCCCCC"},
			{10, device(0, func(d *Device) { d.Fault = "ECC" }), "UOOOOOOO"},
			{11, nil, "COOOOOOO"},
			{20, device(0, func(d *Device) { d.Fault = "ECC" }), "UOOOOOOO"},
			{22, nil, "COOOOOOO"},
			{31, nil, "COOOOOOO"},
			{32, nil, "OOOOOOOO"},
		},
		"a lease's GPU is clean only when the agent has looked again": {
			{0, nil, "CCCCCCCC"},
			{10, func(s *Stock) { s.Holders = []Holder{lease("a", 1)}; s.Devices[3].Holder = "a" }, "OOOLOOOO"},
			{11, nil, "OOOKOOOO"},
			{12, nil, "OOOKOOOO"},
			{13, func(s *Stock) { s.Report = "2"; s.Devices[3].Processes = 1 }, "OOOKOOOO"},
			{14, func(s *Stock) { s.Report = "3" }, "OOOOOOOO"},
		},
		"a lease's pod that only the agent still sees is not gone": {
			{0, nil, "CCCCCCCC"},
			{10, func(s *Stock) { s.Holders = []Holder{lease("a", 1)}; s.Devices[3].Holder = "a" }, "OOOLOOOO"},
			{11, func(s *Stock) {
				s.Report, s.Devices[3].Holder = "2", "ns/a"
				s.Holders = []Holder{{UID: "ns/a", GPUs: 1, Lease: "train", Gone: true}}
			}, "OOOKOOOO"},
			{12, func(s *Stock) { s.Report = "3" }, "OOOOOOOO"},
		},
		"without an agent a lease's GPU is clean when its pods are gone": {
			{0, some(2), "CC"},
			{10, func(s *Stock) { some(2)(s); s.Holders = []Holder{lease("a", 2)} }, "LL"},
			{11, some(2), "OO"},
		},
		"an agent that names the device corrects the guess": {
			{0, nil, "CCCCCCCC"},
			{10, holders(local("a", 1)), "BOOOOOOO"},
			{11, func(s *Stock) { s.Holders = []Holder{local("a", 1)}; s.Devices[5].Holder = "a" }, "OOOOOBOO"},
			{12, nil, "OOOOOCOO"},
		},
		"installing an agent withdraws nothing": {
			{0, some(8), "CCCCCCCC"},
			{10, func(s *Stock) { some(8)(s); s.Holders = []Holder{lease("a", 1), local("b", 1)} }, "LBOOOOOO"},
			{11, holders(lease("a", 1), local("b", 1)), "LBOOOOOO"},
			{12, func(s *Stock) { some(8)(s); s.Holders = []Holder{lease("a", 1), local("b", 1)} }, "LBOOOOOO"},
		},
		"a device that takes another's place starts anew": {
			{0, nil, "CCCCCCCC"}, {10, device(7, func(d *Device) { d.ID = "new" }), "OOOOOOOC"},
		},
		"a node that shrinks loses what is missed least": {
			{0, some(4), "CCCC"},
			{10, func(s *Stock) { some(4)(s); s.Holders = []Holder{lease("a", 2), local("b", 1)} }, "LLBO"},
			{11, func(s *Stock) { some(2)(s); s.Holders = []Holder{lease("a", 2), local("b", 1)} }, "LL"},
		},
	}
	for name, steps := range cases {
		t.Run(name, func(t *testing.T) {
			var i Inventory
			for _, step := range steps {
				stock := cards("n")
				if step.change != nil {
					step.change(&stock)
				}
				i.Observe([]Stock{stock}, at(step.at))
				i.Decide(Policy{IdleFor: 10 * time.Second, Limit: Unlimited}, at(step.at))
				if got := states(&i); got != step.states {
					t.Errorf("second %d: %s, want %s", step.at, got, step.states)
				}
			}
		})
	}
}

func TestAPromiseIsKeptWithWhatTheLeaseHasLeft(t *testing.T) {
	var i Inventory
	i.Observe([]Stock{cards("n")}, at(0))
	busy := cards("n")
	busy.Holders = []Holder{lease("hold", 4)}
	i.Observe([]Stock{busy}, at(10))
	i.Observe([]Stock{cards("n")}, at(11))
	policy := Policy{Limit: Unlimited}
	if i.Decide(policy, at(11)); states(&i) != "KKKKOOOO" {
		t.Errorf("without a promise: %s", states(&i))
	}
	policy.Promises = []Promise{{Lease: "train", Model: "l4", GPUs: 4}}
	if report := i.Decide(policy, at(11)); states(&i) != "LLLLOOOO" || report.Total.Leased != 4 {
		t.Errorf("with a promise: %s, %+v", states(&i), report.Total)
	}
	next := cards("n")
	next.Holders = []Holder{lease("worker", 4)}
	i.Observe([]Stock{next}, at(12))
	if i.Decide(Policy{Limit: Unlimited}, at(12)); states(&i) != "LLLLOOOO" {
		t.Errorf("with the next pod: %s", states(&i))
	}
}

func TestFaultsAreToldOnce(t *testing.T) {
	var i Inventory
	i.Observe([]Stock{cards("n")}, at(0))
	sick := cards("n")
	device(4, func(d *Device) { d.Fault = "XID 79" })(&sick)
	if diff := cmp.Diff([]Fault{{"n", "n-4", "XID 79"}}, i.Observe([]Stock{sick}, at(1))); diff != "" {
		t.Errorf("faults (-want +got):\n%s", diff)
	}
	if again := i.Observe([]Stock{sick}, at(2)); len(again) != 0 {
		t.Errorf("told again: %+v", again)
	}
}

func TestRestartWithdrawsNothing(t *testing.T) {
	var i Inventory
	third, fourth := slots("c"), slots("d")
	third.Holders = []Holder{local("l", 5)}
	fourth.Holders = []Holder{lease("t", 2)}
	i.Observe([]Stock{slots("a"), slots("b"), third, fourth}, at(0))
	i.Seed("l4", []Shape{{Free: 3, Nodes: 1}, {Free: 8, Nodes: 2}})
	report := i.Decide(Policy{IdleFor: time.Hour, Limit: Unlimited}, at(0))
	if diff := cmp.Diff([]int32{8, 8, 3}, report.Models[0].Free); diff != "" {
		t.Errorf("free right after the restart (-want +got):\n%s", diff)
	}
	i.Observe([]Stock{slots("a"), slots("b"), third, slots("d")}, at(1))
	report = i.Decide(Policy{IdleFor: time.Hour, Limit: Unlimited}, at(1))
	if diff := cmp.Diff([]int32{8, 8, 5}, report.Models[0].Free); diff != "" {
		t.Errorf("free after the lease's end (-want +got):\n%s", diff)
	}
}

func TestNodesThatAreGoneAreForgotten(t *testing.T) {
	var i Inventory
	i.Observe([]Stock{slots("a"), slots("b")}, at(0))
	i.Observe([]Stock{slots("b")}, at(10))
	i.Observe([]Stock{slots("a"), slots("b")}, at(11))
	if i.Decide(Policy{IdleFor: 10 * time.Second, Limit: Unlimited}, at(11)); states(&i) != "CCCCCCCCOOOOOOOO" {
		t.Errorf("states %s", states(&i))
	}
}

func TestReasonsAreInOneOrder(t *testing.T) {
	seen := map[Reason]bool{}
	for _, reason := range Reasons() {
		if seen[reason] {
			t.Errorf("%s is there twice", reason)
		}
		seen[reason] = true
	}
}

// BenchmarkPass looks at a thousand nodes with eight GPUs each, half of them held by pods.
func BenchmarkPass(b *testing.B) {
	stocks := make([]Stock, 0, 1000)
	for n := range 1000 {
		stock := cards(fmt.Sprintf("node-%04d", n))
		for p := range 4 {
			uid := fmt.Sprintf("pod-%d-%d", n, p)
			stock.Devices[p].Holder = uid
			stock.Holders = append(stock.Holders, Holder{UID: uid, GPUs: 1, Lease: []string{"", "train"}[p%2]})
		}
		stocks = append(stocks, stock)
	}
	var i Inventory
	i.Observe(stocks, at(0))
	b.ReportAllocs()
	for b.Loop() {
		i.Observe(stocks, at(700))
		report := i.Decide(Policy{IdleFor: 10 * time.Minute, Reserve: 10, Limit: 5000}, at(700))
		if report.Total.Offered != 5000 {
			b.Fatalf("%+v", report.Total)
		}
	}
}
