// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// OwnStakeName is the name of the one StakePosition by which a member stakes for itself.
const OwnStakeName = "own"

// StakePositionSpec is what a member wants to have at stake.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.journal) || has(self.journal)",message="spec.journal is the operator's record of its transactions: keep it",fieldPath=".journal"
type StakePositionSpec struct {
	// market names the Market whose stake it is.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Market string `json:"market,omitempty"`
	// token is what is staked: the one that the market's spec.stake names.
	// +required
	Token TokenSymbol `json:"token,omitempty"`
	// delegateTo is the wallet of the member whose pool the stake joins. Without it the stake is the member's own.
	// +optional
	DelegateTo SolanaAddress `json:"delegateTo,omitempty"`
	// amount is how much the member wants to have at stake, such as "1600". When it is changed, the operator bonds what is missing from
	// the member's wallet, or begins to take back what is too much. What is slashed is not replaced until amount is changed again.
	// +required
	Amount TokenAmount `json:"amount,omitempty"`
	// appeal is the evidence of the pending slash that the member appeals against, as status.slash.evidence shows it. Only the owner of
	// a pool can appeal.
	// +optional
	Appeal SHA256 `json:"appeal,omitempty"`
	// journal is written by the member's operator, and by nobody else.
	// +optional
	Journal *StakeJournal `json:"journal,omitempty"`
}

// StakeJournal is what the member's operator did for the position, one transaction at a time.
//
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.pool) || (has(self.pool) && self.pool == oldSelf.pool)",message="the position's pool never changes",fieldPath=".pool"
// +kubebuilder:validation:XValidation:rule="!has(oldSelf.transaction) || oldSelf.transaction.state != 'Signed' || (has(self.transaction) && self.transaction.signature == oldSelf.transaction.signature)",message="a signed transaction may be on its way: it is kept until the chain has decided about it",fieldPath=".transaction"
type StakeJournal struct {
	// pool is the pool's account on chain.
	// +optional
	Pool SolanaAddress `json:"pool,omitempty"`
	// transaction is the newest transaction, written down before it is sent.
	// +optional
	Transaction *Transaction `json:"transaction,omitempty"`
	// wanted is what spec.amount was when the transaction was signed.
	// +optional
	Wanted TokenAmount `json:"wanted,omitempty"`
	// reached is the newest spec.amount that was acted upon.
	// +optional
	Reached TokenAmount `json:"reached,omitempty"`
	// slot is how new a state of the chain must be to be acted upon: it shows what the last transaction did.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Slot *int64 `json:"slot,omitempty"`
	// refusal says why the operator does not do what the spec asks for.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Refusal string `json:"refusal,omitempty"`
}

// StakePositionStatus is the stake as the finalized chain tells it.
type StakePositionStatus struct {
	// conditions tell how far the stake has come.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// pool is the pool's account on chain.
	// +optional
	Pool SolanaAddress `json:"pool,omitempty"`
	// amount is what is bonded, for people, such as "1600.00 IO".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Amount string `json:"amount,omitempty"`
	// bonded is what the position has at stake, in base units, without what is on its way back.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Bonded *int64 `json:"bonded,omitempty"`
	// unbonding is what is on its way back, in base units. It can still be slashed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Unbonding *int64 `json:"unbonding,omitempty"`
	// unlockTime is when what is on its way back can be withdrawn. The member's operator does so by itself.
	// +optional
	UnlockTime *metav1.Time `json:"unlockTime,omitempty"`
	// delegated is what others have bonded in the member's own pool, in base units.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Delegated *int64 `json:"delegated,omitempty"`
	// effective is what of the pool counts as its owner's stake, in base units: its own, and of what is delegated as much as the market
	// allows.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Effective *int64 `json:"effective,omitempty"`
	// required is the stake that the member's offered and leased GPUs need, in base units.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Required *int64 `json:"required,omitempty"`
	// slashed is what was ever slashed from the pool, in base units, everybody's part of it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Slashed *int64 `json:"slashed,omitempty"`
	// slash is the slash that is pending against the pool.
	// +optional
	Slash *PendingSlash `json:"slash,omitempty"`
}

// PendingSlash is a slash that was proposed on chain and is neither executed nor dropped.
type PendingSlash struct {
	// reason is what the pool's owner is held to have done.
	// +required
	Reason SlashReason `json:"reason,omitempty"`
	// amount is what the pool would lose, in base units.
	// +required
	// +kubebuilder:validation:Minimum=0
	Amount *int64 `json:"amount,omitempty"`
	// share is this position's part of it, in base units.
	// +required
	// +kubebuilder:validation:Minimum=0
	Share *int64 `json:"share,omitempty"`
	// evidence is the digest of the evidence.
	// +required
	Evidence SHA256 `json:"evidence,omitempty"`
	// executableAt is when the slash can be executed; until then the pool's owner can appeal. Of an appealed slash it is when the
	// arbiter's time is up.
	// +required
	ExecutableAt metav1.Time `json:"executableAt,omitzero"`
	// state says whether the pool's owner has appealed.
	// +required
	State PendingSlashState `json:"state,omitempty"`
}

// PendingSlashState says whether a pending slash was appealed against.
//
// +kubebuilder:validation:Enum=Proposed;Appealed
type PendingSlashState string

const (
	// PendingSlashProposed can be appealed against until it can be executed.
	PendingSlashProposed PendingSlashState = "Proposed"
	// PendingSlashAppealed is for the market's arbiter to execute; if it does not, it falls.
	PendingSlashAppealed PendingSlashState = "Appealed"
)

// StakePosition is what a member has at stake: its own stake, or a delegation to another member's pool.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=sp,categories=bourse
// +kubebuilder:printcolumn:name="Wanted",type=string,JSONPath=`.spec.amount`
// +kubebuilder:printcolumn:name="Bonded",type=string,JSONPath=`.status.amount`
// +kubebuilder:printcolumn:name="Unlocks",type=date,JSONPath=`.status.unlockTime`
// +kubebuilder:printcolumn:name="Slash",type=string,JSONPath=`.status.slash.reason`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Delegated-To",type=string,priority=1,JSONPath=`.spec.delegateTo`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.spec.market == oldSelf.spec.market && self.spec.token == oldSelf.spec.token && has(self.spec.delegateTo) == has(oldSelf.spec.delegateTo) && (!has(self.spec.delegateTo) || self.spec.delegateTo == oldSelf.spec.delegateTo)",message="market, token and delegateTo are immutable: they are the position's identity",fieldPath=".spec"
// +kubebuilder:validation:XValidation:rule="self.metadata.name == (has(self.spec.delegateTo) ? self.spec.delegateTo.lowerAscii() : 'own')",message="a position is called own, or like the wallet that it delegates to, in lower case: so there is one for each pool"
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
