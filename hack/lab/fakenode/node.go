// SPDX-License-Identifier: Apache-2.0

package fakenode

import (
	"maps"
	"strconv"
)

// model is what a GPU's labels say, beside its product name.
type model struct {
	// short is the model's part of a node's name.
	short string
	// memory is in MiB, as the driver reports it.
	memory int
	family string
	// major and minor are the compute capability.
	major, minor int
	// machine is a server that such GPUs come in.
	machine string
}

var models = map[string]model{
	"NVIDIA-H100-80GB-HBM3":   {"h100", 81559, "hopper", 9, 0, "PowerEdge-XE9680"},
	"NVIDIA-H200":             {"h200", 143771, "hopper", 9, 0, "PowerEdge-XE9680"},
	"NVIDIA-A100-SXM4-80GB":   {"a100", 81920, "ampere", 8, 0, "ProLiant-XL675d-Gen10-Plus"},
	"NVIDIA-L40S":             {"l40s", 46068, "ada-lovelace", 8, 9, "PowerEdge-R760xa"},
	"NVIDIA-GeForce-RTX-4090": {"rtx4090", 24564, "ada-lovelace", 8, 9, "X570-AORUS-MASTER"},
	"NVIDIA-GeForce-RTX-3090": {"rtx3090", 24576, "ampere", 8, 6, "X570-AORUS-MASTER"},
	"Tesla-T4":                {"t4", 15360, "turing", 7, 5, "PowerEdge-R740"},
}

// Node is the part of a Kubernetes Node that a fake one needs.
type Node struct {
	APIVersion string   `json:"apiVersion"`
	Kind       string   `json:"kind"`
	Metadata   Metadata `json:"metadata"`
	Status     Status   `json:"status"`
}

// Metadata is the Node's metadata.
type Metadata struct {
	Name        string            `json:"name"`
	Labels      map[string]string `json:"labels"`
	Annotations map[string]string `json:"annotations"`
}

// Status is what a kubelet and a device plugin would report.
type Status struct {
	Capacity    map[string]string `json:"capacity"`
	Allocatable map[string]string `json:"allocatable"`
	NodeInfo    map[string]string `json:"nodeInfo"`
}

func newNode(name string, pool Pool, group Group) Node {
	resources := map[string]string{
		"cpu":               strconv.Itoa(group.CPU),
		"memory":            group.Memory,
		"ephemeral-storage": "2Ti",
		"pods":              "110",
		"nvidia.com/gpu":    strconv.Itoa(group.GPUs),
	}
	labels := discovered(group)
	maps.Copy(labels, map[string]string{
		"kubernetes.io/hostname":        name,
		"kubernetes.io/arch":            "amd64",
		"kubernetes.io/os":              "linux",
		"topology.kubernetes.io/region": pool.Region,
		"topology.kubernetes.io/zone":   pool.Zone,
		PoolLabel:                       pool.Name,
	})
	return Node{
		APIVersion: "v1",
		Kind:       "Node",
		Metadata:   Metadata{Name: name, Labels: labels, Annotations: map[string]string{Annotation: "fake"}},
		Status:     Status{Capacity: resources, Allocatable: resources, NodeInfo: nodeInfo()},
	}
}

// discovered returns the labels that GPU Feature Discovery writes for the group's GPUs.
func discovered(group Group) map[string]string {
	m := models[group.Model]
	driver, cuda := driverParts.FindStringSubmatch(group.Driver), cudaParts.FindStringSubmatch(group.CUDA)
	const gpu, version = "nvidia.com/gpu.", "nvidia.com/cuda."
	return map[string]string{
		gpu + "present":                     "true",
		gpu + "product":                     group.Model,
		gpu + "count":                       strconv.Itoa(group.GPUs),
		gpu + "replicas":                    "1",
		gpu + "sharing-strategy":            "none",
		gpu + "mode":                        "compute",
		gpu + "memory":                      strconv.Itoa(m.memory),
		gpu + "family":                      m.family,
		gpu + "compute.major":               strconv.Itoa(m.major),
		gpu + "compute.minor":               strconv.Itoa(m.minor),
		gpu + "machine":                     m.machine,
		version + "driver-version.full":     driver[0],
		version + "driver-version.major":    driver[1],
		version + "driver-version.minor":    driver[2],
		version + "driver-version.revision": driver[3],
		version + "runtime-version.full":    cuda[0],
		version + "runtime-version.major":   cuda[1],
		version + "runtime-version.minor":   cuda[2],
		"nvidia.com/mig.capable":            "false",
		"nvidia.com/mig.strategy":           "none",
	}
}

func nodeInfo() map[string]string {
	info := map[string]string{
		"architecture":            "amd64",
		"operatingSystem":         "linux",
		"containerRuntimeVersion": "kwok://fake",
		"kubeletVersion":          "v1.35.4-kwok",
		"osImage":                 "fake",
	}
	for _, empty := range []string{"bootID", "kernelVersion", "kubeProxyVersion", "machineID", "systemUUID"} {
		info[empty] = ""
	}
	return info
}
