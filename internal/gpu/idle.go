// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"slices"
	"time"
)

// Tracker knows for how long how many GPUs of each node have been available without a break. Its zero value is ready for use, and
// it is not safe for concurrent use.
type Tracker struct {
	since map[string][]time.Time // node to the moments since which at least 1, 2, 3 … GPUs are available, in order
}

// Knows says whether the node was ever observed.
func (t *Tracker) Knows(node string) bool {
	_, ok := t.since[node]
	return ok
}

// Observe takes in how many GPUs of a node are available now. More start to count now; fewer end at once.
func (t *Tracker) Observe(node string, available int32, now time.Time) {
	if t.since == nil {
		t.since = map[string][]time.Time{}
	}
	levels := t.since[node]
	count := int(max(0, available))
	if len(levels) > count {
		levels = levels[:count]
	}
	for len(levels) < count {
		levels = append(levels, now)
	}
	t.since[node] = levels
}

// Seed starts a node that was never observed with GPUs that were offered before, so that a restart withdraws nothing.
func (t *Tracker) Seed(node string, offered int32, now time.Time) {
	if t.Knows(node) {
		return
	}
	t.Observe(node, offered, time.Time{})
	if offered <= 0 {
		t.Observe(node, 0, now)
	}
}

// Forget drops every node that is not named.
func (t *Tracker) Forget(keep map[string]bool) {
	for node := range t.since {
		if !keep[node] {
			delete(t.since, node)
		}
	}
}

// Idle returns how many GPUs of the node have been available for at least that long.
func (t *Tracker) Idle(node string, least time.Duration, now time.Time) int32 {
	var idle int32
	for _, since := range t.since[node] {
		if now.Sub(since) < least {
			break
		}
		idle++
	}
	return idle
}

// Next returns how long it takes until more GPUs of any node are idle for that long, and false if none will be.
func (t *Tracker) Next(least time.Duration, now time.Time) (time.Duration, bool) {
	soonest, found := least, false
	for _, levels := range t.since {
		for _, since := range levels {
			left := least - now.Sub(since)
			if left > 0 && (!found || left < soonest) {
				soonest, found = left, true
			}
		}
	}
	return soonest, found
}

// Shape is how many nodes have a number of free GPUs.
type Shape struct {
	Free  int32
	Nodes int32
}

// MaxShapes is how many shapes an offer may have.
const MaxShapes = 32

// Shapes counts nodes by their free GPUs, most free first. Nodes with none do not count. With more shapes than an offer may have, the
// ones with the fewest GPUs are left out: that hides GPUs, and never promises any.
func Shapes(free []int32) []Shape {
	nodes := map[int32]int32{}
	for _, count := range free {
		if count > 0 {
			nodes[count]++
		}
	}
	shapes := make([]Shape, 0, len(nodes))
	for count, many := range nodes {
		shapes = append(shapes, Shape{Free: count, Nodes: many})
	}
	slices.SortFunc(shapes, func(a, b Shape) int { return int(b.Free - a.Free) })
	return shapes[:min(len(shapes), MaxShapes)]
}

// Spread assigns what was offered before, as shapes, to the nodes that have room for it now: the fullest shape to the roomiest node.
// It returns the seeds by node, and never gives a node more than its room.
func Spread(shapes []Shape, room map[string]int32) map[string]int32 {
	names := make([]string, 0, len(room))
	for name := range room {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		if room[a] != room[b] {
			return int(room[b] - room[a])
		}
		if a < b {
			return -1
		}
		return 1
	})
	sorted := slices.Clone(shapes)
	slices.SortFunc(sorted, func(a, b Shape) int { return int(b.Free - a.Free) })
	seeds := map[string]int32{}
	for _, shape := range sorted {
		for many := shape.Nodes; many > 0 && len(names) > 0; many-- {
			seeds[names[0]] = min(shape.Free, room[names[0]])
			names = names[1:]
		}
	}
	return seeds
}

// HoldBack takes a number of free GPUs out of a market's sight, from the nodes with the fewest free ones, so that whole nodes stay
// whole. It changes offered in place of the counts it is given.
func HoldBack(nodes []Counts, keep int32) {
	order := make([]int, 0, len(nodes))
	for i := range nodes {
		order = append(order, i)
	}
	slices.SortStableFunc(order, func(a, b int) int { return int(nodes[a].Free() - nodes[b].Free()) })
	for _, i := range order {
		held := max(0, min(keep, nodes[i].Free()))
		nodes[i].Offered -= held
		keep -= held
	}
}
