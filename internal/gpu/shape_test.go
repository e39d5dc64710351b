// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

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
