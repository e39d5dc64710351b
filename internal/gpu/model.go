// SPDX-License-Identifier: Apache-2.0

// Package gpu decides which GPUs of a cluster can be sold: what its nodes have, who holds each GPU, which of them have been free for
// long enough, and why the others are kept back. At every moment 0 ≤ leased ≤ offered ≤ healthy ≤ total. It knows neither Kubernetes
// nor markets.
package gpu

import (
	"regexp"
	"strings"
)

// Model is what one GPU of a node is.
type Model struct {
	Name      string // normalized, such as "h100-sxm-80gb"
	MemoryMiB int32  // the memory of one GPU, or of one partition
	Partition bool   // a hardware partition (MIG) instead of a whole GPU
}

// maxName is how long a model name may be.
const maxName = 40

// leastMemory is how much of its maker's memory a GPU must show, in hundredths: drivers and error correction take up to a tenth.
const leastMemory = 85

// unnamed is what a driver calls a GPU that it does not know.
const unnamed = "nvidia-graphics-device"

var (
	partitionSuffix = regexp.MustCompile(`-mig-([0-9]+g\.[0-9]+gb(?:\.me)?(?:\+me)?)$`)
	notName         = regexp.MustCompile(`[^a-z0-9]+`)
)

// sharedSuffix marks a GPU that several pods use at the same time, without any wall between them.
const sharedSuffix = "-shared"

// ModelOf reads a product, as the label nvidia.com/gpu.product or as the driver has it. It is false for a GPU that cannot be sold: one
// without a name, a shared one, which would be sold several times over, and one that has less memory than what it is called. A product
// that is not in the catalog keeps its own name, normalized.
func ModelOf(product string, memoryMiB int32) (Model, bool) {
	name := strings.Join(strings.FieldsFunc(strings.ToLower(product), func(r rune) bool { return r == ' ' || r == '_' }), "-")
	if name == "" || memoryMiB <= 0 || strings.HasSuffix(name, sharedSuffix) {
		return Model{}, false
	}
	var partition string
	if found := partitionSuffix.FindStringSubmatch(name); found != nil {
		partition, name = found[1], strings.TrimSuffix(name, found[0])
	}
	short := nameOf(name)
	if short == "" {
		return Model{}, false
	}
	if partition != "" {
		suffix := "-mig-" + normalize(partition)
		short = strings.TrimRight(short[:min(len(short), maxName-len(suffix))], "-") + suffix
		return Model{Name: short, MemoryMiB: memoryMiB, Partition: true}, len(short) > 1
	}
	if entry, known := Lookup(short); known && int64(memoryMiB)*100 < int64(entry.MemoryMiB)*leastMemory {
		return Model{}, false
	}
	return Model{Name: short, MemoryMiB: memoryMiB}, len(short) > 1
}

func nameOf(product string) string {
	if product == unnamed {
		return "unknown"
	}
	if at, ok := byProduct[product]; ok {
		return catalog[at].Name
	}
	return shorten(product)
}

// shorten drops the words that every product of a maker has.
func shorten(name string) string {
	for _, maker := range []string{"nvidia-", "tesla-", "quadro-", "geforce-", "amd-", "instinct-", "radeon-"} {
		name = strings.TrimPrefix(name, maker)
	}
	name = normalize(name)
	return strings.TrimRight(name[:min(len(name), maxName)], "-")
}

func normalize(name string) string { return strings.Trim(notName.ReplaceAllString(name, "-"), "-") }
