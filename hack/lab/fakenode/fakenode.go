// SPDX-License-Identifier: Apache-2.0

// Package fakenode turns a short description of GPU pools into Node objects with
// the labels that NVIDIA's GPU Feature Discovery writes. It does not know how
// the nodes come to life.
package fakenode

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"
)

// Annotation marks a node as fake, with the value fake. kwok plays only such nodes.
const Annotation = "kwok.x-k8s.io/node"

// PoolLabel is the label that tells which supplier's pool a node belongs to.
const PoolLabel = "bourse.dev/pool"

// Defaults of a node group.
const (
	defaultCluster = "hub"
	defaultDriver  = "580.95.05"
	defaultCUDA    = "13.0"
	cpuPerGPU      = 24
	memoryPerGPU   = 256 // GiB
)

// File describes the fake nodes of a lab.
type File struct {
	Pools []Pool `json:"pools"`
}

// Pool is the nodes of one supplier in one place.
type Pool struct {
	Name    string  `json:"name"`
	Cluster string  `json:"cluster,omitempty"`
	Region  string  `json:"region"`
	Zone    string  `json:"zone"`
	Nodes   []Group `json:"nodes"`
}

// Group is a number of equal nodes.
type Group struct {
	Model  string `json:"model"`
	Count  int    `json:"count"`
	GPUs   int    `json:"gpus"`
	CPU    int    `json:"cpu,omitempty"`
	Memory string `json:"memory,omitempty"`
	Driver string `json:"driver,omitempty"`
	CUDA   string `json:"cuda,omitempty"`
}

var (
	poolName    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?$`)
	driverParts = regexp.MustCompile(`^(\d+)\.(\d+)\.(\d+)$`)
	cudaParts   = regexp.MustCompile(`^(\d+)\.(\d+)$`)
)

// Parse reads a description strictly: unknown fields and models are errors.
func Parse(data []byte) (File, error) {
	var file File
	if err := yaml.UnmarshalStrict(data, &file); err != nil {
		return File{}, fmt.Errorf("parse fake nodes: %w", err)
	}
	seen := map[string]bool{}
	for i := range file.Pools {
		pool := &file.Pools[i]
		pool.Cluster = cmp.Or(pool.Cluster, defaultCluster)
		if !poolName.MatchString(pool.Name) || seen[pool.Name] {
			return File{}, fmt.Errorf("pool name %q is used twice or no DNS label", pool.Name)
		}
		seen[pool.Name] = true
		for j := range pool.Nodes {
			if err := pool.Nodes[j].complete(); err != nil {
				return File{}, fmt.Errorf("pool %s, group %d: %w", pool.Name, j+1, err)
			}
		}
	}
	return file, nil
}

// complete fills the group's defaults and checks it.
func (g *Group) complete() error {
	g.CPU = cmp.Or(g.CPU, cpuPerGPU*g.GPUs)
	g.Driver = cmp.Or(g.Driver, defaultDriver)
	g.CUDA = cmp.Or(g.CUDA, defaultCUDA)
	if g.Memory == "" {
		g.Memory = strconv.Itoa(memoryPerGPU*g.GPUs) + "Gi"
	}
	switch {
	case models[g.Model] == model{}:
		return fmt.Errorf("unknown model %q: choose one of %s", g.Model, strings.Join(slices.Sorted(maps.Keys(models)), ", "))
	case g.Count < 1 || g.Count > 10_000:
		return errors.New("count must be 1 to 10000")
	case g.GPUs < 1 || g.GPUs > 16:
		return errors.New("gpus must be 1 to 16")
	case g.CPU < 1:
		return errors.New("cpu must be positive")
	case !driverParts.MatchString(g.Driver):
		return fmt.Errorf("driver %q must look like %s", g.Driver, defaultDriver)
	case !cudaParts.MatchString(g.CUDA):
		return fmt.Errorf("cuda %q must look like %s", g.CUDA, defaultCUDA)
	}
	return nil
}

// Clusters returns the names of the clusters that have fake nodes.
func (f File) Clusters() []string {
	var names []string
	for _, pool := range f.Pools {
		names = append(names, pool.Cluster)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// Apart returns the same pools, each in a cluster of its own that has the pool's name.
func (f File) Apart() File {
	pools := slices.Clone(f.Pools)
	for i := range pools {
		pools[i].Cluster = pools[i].Name
	}
	return File{Pools: pools}
}

// Nodes returns the Node objects of one cluster. A pool's nodes are named POOL-MODEL-NUMBER.
func (f File) Nodes(cluster string) []Node {
	var nodes []Node
	for _, pool := range f.Pools {
		if pool.Cluster != cluster {
			continue
		}
		numbers := map[string]int{}
		for _, group := range pool.Nodes {
			short := models[group.Model].short
			for range group.Count {
				numbers[short]++
				nodes = append(nodes, newNode(fmt.Sprintf("%s-%s-%d", pool.Name, short, numbers[short]), pool, group))
			}
		}
	}
	return nodes
}
