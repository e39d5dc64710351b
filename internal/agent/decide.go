// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/device"
	"github.com/bourse-dev/bourse/internal/gpunode"
	"github.com/bourse-dev/bourse/internal/kubelet"
	"github.com/bourse-dev/bourse/internal/metrics"
)

// decide makes the status what it should be now. What could not be read stays as it was: not to see a device is not to see it sick.
func (a *Agent) decide(node *boursev1.GPUNode, seen sight, boot, recycle string) {
	status := &node.Status
	before := gpunode.Devices(node)
	sameBoot := status.BootID == "" || status.BootID == boot
	events := a.pending
	if recycle != "" && len(seen.failed) == 0 && len(seen.readings) > 0 {
		before, events, status.Recycled = recycled(before, seen), nil, recycle
	}
	devices, driver := unread(before, seen.readings), status.DriverVersion
	if len(seen.readings) > 0 {
		driver = ""
	} else {
		boot = status.BootID // what is known is from then
	}
	for i := range seen.readings {
		devices = append(devices, device.Merge(before, seen.readings[i], sameBoot)...)
		driver = cmp.Or(driver, seen.readings[i].Driver)
	}
	device.Strike(devices, events)
	device.Sort(devices)
	allocate(devices, before, seen.allocation)
	switch {
	case len(devices) > gpunode.MaxDevices:
		seen.failed = append(seen.failed, fmt.Errorf("found %d devices, and a GPUNode has room for %d", len(devices), gpunode.MaxDevices))
	case len(devices) > 0 || len(seen.readings) > 0:
		gpunode.Write(status, driver, boot, devices)
		healthy := len(slices.DeleteFunc(devices, func(d device.Device) bool { return d.Fault != "" }))
		status.GPUs, status.Healthy = new(int32(len(status.Devices))), new(int32(healthy)) //nolint:gosec // few
		a.sign(node)
	}
	a.judge(node, seen)
}

// recycled are the devices without their faults, and without those that no driver has any more.
func recycled(before []device.Device, seen sight) []device.Device {
	return slices.DeleteFunc(device.Forget(before), func(d device.Device) bool {
		return !slices.ContainsFunc(seen.readings, func(r device.Reading) bool { return r.Class == d.Class && slices.Contains(r.Present, d.Whole()) })
	})
}

// unread are the devices of classes that were not read, as they were.
func unread(before []device.Device, readings []device.Reading) []device.Device {
	return slices.DeleteFunc(slices.Clone(before), func(d device.Device) bool {
		return slices.ContainsFunc(readings, func(r device.Reading) bool { return r.Class == d.Class })
	})
}

// allocate says which pod has each device, and counts the processes that it was not given to. If the kubelet does not say, the pods stay
// that were named last.
func allocate(devices, before []device.Device, allocation *kubelet.Allocation) {
	for i := range devices {
		of := &devices[i]
		if allocation == nil {
			if at := slices.IndexFunc(before, func(d device.Device) bool { return d.UUID == of.UUID }); at >= 0 {
				of.Pod = before[at].Pod
			}
			continue
		}
		pod, held := allocation.Pods[of.UUID]
		if !held && of.PCI.BusID != "" {
			pod, held = allocation.Pods[of.PCI.BusID] // as AMD's device plugin names its devices
		}
		of.Pod = pod
		if of.PIDs != nil && !held && !allocation.Claims {
			of.Processes = new(int32(len(of.PIDs))) //nolint:gosec // few
		}
	}
}

// attribute counts the device's processes that belong to no pod, and leaves out those that have ended meanwhile.
func (a *Agent) attribute(of *device.Device) {
	if of.PIDs == nil {
		return
	}
	var foreign int32
	of.PIDs = slices.DeleteFunc(of.PIDs, func(pid int) bool {
		pod, err := a.Machine.PodOf(pid)
		if errors.Is(err, fs.ErrNotExist) {
			return true
		}
		if err != nil || pod == "" { // who cannot be seen is not known to be a pod's
			foreign++
		}
		return false
	})
	of.Processes = &foreign
}

// sign signs what has changed since the last record, with the next number. The numbers grow on when the object was deleted.
func (a *Agent) sign(node *boursev1.GPUNode) {
	record := &node.Status.Record
	a.sequence = max(a.sequence, record.Sequence)
	if gpunode.Verify(node) == nil && record.PublicKey == a.Key.PublicKey() {
		return
	}
	a.sequence++
	record.Sequence = a.sequence
	record.PublicKey = a.Key.PublicKey()
	record.Signature = a.Key.Sign(gpunode.Record(node).Encode())
}

// judge says whether the node's devices can be read, and sold.
func (a *Agent) judge(node *boursev1.GPUNode, seen sight) {
	shared := overbooked(gpunode.Devices(node), seen.allocation)
	missing := len(seen.readings) == 0
	for i := range node.Status.Devices { // a driver that was there and is gone
		missing = missing || seen.absent[device.Class(node.Status.Devices[i].Class)]
	}
	switch {
	case len(seen.failed) > 0:
		a.set(node, metav1.ConditionFalse, boursev1.ReasonDriverFailed, sentence(joined(seen.failed)))
	case missing:
		a.set(node, metav1.ConditionFalse, boursev1.ReasonDriverMissing,
			"The node has no driver that the agent can see; install it, and restart the agent's pod if a runtime class puts the driver there")
	case shared:
		a.set(node, metav1.ConditionFalse, boursev1.ReasonGPUsShared,
			"The kubelet hands out more GPUs than there are: turn time-slicing or sharing off, or use hardware partitions")
	case seen.kubelet != nil:
		a.set(node, metav1.ConditionUnknown, boursev1.ReasonKubeletUnreachable, "The kubelet does not say which pods have the devices")
	default:
		a.set(node, metav1.ConditionTrue, boursev1.ReasonReading, fmt.Sprintf("Read %d devices", len(node.Status.Devices)))
	}
}

// overbooked says whether the kubelet hands out more devices of a class than there are.
func overbooked(devices []device.Device, allocation *kubelet.Allocation) bool {
	if allocation == nil {
		return false
	}
	have := map[device.Class]int{}
	for i := range devices {
		have[devices[i].Class]++
	}
	for class, slots := range allocation.Slots {
		if have[class] > 0 && slots > have[class] {
			return true
		}
	}
	return false
}

func (a *Agent) set(node *boursev1.GPUNode, status metav1.ConditionStatus, reason, message string) {
	meta.SetStatusCondition(&node.Status.Conditions, metav1.Condition{
		Type: boursev1.Ready, Status: status, Reason: reason, Message: message,
		ObservedGeneration: node.Generation, LastTransitionTime: metav1.NewTime(a.Now()),
	})
}

// sentence is a text of an error as a message, in one line and of bounded length.
func sentence(text string) string {
	const longest = 512
	text = strings.ReplaceAll(text, "\n", "; ")
	text = strings.ToValidUTF8(text[:min(len(text), longest)], "")
	return strings.ToUpper(text[:1]) + text[1:]
}

func ready(node *boursev1.GPUNode) metav1.Condition {
	if found := meta.FindStatusCondition(node.Status.Conditions, boursev1.Ready); found != nil {
		return *found
	}
	return metav1.Condition{}
}

func changed(before, after *boursev1.GPUNodeStatus) bool {
	return !apiequality.Semantic.DeepEqual(before, after)
}

// show exports the devices with what changes all the time.
func (a *Agent) show(node *boursev1.GPUNode, seen sight) {
	gauges := make([]metrics.Gauge, 0, len(node.Status.Devices))
	for i := range node.Status.Devices {
		of := &node.Status.Devices[i]
		gauge := metrics.Gauge{Model: string(of.Model), Healthy: of.Health == boursev1.DeviceHealthy, Processes: of.Processes}
		for r := range seen.readings {
			if at := slices.IndexFunc(seen.readings[r].Devices, func(d device.Device) bool { return d.UUID == of.UUID }); at >= 0 {
				load := seen.readings[r].Devices[at].Load
				gauge.Celsius, gauge.Watts, gauge.Hertz = load.Celsius, load.Watts, load.Hertz
				gauge.Utilization, gauge.MemoryUsed = load.Utilization, load.MemoryUsed
			}
		}
		gauges = append(gauges, gauge)
	}
	a.Metrics.Devices(gauges)
}
