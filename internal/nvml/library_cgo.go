// SPDX-License-Identifier: Apache-2.0

//go:build cgo

package nvml

import (
	"fmt"
	"time"

	"github.com/NVIDIA/go-nvml/pkg/nvml"

	"github.com/bourse-dev/bourse/internal/device"
)

// handle is a GPU or a partition.
type handle = nvml.Device

// load loads the library by go-nvml. A call of a function that the driver lacks would end the process, so each is looked up before.
func load(path string) (*calls, error) {
	lib := nvml.New(nvml.WithLibraryPath(path))
	switch result := lib.Init(); result {
	case nvml.SUCCESS:
	case nvml.ERROR_LIBRARY_NOT_FOUND:
		return nil, fmt.Errorf("load %s: %w", path, device.ErrAbsent)
	default:
		return nil, failure("begin", code(result))
	}
	has := func(names ...string) bool {
		for _, name := range names {
			if lib.Extensions().LookupSymbol(name) == nil {
				return true
			}
		}
		return false
	}
	c := &calls{shutdown: func() { _ = lib.Shutdown() }}
	bindSystem(c, lib, has)
	bindIdentity(c, has)
	bindState(c, has)
	bindPartitions(c, has)
	if has("nvmlEventSetCreate") && has("nvmlEventSetWait_v2", "nvmlEventSetWait") && has("nvmlDeviceRegisterEvents") && has("nvmlDeviceGetSupportedEventTypes") &&
		has("nvmlEventSetFree") {
		c.listen = func(to []handle) *listener { return listen(lib, to) }
	}
	return c, nil
}

func bindSystem(c *calls, lib nvml.Interface, has func(...string) bool) {
	if has("nvmlSystemGetDriverVersion") {
		c.driver = func() (string, code) { return coded(lib.SystemGetDriverVersion()) }
	}
	if has("nvmlDeviceGetCount_v2") {
		c.count = func() (uint32, code) {
			count, result := lib.DeviceGetCount()
			return uint32(count), code(result) //nolint:gosec // go-nvml widened it
		}
	}
	if has("nvmlDeviceGetHandleByIndex_v2") {
		c.at = func(index uint32) (handle, code) { return coded(lib.DeviceGetHandleByIndex(int(index))) }
	}
}

func bindIdentity(c *calls, has func(...string) bool) {
	if has("nvmlDeviceGetUUID") {
		c.uuid = func(of handle) (string, code) { return coded(of.GetUUID()) }
	}
	if has("nvmlDeviceGetName") {
		c.name = func(of handle) (string, code) { return coded(of.GetName()) }
	}
	if has("nvmlDeviceGetMemoryInfo") {
		c.memory = func(of handle) (uint64, uint64, code) {
			info, result := of.GetMemoryInfo()
			return info.Total, info.Used, code(result)
		}
	}
	if has("nvmlDeviceGetPciInfo_v3") {
		c.busID = func(of handle) (string, code) {
			info, result := of.GetPciInfo()
			text := make([]byte, 0, len(info.BusId))
			for _, char := range info.BusId {
				text = append(text, byte(char)) //nolint:gosec // C's char
			}
			return terminated(text), code(result)
		}
	}
	if has("nvmlDeviceGetMaxPcieLinkGeneration") {
		c.generation = func(of handle) (uint32, code) { return counted(of.GetMaxPcieLinkGeneration()) }
	}
	if has("nvmlDeviceGetMaxPcieLinkWidth") {
		c.width = func(of handle) (uint32, code) { return counted(of.GetMaxPcieLinkWidth()) }
	}
	if has("nvmlDeviceGetCudaComputeCapability") {
		c.capability = func(of handle) (int32, int32, code) {
			major, minor, result := of.GetCudaComputeCapability()
			return int32(major), int32(minor), code(result) //nolint:gosec // go-nvml widened them
		}
	}
	if has("nvmlDeviceGetNvLinkState") {
		c.link = func(of handle, index uint32) (bool, code) {
			state, result := of.GetNvLinkState(int(index))
			return state == nvml.FEATURE_ENABLED, code(result)
		}
	}
	if has("nvmlDeviceGetGpuFabricInfoV") {
		c.fabric = func(of handle) (fabric, code) {
			info, result := of.GetGpuFabricInfoV().V2()
			joined := info.State == nvml.GPU_FABRIC_STATE_COMPLETED && info.Status == uint32(nvml.SUCCESS)
			return fabric{cluster: info.ClusterUuid, clique: info.CliqueId, complete: joined}, code(result)
		}
	}
}

func bindState(c *calls, has func(...string) bool) {
	if has("nvmlDeviceGetEnforcedPowerLimit") {
		c.enforcedLimit = func(of handle) (uint32, code) { return coded(of.GetEnforcedPowerLimit()) }
	}
	if has("nvmlDeviceGetPowerManagementDefaultLimit") {
		c.defaultLimit = func(of handle) (uint32, code) { return coded(of.GetPowerManagementDefaultLimit()) }
	}
	if has("nvmlDeviceGetPowerUsage") {
		c.power = func(of handle) (uint32, code) { return coded(of.GetPowerUsage()) }
	}
	if has("nvmlDeviceGetTemperature") {
		c.temperature = func(of handle) (uint32, code) { return coded(of.GetTemperature(nvml.TEMPERATURE_GPU)) }
	}
	if has("nvmlDeviceGetUtilizationRates") {
		c.utilization = func(of handle) (uint32, code) {
			rates, result := of.GetUtilizationRates()
			return rates.Gpu, code(result)
		}
	}
	if has("nvmlDeviceGetClockInfo") {
		c.clock = func(of handle) (uint32, code) { return coded(of.GetClockInfo(nvml.CLOCK_SM)) }
	}
	if has("nvmlDeviceGetTotalEccErrors") {
		c.uncorrected = func(of handle) (uint64, code) {
			return coded(of.GetTotalEccErrors(nvml.MEMORY_ERROR_TYPE_UNCORRECTED, nvml.VOLATILE_ECC))
		}
	}
	if has("nvmlDeviceGetRemappedRows") {
		c.rows = func(of handle) (bool, bool, code) {
			_, _, pending, failed, result := of.GetRemappedRows()
			return pending, failed, code(result)
		}
	}
}

func bindPartitions(c *calls, has func(...string) bool) {
	if has("nvmlDeviceGetMigMode") {
		c.partitioned = func(of handle) (bool, code) {
			current, _, result := of.GetMigMode()
			return current == nvml.DEVICE_MIG_ENABLE, code(result)
		}
	}
	if has("nvmlDeviceGetMaxMigDeviceCount") {
		c.slots = func(of handle) (uint32, code) { return counted(of.GetMaxMigDeviceCount()) }
	}
	if has("nvmlDeviceGetMigDeviceHandleByIndex") {
		c.partition = func(of handle, index uint32) (handle, code) { return coded(of.GetMigDeviceHandleByIndex(int(index))) }
	}
	// go-nvml takes the newest of the three versions that is there.
	if has("nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2", "nvmlDeviceGetComputeRunningProcesses") {
		c.computeProcesses = func(of handle) ([]int, code) { return pids(of.GetComputeRunningProcesses()) }
	}
	if has("nvmlDeviceGetGraphicsRunningProcesses_v3", "nvmlDeviceGetGraphicsRunningProcesses_v2", "nvmlDeviceGetGraphicsRunningProcesses") {
		c.graphicsProcesses = func(of handle) ([]int, code) { return pids(of.GetGraphicsRunningProcesses()) }
	}
}

func listen(lib nvml.Interface, to []handle) *listener {
	set, result := lib.EventSetCreate()
	if result != nvml.SUCCESS {
		return nil
	}
	registered := false
	for _, of := range to {
		kinds, result := of.GetSupportedEventTypes()
		if kinds &= eventXID | eventDoubleBitECC; result == nvml.SUCCESS && kinds != 0 {
			registered = of.RegisterEvents(kinds, set) == nvml.SUCCESS || registered
		}
	}
	if !registered {
		_ = set.Free() // nothing was registered with it
		return nil
	}
	return &listener{
		wait: func(most time.Duration) (event, code) {
			data, result := set.Wait(uint32(most.Milliseconds())) //nolint:gosec // a constant
			return event{of: data.Device, kind: data.EventType, data: data.EventData}, code(result)
		},
		free: func() { _ = set.Free() },
	}
}

func coded[T any](value T, result nvml.Return) (T, code) { return value, code(result) }

func counted(value int, result nvml.Return) (uint32, code) {
	return uint32(value), code(result) //nolint:gosec // go-nvml widened it
}

func pids(infos []nvml.ProcessInfo, result nvml.Return) ([]int, code) {
	found := make([]int, 0, len(infos))
	for _, info := range infos {
		found = append(found, int(info.Pid))
	}
	return found, code(result)
}
