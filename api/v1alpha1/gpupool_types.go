// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GPUPoolSpec says which GPUs a supplier wants to sell, and how.
type GPUPoolSpec struct {
	// nodeSelector picks the pool's nodes by their labels; a node belongs to one pool only.
	// +required
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=8
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// mode says whether idle GPUs are sold now.
	// +optional
	// +default="Sell"
	Mode PoolMode `json:"mode,omitempty"`

	// priceUSD is the price of one GPU for one hour, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`

	// modelPrices are prices that differ from priceUSD, by GPU model.
	// +optional
	// +listType=map
	// +listMapKey=model
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	ModelPrices []ModelPrice `json:"modelPrices,omitempty"`

	// tokens are what the supplier accepts as payment.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Tokens []TokenSymbol `json:"tokens,omitempty"`

	// idle says when a GPU counts as idle.
	// +optional
	// +default={}
	Idle IdlePolicy `json:"idle,omitzero"`

	// region is where the nodes are.
	// +required
	Region Region `json:"region,omitempty"`

	// terms bound the leases that the supplier accepts.
	// +optional
	// +default={}
	Terms PoolTerms `json:"terms,omitzero"`
}

// PoolMode says whether a pool's idle GPUs are sold.
//
// +kubebuilder:validation:Enum=Sell;Hold
type PoolMode string

const (
	// PoolSell offers idle GPUs to the market.
	PoolSell PoolMode = "Sell"
	// PoolHold offers nothing; running leases go on.
	PoolHold PoolMode = "Hold"
)

// ModelPrice is the price of one GPU model.
type ModelPrice struct {
	// model is the GPU model.
	// +required
	Model GPUModel `json:"model,omitempty"`
	// priceUSD is the price of one GPU of that model for one hour, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`
}

// IdlePolicy says when a GPU counts as idle.
type IdlePolicy struct {
	// forSeconds is how long a GPU must have been free before it is offered.
	// +optional
	// +default=600
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	ForSeconds *int32 `json:"forSeconds,omitempty"`

	// reserve is how many idle GPUs of each model are kept back for local work.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65536
	Reserve *int32 `json:"reserve,omitempty"`
}

// PoolTerms bound the leases that a supplier accepts.
//
// +kubebuilder:validation:XValidation:rule="!has(self.minDurationSeconds) || !has(self.maxDurationSeconds) || self.minDurationSeconds <= self.maxDurationSeconds",message="minDurationSeconds must not exceed maxDurationSeconds",fieldPath=".minDurationSeconds"
type PoolTerms struct {
	// tiers are the kinds of lease that the supplier accepts.
	// +optional
	// +listType=set
	// +default=["Interruptible"]
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Tiers []Tier `json:"tiers,omitempty"`

	// isolation is how strongly leases are kept apart from other work on these nodes.
	// +optional
	// +default="Container"
	Isolation Isolation `json:"isolation,omitempty"`

	// egress is the most that a lease's pods may reach.
	// +optional
	// +default="None"
	Egress Egress `json:"egress,omitempty"`

	// minDurationSeconds is the shortest term of a lease.
	// +optional
	// +default=60
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2592000
	MinDurationSeconds int32 `json:"minDurationSeconds,omitempty"`

	// maxDurationSeconds is the longest term of a lease.
	// +optional
	// +default=86400
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2592000
	MaxDurationSeconds int32 `json:"maxDurationSeconds,omitempty"`

	// noticeSeconds is how long before an interruptible lease is taken back its pods are told.
	// +optional
	// +default=30
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=3600
	NoticeSeconds int32 `json:"noticeSeconds,omitempty"`
}

// GPUPoolStatus is what the supplier's controller last saw.
type GPUPoolStatus struct {
	// conditions tell how far the pool has come.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// nodes is how many nodes the pool has.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Nodes *int32 `json:"nodes,omitempty"`

	// gpus sums the models below.
	// +optional
	GPUs GPUCounts `json:"gpus,omitzero"`

	// models are the pool's GPUs by model.
	// +optional
	// +listType=map
	// +listMapKey=model
	// +kubebuilder:validation:MaxItems=32
	Models []PoolModel `json:"models,omitempty"`
}

// GPUCounts counts GPUs. At every moment 0 ≤ leased ≤ offered ≤ healthy ≤ total.
type GPUCounts struct {
	// total is how many GPUs there are.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Total *int32 `json:"total,omitempty"`
	// healthy is how many of them can run work.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Healthy *int32 `json:"healthy,omitempty"`
	// idle is how many healthy GPUs no pod holds, for however long.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Idle *int32 `json:"idle,omitempty"`
	// offered is how many GPUs the market was given: free ones and leased ones.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Offered *int32 `json:"offered,omitempty"`
	// leased is how many GPUs leases hold.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Leased *int32 `json:"leased,omitempty"`
}

// PoolModel counts a pool's GPUs of one model.
type PoolModel struct {
	// model is the GPU model.
	// +required
	Model GPUModel `json:"model,omitempty"`
	// gpus counts the GPUs of that model.
	// +optional
	GPUs GPUCounts `json:"gpus,omitzero"`
}

// GPUPool is what a supplier wants to sell: a set of nodes, a price, and terms.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=gp,categories=bourse
// +kubebuilder:printcolumn:name="Region",type=string,JSONPath=`.spec.region`
// +kubebuilder:printcolumn:name="USD/h",type=string,JSONPath=`.spec.priceUSD`
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.nodes`
// +kubebuilder:printcolumn:name="GPUs",type=integer,JSONPath=`.status.gpus.total`
// +kubebuilder:printcolumn:name="Idle",type=integer,JSONPath=`.status.gpus.idle`
// +kubebuilder:printcolumn:name="Offered",type=integer,JSONPath=`.status.gpus.offered`
// +kubebuilder:printcolumn:name="Leased",type=integer,JSONPath=`.status.gpus.leased`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Tokens",type=string,priority=1,JSONPath=`.spec.tokens`
type GPUPool struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says which GPUs the supplier wants to sell, and how.
	// +required
	Spec GPUPoolSpec `json:"spec,omitzero"`
	// status is what the supplier's controller last saw.
	// +optional
	Status GPUPoolStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the pool's conditions.
func (p *GPUPool) Conditions() *[]metav1.Condition { return &p.Status.Conditions }

// GPUPoolList is a list of GPUPools.
//
// +kubebuilder:object:root=true
type GPUPoolList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []GPUPool `json:"items"`
}
