// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SettlementSpec is one thing that happened to a lease's escrow, as the finalized chain tells it. It never changes.
//
// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="a settlement is a record: it never changes"
// +kubebuilder:validation:XValidation:rule="(self.kind == 'TopUp') == has(self.deposited)",message="deposited is set exactly when kind is TopUp",fieldPath=".deposited"
// +kubebuilder:validation:XValidation:rule="(self.kind == 'Dispute') == has(self.disputed)",message="disputed is set exactly when kind is Dispute",fieldPath=".disputed"
// +kubebuilder:validation:XValidation:rule="(self.kind == 'Extension') == has(self.deadline)",message="deadline is set exactly when kind is Extension",fieldPath=".deadline"
// +kubebuilder:validation:XValidation:rule="self.debit == self.supplierPaid + self.treasuryPaid + self.burned",message="debit must be the sum of supplierPaid, treasuryPaid and burned",fieldPath=".debit"
type SettlementSpec struct {
	// lease is the GPULease that was settled.
	// +required
	Lease ObjectReference `json:"lease,omitzero"`
	// job is the ComputeJob that the lease serves.
	// +required
	Job ObjectReference `json:"job,omitzero"`
	// kind is what the transaction did.
	// +required
	Kind SettlementKind `json:"kind,omitempty"`
	// period counts the lease's settlements, from 1.
	// +required
	// +kubebuilder:validation:Minimum=1
	Period int32 `json:"period,omitempty"`
	// token is what the amounts are in.
	// +required
	Token TokenSymbol `json:"token,omitempty"`
	// mint is that token's mint.
	// +required
	Mint SolanaAddress `json:"mint,omitempty"`
	// grossTotal is the lease's cumulative gross amount after this settlement, in base units.
	// +required
	// +kubebuilder:validation:Minimum=0
	GrossTotal *int64 `json:"grossTotal,omitempty"`
	// debit is what left the escrow for the period, in base units: supplierPaid, treasuryPaid and burned.
	// +required
	// +kubebuilder:validation:Minimum=0
	Debit *int64 `json:"debit,omitempty"`
	// supplierPaid is what the supplier received.
	// +required
	// +kubebuilder:validation:Minimum=0
	SupplierPaid *int64 `json:"supplierPaid,omitempty"`
	// treasuryPaid is what the market's treasury received.
	// +required
	// +kubebuilder:validation:Minimum=0
	TreasuryPaid *int64 `json:"treasuryPaid,omitempty"`
	// burned is what was burned.
	// +required
	// +kubebuilder:validation:Minimum=0
	Burned *int64 `json:"burned,omitempty"`
	// refunded is what went back to the buyer.
	// +required
	// +kubebuilder:validation:Minimum=0
	Refunded *int64 `json:"refunded,omitempty"`
	// deposited is what the buyer added to the deposit, when kind is TopUp.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Deposited *int64 `json:"deposited,omitempty"`
	// disputed is the cumulative gross amount that the supplier says it is owed, when kind is Dispute.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Disputed *int64 `json:"disputed,omitempty"`
	// deadline is until when the escrow stays open, when kind is Extension.
	// +optional
	Deadline *metav1.Time `json:"deadline,omitempty"`
	// amount is what the kind is about as a person reads it, such as "1.25 IO": the debit, the refund, or what was added or disputed.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Amount string `json:"amount,omitempty"`
	// transaction names the transaction on chain.
	// +required
	Transaction SolanaSignature `json:"transaction,omitempty"`
	// slot is the slot that it landed in.
	// +required
	// +kubebuilder:validation:Minimum=0
	Slot *int64 `json:"slot,omitempty"`
	// time is the block time of that slot.
	// +required
	Time metav1.Time `json:"time,omitzero"`
}

// SettlementKind is what a settlement's transaction did.
//
// +kubebuilder:validation:Enum=Claim;Refund;TopUp;Extension;Dispute;Award
type SettlementKind string

const (
	// SettlementClaim paid a period.
	SettlementClaim SettlementKind = "Claim"
	// SettlementRefund closed the escrow and returned the rest.
	SettlementRefund SettlementKind = "Refund"
	// SettlementTopUp added to the deposit.
	SettlementTopUp SettlementKind = "TopUp"
	// SettlementExtension put off the escrow's deadline.
	SettlementExtension SettlementKind = "Extension"
	// SettlementDispute began a dispute: the supplier says that it is owed more than the buyer promised.
	SettlementDispute SettlementKind = "Dispute"
	// SettlementAward paid what the arbiter decided in a dispute.
	SettlementAward SettlementKind = "Award"
)

// SettlementStatus is how the market recorded it.
type SettlementStatus struct {
	// conditions tell whether the record agrees with the chain.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Settlement is the public record of one thing that happened to a lease's escrow after it was opened.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=st,categories=bourse
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.job.name`
// +kubebuilder:printcolumn:name="Kind",type=string,JSONPath=`.spec.kind`
// +kubebuilder:printcolumn:name="Period",type=integer,JSONPath=`.spec.period`
// +kubebuilder:printcolumn:name="Amount",type=string,JSONPath=`.spec.amount`
// +kubebuilder:printcolumn:name="Supplier",type=integer,JSONPath=`.spec.supplierPaid`
// +kubebuilder:printcolumn:name="Treasury",type=integer,JSONPath=`.spec.treasuryPaid`
// +kubebuilder:printcolumn:name="Burned",type=integer,JSONPath=`.spec.burned`
// +kubebuilder:printcolumn:name="Refunded",type=integer,JSONPath=`.spec.refunded`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.spec.time`
// +kubebuilder:printcolumn:name="Lease",type=string,priority=1,JSONPath=`.spec.lease.name`
// +kubebuilder:printcolumn:name="Transaction",type=string,priority=1,JSONPath=`.spec.transaction`
// +kubebuilder:selectablefield:JSONPath=`.spec.lease.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.job.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.token`
type Settlement struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the movement.
	// +required
	Spec SettlementSpec `json:"spec,omitzero"`
	// status is how the market recorded it.
	// +optional
	Status SettlementStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the settlement's conditions.
func (s *Settlement) Conditions() *[]metav1.Condition { return &s.Status.Conditions }

// SettlementList is a list of Settlements.
//
// +kubebuilder:object:root=true
type SettlementList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Settlement `json:"items"`
}
