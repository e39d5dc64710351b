// SPDX-License-Identifier: Apache-2.0

package nvmltest

import "fmt"

// H100s is a machine of eight H100s in one NVLink domain.
func H100s() Machine {
	m := Machine{Driver: "570.86.15"}
	for i := range 8 {
		m.GPUs = append(m.GPUs, GPU{
			UUID: fmt.Sprintf("GPU-1100b0d1-7a43-4c1e-9d52-00000000000%d", i), Name: "NVIDIA H100 80GB HBM3", BusID: fmt.Sprintf("00000000:%02X:00.0", 0x19+0x10*i),
			MemoryMiB: 81559, UsedMiB: 4, Generation: new(5), Width: new(16), Capability: "9.0", Links: new(18),
			Cluster: "5f1c2b3a4d5e6f708192a3b4c5d6e7f8", Clique: 7,
			Milliwatts: new(69_500), LimitMilliwatts: new(700_000), UsualMilliwatts: new(700_000), Celsius: new(31), Busy: new(0), Megahertz: new(345),
			ECC: true, Rows: true, MIG: new(0),
		})
	}
	return m
}

// A100s is a machine of four A100s without NVLink, one of which is held to 60 % of its power.
func A100s() Machine {
	m := Machine{Driver: "550.144.03"}
	for i := range 4 {
		m.GPUs = append(m.GPUs, GPU{
			UUID: fmt.Sprintf("GPU-a100c0de-0000-4000-8000-00000000000%d", i), Name: "NVIDIA A100 80GB PCIe", BusID: fmt.Sprintf("00000000:%02X:00.0", 0x21+i),
			MemoryMiB: 81920, UsedMiB: 0, Generation: new(4), Width: new(16), Capability: "8.0",
			Milliwatts: new(45_000), LimitMilliwatts: new(300_000), UsualMilliwatts: new(300_000), Celsius: new(29), Busy: new(3), Megahertz: new(210),
			ECC: true, Rows: true, MIG: new(0),
		})
	}
	m.GPUs[3].LimitMilliwatts = new(180_000)
	return m
}

// Partitioned is a machine with one A100 in two partitions, and one whose partitions are yet to be made.
func Partitioned() Machine {
	m := Machine{Driver: "550.144.03"}
	for i := range 2 {
		m.GPUs = append(m.GPUs, GPU{
			UUID: fmt.Sprintf("GPU-a100a100-0000-4000-8000-00000000000%d", i), Name: "NVIDIA A100-SXM4-80GB", BusID: fmt.Sprintf("00000000:%02X:00.0", 7+i),
			MemoryMiB: 81920, Generation: new(4), Width: new(16), Capability: "8.0", Links: new(12),
			LimitMilliwatts: new(400_000), UsualMilliwatts: new(400_000), Celsius: new(35), ECC: true, Rows: true, MIG: new(1),
		})
	}
	m.GPUs[0].Partitions = []GPU{
		{UUID: "MIG-3b3b3b3b-0000-4000-8000-000000000001", Name: "NVIDIA A100-SXM4-80GB MIG 3g.40gb", MemoryMiB: 40192, UsedMiB: 11, Processes: []Process{{PID: 4242}}},
		{UUID: "MIG-3b3b3b3b-0000-4000-8000-000000000002", Name: "NVIDIA A100-SXM4-80GB MIG 1g.10gb", MemoryMiB: 9728},
	}
	return m
}

// Rig is a machine of six cards for players, as miners have them: narrow slots, no error correction, and a desktop on the first.
func Rig() Machine {
	m := Machine{Driver: "535.183.01"}
	for i := range 6 {
		m.GPUs = append(m.GPUs, GPU{
			UUID: fmt.Sprintf("GPU-30900000-0000-4000-8000-00000000000%d", i), Name: "NVIDIA GeForce RTX 3090", BusID: fmt.Sprintf("00000000:%02X:00.0", 1+i),
			MemoryMiB: 24576, UsedMiB: 1, Generation: new(3), Width: new(1), Capability: "8.6",
			Milliwatts: new(21_000), LimitMilliwatts: new(240_000), UsualMilliwatts: new(350_000), Celsius: new(44), Busy: new(0), Megahertz: new(210),
		})
	}
	m.GPUs[0].Processes = []Process{{PID: 1800, Graphics: true}, {PID: 1999}, {PID: 1999, Graphics: true}}
	return m
}

// Pair is a machine of two L4s.
func Pair() Machine {
	m := Machine{Driver: "570.86.15"}
	for i := range 2 {
		m.GPUs = append(m.GPUs, GPU{
			UUID: fmt.Sprintf("GPU-14000000-0000-4000-8000-00000000000%d", i), Name: "NVIDIA L4", BusID: fmt.Sprintf("00000000:%02X:00.0", 3+i),
			MemoryMiB: 23034, Generation: new(4), Width: new(16), Capability: "8.9",
			Milliwatts: new(16_000), LimitMilliwatts: new(72_000), UsualMilliwatts: new(72_000), Celsius: new(38), Busy: new(0), Megahertz: new(210),
			ECC: true, Rows: true,
		})
	}
	return m
}
