// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// VoucherSpec is the buyer's side of one lease: its deposit, and its newest promise.
//
// +kubebuilder:validation:XValidation:rule="has(self.gross) == has(self.signature) && has(self.gross) == has(self.sequence) && has(self.gross) == has(self.usageDigest)",message="sequence, gross, usageDigest and signature make one promise: set all of them or none",fieldPath=".gross"
type VoucherSpec struct {
	// lease is the GPULease that the voucher pays.
	// +required
	Lease ObjectReference `json:"lease,omitzero"`

	// escrow is the lease account on chain that the promise is about.
	// +required
	Escrow SolanaAddress `json:"escrow,omitempty"`

	// programID is the lease program that the promise is about.
	// +required
	ProgramID SolanaAddress `json:"programID,omitempty"`

	// deposit is the transaction that opens the escrow, written down before it is sent.
	// +optional
	Deposit *Transaction `json:"deposit,omitempty"`

	// depositedAt is when the deposit was signed, or when it landed if it was found on chain: no worker can have been ready before.
	// +optional
	DepositedAt *metav1.Time `json:"depositedAt,omitempty"`

	// refund is the transaction that closes an escrow whose deadline has passed, written down before it is sent.
	// +optional
	Refund *Transaction `json:"refund,omitempty"`

	// refusal says why the buyer does not deposit, or promises no more.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Refusal string `json:"refusal,omitempty"`

	// refusalReason says in one word why the buyer's wallet does not sign; it is empty when the refusal is another.
	// +optional
	// +kubebuilder:validation:Enum=Paused;SpendCapReached;MessageRefused;SignerRefused;SignerUnavailable
	RefusalReason string `json:"refusalReason,omitempty"`

	// sequence is that of the usage record which the promise answers.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Sequence int64 `json:"sequence,omitempty"`

	// gross is the cumulative amount promised, before fees, in base units of the lease's token.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Gross *int64 `json:"gross,omitempty"`

	// usageDigest is the digest of the usage record which the promise answers.
	// +optional
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	UsageDigest string `json:"usageDigest,omitempty"`

	// signature is the buyer's signature over the promise.
	// +optional
	Signature SolanaSignature `json:"signature,omitempty"`
}

// VoucherStatus is what the market makes of the voucher.
type VoucherStatus struct {
	// conditions tell whether the promise is good.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Voucher is the buyer's signed promise for one lease: cumulative, so that only the newest counts. It has the lease's name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=vch,categories=bourse
// +kubebuilder:printcolumn:name="Lease",type=string,JSONPath=`.spec.lease.name`
// +kubebuilder:printcolumn:name="Deposit",type=string,JSONPath=`.spec.deposit.state`
// +kubebuilder:printcolumn:name="Seq",type=integer,JSONPath=`.spec.sequence`
// +kubebuilder:printcolumn:name="Gross",type=integer,JSONPath=`.spec.gross`
// +kubebuilder:printcolumn:name="Verified",type=string,JSONPath=`.status.conditions[?(@.type=="Verified")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Escrow",type=string,priority=1,JSONPath=`.spec.escrow`
// +kubebuilder:printcolumn:name="Refusal",type=string,priority=1,JSONPath=`.spec.refusal`
// +kubebuilder:selectablefield:JSONPath=`.spec.lease.namespace`
// +kubebuilder:validation:XValidation:rule="self.spec.lease == oldSelf.spec.lease && self.spec.escrow == oldSelf.spec.escrow && self.spec.programID == oldSelf.spec.programID",message="lease, escrow and programID are immutable",fieldPath=".spec"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.spec.gross) || (has(self.spec.gross) && self.spec.gross >= oldSelf.spec.gross && self.spec.sequence >= oldSelf.spec.sequence)",message="a promise is cumulative: sequence and gross never decrease",fieldPath=".spec.gross"
type Voucher struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the buyer's side of the lease.
	// +required
	Spec VoucherSpec `json:"spec,omitzero"`
	// status is what the market makes of it.
	// +optional
	Status VoucherStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the voucher's conditions.
func (v *Voucher) Conditions() *[]metav1.Condition { return &v.Status.Conditions }

// VoucherList is a list of Vouchers.
//
// +kubebuilder:object:root=true
type VoucherList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Voucher `json:"items"`
}
