// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GPUOfferSpec is what a supplier advertises now: one GPU model of one pool at one price.
type GPUOfferSpec struct {
	// pool names the supplier's GPUPool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool,omitempty"`

	// model is the GPU model.
	// +required
	Model GPUModel `json:"model,omitempty"`

	// memoryMiB is the memory of one GPU in MiB.
	// +required
	// +kubebuilder:validation:Minimum=1
	MemoryMiB int32 `json:"memoryMiB,omitempty"`

	// sharing is how a GPU is divided before it is sold.
	// +optional
	// +default="None"
	Sharing Sharing `json:"sharing,omitempty"`

	// priceUSD is the price of one GPU for one hour, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`

	// tokens are what the supplier accepts as payment.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Tokens []TokenSymbol `json:"tokens,omitempty"`

	// region is where the GPUs are.
	// +required
	Region Region `json:"region,omitempty"`

	// terms bound the leases that the supplier accepts.
	// +optional
	// +default={}
	Terms PoolTerms `json:"terms,omitzero"`

	// freeGPUs is how many GPUs of this offer are free, over all its nodes.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1048576
	FreeGPUs *int32 `json:"freeGPUs,omitempty"`

	// shapes count the nodes by their number of free GPUs.
	// +optional
	// +listType=map
	// +listMapKey=freeGPUs
	// +kubebuilder:validation:MaxItems=32
	Shapes []NodeShape `json:"shapes,omitempty"`

	// availableUntil is when the GPUs are needed for maintenance: a lease must end before.
	// +optional
	AvailableUntil *metav1.Time `json:"availableUntil,omitempty"`

	// validUntil is when the offer ends unless the supplier renews it.
	// +required
	ValidUntil metav1.Time `json:"validUntil,omitzero"`
}

// NodeShape is how many nodes have a number of free GPUs.
type NodeShape struct {
	// freeGPUs is the number of free GPUs of one node.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	FreeGPUs int32 `json:"freeGPUs,omitempty"`
	// nodes is how many nodes have that many.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65536
	Nodes int32 `json:"nodes,omitempty"`
}

// GPUOfferStatus is what the market makes of the offer.
type GPUOfferStatus struct {
	// conditions tell whether the market matches jobs to the offer.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// GPUOffer is what a supplier advertises to the market now.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=go,categories=bourse
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.spec.model`
// +kubebuilder:printcolumn:name="Free",type=integer,JSONPath=`.spec.freeGPUs`
// +kubebuilder:printcolumn:name="USD/h",type=string,JSONPath=`.spec.priceUSD`
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.region`
// +kubebuilder:printcolumn:name="Tokens",type=string,JSONPath=`.spec.tokens`
// +kubebuilder:printcolumn:name="Tiers",type=string,JSONPath=`.spec.terms.tiers`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Pool",type=string,priority=1,JSONPath=`.spec.pool`
// +kubebuilder:printcolumn:name="Available-Until",type=string,priority=1,JSONPath=`.spec.availableUntil`
// +kubebuilder:printcolumn:name="Valid-Until",type=string,priority=1,JSONPath=`.spec.validUntil`
// +kubebuilder:selectablefield:JSONPath=`.spec.model`
// +kubebuilder:selectablefield:JSONPath=`.spec.region`
// +kubebuilder:selectablefield:JSONPath=`.spec.pool`
// +kubebuilder:validation:XValidation:rule="self.spec.pool == oldSelf.spec.pool && self.spec.model == oldSelf.spec.model",message="spec.pool and spec.model are immutable: they are the offer's identity",fieldPath=".spec"
type GPUOffer struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what the supplier advertises.
	// +required
	Spec GPUOfferSpec `json:"spec,omitzero"`
	// status is what the market makes of it.
	// +optional
	Status GPUOfferStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the offer's conditions.
func (o *GPUOffer) Conditions() *[]metav1.Condition { return &o.Status.Conditions }

// GPUOfferList is a list of GPUOffers.
//
// +kubebuilder:object:root=true
type GPUOfferList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []GPUOffer `json:"items"`
}
