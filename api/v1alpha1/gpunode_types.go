// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GPUNodeStatus is what the node's agent last read from the driver.
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

	// devices are the node's GPUs.
	// +optional
	// +listType=map
	// +listMapKey=uuid
	// +kubebuilder:validation:MaxItems=32
	Devices []GPUDevice `json:"devices,omitempty"`
}

// GPUDevice is one GPU.
type GPUDevice struct {
	// uuid is the device's own identity.
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=80
	UUID string `json:"uuid,omitempty"`
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
	// processes counts the processes on the device that belong to no known pod.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Processes *int32 `json:"processes,omitempty"`
}

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

// GPUNode is what the agent of one node sees of its GPUs. It has the node's name and no spec.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=gn,categories=bourse
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.devices[0].model`
// +kubebuilder:printcolumn:name="Driver",type=string,JSONPath=`.status.driverVersion`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
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
