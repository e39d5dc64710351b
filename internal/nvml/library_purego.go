// SPDX-License-Identifier: Apache-2.0

//go:build !cgo && (linux || darwin)

package nvml

import (
	"fmt"
	"time"

	"github.com/ebitengine/purego"

	"github.com/bourse-dev/bourse/internal/device"
)

// handle is a GPU or a partition: a pointer of the library's own.
type handle = uintptr

// The library's structures, as nvml.h has them. What is not read has no name.
type (
	memoryInfo struct{ total, _, used uint64 }
	pciInfo    struct {
		_     [16]byte
		_     [5]uint32
		busID [32]byte
	}
	utilizationRates struct{ gpu, _ uint32 }
	fabricInfo       struct {
		version uint32
		cluster [16]byte
		status  uint32
		clique  uint32
		state   uint8
		_       [3]byte
		_       uint32
	}
	processInfo struct {
		pid, _ uint32
		_      uint64
		_      [2]uint32
	}
	processInfoV1 struct {
		pid, _ uint32
		_      uint64
	}
	eventData struct {
		of         handle
		kind, data uint64
		_          [2]uint32
	}
)

// What nvml.h calls the constants is in the names.
const (
	fabricInfoVersion    = 36 | 2<<24 // the size of the structure, and its version
	fabricStateCompleted = 3
	temperatureGPU       = 0
	clockSM              = 1
	errorUncorrected     = 1
	counterVolatile      = 0
	featureEnabled       = 1
	migEnabled           = 1
	insufficientSize     = code(7)
	textBuffer           = 96 // what the longest of its texts takes
	mostProcesses        = 1 << 14
)

// symbols looks functions up in the library.
type symbols uintptr

// bind makes the function that into points to the library's, by the first of the names that it has.
func (s symbols) bind(into any, names ...string) bool {
	for _, name := range names {
		if symbol, err := purego.Dlsym(uintptr(s), name); err == nil {
			purego.RegisterFunc(into, symbol)
			return true
		}
	}
	return false
}

// load loads the library and looks up each function; one that is missing stays nil.
func load(path string) (*calls, error) {
	library, err := purego.Dlopen(path, purego.RTLD_LAZY|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, fmt.Errorf("load %s: %w: %w", path, device.ErrAbsent, err)
	}
	s := symbols(library)
	var begin, end func() code
	if !s.bind(&begin, "nvmlInit_v2") || !s.bind(&end, "nvmlShutdown") {
		_ = purego.Dlclose(library) // it was never used
		return nil, fmt.Errorf("load %s: it is no driver library of NVIDIA's", path)
	}
	if c := begin(); c != success {
		_ = purego.Dlclose(library) // it has not begun
		return nil, failure("begin", c)
	}
	c := &calls{shutdown: func() {
		end()
		_ = purego.Dlclose(library) // nothing of it is used any more
	}}
	s.bindSystem(c)
	s.bindIdentity(c)
	s.bindLinks(c)
	s.bindState(c)
	s.bindPartitions(c)
	s.bindEvents(c)
	return c, nil
}

func (s symbols) bindSystem(c *calls) {
	var version func(*byte, uint32) code
	if s.bind(&version, "nvmlSystemGetDriverVersion") {
		c.driver = func() (string, code) { return text(func(to *byte, size uint32) code { return version(to, size) }) }
	}
	var count func(*uint32) code
	if s.bind(&count, "nvmlDeviceGetCount_v2") {
		c.count = func() (n uint32, _ code) { result := count(&n); return n, result }
	}
	var at func(uint32, *handle) code
	if s.bind(&at, "nvmlDeviceGetHandleByIndex_v2") {
		c.at = func(index uint32) (of handle, _ code) { result := at(index, &of); return of, result }
	}
}

func (s symbols) bindIdentity(c *calls) {
	for name, into := range map[string]*func(handle) (string, code){"nvmlDeviceGetUUID": &c.uuid, "nvmlDeviceGetName": &c.name} {
		var get func(handle, *byte, uint32) code
		if s.bind(&get, name) {
			*into = func(of handle) (string, code) {
				return text(func(to *byte, size uint32) code { return get(of, to, size) })
			}
		}
	}
	var memory func(handle, *memoryInfo) code
	if s.bind(&memory, "nvmlDeviceGetMemoryInfo") {
		c.memory = func(of handle) (uint64, uint64, code) {
			var info memoryInfo
			result := memory(of, &info)
			return info.total, info.used, result
		}
	}
	var pci func(handle, *pciInfo) code
	if s.bind(&pci, "nvmlDeviceGetPciInfo_v3") {
		c.busID = func(of handle) (string, code) {
			var info pciInfo
			result := pci(of, &info)
			return terminated(info.busID[:]), result
		}
	}
	var capability func(handle, *int32, *int32) code
	if s.bind(&capability, "nvmlDeviceGetCudaComputeCapability") {
		c.capability = func(of handle) (major, minor int32, _ code) {
			result := capability(of, &major, &minor)
			return major, minor, result
		}
	}
	s.number(&c.generation, "nvmlDeviceGetMaxPcieLinkGeneration")
	s.number(&c.width, "nvmlDeviceGetMaxPcieLinkWidth")
}

func (s symbols) bindLinks(c *calls) {
	var link func(handle, uint32, *uint32) code
	if s.bind(&link, "nvmlDeviceGetNvLinkState") {
		c.link = func(of handle, index uint32) (bool, code) {
			var state uint32
			result := link(of, index, &state)
			return state == featureEnabled, result
		}
	}
	var get func(handle, *fabricInfo) code
	if s.bind(&get, "nvmlDeviceGetGpuFabricInfoV") {
		c.fabric = func(of handle) (fabric, code) {
			info := fabricInfo{version: fabricInfoVersion}
			result := get(of, &info)
			joined := info.state == fabricStateCompleted && code(info.status) == success //nolint:gosec // the same bits
			return fabric{cluster: info.cluster, clique: info.clique, complete: joined}, result
		}
	}
}

func (s symbols) bindState(c *calls) {
	s.number(&c.enforcedLimit, "nvmlDeviceGetEnforcedPowerLimit")
	s.number(&c.defaultLimit, "nvmlDeviceGetPowerManagementDefaultLimit")
	s.number(&c.power, "nvmlDeviceGetPowerUsage")
	s.numberOf(&c.temperature, temperatureGPU, "nvmlDeviceGetTemperature")
	s.numberOf(&c.clock, clockSM, "nvmlDeviceGetClockInfo")
	var rates func(handle, *utilizationRates) code
	if s.bind(&rates, "nvmlDeviceGetUtilizationRates") {
		c.utilization = func(of handle) (uint32, code) {
			var read utilizationRates
			result := rates(of, &read)
			return read.gpu, result
		}
	}
	var errors func(handle, uint32, uint32, *uint64) code
	if s.bind(&errors, "nvmlDeviceGetTotalEccErrors") {
		c.uncorrected = func(of handle) (n uint64, _ code) {
			result := errors(of, errorUncorrected, counterVolatile, &n)
			return n, result
		}
	}
	var rows func(of handle, corrected, uncorrected, pending, failed *uint32) code
	if s.bind(&rows, "nvmlDeviceGetRemappedRows") {
		c.rows = func(of handle) (bool, bool, code) {
			var corrected, uncorrected, pending, failed uint32
			result := rows(of, &corrected, &uncorrected, &pending, &failed)
			return pending != 0, failed != 0, result
		}
	}
}

func (s symbols) bindPartitions(c *calls) {
	var mode func(of handle, current, pending *uint32) code
	if s.bind(&mode, "nvmlDeviceGetMigMode") {
		c.partitioned = func(of handle) (bool, code) {
			var current, pending uint32
			result := mode(of, &current, &pending)
			return current == migEnabled, result
		}
	}
	s.number(&c.slots, "nvmlDeviceGetMaxMigDeviceCount")
	var partition func(handle, uint32, *handle) code
	if s.bind(&partition, "nvmlDeviceGetMigDeviceHandleByIndex") {
		c.partition = func(of handle, index uint32) (part handle, _ code) {
			result := partition(of, index, &part)
			return part, result
		}
	}
	for name, into := range map[string]*func(handle) ([]int, code){
		"nvmlDeviceGetComputeRunningProcesses": &c.computeProcesses, "nvmlDeviceGetGraphicsRunningProcesses": &c.graphicsProcesses,
	} {
		var get func(handle, *uint32, *processInfo) code
		var getV1 func(handle, *uint32, *processInfoV1) code
		if s.bind(&get, name+"_v3", name+"_v2") {
			*into = func(of handle) ([]int, code) {
				return processes(func(n *uint32, to *processInfo) code { return get(of, n, to) }, func(p processInfo) uint32 { return p.pid })
			}
		} else if s.bind(&getV1, name) {
			*into = func(of handle) ([]int, code) {
				return processes(func(n *uint32, to *processInfoV1) code { return getV1(of, n, to) }, func(p processInfoV1) uint32 { return p.pid })
			}
		}
	}
}

// processes asks with more and more room until all have a place.
func processes[T any](get func(*uint32, *T) code, pid func(T) uint32) ([]int, code) {
	for room := uint32(8); room <= mostProcesses; room *= 2 {
		infos, n := make([]T, room), room
		result := get(&n, &infos[0])
		if result == insufficientSize {
			continue
		}
		if result != success {
			return nil, result
		}
		found := make([]int, 0, n)
		for _, info := range infos[:min(n, room)] {
			found = append(found, int(pid(info)))
		}
		return found, success
	}
	return nil, insufficientSize
}

func (s symbols) bindEvents(c *calls) {
	var create func(*handle) code
	var register func(handle, uint64, handle) code
	var supported func(handle, *uint64) code
	var wait func(handle, *eventData, uint32) code
	var free func(handle) code
	if !s.bind(&create, "nvmlEventSetCreate") || !s.bind(&register, "nvmlDeviceRegisterEvents") || !s.bind(&supported, "nvmlDeviceGetSupportedEventTypes") ||
		!s.bind(&wait, "nvmlEventSetWait_v2", "nvmlEventSetWait") || !s.bind(&free, "nvmlEventSetFree") {
		return
	}
	c.listen = func(to []handle) *listener {
		var set handle
		if create(&set) != success {
			return nil
		}
		registered := false
		for _, of := range to {
			var kinds uint64
			result := supported(of, &kinds)
			if kinds &= eventXID | eventDoubleBitECC; result == success && kinds != 0 {
				registered = register(of, kinds, set) == success || registered
			}
		}
		if !registered {
			free(set)
			return nil
		}
		return &listener{
			wait: func(most time.Duration) (event, code) {
				var data eventData
				result := wait(set, &data, uint32(most.Milliseconds())) //nolint:gosec // a constant
				return event{of: data.of, kind: data.kind, data: data.data}, result
			},
			free: func() { free(set) },
		}
	}
}

// number binds a function that writes one number.
func (s symbols) number(into *func(handle) (uint32, code), name string) {
	var get func(handle, *uint32) code
	if s.bind(&get, name) {
		*into = func(of handle) (n uint32, _ code) { result := get(of, &n); return n, result }
	}
}

// numberOf binds a function that writes the one of several numbers that is asked for.
func (s symbols) numberOf(into *func(handle) (uint32, code), which uint32, name string) {
	var get func(handle, uint32, *uint32) code
	if s.bind(&get, name) {
		*into = func(of handle) (n uint32, _ code) { result := get(of, which, &n); return n, result }
	}
}

func text(get func(*byte, uint32) code) (string, code) {
	var buffer [textBuffer]byte
	result := get(&buffer[0], textBuffer)
	return terminated(buffer[:]), result
}
