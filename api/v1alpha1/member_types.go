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

	// leave says that the member leaves the hub, because its wallet has signed that, or because the market has not seen it for long; the join
	// server writes it, and takes it back when the wallet joins again. An admin may set it for a member that did not join.
	// +optional
	Leave *MemberLeave `json:"leave,omitempty"`

	// askedAt is when somebody last asked for access in the member's name, by its wallet's or its agent's signature, to within half a day. The
	// join server writes it; members that an admin made do not have it.
	// +optional
	AskedAt *metav1.Time `json:"askedAt,omitempty"`
}

// MemberLeave is how a member leaves.
type MemberLeave struct {
	// since is when the hub was told.
	// +required
	Since metav1.Time `json:"since,omitzero"`
	// mode says whether leases that run go on to their end. It never goes back from AtOnce.
	// +required
	Mode LeaveMode `json:"mode,omitempty"`
}

// LeaveMode says what becomes of the leases of a member that leaves.
//
// +kubebuilder:validation:Enum=WhenSettled;AtOnce;Unseen
type LeaveMode string

const (
	// LeaveWhenSettled lets them go on to their end, and the member is gone when all are settled.
	LeaveWhenSettled LeaveMode = "WhenSettled"
	// LeaveAtOnce ends them now: those that the member supplies as its own fault, and those of its jobs as if it had deleted the jobs.
	LeaveAtOnce LeaveMode = "AtOnce"
	// LeaveUnseen is WhenSettled of a member that the market lets go because it was not seen for long. To ask for access once more takes it back.
	LeaveUnseen LeaveMode = "Unseen"
)

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

	// reputation is what the leases of the member's GPUs say of it. It is absent until somebody leases from the member.
	// +optional
	Reputation *MemberReputation `json:"reputation,omitempty"`

	// leaving is what a member that leaves still has open.
	// +optional
	Leaving *MemberLeaving `json:"leaving,omitempty"`

	// unseen counts for how long nothing was seen of a member that joined and has nothing in the market. It is absent of all others.
	// +optional
	Unseen *MemberUnseen `json:"unseen,omitempty"`
}

// MemberUnseen is for how long nothing was seen of a member.
type MemberUnseen struct {
	// days is on how many days the market looked for the member in vain. Days on which the market was away, or let nobody in, are not counted.
	// +required
	// +kubebuilder:validation:Minimum=0
	Days *int32 `json:"days,omitempty"`
	// countedAt is when the last of them ended, or the first began.
	// +required
	CountedAt metav1.Time `json:"countedAt,omitzero"`
	// until is when the market lets the member go at the earliest; absent while that is not announced.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}

// MemberLeaving is what still keeps a member that leaves.
type MemberLeaving struct {
	// supplied is how many leases of its GPUs are not settled.
	// +required
	// +kubebuilder:validation:Minimum=0
	Supplied *int32 `json:"supplied,omitempty"`
	// bought is how many leases of its jobs are not settled.
	// +required
	// +kubebuilder:validation:Minimum=0
	Bought *int32 `json:"bought,omitempty"`
	// until is when the last of them is given up at the latest; absent when there is none.
	// +optional
	Until *metav1.Time `json:"until,omitempty"`
}

// MemberReputation is what a supplier's history says of it. docs/reputation.md has the formula.
type MemberReputation struct {
	// score is what the supplier's offers are ranked with, from "0.00" to "1.00", for people: what its history comes to, or the middle if
	// that is more and the supplier is a newcomer.
	// +required
	// +kubebuilder:validation:MinLength=4
	// +kubebuilder:validation:MaxLength=4
	// +kubebuilder:validation:Pattern=`^(0\.[0-9]{2}|1\.00)$`
	Score string `json:"score,omitempty"`
	// standing is Newcomer while the supplier is not ranked below the middle, because little is known of it.
	// +required
	Standing SupplierStanding `json:"standing,omitempty"`
	// overallPPM is what the history comes to, in parts per million: the mean of the parts that there is evidence of.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	OverallPPM *int32 `json:"overallPPM,omitempty"`
	// quotaLeft is how many GPU-hours can still be leased from a newcomer before it is ranked by its history alone.
	// +optional
	QuotaLeft Observations `json:"quotaLeft,omitempty"`
	// completion is about the leases that ran as agreed and those that the supplier failed, in GPU-hours.
	// +optional
	Completion *ReputationPart `json:"completion,omitempty"`
	// proof is about challenges answered and failed.
	// +optional
	Proof *ReputationPart `json:"proof,omitempty"`
	// uptime is about the hours in which the offered GPUs could be reached and those in which they could not.
	// +optional
	Uptime *ReputationPart `json:"uptime,omitempty"`
	// metering is about usage records that agree with the buyer's and those that do not.
	// +optional
	Metering *ReputationPart `json:"metering,omitempty"`
	// asOf is the beginning of the day, in UTC, that the figures are of. Figures that a day does not change keep theirs.
	// +required
	AsOf metav1.Time `json:"asOf,omitzero"`
}

// ReputationPart is one of the things that a supplier is measured by. A part without evidence is absent.
type ReputationPart struct {
	// ppm is the part's score, in parts per million.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	PPM *int32 `json:"ppm,omitempty"`
	// good is how much speaks for the supplier; what happened 30 days ago counts half.
	// +required
	Good Observations `json:"good,omitempty"`
	// bad is how much speaks against it.
	// +required
	Bad Observations `json:"bad,omitempty"`
}

// Observations is how often something was observed, or for how many GPU-hours, such as "93.12".
//
// +kubebuilder:validation:MinLength=4
// +kubebuilder:validation:MaxLength=24
// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]*)\.[0-9]{2}$`
type Observations string

// SupplierStanding says what a supplier is ranked by.
//
// +kubebuilder:validation:Enum=Newcomer;Known
type SupplierStanding string

const (
	// StandingNewcomer is a supplier that little is known of, and nothing bad, while its quota lasts.
	StandingNewcomer SupplierStanding = "Newcomer"
	// StandingKnown is a supplier that is ranked by its history alone.
	StandingKnown SupplierStanding = "Known"
)

// Member is one who takes part in the market: a wallet, and the hub namespace that the object lives in.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mem,categories=bourse
// +kubebuilder:printcolumn:name="Wallet",type=string,JSONPath=`.spec.wallet`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Connected",type=string,JSONPath=`.status.conditions[?(@.type=="Connected")].status`
// +kubebuilder:printcolumn:name="Reputation",type=string,JSONPath=`.status.reputation.score`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Leaves-By",type=string,priority=1,JSONPath=`.status.leaving.until`
// +kubebuilder:printcolumn:name="Unseen-Until",type=string,priority=1,JSONPath=`.status.unseen.until`
// +kubebuilder:printcolumn:name="Standing",type=string,priority=1,JSONPath=`.status.reputation.standing`
// +kubebuilder:printcolumn:name="Name-Shown",type=string,priority=1,JSONPath=`.spec.displayName`
// +kubebuilder:selectablefield:JSONPath=`.spec.wallet`
// +kubebuilder:validation:XValidation:rule="self.spec.wallet == oldSelf.spec.wallet",message="spec.wallet is immutable: a wallet is a member's identity",fieldPath=".spec.wallet"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.leave) || !has(oldSelf.spec.leave) || oldSelf.spec.leave.mode != 'AtOnce' || self.spec.leave.mode == 'AtOnce'",message="what was ended at once cannot be taken back: take spec.leave away to stay",fieldPath=".spec.leave.mode"
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
