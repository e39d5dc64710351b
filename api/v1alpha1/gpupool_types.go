// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GPUPoolSpec says which GPUs a supplier wants to sell, and how.
//
// +kubebuilder:validation:XValidation:rule="!has(self.autoPrice) || (double(self.autoPrice.minUSD) <= double(self.priceUSD) && double(self.priceUSD) <= double(self.autoPrice.maxUSD))",message="priceUSD must be within the limits of autoPrice: it is what is asked while the market has no price",fieldPath=".autoPrice"
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

	// autoPrice lets the price follow the market's index within limits. Then priceUSD is what is asked while the market has no index for a
	// model. Leases that run keep the price that they were made at.
	// +optional
	AutoPrice *AutoPrice `json:"autoPrice,omitempty"`

	// modelPrices are prices that differ from priceUSD and its autoPrice, by GPU model.
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

	// budgets bound how many of the pool's GPUs are with the market at certain times. Where several are active, the smallest counts. Leases
	// that run are not touched: a budget only keeps free GPUs back.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Budgets []OfferBudget `json:"budgets,omitempty"`

	// maintenance are windows in which the pool's nodes are needed for themselves. No lease is accepted that would run into one; an
	// interruptible lease that still runs is taken back when one begins, and told its notice before.
	// +optional
	// +listType=map
	// +listMapKey=start
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Maintenance []MaintenanceWindow `json:"maintenance,omitempty"`
}

// OfferBudget is the most that the market may have of a pool, always or at certain times.
//
// +kubebuilder:validation:XValidation:rule="has(self.schedule) == has(self.durationSeconds)",message="schedule and durationSeconds go together",fieldPath=".schedule"
type OfferBudget struct {
	// gpus is the most GPUs that are free for the market or leased: a number, or a percentage of the pool's GPUs such as "50%", rounded down.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=7
	// +kubebuilder:validation:Pattern=`^([0-9]{1,7}|(100|[0-9]{1,2})%)$`
	GPUs string `json:"gpus,omitempty"`
	// schedule says when the budget begins to count, in the five fields of cron or as @daily and its like, in UTC. Without it the budget
	// always counts.
	// +optional
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^(@(annually|yearly|monthly|weekly|daily|midnight|hourly)|(\S+\s+){4}\S+)$`
	Schedule string `json:"schedule,omitempty"`
	// durationSeconds is how long the budget counts each time.
	// +optional
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2678400
	DurationSeconds *int32 `json:"durationSeconds,omitempty"`
}

// MaintenanceWindow is a time in which a pool's nodes are needed for themselves.
type MaintenanceWindow struct {
	// start is when the window begins.
	// +required
	Start metav1.Time `json:"start,omitzero"`
	// durationSeconds is how long it lasts.
	// +required
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2678400
	DurationSeconds int32 `json:"durationSeconds,omitempty"`
}

// PoolMode says whether a pool's idle GPUs are sold.
//
// +kubebuilder:validation:Enum=Sell;Hold;Drain
type PoolMode string

const (
	// PoolSell offers idle GPUs to the market.
	PoolSell PoolMode = "Sell"
	// PoolHold offers nothing; running leases go on.
	PoolHold PoolMode = "Hold"
	// PoolDrain offers nothing and takes interruptible leases back after their notice; firm ones go on until their term.
	PoolDrain PoolMode = "Drain"
)

// AutoPrice lets a price follow the market's index, within limits.
//
// +kubebuilder:validation:XValidation:rule="double(self.minUSD) <= double(self.maxUSD)",message="minUSD must not exceed maxUSD",fieldPath=".minUSD"
type AutoPrice struct {
	// minUSD is the least that is asked for one GPU for one hour, in US dollars. The supplier accepts every lease that pays as much.
	// +required
	MinUSD USDPrice `json:"minUSD,omitempty"`
	// maxUSD is the most that is asked.
	// +required
	MaxUSD USDPrice `json:"maxUSD,omitempty"`
}

// ModelPrice is the price of one GPU model.
//
// +kubebuilder:validation:XValidation:rule="!has(self.autoPrice) || (double(self.autoPrice.minUSD) <= double(self.priceUSD) && double(self.priceUSD) <= double(self.autoPrice.maxUSD))",message="priceUSD must be within the limits of autoPrice: it is what is asked while the market has no price",fieldPath=".autoPrice"
type ModelPrice struct {
	// model is the GPU model.
	// +required
	Model GPUModel `json:"model,omitempty"`
	// priceUSD is the price of one GPU of that model for one hour, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`
	// autoPrice lets that price follow the market's index within limits. Without it, the price stands.
	// +optional
	AutoPrice *AutoPrice `json:"autoPrice,omitempty"`
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

	// images are what leases may run: names of repositories such as rayproject/ray, or beginnings of names, which end with a slash, such
	// as ghcr.io/acme/. Tags and digests are free. Without any, all images may run.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Images []ImageRepository `json:"images,omitempty"`

	// buyers are the wallets that may lease. Without any, all may.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	Buyers []SolanaAddress `json:"buyers,omitempty"`
}

// ImageRepository is the name of a repository of container images as jobs write it, or the beginning of such names with a slash at the end.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=255
// +kubebuilder:validation:Pattern=`^[a-z0-9]+([._:/-]+[a-z0-9]+)*/?$`
type ImageRepository string

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

	// heldBack says how many GPUs are not with the market, and why. A GPU counts once, for the first reason that applies, so that these
	// and gpus.offered sum up to gpus.total.
	// +optional
	// +listType=map
	// +listMapKey=reason
	// +kubebuilder:validation:MaxItems=20
	HeldBack []HeldBack `json:"heldBack,omitempty"`

	// models are the pool's GPUs by model.
	// +optional
	// +listType=map
	// +listMapKey=model
	// +kubebuilder:validation:MaxItems=32
	Models []PoolModel `json:"models,omitempty"`
}

// HeldBack is how many GPUs are not with the market for one reason.
type HeldBack struct {
	// reason is why.
	// +required
	Reason HoldReason `json:"reason,omitempty"`
	// gpus is how many GPUs.
	// +required
	// +kubebuilder:validation:Minimum=1
	GPUs int32 `json:"gpus,omitempty"`
}

// HoldReason is why a GPU is not with the market.
//
// +kubebuilder:validation:Enum=Unhealthy;IdentityConflict;RecordRefused;AgentSilent;NodeNotReady;Cordoned;Tainted;Unplaceable;LocalPods;HostProcess;Cleaning;PowerLimited;Recycling;Cooling;Reserved;PendingPods;Budget;Hold;Drain;Maintenance
type HoldReason string

const (
	// HoldUnhealthy is a device that reported a fault, or that the device plugin withdrew. It is not counted as healthy.
	HoldUnhealthy HoldReason = "Unhealthy"
	// HoldIdentityConflict is a device whose UUID another node reports too.
	HoldIdentityConflict HoldReason = "IdentityConflict"
	// HoldRecordRefused is a device of a node whose agent's signature does not hold.
	HoldRecordRefused HoldReason = "RecordRefused"
	// HoldAgentSilent is a device of a node whose agent has not been heard of for some time.
	HoldAgentSilent HoldReason = "AgentSilent"
	// HoldNodeNotReady is a device of a node that is not ready, which makes it unhealthy, or that does not report, which does not.
	HoldNodeNotReady HoldReason = "NodeNotReady"
	// HoldCordoned is a device of a node on which nothing new may start.
	HoldCordoned HoldReason = "Cordoned"
	// HoldTainted is a device of a node whose taints keep leases away.
	HoldTainted HoldReason = "Tainted"
	// HoldUnplaceable is a device that leases cannot ask for: of another maker than NVIDIA, of a node without the label nvidia.com/gpu.product,
	// or of a model that differs from what that label says.
	HoldUnplaceable HoldReason = "Unplaceable"
	// HoldLocalPods is a device that the supplier's own pods use.
	HoldLocalPods HoldReason = "LocalPods"
	// HoldHostProcess is a device that a process outside of every pod uses.
	HoldHostProcess HoldReason = "HostProcess"
	// HoldCleaning is a device whose lease has ended and which has not been found empty yet.
	HoldCleaning HoldReason = "Cleaning"
	// HoldPowerLimited is a device whose power limit is under 80 % of its default, so that it is not what its model says.
	HoldPowerLimited HoldReason = "PowerLimited"
	// HoldRecycling is a device that a mock rental tries before it is sold again.
	HoldRecycling HoldReason = "Recycling"
	// HoldCooling is a device that has not been idle for spec.idle.forSeconds yet.
	HoldCooling HoldReason = "Cooling"
	// HoldReserved is a device kept back by spec.idle.reserve.
	HoldReserved HoldReason = "Reserved"
	// HoldPendingPods is a device kept back for local work that waits for a place.
	HoldPendingPods HoldReason = "PendingPods"
	// HoldBudget is a device kept back by spec.budgets.
	HoldBudget HoldReason = "Budget"
	// HoldMode is a device kept back because spec.mode is Hold.
	HoldMode HoldReason = "Hold"
	// HoldDrain is a device kept back because spec.mode is Drain.
	HoldDrain HoldReason = "Drain"
	// HoldMaintenance is a device kept back because a maintenance window is open.
	HoldMaintenance HoldReason = "Maintenance"
)

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
	// priceUSD is what the pool's offer asks for one GPU of that model for one hour, in US dollars; absent while there is no offer.
	// +optional
	PriceUSD USDPrice `json:"priceUSD,omitempty"`
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
// +kubebuilder:printcolumn:name="Priced",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Priced")].message`
// +kubebuilder:printcolumn:name="Held-Back",type=string,priority=1,JSONPath=`.status.heldBack`
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
