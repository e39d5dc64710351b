// SPDX-License-Identifier: Apache-2.0

package amd

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/device"
	"github.com/bourse-dev/bourse/internal/host"
)

// tree writes files below a new root, as sysfs has them: with a line feed at the end.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for path, text := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

const (
	card   = driverFolder + "/0000:c1:00.0/"
	second = driverFolder + "/0000:c6:00.0/"
)

func mi300x() map[string]string {
	return map[string]string{
		"sys/module/amdgpu/version": "6.10.5", driverFolder + "/bind": "", driverFolder + "/module/refcnt": "3",
		card + "mem_info_vram_total": "206141652992", card + "mem_info_vram_used": "290455552", card + "product_name": "AMD Instinct MI300X OAM",
		card + "unique_id": "D8A7B5C1E0F24311", card + "device": "0x74a1", card + "max_link_speed": "32.0 GT/s PCIe", card + "max_link_width": "16",
		card + "gpu_busy_percent": "3", card + "ras/umc_err_count": "ue: 0\nce: 4",
		card + "hwmon/hwmon5/temp1_input": "41000", card + "hwmon/hwmon5/power1_average": "138000000", card + "hwmon/hwmon5/freq1_input": "132000000",
		card + "hwmon/hwmon5/power1_cap": "750000000", card + "hwmon/hwmon5/power1_cap_default": "750000000",
		processFolder + "/4711/pasid": "32770",
	}
}

func want() device.Device {
	return device.Device{
		UUID: "AMD-d8a7b5c1e0f24311", Class: device.AMD, Product: "AMD Instinct MI300X OAM", MemoryMiB: 196592,
		PCI: device.PCI{BusID: "0000:c1:00.0", Generation: 5, Width: 16}, PowerLimitPercent: new(int32(100)), PIDs: []int{4711},
		Load: device.Load{Celsius: new(41.0), Watts: new(138.0), Hertz: new(132e6), Utilization: new(0.03), MemoryUsed: new(290455552.0)},
	}
}

func TestRead(t *testing.T) {
	cases := map[string]struct {
		change func(map[string]string)
		want   func() []device.Device
	}{
		"a card with all there is to say": {func(map[string]string) {}, func() []device.Device { return []device.Device{want()} }},
		"errors that were not corrected": {func(files map[string]string) { files[card+"ras/umc_err_count"] = "ue: 1\nce: 4" }, func() []device.Device {
			d := want()
			d.Fault = device.ECC
			return []device.Device{d}
		}},
		"a card that is held to half of its power": {func(files map[string]string) { files[card+"hwmon/hwmon5/power1_cap"] = "375000000" }, func() []device.Device {
			d := want()
			d.PowerLimitPercent = new(int32(50))
			return []device.Device{d}
		}},
		"a card without an identity of its own": {func(files map[string]string) { delete(files, card+"unique_id") }, func() []device.Device {
			d := want()
			d.UUID = host.Identity("AMD", "key", "0000:c1:00.0")
			return []device.Device{d}
		}},
		"the GPU of a processor is not for sale": {func(files map[string]string) {
			files[second+"mem_info_vram_total"], files[second+"device"] = "536870912", "0x164e"
		}, func() []device.Device { return []device.Device{want()} }},
		"of two cards nobody says which one a process is on": {func(files map[string]string) {
			files[second+"mem_info_vram_total"], files[second+"device"], files[second+"unique_id"] = "17163091968", "0x744c", "77aa"
		}, func() []device.Device {
			d := want()
			d.PIDs = nil
			return []device.Device{d, {UUID: "AMD-77aa", Class: device.AMD, Product: "AMD GPU 744c", MemoryMiB: 16368, PCI: device.PCI{BusID: "0000:c6:00.0"}}}
		}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			files := mi300x()
			tc.change(files)
			got, err := New(tree(t, files), "key").Read(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for i := range got.Devices { // the catalog says their names
				if got.Devices[i].Model == "" || got.Devices[i].Model == device.Unknown {
					t.Errorf("%s has no model", got.Devices[i].Product)
				}
				got.Devices[i].Model = ""
			}
			if diff := cmp.Diff(tc.want(), got.Devices); diff != "" || got.Driver != "6.10.5" || len(got.Present) != len(got.Devices) {
				t.Errorf("driver %q, present %v, devices (-want +got):\n%s", got.Driver, got.Present, diff)
			}
		})
	}
}

func TestNoDriver(t *testing.T) {
	if _, err := New(t.TempDir(), "key").Read(t.Context()); !errors.Is(err, device.ErrAbsent) {
		t.Errorf("err = %v, want that it is absent", err)
	}
}

func TestACardThatDoesNotAnswer(t *testing.T) {
	files := mi300x()
	files[card+"mem_info_vram_total"] = "?"
	if _, err := New(tree(t, files), "key").Read(t.Context()); err == nil || errors.Is(err, device.ErrAbsent) {
		t.Errorf("err = %v, want another one than that it is absent", err)
	}
}

func TestGeneration(t *testing.T) {
	for speed, want := range map[string]int32{"2.5 GT/s PCIe": 1, "5.0 GT/s PCIe": 2, "8.0 GT/s PCIe": 3, "16.0 GT/s PCIe": 4, "32.0 GT/s PCIe": 5, "64.0 GT/s PCIe": 6, "Unknown": 0} {
		if got := generation(speed); got != want {
			t.Errorf("%s is generation %d, want %d", speed, got, want)
		}
	}
}
