// SPDX-License-Identifier: Apache-2.0

// Package device says what a node's devices are, which errors make one unfit for work and for how long, and what exactly an agent signs
// when it reports them. It knows no driver and no Kubernetes.
package device

import (
	"cmp"
	"errors"
	"slices"
	"strings"

	"github.com/bourse-dev/bourse/internal/gpu"
)

// ErrAbsent says that a node has no driver of a class of devices, which is no fault of any device.
var ErrAbsent = errors.New("no driver")

// Class is the kind of a device.
type Class string

// The classes.
const (
	NVIDIA Class = "NVIDIA"
	AMD    Class = "AMD"
	Apple  Class = "Apple"
	CPU    Class = "CPU"
)

// Fault says why a device cannot run work. The zero value is a device that can.
type Fault string

// The faults.
const (
	Lost     Fault = "Lost"     // it no longer answers its driver
	XID      Fault = "XID"      // its driver reported an error that only a reset or a repair ends
	ECC      Fault = "ECC"      // uncorrectable errors in its memory
	RowRemap Fault = "RowRemap" // its memory needs a reset to leave bad rows out, or has no spare rows any more
)

// Unknown is the model of a device that is not what its name says, or that has no name.
const Unknown = "unknown"

// Device is one device, or one hardware partition of it, at one moment.
type Device struct {
	UUID              string
	Parent            string // the UUID of the device that it is a partition of
	Class             Class
	Product           string // as its driver calls it
	Model             string
	MemoryMiB         int32
	Fault             Fault
	XID               int32 // if that is the fault
	Pod               Pod   // the pod that it was given to
	Processes         *int32
	PCI               PCI
	Links             *int32 // active NVLinks
	Fabric            string
	PowerLimitPercent *int32
	ComputeCapability string

	PIDs []int // the processes on it
	Load Load
}

// Pod is a pod of the node.
type Pod struct {
	Namespace, Name string
}

// PCI is where a device is attached; what is not known is 0.
type PCI struct {
	BusID             string
	Generation, Width int32
}

// Load is what changes all the time. It is for metrics alone; what cannot be read is nil.
type Load struct {
	Celsius, Watts, Hertz, Utilization, MemoryUsed *float64
}

// Reading is what one class's driver says at one moment.
type Reading struct {
	Class   Class
	Driver  string // its version
	Devices []Device
	Present []string // the UUIDs of the whole devices that answered, partitioned or not
}

// Event is an error that a driver reports.
type Event struct {
	UUID string // of the whole device; empty if the driver did not say
	XID  int32  // 0 if it is another kind of error, which the next reading shows
}

// Named sets what the device is, from what its driver calls it. The product with dashes is how GPU Feature Discovery labels it.
func (d *Device) Named(product string, memoryMiB int32) {
	d.Product, d.MemoryMiB, d.Model = product, memoryMiB, Unknown
	if model, ok := gpu.ModelOf(strings.ReplaceAll(product, " ", "-"), memoryMiB); ok {
		d.Model = model.Name
	}
}

// Whole is the UUID of the device that it is, or is a part of.
func (d *Device) Whole() string { return cmp.Or(d.Parent, d.UUID) }

// Sort puts devices into the order in which they are reported.
func Sort(devices []Device) {
	slices.SortFunc(devices, func(a, b Device) int {
		return cmp.Or(cmp.Compare(a.Class, b.Class), cmp.Compare(a.PCI.BusID, b.PCI.BusID), cmp.Compare(a.UUID, b.UUID))
	})
}
