// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GPUNodeStatus is what the node's agent last read. The key that signed the first record signs all later ones, so that no other agent
// can speak for the node; an administrator who deletes the GPUNode lets its agent start with another key.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.record) || has(self.record)",message="record, once there, cannot be removed: delete the GPUNode to start again"
type GPUNodeStatus struct {
	// conditions tell whether the node's GPUs can be read.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// driverVersion is the version of the GPU driver.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32
	DriverVersion string `json:"driverVersion,omitempty"`

	// bootID is the kernel's identity of the node's current boot. Faults that a device had are remembered until the next one.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	BootID string `json:"bootID,omitempty"`

	// gpus counts the devices below.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	GPUs *int32 `json:"gpus,omitempty"`

	// healthy counts those of them that can run work.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	Healthy *int32 `json:"healthy,omitempty"`

	// devices are the node's GPUs, and their partitions instead where they are partitioned.
	// +optional
	// +listType=map
	// +listMapKey=uuid
	// +kubebuilder:validation:MaxItems=64
	Devices []GPUDevice `json:"devices,omitempty"`

	// recycled is the value of the annotation bourse.dev/recycle that the agent last acted on: it read the devices again and forgot the
	// faults of those that are well.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Recycled string `json:"recycled,omitempty"`

	// record is the agent's signature over the node's name, the driver, the boot and the devices above.
	// +optional
	Record NodeRecord `json:"record,omitzero"`
}

// NodeRecord is an agent's signature over what it read.
//
// +kubebuilder:validation:XValidation:rule="self.publicKey == oldSelf.publicKey",message="publicKey is immutable: delete the GPUNode to accept another key",fieldPath=".publicKey"
// +kubebuilder:validation:XValidation:rule="self.sequence >= oldSelf.sequence",message="sequence only grows: an older record is refused",fieldPath=".sequence"
type NodeRecord struct {
	// sequence numbers the node's records; it only grows.
	// +required
	// +kubebuilder:validation:Minimum=1
	Sequence int64 `json:"sequence,omitempty"`
	// publicKey is the agent's Ed25519 key, in base64.
	// +required
	// +kubebuilder:validation:MinLength=44
	// +kubebuilder:validation:MaxLength=44
	PublicKey string `json:"publicKey,omitempty"`
	// signature is the Ed25519 signature over the record, in base64.
	// +required
	// +kubebuilder:validation:MinLength=88
	// +kubebuilder:validation:MaxLength=88
	Signature string `json:"signature,omitempty"`
}

// GPUDevice is one GPU, or one hardware partition of it. What changes all the time, such as its temperature, is among the agent's
// metrics instead.
type GPUDevice struct {
	// uuid is the device's own identity, as its driver says it.
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=80
	UUID string `json:"uuid,omitempty"`
	// parent is the UUID of the GPU that the device is a partition of.
	// +optional
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=80
	Parent string `json:"parent,omitempty"`
	// class is the kind of device, which says how it was read.
	// +optional
	// +default="NVIDIA"
	Class DeviceClass `json:"class,omitempty"`
	// product is what the driver calls the device.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=96
	Product string `json:"product,omitempty"`
	// model is the GPU model.
	// +required
	Model GPUModel `json:"model,omitempty"`
	// memoryMiB is the size of the device's memory in MiB.
	// +required
	// +kubebuilder:validation:Minimum=1
	MemoryMiB int32 `json:"memoryMiB,omitempty"`
	// health says whether the device can run work.
	// +required
	Health DeviceHealth `json:"health,omitempty"`
	// fault says why the device is unhealthy.
	// +optional
	Fault DeviceFault `json:"fault,omitempty"`
	// xid is the number of the driver's error, if that is the fault.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	XID *int32 `json:"xid,omitempty"`
	// pod is the pod that the kubelet gave the device to, as far as the kubelet says: it does not for devices that are claimed.
	// +optional
	Pod DevicePod `json:"pod,omitzero"`
	// processes counts the processes on the device that belong to no pod, and, while no pod has the device, those of pods that use it
	// without having asked for it. It is missing where nobody can tell.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Processes *int32 `json:"processes,omitempty"`
	// pci is where the device is attached.
	// +optional
	PCI DevicePCI `json:"pci,omitzero"`
	// links counts the device's active NVLinks.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	Links *int32 `json:"links,omitempty"`
	// fabric names the NVLink domain that the device is a part of, across nodes: its cluster's UUID and its clique.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Fabric string `json:"fabric,omitempty"`
	// powerLimitPercent is the enforced power limit in hundredths of the default one. A card with less than 80 is sold as what it is not.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	PowerLimitPercent *int32 `json:"powerLimitPercent,omitempty"`
	// computeCapability is the CUDA compute capability, such as "9.0".
	// +optional
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=8
	ComputeCapability string `json:"computeCapability,omitempty"`
}

// DevicePod is a pod of the node.
type DevicePod struct {
	// namespace is the pod's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// name is the pod's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
}

// DevicePCI is where a device is attached.
type DevicePCI struct {
	// busID is the device's address on the bus, such as "00000000:1b:00.0".
	// +required
	// +kubebuilder:validation:MinLength=7
	// +kubebuilder:validation:MaxLength=16
	BusID string `json:"busID,omitempty"`
	// generation is the PCIe generation that device and slot have in common.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	Generation *int32 `json:"generation,omitempty"`
	// width is the number of PCIe lanes that device and slot have in common.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=32
	Width *int32 `json:"width,omitempty"`
}

// DeviceClass is the kind of a device.
//
// +kubebuilder:validation:Enum=NVIDIA;AMD;Apple;CPU
type DeviceClass string

const (
	// ClassNVIDIA is read through NVML.
	ClassNVIDIA DeviceClass = "NVIDIA"
	// ClassAMD is read from the amdgpu driver's files.
	ClassAMD DeviceClass = "AMD"
	// ClassApple is a GPU of Apple silicon, which shares its machine's memory.
	ClassApple DeviceClass = "Apple"
	// ClassCPU is a machine without a GPU, whose processors are sold.
	ClassCPU DeviceClass = "CPU"
)

// DeviceHealth says whether a device can run work.
//
// +kubebuilder:validation:Enum=Healthy;Unhealthy
type DeviceHealth string

const (
	// DeviceHealthy can run work.
	DeviceHealthy DeviceHealth = "Healthy"
	// DeviceUnhealthy reported an error that makes its results untrustworthy.
	DeviceUnhealthy DeviceHealth = "Unhealthy"
)

// DeviceFault says why a device is unhealthy.
//
// +kubebuilder:validation:Enum=Lost;XID;ECC;RowRemap
type DeviceFault string

const (
	// FaultLost is a device that no longer answers its driver.
	FaultLost DeviceFault = "Lost"
	// FaultXID is a device whose driver reported an error that only a reset or a repair ends.
	FaultXID DeviceFault = "XID"
	// FaultECC is a device with uncorrectable errors in its memory.
	FaultECC DeviceFault = "ECC"
	// FaultRowRemap is a device whose memory needs a reset to leave bad rows out, or has no spare rows any more.
	FaultRowRemap DeviceFault = "RowRemap"
)

// AnnotationRecycle on a GPUNode asks its agent to read the devices again and to forget the faults of those that are well. A value counts
// once.
const AnnotationRecycle = "bourse.dev/recycle"

// LabelOutside on a GPUNode says that the machine is no node of the cluster: its agent runs as a plain process.
const LabelOutside = "bourse.dev/outside"

// GPUNode is what the agent of one node sees of its GPUs. It has the node's name and no spec.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=gn,categories=bourse
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.devices[0].model`
// +kubebuilder:printcolumn:name="GPUs",type=integer,JSONPath=`.status.gpus`
// +kubebuilder:printcolumn:name="Healthy",type=integer,JSONPath=`.status.healthy`
// +kubebuilder:printcolumn:name="Driver",type=string,JSONPath=`.status.driverVersion`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Message",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type GPUNode struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// status is what the node's agent last read from the driver.
	// +optional
	Status GPUNodeStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the node's conditions.
func (n *GPUNode) Conditions() *[]metav1.Condition { return &n.Status.Conditions }

// GPUNodeList is a list of GPUNodes.
//
// +kubebuilder:object:root=true
type GPUNodeList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []GPUNode `json:"items"`
}
