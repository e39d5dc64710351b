// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// RayProgram is a Ray cluster, and the program that runs on it if there is one.
//
// +kubebuilder:validation:XValidation:rule="int(self.version.split('.')[0]) > 2 || (int(self.version.split('.')[0]) == 2 && int(self.version.split('.')[1]) >= 52)",message="Ray 2.52.0 or newer is needed: older ones have no token authentication",fieldPath=".version"
// +kubebuilder:validation:XValidation:rule="!has(self.program) || has(self.entrypoint)",message="a program needs an entrypoint, such as: python /bourse/program.py",fieldPath=".entrypoint"
type RayProgram struct {
	// image is the container image of head and workers; it must hold Ray.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Image string `json:"image,omitempty"`

	// version is the Ray version in the image, such as "2.52.0".
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=16
	// +kubebuilder:validation:Pattern=`^[0-9]+\.[0-9]+\.[0-9]+$`
	Version string `json:"version,omitempty"`

	// entrypoint is the shell command that Ray runs on the head; without it the job is an interactive cluster.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Entrypoint string `json:"entrypoint,omitempty"`

	// program is the text of a file that head and workers find at /bourse/program.py.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=32768
	Program string `json:"program,omitempty"`

	// env are environment variables of head and workers.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Env []EnvVar `json:"env,omitempty"`

	// workerCPU is the CPU of each worker.
	// +optional
	// +default="4"
	WorkerCPU resource.Quantity `json:"workerCPU,omitempty,omitzero"`

	// workerMemory is the memory of each worker.
	// +optional
	// +default="16Gi"
	WorkerMemory resource.Quantity `json:"workerMemory,omitempty,omitzero"`

	// headCPU is the CPU of the head, which holds no GPU.
	// +optional
	// +default="1"
	HeadCPU resource.Quantity `json:"headCPU,omitempty,omitzero"`

	// headMemory is the memory of the head.
	// +optional
	// +default="4Gi"
	HeadMemory resource.Quantity `json:"headMemory,omitempty,omitzero"`
}

// EnvVar is an environment variable.
type EnvVar struct {
	// name is the variable's name; those that begin with RAY_, NVIDIA_ or BOURSE_PART are the operator's own.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('RAY_') && !self.startsWith('NVIDIA_') && !self.startsWith('BOURSE_PART')",message="names that begin with RAY_, NVIDIA_ or BOURSE_PART are set by the operator"
	Name string `json:"name,omitempty"`
	// value is the variable's value.
	// +optional
	// +kubebuilder:validation:MinLength=0
	// +kubebuilder:validation:MaxLength=4096
	Value *string `json:"value,omitempty"`
}
