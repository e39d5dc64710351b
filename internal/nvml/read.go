// SPDX-License-Identifier: Apache-2.0

package nvml

import (
	"encoding/hex"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/internal/device"
)

// mostLinks is how many NVLinks a GPU may have, as of nvml.h.
const mostLinks = 36

const mebi = 1 << 20

// read reads every GPU, and says which handle is which. A GPU that the driver says it has lost is left out; one that does not answer for
// another reason fails the reading, because then nothing is known of it.
func read(lib *calls) (device.Reading, map[handle]string, error) {
	reading := device.Reading{Class: device.NVIDIA}
	var c code
	if reading.Driver, c = lib.driver(); c != success {
		return reading, nil, failure("read driver version", c)
	}
	count, c := lib.count()
	if c != success {
		return reading, nil, failure("count GPUs", c)
	}
	known := make(map[handle]string, count)
	for i := range count {
		of, c := lib.at(i)
		if lost(c) {
			continue
		}
		if c != success {
			return reading, nil, failure(fmt.Sprintf("find GPU %d", i), c)
		}
		devices, c := lib.gpu(of)
		if lost(c) {
			continue
		}
		if c != success {
			return reading, nil, failure(fmt.Sprintf("read GPU %d", i), c)
		}
		known[of] = devices.uuid
		reading.Present = append(reading.Present, devices.uuid)
		reading.Devices = append(reading.Devices, devices.list...)
	}
	device.Sort(reading.Devices)
	return reading, known, nil
}

func lost(c code) bool { return c == gpuIsLost || c == resetRequired }

// card is one GPU and what can be handed out of it: itself, or its partitions.
type card struct {
	uuid string
	list []device.Device
}

func (c *calls) gpu(of handle) (card, code) {
	whole, code := c.identity(of)
	if code != success {
		return card{}, code
	}
	c.place(of, &whole)
	c.health(of, &whole)
	found := card{uuid: whole.UUID}
	if partitioned, code := call(c.partitioned, of); code != success || !partitioned {
		c.capacity(of, &whole)
		found.list = []device.Device{whole}
		return found, success
	}
	slots, _ := call(c.slots, of)
	for i := range slots {
		if c.partition == nil {
			break
		}
		part, code := c.partition(of, i)
		if code != success { // the slot is empty
			continue
		}
		piece, code := c.identity(part)
		if code != success {
			return card{}, code
		}
		piece.Parent, piece.PCI, piece.Fault, piece.ComputeCapability = whole.UUID, whole.PCI, whole.Fault, whole.ComputeCapability
		piece.PowerLimitPercent, piece.Load.Celsius = whole.PowerLimitPercent, whole.Load.Celsius
		c.processes(part, &piece)
		found.list = append(found.list, piece)
	}
	return found, success
}

// identity reads what no device is without.
func (c *calls) identity(of handle) (device.Device, code) {
	read := device.Device{Class: device.NVIDIA}
	var code code
	if read.UUID, code = c.uuid(of); code != success {
		return read, code
	}
	name, code := c.name(of)
	if code != success {
		return read, code
	}
	total, used, code := c.memory(of)
	if code != success {
		return read, code
	}
	read.Named(name, int32(min(total/mebi, math.MaxInt32)))
	read.Load.MemoryUsed = new(float64(used))
	return read, success
}

// place reads where the GPU is attached, and its power limit.
func (c *calls) place(of handle, into *device.Device) {
	if id, code := call(c.busID, of); code == success {
		into.PCI.BusID = strings.ToLower(id)
	}
	if generation, code := call(c.generation, of); code == success {
		into.PCI.Generation = narrow(generation)
	}
	if width, code := call(c.width, of); code == success {
		into.PCI.Width = narrow(width)
	}
	if c.capability != nil {
		if major, minor, code := c.capability(of); code == success {
			into.ComputeCapability = strconv.Itoa(int(major)) + "." + strconv.Itoa(int(minor))
		}
	}
	enforced, code := call(c.enforcedLimit, of)
	usual, usualCode := call(c.defaultLimit, of)
	if code == success && usualCode == success && usual > 0 {
		into.PowerLimitPercent = new(narrow(uint32(min(uint64(enforced)*100/uint64(usual), math.MaxInt32))))
	}
	if celsius, code := call(c.temperature, of); code == success {
		into.Load.Celsius = new(float64(celsius))
	}
}

// health looks for what the GPU itself remembers.
func (c *calls) health(of handle, into *device.Device) {
	if errors, code := call(c.uncorrected, of); code == success && errors > 0 {
		into.Fault = device.ECC
	}
	if c.rows != nil {
		if pending, failed, code := c.rows(of); code == success && (pending || failed) {
			into.Fault = device.RowRemap
		}
	}
}

// capacity reads what only a whole GPU has.
func (c *calls) capacity(of handle, into *device.Device) {
	into.Links = c.links(of)
	if found, code := call(c.fabric, of); code == success && found.complete && found.cluster != [16]byte{} {
		into.Fabric = uuidText(found.cluster) + "." + strconv.FormatUint(uint64(found.clique), 10)
	}
	if milliwatts, code := call(c.power, of); code == success {
		into.Load.Watts = new(float64(milliwatts) / 1000)
	}
	if percent, code := call(c.utilization, of); code == success {
		into.Load.Utilization = new(float64(percent) / 100)
	}
	if megahertz, code := call(c.clock, of); code == success {
		into.Load.Hertz = new(float64(megahertz) * 1e6)
	}
	c.processes(of, into)
}

// links counts the active NVLinks; nil for a GPU that has none to be active.
func (c *calls) links(of handle) *int32 {
	if c.link == nil {
		return nil
	}
	var active int32
	for i := range uint32(mostLinks) {
		up, code := c.link(of, i)
		if code == notSupported && i == 0 {
			return nil
		}
		if code != success { // there is no such link
			break
		}
		if up {
			active++
		}
	}
	return &active
}

// processes finds each process on the device once, whether it computes or draws.
func (c *calls) processes(of handle, into *device.Device) {
	for _, list := range []func(handle) ([]int, code){c.computeProcesses, c.graphicsProcesses} {
		pids, code := call(list, of)
		if code != success {
			continue
		}
		if into.PIDs == nil {
			into.PIDs = []int{} // it was asked
		}
		into.PIDs = append(into.PIDs, pids...)
	}
	slices.Sort(into.PIDs)
	into.PIDs = slices.Compact(into.PIDs)
}

// call calls a function if the driver has it.
func call[T any](function func(handle) (T, code), of handle) (T, code) {
	if function == nil {
		var none T
		return none, notSupported
	}
	return function(of)
}

func narrow(number uint32) int32 { return int32(min(number, math.MaxInt32)) }

func uuidText(of [16]byte) string {
	text := hex.EncodeToString(of[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}
