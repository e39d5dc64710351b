// SPDX-License-Identifier: Apache-2.0

package fakenode_test

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/hack/lab/fakenode"
)

const pool = `pools: [{name: oslo, region: r, zone: z, nodes: [{model: NVIDIA-L40S, count: 2, gpus: 4}]}]`

func TestParseRefuses(t *testing.T) {
	cases := map[string]struct{ from, to, want string }{
		"an unknown field":        {"count: 2", "count: 2, color: red", "color"},
		"an unknown model":        {"NVIDIA-L40S", "NVIDIA-L41", "unknown model"},
		"no nodes":                {"count: 2", "count: 0", "count must be"},
		"more GPUs than possible": {"gpus: 4", "gpus: 17", "gpus must be"},
		"a bad driver version":    {"gpus: 4", "gpus: 4, driver: '580'", "driver"},
		"a bad CUDA version":      {"gpus: 4", "gpus: 4, cuda: '13'", "cuda"},
		"a bad pool name":         {"oslo", "Oslo", "pool name"},
		"a pool named twice":      {"pools: [", "pools: [{name: oslo, region: r, zone: z, nodes: []}, ", "pool name"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := fakenode.Parse([]byte(strings.Replace(pool, tc.from, tc.to, 1)))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("Parse: error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestNodesCarryTheLabelsOfGPUFeatureDiscovery(t *testing.T) {
	file, err := fakenode.Parse([]byte(pool))
	if err != nil {
		t.Fatal(err)
	}
	nodes := file.Nodes("hub")
	if len(nodes) != 2 {
		t.Fatalf("got %d nodes, want 2", len(nodes))
	}
	got := map[string]string{"name": nodes[1].Metadata.Name}
	want := map[string]string{
		"name":                                 "oslo-l40s-2",
		"kubernetes.io/hostname":               "oslo-l40s-2",
		"nvidia.com/gpu.product":               "NVIDIA-L40S",
		"nvidia.com/gpu.count":                 "4",
		"nvidia.com/gpu.memory":                "46068",
		"nvidia.com/gpu.family":                "ada-lovelace",
		"nvidia.com/gpu.compute.major":         "8",
		"nvidia.com/gpu.compute.minor":         "9",
		"nvidia.com/gpu.machine":               "PowerEdge-R760xa",
		"nvidia.com/gpu.sharing-strategy":      "none",
		"nvidia.com/cuda.driver-version.full":  "580.95.05",
		"nvidia.com/cuda.runtime-version.full": "13.0",
		"topology.kubernetes.io/region":        "r",
		"topology.kubernetes.io/zone":          "z",
		"bourse.dev/pool":                      "oslo",
	}
	for key := range want {
		if key != "name" {
			got[key] = nodes[1].Metadata.Labels[key]
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("labels (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff("4", nodes[1].Status.Allocatable["nvidia.com/gpu"]); diff != "" {
		t.Errorf("allocatable GPUs (-want +got):\n%s", diff)
	}
}

func TestTheDefaultFileHasTwoPoolsWithUniqueNodes(t *testing.T) {
	data, err := os.ReadFile("../kwok/nodes.yaml")
	if err != nil {
		t.Fatal(err)
	}
	file, err := fakenode.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	pools, names := map[string]int{}, map[string]bool{}
	for _, node := range file.Nodes("hub") {
		pools[node.Metadata.Labels[fakenode.PoolLabel]]++
		names[node.Metadata.Name] = true
	}
	if diff := cmp.Diff(map[string]int{"oslo": 4, "porto": 4}, pools); diff != "" {
		t.Errorf("nodes of pools (-want +got):\n%s", diff)
	}
	if len(names) != 8 {
		t.Errorf("got %d names for 8 nodes", len(names))
	}
	if diff := cmp.Diff([]string{"hub"}, file.Clusters()); diff != "" {
		t.Errorf("clusters (-want +got):\n%s", diff)
	}
}
