// SPDX-License-Identifier: Apache-2.0

// Package amd reads AMD's GPUs from the files of the amdgpu driver: the same ones that AMD's own device plugin and monitoring tools read.
// It decides nothing.
package amd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/internal/device"
	"github.com/bourse-dev/bourse/internal/host"
)

// Where the driver's files are, below the root.
const (
	driverFolder  = "sys/module/amdgpu/drivers/pci:amdgpu"
	versionFile   = "sys/module/amdgpu/version" // only the driver that AMD ships itself has one
	processFolder = "sys/class/kfd/kfd/proc"
)

const mebi = 1 << 20

// leastMemory tells the GPU of a processor, which has some of the machine's memory set aside, from one with memory of its own.
const leastMemory = 2048

var address = regexp.MustCompile(`^[0-9a-f]{4}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-9]$`)

// Driver reads below a folder, which is / outside of tests.
type Driver struct {
	root, identity string
}

// New returns a reader of the files below root. The identity of the agent tells GPUs that have none of their own from those of others.
func New(root, identity string) *Driver { return &Driver{root, identity} }

// Read returns the GPUs. It returns device.ErrAbsent where the driver is not loaded.
func (d *Driver) Read(context.Context) (device.Reading, error) {
	reading := device.Reading{Class: device.AMD}
	entries, err := os.ReadDir(filepath.Join(d.root, driverFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return reading, fmt.Errorf("read amdgpu: %w", device.ErrAbsent)
	}
	if err != nil {
		return reading, fmt.Errorf("list GPUs: %w", err)
	}
	reading.Driver, _ = d.text(versionFile)
	processes, err := d.processes()
	if err != nil {
		return reading, err
	}
	for _, entry := range entries {
		if !address.MatchString(entry.Name()) {
			continue
		}
		read, ok, err := d.gpu(entry.Name())
		if err != nil {
			return reading, err
		}
		if !ok {
			continue
		}
		read.PIDs = processes
		reading.Devices = append(reading.Devices, read)
		reading.Present = append(reading.Present, read.UUID)
	}
	if len(reading.Devices) != 1 { // which of several a process is on, the files do not say
		for i := range reading.Devices {
			reading.Devices[i].PIDs = nil
		}
	}
	device.Sort(reading.Devices)
	return reading, nil
}

// gpu reads one GPU; false if it has no memory of its own.
func (d *Driver) gpu(busID string) (device.Device, bool, error) {
	folder := filepath.Join(driverFolder, busID)
	read := device.Device{Class: device.AMD, PCI: device.PCI{BusID: busID}}
	total, err := d.number(folder, "mem_info_vram_total")
	if err != nil {
		return read, false, fmt.Errorf("read memory of %s: %w", busID, err)
	}
	if total/mebi < leastMemory {
		return read, false, nil
	}
	product, err := d.product(folder)
	if err != nil {
		return read, false, fmt.Errorf("read product of %s: %w", busID, err)
	}
	read.Named(product, int32(min(total/mebi, math.MaxInt32)))
	unique, err := d.text(folder, "unique_id")
	if err == nil && strings.Trim(unique, "0") != "" {
		read.UUID = "AMD-" + strings.ToLower(unique)
	} else {
		read.UUID = host.Identity("AMD", d.identity, busID)
	}
	if width, err := d.number(folder, "max_link_width"); err == nil {
		read.PCI.Width = int32(min(width, math.MaxInt32)) //nolint:gosec // bounded in the same expression
	}
	if speed, err := d.text(folder, "max_link_speed"); err == nil {
		read.PCI.Generation = generation(speed)
	}
	if broken, err := d.ras(folder); err == nil && broken {
		read.Fault = device.ECC
	}
	d.state(folder, &read)
	return read, true, nil
}

// product is the card's name, or else the number of its kind.
func (d *Driver) product(folder string) (string, error) {
	if name, err := d.text(folder, "product_name"); err == nil && name != "" {
		return name, nil
	}
	kind, err := d.text(folder, "device")
	return "AMD GPU " + strings.TrimPrefix(kind, "0x"), err
}

// generation reads a speed such as "16.0 GT/s PCIe"; each generation has twice the speed of the one before.
func generation(speed string) int32 {
	transfers, _, _ := strings.Cut(speed, " ")
	switch strings.TrimSuffix(transfers, ".0") {
	case "2.5":
		return 1
	case "5":
		return 2
	case "8":
		return 3
	case "16":
		return 4
	case "32":
		return 5
	case "64":
		return 6
	default:
		return 0
	}
}

// ras says whether the memory has had errors that could not be corrected: "ue: 0\nce: 0".
func (d *Driver) ras(folder string) (bool, error) {
	text, err := d.text(folder, "ras", "umc_err_count")
	if err != nil {
		return false, err
	}
	for line := range strings.Lines(text) {
		if count, found := strings.CutPrefix(strings.TrimSpace(line), "ue:"); found {
			return strings.TrimSpace(count) != "0", nil
		}
	}
	return false, nil
}

// state reads what changes all the time, where the card tells.
func (d *Driver) state(folder string, into *device.Device) {
	if used, err := d.number(folder, "mem_info_vram_used"); err == nil {
		into.Load.MemoryUsed = new(float64(used))
	}
	if busy, err := d.number(folder, "gpu_busy_percent"); err == nil {
		into.Load.Utilization = new(float64(busy) / 100)
	}
	sensors, err := filepath.Glob(filepath.Join(d.root, folder, "hwmon", "hwmon*"))
	if err != nil || len(sensors) == 0 {
		return
	}
	sensor, err := filepath.Rel(d.root, sensors[0])
	if err != nil {
		return
	}
	d.sensor(sensor, into)
}

// sensor reads the card's sensors, where it has them.
func (d *Driver) sensor(sensor string, into *device.Device) {
	if millidegrees, err := d.number(sensor, "temp1_input"); err == nil {
		into.Load.Celsius = new(float64(millidegrees) / 1000)
	}
	if hertz, err := d.number(sensor, "freq1_input"); err == nil {
		into.Load.Hertz = new(float64(hertz))
	}
	d.power(sensor, into)
}

// power reads what the card draws, and what it may.
func (d *Driver) power(sensor string, into *device.Device) {
	for _, name := range []string{"power1_average", "power1_input"} {
		if microwatts, err := d.number(sensor, name); err == nil {
			into.Load.Watts = new(float64(microwatts) / 1e6)
			break
		}
	}
	limit, err := d.number(sensor, "power1_cap")
	usual, errUsual := d.number(sensor, "power1_cap_default")
	if err == nil && errUsual == nil && usual > 0 {
		into.PowerLimitPercent = new(int32(min(limit*100/usual, math.MaxInt32))) //nolint:gosec // bounded in the same expression
	}
}

// processes lists the processes that compute on AMD's GPUs; nil where the kernel does not say.
func (d *Driver) processes() ([]int, error) {
	entries, err := os.ReadDir(filepath.Join(d.root, processFolder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	pids := make([]int, 0, len(entries))
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

func (d *Driver) text(path ...string) (string, error) {
	text, err := os.ReadFile(filepath.Join(append([]string{d.root}, path...)...))
	return strings.TrimSpace(string(text)), err
}

func (d *Driver) number(path ...string) (int64, error) {
	text, err := d.text(path...)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(text, 10, 64)
}
