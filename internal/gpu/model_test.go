// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"regexp"
	"testing"

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
		"as a driver writes it":          {"NVIDIA H100 80GB HBM3", 81559, Model{Name: "h100-sxm-80gb", MemoryMiB: 81559}, true},
		"an AMD GPU":                     {"AMD_Instinct_MI300X_OAM", 196592, Model{Name: "mi300x-192gb", MemoryMiB: 196592}, true},
		"an AMD GPU that is not listed":  {"AMD_Radeon_PRO_W7900", 46068, Model{Name: "pro-w7900", MemoryMiB: 46068}, true},
		"half of what it is called":      {"NVIDIA-H100-80GB-HBM3", 40960, Model{}, false},
		"error correction takes its due": {"Tesla-T4", 15109, Model{Name: "t4", MemoryMiB: 15109}, true},
		"a driver that is too old":       {"NVIDIA-Graphics-Device", 100, Model{Name: "unknown", MemoryMiB: 100}, true},
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

func TestTheCatalogIsSound(t *testing.T) {
	products := map[string]string{}
	for _, entry := range catalog {
		if !apiName.MatchString(entry.Name) || len(entry.Name) > maxName || entry.MemoryMiB <= 0 || len(entry.Products) == 0 {
			t.Errorf("entry %+v is not sound", entry)
		}
		if found, ok := Lookup(entry.Name); !ok || found.Name != entry.Name {
			t.Errorf("%s is not found by its name", entry.Name)
		}
		for _, product := range entry.Products {
			if other, taken := products[product]; taken {
				t.Errorf("product %s is both %s and %s", product, other, entry.Name)
			}
			products[product] = entry.Name
			if model, ok := ModelOf(product, entry.MemoryMiB); !ok || model.Name != entry.Name {
				t.Errorf("product %s is %+v, want %s", product, model, entry.Name)
			}
		}
	}
	if _, ok := Lookup("rtx-9999"); ok {
		t.Error("a model that is not in the catalog is found")
	}
}

func FuzzModelOf(f *testing.F) {
	f.Add("NVIDIA-H100-80GB-HBM3")
	f.Add("NVIDIA-A100-SXM4-80GB-MIG-1g.10gb")
	f.Add("NVIDIA-------------------------------------------------MIG-7g.80gb")
	f.Fuzz(func(t *testing.T, product string) {
		model, ok := ModelOf(product, 1<<20)
		if ok && (!apiName.MatchString(model.Name) || len(model.Name) < 2 || len(model.Name) > maxName) {
			t.Errorf("%q gives the name %q, which the API refuses", product, model.Name)
		}
	})
}
