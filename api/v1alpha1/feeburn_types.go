// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// FeeBurnSpec is one epoch of burns of one token. It never changes.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: another epoch is another FeeBurn"
// +kubebuilder:validation:XValidation:rule="self.from < self.to",message="from must be before to",fieldPath=".from"
type FeeBurnSpec struct {
	// token is what is burned.
	// +required
	Token TokenSymbol `json:"token,omitempty"`
	// mint is that token's mint.
	// +required
	Mint SolanaAddress `json:"mint,omitempty"`
	// from is the beginning of the epoch.
	// +required
	From metav1.Time `json:"from,omitzero"`
	// to is the end of the epoch; it is not part of it.
	// +required
	To metav1.Time `json:"to,omitzero"`
}

// FeeBurnStatus is what was paid and burned, as the finalized chain tells it.
type FeeBurnStatus struct {
	// conditions tell how far the epoch has come.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// claims is how many claims of the epoch burned fees or paid fees that are to be bought back.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Claims *int32 `json:"claims,omitempty"`
	// burned is what they burned, in base units.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Burned *int64 `json:"burned,omitempty"`
	// amount is what was burned as a person reads it, such as "1.25 IO": by the claims, or by the buy-back of what they paid.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Amount string `json:"amount,omitempty"`
	// fees is what the claims paid to the treasury in a token that is not burned itself, in base units: what a buy-back may spend.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Fees *int64 `json:"fees,omitempty"`
	// feesAmount is fees as a person reads it, such as "2.50 USDC".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	FeesAmount string `json:"feesAmount,omitempty"`
	// buyBack is how the fees become a burn.
	// +optional
	BuyBack *FeeBurnBuyBack `json:"buyBack,omitempty"`
}

// FeeBurnBuyBack is one purchase of the market's own token with an epoch's fees, and its burn. The chain allows one for each epoch.
type FeeBurnBuyBack struct {
	// token is what is bought and burned.
	// +required
	Token TokenSymbol `json:"token,omitempty"`
	// mint is that token's mint.
	// +required
	Mint SolanaAddress `json:"mint,omitempty"`
	// spend is what the signed transaction takes of the fees, in base units.
	// +required
	// +kubebuilder:validation:Minimum=0
	Spend *int64 `json:"spend,omitempty"`
	// burn is what the signed transaction burns, in base units of the bought token: the least that the swap must yield, and what earlier
	// swaps yielded beyond that.
	// +required
	// +kubebuilder:validation:Minimum=0
	Burn *int64 `json:"burn,omitempty"`
	// spent is what was taken of the fees, as the finalized chain tells it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Spent *int64 `json:"spent,omitempty"`
	// burned is what was burned, as the finalized chain tells it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Burned *int64 `json:"burned,omitempty"`
	// transaction is the signed swap and burn, written down before it is sent.
	// +required
	Transaction Transaction `json:"transaction,omitzero"`
}

// FeeBurn is the public record of the fees of one token and one epoch that were burned: by claims, or bought back and burned.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=fb,categories=bourse
// +kubebuilder:printcolumn:name="Token",type=string,JSONPath=`.spec.token`
// +kubebuilder:printcolumn:name="From",type=string,JSONPath=`.spec.from`
// +kubebuilder:printcolumn:name="Claims",type=integer,JSONPath=`.status.claims`
// +kubebuilder:printcolumn:name="Fees",type=string,JSONPath=`.status.feesAmount`
// +kubebuilder:printcolumn:name="Burned",type=string,JSONPath=`.status.amount`
// +kubebuilder:printcolumn:name="Succeeded",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Transaction",type=string,priority=1,JSONPath=`.status.buyBack.transaction.signature`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`
type FeeBurn struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the epoch.
	// +required
	Spec FeeBurnSpec `json:"spec,omitzero"`
	// status is what was burned.
	// +optional
	Status FeeBurnStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the burn's conditions.
func (b *FeeBurn) Conditions() *[]metav1.Condition { return &b.Status.Conditions }

// FeeBurnList is a list of FeeBurns.
//
// +kubebuilder:object:root=true
type FeeBurnList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []FeeBurn `json:"items"`
}
