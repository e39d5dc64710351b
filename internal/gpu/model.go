// SPDX-License-Identifier: Apache-2.0

// Package gpu decides which GPUs of a cluster can be sold: what a node's labels say it has, what pods hold of it, and what has been
// free for long enough. At every moment 0 ≤ leased ≤ offered ≤ healthy ≤ total. It knows neither Kubernetes nor markets.
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

// known maps products, as GPU Feature Discovery writes them, in lower case, to model names. The market compares names, so a product
// belongs here when its own label says less or other than what makes the GPU what it is.
//
//nolint:gochecknoglobals // a table: it is read, never written
var known = map[string]string{
	"nvidia-a100-80gb-pcie":           "a100-pcie-80gb",
	"nvidia-a100-pcie-40gb":           "a100-pcie-40gb",
	"nvidia-a100-pcie-80gb":           "a100-pcie-80gb",
	"nvidia-a100-sxm4-40gb":           "a100-sxm-40gb",
	"nvidia-a100-sxm4-80gb":           "a100-sxm-80gb",
	"a100-sxm4-40gb":                  "a100-sxm-40gb",
	"nvidia-b200":                     "b200-sxm-180gb",
	"nvidia-b300-sxm6-ac":             "b300-sxm-288gb",
	"nvidia-gb200":                    "gb200-186gb",
	"nvidia-gb300":                    "gb300-288gb",
	"nvidia-gh200-480gb":              "gh200-96gb",
	"nvidia-h100-80gb-hbm3":           "h100-sxm-80gb",
	"nvidia-h100-sxm5-80gb":           "h100-sxm-80gb",
	"nvidia-h100-nvl":                 "h100-nvl-94gb",
	"nvidia-h100-pcie":                "h100-pcie-80gb",
	"nvidia-h200":                     "h200-sxm-141gb",
	"nvidia-h200-nvl":                 "h200-nvl-141gb",
	"nvidia-rtx-6000-ada-generation":  "rtx-6000-ada",
	"tesla-p100-pcie-16gb":            "p100-pcie-16gb",
	"tesla-v100-pcie-16gb":            "v100-pcie-16gb",
	"tesla-v100-pcie-32gb":            "v100-pcie-32gb",
	"tesla-v100-sxm2-16gb":            "v100-sxm-16gb",
	"tesla-v100-sxm2-32gb":            "v100-sxm-32gb",
	"tesla-v100-sxm3-32gb":            "v100-sxm-32gb",
	"nvidia-rtx-pro-6000-blackwell":   "rtx-pro-6000",
	"nvidia-graphics-device":          "unknown",
	"nvidia-h20":                      "h20-sxm-96gb",
	"nvidia-h800":                     "h800-sxm-80gb",
	"nvidia-a800-sxm4-80gb":           "a800-sxm-80gb",
	"nvidia-rtx-pro-6000-blackwell-s": "rtx-pro-6000-server",
}

var (
	partitionSuffix = regexp.MustCompile(`-mig-([0-9]+g\.[0-9]+gb(?:\.me)?(?:\+me)?)$`)
	notName         = regexp.MustCompile(`[^a-z0-9]+`)
)

// sharedSuffix marks a GPU that several pods use at the same time, without any wall between them.
const sharedSuffix = "-shared"

// ModelOf reads the label nvidia.com/gpu.product. It is false for a GPU that cannot be sold: one without a name, and a shared one,
// which would be sold several times over. A product that is not in the table keeps its own name, normalized.
func ModelOf(product string, memoryMiB int32) (Model, bool) {
	name := strings.ToLower(strings.TrimSpace(product))
	if name == "" || memoryMiB <= 0 || strings.HasSuffix(name, sharedSuffix) {
		return Model{}, false
	}
	var partition string
	if found := partitionSuffix.FindStringSubmatch(name); found != nil {
		partition, name = found[1], strings.TrimSuffix(name, found[0])
	}
	short, ok := known[name]
	if !ok {
		short = shorten(name)
	}
	if short == "" {
		return Model{}, false
	}
	if partition != "" {
		suffix := "-mig-" + normalize(partition)
		short = strings.TrimRight(short[:min(len(short), maxName-len(suffix))], "-") + suffix
	}
	return Model{Name: short, MemoryMiB: memoryMiB, Partition: partition != ""}, len(short) > 1
}

// shorten drops the words that every product of a maker has.
func shorten(name string) string {
	for _, maker := range []string{"nvidia-", "tesla-", "quadro-", "geforce-"} {
		name = strings.TrimPrefix(name, maker)
	}
	name = normalize(name)
	return strings.TrimRight(name[:min(len(name), maxName)], "-")
}

func normalize(name string) string { return strings.Trim(notName.ReplaceAllString(name, "-"), "-") }
