// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"math/rand/v2"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestModelOf(t *testing.T) {
	cases := map[string]struct {
		product string
		memory  int32
		want    Model
		wantOK  bool
	}{
		"a data centre GPU":              {"NVIDIA-H100-80GB-HBM3", 81559, Model{Name: "h100-sxm-80gb", MemoryMiB: 81559}, true},
		"a GPU for players":              {"NVIDIA-GeForce-RTX-4090", 24564, Model{Name: "rtx-4090", MemoryMiB: 24564}, true},
		"a Tesla":                        {"Tesla-T4", 15360, Model{Name: "t4", MemoryMiB: 15360}, true},
		"an unknown product keeps its":   {"NVIDIA-L40S", 46068, Model{Name: "l40s", MemoryMiB: 46068}, true},
		"a partition":                    {"NVIDIA-A100-SXM4-80GB-MIG-1g.10gb", 9728, Model{Name: "a100-sxm-80gb-mig-1g-10gb", MemoryMiB: 9728, Partition: true}, true},
		"a partition with media engine":  {"NVIDIA-A100-SXM4-80GB-MIG-1g.10gb.me", 9728, Model{Name: "a100-sxm-80gb-mig-1g-10gb-me", MemoryMiB: 9728, Partition: true}, true},
		"a shared GPU is not sold":       {"NVIDIA-A100-SXM4-80GB-SHARED", 81920, Model{}, false},
		"a shared partition is not sold": {"NVIDIA-A100-SXM4-80GB-MIG-1g.10gb-SHARED", 9728, Model{}, false},
		"no product":                     {"", 81920, Model{}, false},
		"no memory":                      {"NVIDIA-L4", 0, Model{}, false},
		"no letters":                     {"NVIDIA-", 100, Model{}, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := ModelOf(tc.product, tc.memory)
			if ok != tc.wantOK {
				t.Fatalf("sellable %t, want %t", ok, tc.wantOK)
			}
			if diff := cmp.Diff(tc.want, got); ok && diff != "" {
				t.Errorf("model (-want +got):\n%s", diff)
			}
		})
	}
}

var apiName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]*[a-z0-9])?$`)

func FuzzModelOf(f *testing.F) {
	f.Add("NVIDIA-H100-80GB-HBM3")
	f.Add("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb")
	f.Add("NVIDIA-------------------------------------------------MIG-7g.80gb")
	f.Fuzz(func(t *testing.T, product string) {
		model, ok := ModelOf(product, 1)
		if ok && (!apiName.MatchString(model.Name) || len(model.Name) < 2 || len(model.Name) > maxName) {
			t.Errorf("%q gives the name %q, which the API refuses", product, model.Name)
		}
	})
}

// node is a well node of eight GPUs.
func node() Facts {
	return Facts{Name: "n", Model: Model{Name: "l4", MemoryMiB: 1}, Ready: true, Capacity: 8, Allocatable: 8}
}

func TestCount(t *testing.T) {
	cases := map[string]struct {
		change func(*Facts)
		idle   int32
		want   Counts
	}{
		"an idle node is offered":                     {func(*Facts) {}, 8, Counts{8, 8, 8, 8, 0}},
		"a cooling node is not yet offered":           {func(*Facts) {}, 0, Counts{8, 8, 8, 0, 0}},
		"local pods take away":                        {func(f *Facts) { f.Local = 3 }, 5, Counts{8, 8, 5, 5, 0}},
		"local pods take away before the tracker":     {func(f *Facts) { f.Local = 3 }, 8, Counts{8, 8, 5, 5, 0}},
		"leased GPUs stay offered":                    {func(f *Facts) { f.Leased = 4 }, 8, Counts{8, 8, 4, 8, 4}},
		"a sick GPU is withdrawn":                     {func(f *Facts) { f.Allocatable = 7 }, 8, Counts{8, 7, 7, 7, 0}},
		"a sick GPU of a lease leaves the lease":      {func(f *Facts) { f.Allocatable, f.Leased = 7, 8 }, 8, Counts{8, 7, 0, 7, 7}},
		"a cordoned node keeps its leases only":       {func(f *Facts) { f.Cordoned, f.Leased = true, 2 }, 8, Counts{8, 8, 6, 2, 2}},
		"a tainted node offers nothing":               {func(f *Facts) { f.Tainted = true }, 8, Counts{8, 8, 8, 0, 0}},
		"a node that is not well has no healthy GPU":  {func(f *Facts) { f.Ready = false }, 8, Counts{Total: 8}},
		"a silent node keeps its leases":              {func(f *Facts) { f.Ready, f.Unknown, f.Leased = false, true, 3 }, 8, Counts{8, 8, 5, 3, 3}},
		"a shared node is not counted":                {func(f *Facts) { f.Shared = true }, 8, Counts{}},
		"a node whose model is not known is not sold": {func(f *Facts) { f.Model = Model{} }, 8, Counts{}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			facts := node()
			tc.change(&facts)
			if diff := cmp.Diff(tc.want, facts.Count(tc.idle)); diff != "" {
				t.Errorf("counts (-want +got):\n%s", diff)
			}
		})
	}
}

// TestCountsStayInOrder draws nodes at random, sane or not, and holds them to the invariant.
func TestCountsStayInOrder(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	flip := func() bool { return random.IntN(2) == 0 }
	number := func() int32 { return int32(random.IntN(20)) - 4 }
	for range 20_000 {
		facts := Facts{
			Model: Model{Name: "l4"}, Ready: flip(), Unknown: flip(), Cordoned: flip(), Tainted: flip(), Shared: random.IntN(8) == 0,
			Capacity: number(), Allocatable: number(), Local: number(), Leased: number(),
		}
		counts := []Counts{facts.Count(number())}
		HoldBack(counts, number())
		c := counts[0]
		if 0 > c.Leased || c.Leased > c.Offered || c.Offered > c.Healthy || c.Healthy > c.Total || 0 > c.Idle || c.Idle > c.Healthy {
			t.Fatalf("%+v counts as %+v", facts, c)
		}
	}
}

func TestTracker(t *testing.T) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return start.Add(time.Duration(seconds) * time.Second) }
	var tracker Tracker
	steps := []struct {
		at        int
		available int32
		want      int32
	}{
		{0, 4, 0}, {9, 4, 0}, {10, 4, 4}, {11, 8, 4}, {12, 2, 2}, {13, 8, 2}, {22, 8, 2}, {23, 8, 8}, {24, 0, 0}, {25, 1, 0}, {35, 1, 1},
	}
	for _, step := range steps {
		tracker.Observe("n", step.available, at(step.at))
		if got := tracker.Idle("n", 10*time.Second, at(step.at)); got != step.want {
			t.Errorf("second %d: %d idle, want %d", step.at, got, step.want)
		}
	}
	tracker.Observe("m", 1, at(40))
	if next, ok := tracker.Next(10*time.Second, at(45)); !ok || next != 5*time.Second {
		t.Errorf("next in %s %t, want 5s", next, ok)
	}
	tracker.Forget(map[string]bool{"m": true})
	if tracker.Knows("n") || !tracker.Knows("m") {
		t.Error("a node that is gone is still known, or one that is there is not")
	}
}

func TestRestartWithdrawsNothing(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	room := map[string]int32{"a": 8, "b": 8, "c": 3, "d": 8}
	seeds := Spread([]Shape{{Free: 3, Nodes: 1}, {Free: 8, Nodes: 2}}, room)
	var tracker Tracker
	idle := make([]int32, 0, len(room))
	for _, name := range []string{"a", "b", "c", "d"} {
		tracker.Seed(name, seeds[name], now)
		tracker.Observe(name, room[name], now)
		idle = append(idle, tracker.Idle(name, time.Hour, now))
	}
	if diff := cmp.Diff([]int32{8, 8, 0, 3}, idle); diff != "" {
		t.Errorf("idle right after the restart (-want +got):\n%s", diff)
	}
	tracker.Seed("a", 2, now)
	if tracker.Idle("a", time.Hour, now) != 8 {
		t.Error("a node that is known was seeded again")
	}
}

func TestSpreadNeverExceedsTheRoom(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for range 2000 {
		room := map[string]int32{}
		for i := range random.IntN(12) {
			room[strconv.Itoa(i)] = int32(random.IntN(9))
		}
		shapes := make([]Shape, 0, 6)
		for range random.IntN(6) {
			shapes = append(shapes, Shape{Free: int32(1 + random.IntN(8)), Nodes: int32(1 + random.IntN(4))})
		}
		for name, seed := range Spread(shapes, room) {
			if seed > room[name] {
				t.Fatalf("node %s has room for %d and is seeded with %d", name, room[name], seed)
			}
		}
	}
}

func TestShapes(t *testing.T) {
	got := Shapes([]int32{8, 0, 3, 8, 1, -1, 8})
	if diff := cmp.Diff([]Shape{{8, 3}, {3, 1}, {1, 1}}, got); diff != "" {
		t.Errorf("shapes (-want +got):\n%s", diff)
	}
	many := make([]int32, 0, 60)
	for i := range int32(60) {
		many = append(many, i)
	}
	if got := Shapes(many); len(got) != MaxShapes || got[0].Free != 59 {
		t.Errorf("%d shapes, the first of %d GPUs", len(got), got[0].Free)
	}
}

func TestHoldBackLeavesWholeNodesWhole(t *testing.T) {
	nodes := []Counts{{8, 8, 8, 8, 0}, {8, 8, 2, 2, 0}, {8, 8, 3, 8, 5}}
	HoldBack(nodes, 4)
	free := []int32{nodes[0].Free(), nodes[1].Free(), nodes[2].Free()}
	if diff := cmp.Diff([]int32{8, 0, 1}, free); diff != "" {
		t.Errorf("free (-want +got):\n%s", diff)
	}
}
