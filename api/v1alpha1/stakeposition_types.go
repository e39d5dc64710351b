// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// StakePositionSpec is what a member wants to have at stake for one of its pools.
type StakePositionSpec struct {
	// pool names the GPUPool that the stake is for.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool,omitempty"`
	// token is what is staked.
	// +required
	Token TokenSymbol `json:"token,omitempty"`
	// amount is how much the member wants to have bonded, in base units.
	// +required
	// +kubebuilder:validation:Minimum=0
	Amount *int64 `json:"amount,omitempty"`
}

// StakePositionStatus is the stake as the finalized chain tells it.
type StakePositionStatus struct {
	// conditions tell how far the stake has come.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// bonded is what is at stake, in base units.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Bonded *int64 `json:"bonded,omitempty"`
	// unbonding is what is on its way back, in base units.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Unbonding *int64 `json:"unbonding,omitempty"`
}

// StakePosition is a member's stake for one of its pools.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sp,categories=bourse
// +kubebuilder:printcolumn:name="Pool",type=string,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Token",type=string,JSONPath=`.spec.token`
// +kubebuilder:printcolumn:name="Wanted",type=integer,JSONPath=`.spec.amount`
// +kubebuilder:printcolumn:name="Bonded",type=integer,JSONPath=`.status.bonded`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:selectablefield:JSONPath=`.spec.pool`
// +kubebuilder:validation:XValidation:rule="self.spec.pool == oldSelf.spec.pool && self.spec.token == oldSelf.spec.token",message="spec.pool and spec.token are immutable: they are the position's identity",fieldPath=".spec"
type StakePosition struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the member wants to have at stake.
	// +required
	Spec StakePositionSpec `json:"spec,omitzero"`
	// status is the stake as the chain tells it.
	// +optional
	Status StakePositionStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the position's conditions.
func (p *StakePosition) Conditions() *[]metav1.Condition { return &p.Status.Conditions }

// StakePositionList is a list of StakePositions.
//
// +kubebuilder:object:root=true
type StakePositionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []StakePosition `json:"items"`
}
