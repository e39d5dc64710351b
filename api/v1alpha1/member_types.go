// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// MemberSpec is who a member is.
type MemberSpec struct {
	// wallet is the member's identity and where it is paid.
	// +required
	Wallet SolanaAddress `json:"wallet,omitempty"`

	// agentKey is the ed25519 public key that the wallet delegated its cluster's messages to.
	// +optional
	AgentKey SolanaAddress `json:"agentKey,omitempty"`

	// agentKeyUntil is when the delegation to agentKey ends.
	// +optional
	AgentKeyUntil *metav1.Time `json:"agentKeyUntil,omitempty"`

	// clusterUID is the UID of the namespace kube-system of the member's cluster, as the member says.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	ClusterUID string `json:"clusterUID,omitempty"`

	// roles are what the member says that it joins for.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=2
	Roles []MemberRole `json:"roles,omitempty"`

	// displayName is how the member wishes to be called.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	DisplayName string `json:"displayName,omitempty"`

	// state is the market's admin's word: a member that is Suspended neither buys nor sells, gets no token, and loses its rights in the
	// hub. The join server never changes it.
	// +optional
	// +default="Active"
	State MemberState `json:"state,omitempty"`
}

// MemberRole is what a member joins for.
//
// +kubebuilder:validation:Enum=Supplier;Buyer
type MemberRole string

const (
	// MemberSupplier sells GPUs.
	MemberSupplier MemberRole = "Supplier"
	// MemberBuyer pays for jobs.
	MemberBuyer MemberRole = "Buyer"
)

// MemberState says whether the market's admin lets a member take part.
//
// +kubebuilder:validation:Enum=Active;Suspended
type MemberState string

const (
	// MemberActive lets it.
	MemberActive MemberState = "Active"
	// MemberSuspended does not.
	MemberSuspended MemberState = "Suspended"
)

// MemberStatus is what the market holds of a member.
type MemberStatus struct {
	// conditions tell whether the member may take part.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Member is one who takes part in the market: a wallet, and the hub namespace that the object lives in.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mem,categories=bourse
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.spec.wallet`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Name-Shown",type=string,priority=1,JSONPath=`.spec.displayName`
// +kubebuilder:selectablefield:JSONPath=`.spec.wallet`
// +kubebuilder:validation:XValidation:rule="self.spec.wallet == oldSelf.spec.wallet",message="spec.wallet is immutable: a wallet is a member's identity",fieldPath=".spec.wallet"
// +kubebuilder:validation:XValidation:rule="self.metadata.name == 'member'",message="a namespace holds one Member, and it is called member"
type Member struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is who the member is.
	// +required
	Spec MemberSpec `json:"spec,omitzero"`
	// status is what the market holds of the member.
	// +optional
	Status MemberStatus `json:"status,omitempty,omitzero"`
}

// MemberName is the name of the one Member of a namespace.
const MemberName = "member"

// Conditions returns the member's conditions.
func (m *Member) Conditions() *[]metav1.Condition { return &m.Status.Conditions }

// MemberList is a list of Members.
//
// +kubebuilder:object:root=true
type MemberList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Member `json:"items"`
}
