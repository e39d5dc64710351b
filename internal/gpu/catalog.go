// SPDX-License-Identifier: Apache-2.0

package gpu

// Class is the kind of machine that a model is made for.
type Class string

const (
	// ClassDataCentre is made for servers.
	ClassDataCentre Class = "DataCentre"
	// ClassWorkstation is made for professionals' desks.
	ClassWorkstation Class = "Workstation"
	// ClassConsumer is made for players.
	ClassConsumer Class = "Consumer"
)

// Entry is what is known of a model in advance. What a GPU of a model must have at stake is not here: the market says that, in its spec.
type Entry struct {
	Name      string // normalized
	MemoryMiB int32  // of one GPU, as its maker says; of the smallest, where GPUs with several sizes bear one name
	Class     Class
	Products  []string // how GPU Feature Discovery and drivers write it, in lower case and with dashes
}

// Lookup returns what is known of a model.
func Lookup(name string) (Entry, bool) {
	at, ok := byName[name]
	if !ok {
		return Entry{}, false
	}
	return catalog[at], true
}

const gib = 1024

// catalog is the one table of models. The market compares names, so a product belongs here when its own label says less or other than
// what makes the GPU what it is. A product that is not here keeps its own name, normalized.
//
//nolint:gochecknoglobals // a table: it is read, never written
var catalog = []Entry{
	{"a10", 24 * gib, ClassDataCentre, []string{"nvidia-a10"}},
	{"a100-pcie-40gb", 40 * gib, ClassDataCentre, []string{"nvidia-a100-pcie-40gb"}},
	{"a100-pcie-80gb", 80 * gib, ClassDataCentre, []string{"nvidia-a100-80gb-pcie", "nvidia-a100-pcie-80gb"}},
	{"a100-sxm-40gb", 40 * gib, ClassDataCentre, []string{"nvidia-a100-sxm4-40gb", "a100-sxm4-40gb"}},
	{"a100-sxm-80gb", 80 * gib, ClassDataCentre, []string{"nvidia-a100-sxm4-80gb"}},
	{"a16", 16 * gib, ClassDataCentre, []string{"nvidia-a16"}},
	{"a30", 24 * gib, ClassDataCentre, []string{"nvidia-a30"}},
	{"a40", 48 * gib, ClassDataCentre, []string{"nvidia-a40"}},
	{"a800-sxm-80gb", 80 * gib, ClassDataCentre, []string{"nvidia-a800-sxm4-80gb"}},
	{"b200-sxm-180gb", 180 * gib, ClassDataCentre, []string{"nvidia-b200"}},
	{"b300-sxm-288gb", 288 * gib, ClassDataCentre, []string{"nvidia-b300-sxm6-ac"}},
	{"gb200-186gb", 186 * gib, ClassDataCentre, []string{"nvidia-gb200"}},
	{"gb300-288gb", 288 * gib, ClassDataCentre, []string{"nvidia-gb300"}},
	{"gh200-96gb", 96 * gib, ClassDataCentre, []string{"nvidia-gh200-480gb"}},
	{"h100-nvl-94gb", 94 * gib, ClassDataCentre, []string{"nvidia-h100-nvl"}},
	{"h100-pcie-80gb", 80 * gib, ClassDataCentre, []string{"nvidia-h100-pcie"}},
	{"h100-sxm-80gb", 80 * gib, ClassDataCentre, []string{"nvidia-h100-80gb-hbm3", "nvidia-h100-sxm5-80gb"}},
	{"h20-sxm-96gb", 96 * gib, ClassDataCentre, []string{"nvidia-h20"}},
	{"h200-nvl-141gb", 141 * gib, ClassDataCentre, []string{"nvidia-h200-nvl"}},
	{"h200-sxm-141gb", 141 * gib, ClassDataCentre, []string{"nvidia-h200"}},
	{"h800-sxm-80gb", 80 * gib, ClassDataCentre, []string{"nvidia-h800"}},
	{"l4", 24 * gib, ClassDataCentre, []string{"nvidia-l4"}},
	{"l40", 48 * gib, ClassDataCentre, []string{"nvidia-l40"}},
	{"l40s", 48 * gib, ClassDataCentre, []string{"nvidia-l40s"}},
	{"mi210-64gb", 64 * gib, ClassDataCentre, []string{"amd-instinct-mi210"}},
	{"mi250x-64gb", 64 * gib, ClassDataCentre, []string{"amd-instinct-mi250x"}}, // of one of its two dies, each a device
	{"mi300x-192gb", 192 * gib, ClassDataCentre, []string{"amd-instinct-mi300x", "amd-instinct-mi300x-oam"}},
	{"mi325x-256gb", 256 * gib, ClassDataCentre, []string{"amd-instinct-mi325x", "amd-instinct-mi325x-oam"}},
	{"mi355x-288gb", 288 * gib, ClassDataCentre, []string{"amd-instinct-mi355x", "amd-instinct-mi355x-oam"}},
	{"p100-pcie-16gb", 16 * gib, ClassDataCentre, []string{"tesla-p100-pcie-16gb"}},
	{"t4", 16 * gib, ClassDataCentre, []string{"tesla-t4"}},
	{"v100-pcie-16gb", 16 * gib, ClassDataCentre, []string{"tesla-v100-pcie-16gb"}},
	{"v100-pcie-32gb", 32 * gib, ClassDataCentre, []string{"tesla-v100-pcie-32gb"}},
	{"v100-sxm-16gb", 16 * gib, ClassDataCentre, []string{"tesla-v100-sxm2-16gb"}},
	{"v100-sxm-32gb", 32 * gib, ClassDataCentre, []string{"tesla-v100-sxm2-32gb", "tesla-v100-sxm3-32gb"}},
	{"rtx-4000-ada", 20 * gib, ClassWorkstation, []string{"nvidia-rtx-4000-ada-generation"}},
	{"rtx-6000-ada", 48 * gib, ClassWorkstation, []string{"nvidia-rtx-6000-ada-generation"}},
	{"rtx-a4000", 16 * gib, ClassWorkstation, []string{"nvidia-rtx-a4000"}},
	{"rtx-a5000", 24 * gib, ClassWorkstation, []string{"nvidia-rtx-a5000"}},
	{"rtx-a6000", 48 * gib, ClassWorkstation, []string{"nvidia-rtx-a6000"}},
	{"rtx-pro-6000", 96 * gib, ClassWorkstation, []string{"nvidia-rtx-pro-6000-blackwell", "nvidia-rtx-pro-6000-blackwell-workstation-edition"}},
	{"rtx-pro-6000-server", 96 * gib, ClassDataCentre, []string{"nvidia-rtx-pro-6000-blackwell-s", "nvidia-rtx-pro-6000-blackwell-server-edition"}},
	{"rtx-3080", 10 * gib, ClassConsumer, []string{"nvidia-geforce-rtx-3080"}},
	{"rtx-3090", 24 * gib, ClassConsumer, []string{"nvidia-geforce-rtx-3090"}},
	{"rtx-4080", 16 * gib, ClassConsumer, []string{"nvidia-geforce-rtx-4080"}},
	{"rtx-4090", 24 * gib, ClassConsumer, []string{"nvidia-geforce-rtx-4090"}},
	{"rtx-5080", 16 * gib, ClassConsumer, []string{"nvidia-geforce-rtx-5080"}},
	{"rtx-5090", 32 * gib, ClassConsumer, []string{"nvidia-geforce-rtx-5090"}},
	{"rx-7900-xtx", 24 * gib, ClassConsumer, []string{"amd-radeon-rx-7900-xtx"}},
}

//nolint:gochecknoglobals // the table above by its keys
var byName, byProduct = index()

func index() (names, products map[string]int) {
	names, products = map[string]int{}, map[string]int{}
	for at := range catalog {
		names[catalog[at].Name] = at
		for _, product := range catalog[at].Products {
			products[product] = at
		}
	}
	return names, products
}
