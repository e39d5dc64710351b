// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"cmp"
	"slices"
)

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
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(room[b], room[a]), cmp.Compare(a, b)) })
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
