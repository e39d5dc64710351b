// SPDX-License-Identifier: Apache-2.0

package device

import "slices"

// Critical says whether an XID leaves the device unfit for work until it is reset or repaired. It is false for what NVIDIA's device
// plugin calls application errors, after which the GPU is well (13, 31, 43, 45 and 68), and for numbers that are not known.
//
// The numbers are those for which NVIDIA's catalog of XIDs asks for a reset, a restart or a repair.
func Critical(xid int32) bool {
	switch xid {
	case 46, // the GPU stopped processing
		48,  // an uncorrectable error in its memory
		62,  // its own controller halted
		63,  // a bad row will be left out after a reset
		64,  // a bad row cannot be left out
		74,  // NVLink
		79,  // it fell off the bus
		94,  // an uncorrectable error that was contained
		95,  // an uncorrectable error that was not
		110, // its security engine
		119, // its system processor does not answer
		120, // its system processor failed
		140: // an uncorrectable error that it did not recover from
		return true
	default:
		return false
	}
}

// Merge returns the devices of one class as they are to be reported now. While the kernel has not been started again, a device that had a
// fault keeps it, whatever its driver says now, and one that was there and no longer answers is lost.
func Merge(before []Device, reading Reading, sameBoot bool) []Device {
	merged := slices.Clone(reading.Devices)
	if sameBoot {
		for i := range merged {
			if at := indexOf(before, merged[i].UUID); at >= 0 && before[at].Fault != "" {
				merged[i].Fault, merged[i].XID = before[at].Fault, before[at].XID
			}
		}
		merged = append(merged, lost(before, reading)...)
	}
	return merged
}

// Strike gives devices the faults that drivers have reported. The first one stays, but that a device is lost explains less than an error.
func Strike(devices []Device, events []Event) {
	for _, event := range events {
		for i := range devices {
			of := &devices[i]
			if of.Whole() == event.UUID && Critical(event.XID) && (of.Fault == "" || of.Fault == Lost) {
				of.Fault, of.XID = XID, event.XID
			}
		}
	}
}

// lost are the devices that were there and are missing, as they are to be reported.
func lost(before []Device, reading Reading) []Device {
	var missing []Device
	for i := range before {
		if !gone(&before[i], reading) {
			continue
		}
		entry := before[i]
		entry.Pod, entry.Processes, entry.PIDs, entry.Load = Pod{}, nil, nil, Load{}
		if entry.Fault == "" {
			entry.Fault = Lost
		}
		missing = append(missing, entry)
	}
	return missing
}

// gone says whether a device that was reported is missing. A partition whose device still answers was removed by the administrator, and
// so was the whole device that has become partitions.
func gone(of *Device, reading Reading) bool {
	return of.Class == reading.Class && indexOf(reading.Devices, of.UUID) < 0 && !slices.Contains(reading.Present, of.Whole())
}

// Forget returns the devices without their faults.
func Forget(devices []Device) []Device {
	forgotten := slices.Clone(devices)
	for i := range forgotten {
		forgotten[i].Fault, forgotten[i].XID = "", 0
	}
	return forgotten
}

func indexOf(devices []Device, uuid string) int {
	return slices.IndexFunc(devices, func(d Device) bool { return d.UUID == uuid })
}
