// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MarketSpec is the market's published rules.
type MarketSpec struct {
	// programID is the address of the lease program on chain.
	// +required
	ProgramID SolanaAddress `json:"programID,omitempty"`

	// genesisHash is the hash of the chain that the market settles on; members refuse to sign for another one.
	// +required
	GenesisHash SolanaAddress `json:"genesisHash,omitempty"`

	// treasury is the wallet that receives the market's fees.
	// +required
	Treasury SolanaAddress `json:"treasury,omitempty"`

	// fees are the market's fees in basis points of a period's gross amount.
	// +optional
	// +default={}
	Fees MarketFees `json:"fees,omitzero"`

	// tokens are what jobs may be paid in.
	// +required
	// +listType=map
	// +listMapKey=symbol
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Tokens []MarketToken `json:"tokens,omitempty"`

	// settlement says how often leases are settled.
	// +optional
	// +default={}
	Settlement MarketSettlement `json:"settlement,omitzero"`

	// stake is what the market asks suppliers to have at stake. Without it, nothing is asked and nobody can stake.
	// +optional
	Stake *MarketStake `json:"stake,omitempty"`
}

// MarketFees are fees in basis points: hundredths of a percent.
type MarketFees struct {
	// buyerBps is added to what the buyer pays.
	// +optional
	// +default=25
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=500
	BuyerBps *int32 `json:"buyerBps,omitempty"`
	// supplierBps is deducted from what the supplier is paid.
	// +optional
	// +default=25
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=500
	SupplierBps *int32 `json:"supplierBps,omitempty"`
}

// MarketToken is one token that jobs may be paid in.
type MarketToken struct {
	// symbol is the token's name in this market.
	// +required
	Symbol TokenSymbol `json:"symbol,omitempty"`

	// mint is the token's mint on chain.
	// +required
	Mint SolanaAddress `json:"mint,omitempty"`

	// decimals is how many decimals the mint has; it must agree with the chain.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=12
	Decimals *int32 `json:"decimals,omitempty"`

	// priceUSD is what one whole token is worth, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`

	// facilitationBps is added to the buyer's fee when a job is paid in this token.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=500
	FacilitationBps *int32 `json:"facilitationBps,omitempty"`

	// burnBps is the share of the fees in this token that a claim burns at once; the rest goes to the treasury.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	BurnBps *int32 `json:"burnBps,omitempty"`

	// freezeAuthority says whether a mint whose issuer can freeze accounts is accepted.
	// +optional
	// +default="Refuse"
	FreezeAuthority FreezePolicy `json:"freezeAuthority,omitempty"`
}

// FreezePolicy says what the market does about a mint whose issuer can freeze accounts.
//
// +kubebuilder:validation:Enum=Refuse;Accept
type FreezePolicy string

const (
	// FreezeRefuse refuses such a mint.
	FreezeRefuse FreezePolicy = "Refuse"
	// FreezeAccept accepts it: the issuer is trusted not to freeze an escrow.
	FreezeAccept FreezePolicy = "Accept"
)

// MarketSettlement says how often leases are settled.
type MarketSettlement struct {
	// periodSeconds is the length of one billing period.
	// +optional
	// +default=3600
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=86400
	PeriodSeconds int32 `json:"periodSeconds,omitempty"`

	// graceSeconds is how long after a lease's term its escrow stays open for the last claim.
	// +optional
	// +default=21600
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=604800
	GraceSeconds int32 `json:"graceSeconds,omitempty"`
}

// MarketStatus is what the market role last saw.
type MarketStatus struct {
	// conditions tell whether the market's rules agree with the chain.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Market is one exchange: its tokens, fees and addresses. Leases keep the terms of the version that they were signed under.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=mkt,categories=bourse
// +kubebuilder:printcolumn:name="Buyer-Bps",type=integer,JSONPath=`.spec.fees.buyerBps`
// +kubebuilder:printcolumn:name="Supplier-Bps",type=integer,JSONPath=`.spec.fees.supplierBps`
// +kubebuilder:printcolumn:name="Period",type=integer,JSONPath=`.spec.settlement.periodSeconds`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Treasury",type=string,priority=1,JSONPath=`.spec.treasury`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="!has(self.spec.stake) || self.spec.tokens.exists(t, t.symbol == self.spec.stake.token)",message="spec.stake.token must be one of spec.tokens",fieldPath=".spec.stake.token"
// +kubebuilder:validation:XValidation:rule="self.spec.genesisHash == oldSelf.spec.genesisHash",message="spec.genesisHash is immutable: make another Market for another chain",fieldPath=".spec.genesisHash"
type Market struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the market's published rules.
	// +required
	Spec MarketSpec `json:"spec,omitzero"`
	// status is what the market role last saw.
	// +optional
	Status MarketStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the market's conditions.
func (m *Market) Conditions() *[]metav1.Condition { return &m.Status.Conditions }

// MarketList is a list of Markets.
//
// +kubebuilder:object:root=true
type MarketList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Market `json:"items"`
}
