// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LeaseProgramSpec is what one lease runs. Nothing of it changes.
type LeaseProgramSpec struct {
	// salt is a random text that the job's status has too. The lease names a digest over it and ray, which tells nobody else anything.
	// +required
	Salt Salt `json:"salt,omitempty"`

	// ray is the Ray cluster that the lease runs.
	// +required
	Ray RayProgram `json:"ray,omitzero"`
}

// Salt is a random text that makes the digest of a program impossible to guess.
//
// +kubebuilder:validation:MinLength=26
// +kubebuilder:validation:MaxLength=64
type Salt string

// LeaseProgram is what a GPULease runs, in the supplier's namespace under the lease's name: apart from the lease, because others may read
// that.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=lp,categories=bourse
// +kubebuilder:printcolumn:name="Image",type=string,JSONPath=`.spec.ray.image`
// +kubebuilder:printcolumn:name="Ray",type=string,JSONPath=`.spec.ray.version`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Entrypoint",type=string,priority=1,JSONPath=`.spec.ray.entrypoint`
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="spec is immutable",fieldPath=".spec"
type LeaseProgram struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the lease runs.
	// +required
	Spec LeaseProgramSpec `json:"spec,omitzero"`
}

// LeaseProgramList is a list of LeasePrograms.
//
// +kubebuilder:object:root=true
type LeaseProgramList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []LeaseProgram `json:"items"`
}
