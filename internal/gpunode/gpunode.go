// SPDX-License-Identifier: Apache-2.0

// Package gpunode writes the devices of a node as the status of its GPUNode and reads them back, so that the agent that signs a record and
// whoever verifies it mean the same. It decides nothing.
package gpunode

import (
	"encoding/base64"
	"errors"
	"fmt"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/device"
)

// MaxDevices is how many devices a GPUNode can have.
const MaxDevices = 64

// The bounds of the API on what drivers say.
const (
	maxText, maxProduct, maxDriver = 64, 96, 32
	maxLinks, maxPercent           = 64, 1000
	maxGeneration, maxWidth        = 16, 32
	maxXID                         = 1024
)

// ErrUnsigned says that a GPUNode has no record.
var ErrUnsigned = errors.New("the node's agent has signed nothing yet")

// Verify returns nil if the agent whose key the record names has signed the devices in it, as the devices of the node of this name.
func Verify(node *boursev1.GPUNode) error {
	record := &node.Status.Record
	if record.PublicKey == "" {
		return ErrUnsigned
	}
	key, err := base64.StdEncoding.DecodeString(record.PublicKey)
	if err != nil {
		return fmt.Errorf("decode public key: %w", err)
	}
	signature, err := base64.StdEncoding.DecodeString(record.Signature)
	if err != nil {
		return fmt.Errorf("decode signature: %w", err)
	}
	return Record(node).Verify(key, signature)
}

// Record is what the node's agent signs of its status.
func Record(node *boursev1.GPUNode) device.Record {
	return device.Record{
		Node: node.Name, BootID: node.Status.BootID, Driver: node.Status.DriverVersion,
		Devices: Devices(node), Sequence: node.Status.Record.Sequence,
	}
}

// Devices reads the devices.
func Devices(node *boursev1.GPUNode) []device.Device {
	devices := make([]device.Device, 0, len(node.Status.Devices))
	for i := range node.Status.Devices {
		of := &node.Status.Devices[i]
		read := device.Device{
			UUID: of.UUID, Parent: of.Parent, Class: device.Class(of.Class), Product: of.Product, Model: string(of.Model), MemoryMiB: of.MemoryMiB,
			Pod:       device.Pod{Namespace: of.Pod.Namespace, Name: of.Pod.Name},
			Processes: of.Processes, Links: of.Links, Fabric: of.Fabric, PowerLimitPercent: of.PowerLimitPercent, ComputeCapability: of.ComputeCapability,
			PCI: device.PCI{BusID: of.PCI.BusID, Generation: number(of.PCI.Generation), Width: number(of.PCI.Width)},
			XID: number(of.XID),
		}
		read.Fault = device.Fault(of.Fault)
		if of.Health == boursev1.DeviceUnhealthy && of.Fault == "" {
			read.Fault = device.Lost
		}
		devices = append(devices, read)
	}
	return devices
}

// Write sets the driver, the kernel's boot and the devices, within the API's bounds.
func Write(into *boursev1.GPUNodeStatus, driver, bootID string, devices []device.Device) {
	into.DriverVersion, into.BootID = cut(driver, maxDriver), cut(bootID, maxText)
	into.Devices = make([]boursev1.GPUDevice, 0, len(devices))
	for i := range devices {
		into.Devices = append(into.Devices, write(&devices[i]))
	}
}

func write(of *device.Device) boursev1.GPUDevice {
	written := boursev1.GPUDevice{
		UUID: of.UUID, Parent: of.Parent, Class: boursev1.DeviceClass(of.Class), Product: cut(of.Product, maxProduct), Model: boursev1.GPUModel(of.Model),
		MemoryMiB: max(of.MemoryMiB, 1), Health: boursev1.DeviceHealthy,
		Pod:       boursev1.DevicePod{Namespace: of.Pod.Namespace, Name: of.Pod.Name},
		Processes: of.Processes, Links: capped(of.Links, maxLinks), Fabric: cut(of.Fabric, maxText),
		PowerLimitPercent: capped(of.PowerLimitPercent, maxPercent), ComputeCapability: of.ComputeCapability,
	}
	if of.Fault != "" {
		written.Health, written.Fault = boursev1.DeviceUnhealthy, boursev1.DeviceFault(of.Fault)
	}
	if of.XID > 0 {
		written.XID = new(min(of.XID, maxXID))
	}
	if of.PCI.BusID != "" {
		written.PCI = boursev1.DevicePCI{BusID: of.PCI.BusID}
		if of.PCI.Generation > 0 {
			written.PCI.Generation = new(min(of.PCI.Generation, maxGeneration))
		}
		if of.PCI.Width > 0 {
			written.PCI.Width = new(min(of.PCI.Width, maxWidth))
		}
	}
	return written
}

func cut(text string, most int) string { return text[:min(len(text), most)] }

func number(of *int32) int32 {
	if of == nil {
		return 0
	}
	return *of
}

func capped(of *int32, most int32) *int32 {
	if of == nil {
		return nil
	}
	return new(max(0, min(*of, most)))
}
