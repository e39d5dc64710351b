// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// SlashReason is what the owner of a pool is held to have done.
//
// +kubebuilder:validation:Enum=IdleOffline;RentedOffline;Unreachable;HardwareFault;Counterfeit
type SlashReason string

const (
	// SlashIdleOffline is GPUs that were advertised and were not there.
	SlashIdleOffline SlashReason = "IdleOffline"
	// SlashRentedOffline is leased GPUs that went away.
	SlashRentedOffline SlashReason = "RentedOffline"
	// SlashUnreachable is leased GPUs that were there and could not be used.
	SlashUnreachable SlashReason = "Unreachable"
	// SlashHardwareFault is leased GPUs that broke and stayed broken.
	SlashHardwareFault SlashReason = "HardwareFault"
	// SlashCounterfeit is GPUs that were not what they were sold as.
	SlashCounterfeit SlashReason = "Counterfeit"
)

// SlashState is what the market's administrator wants of a slash.
//
// +kubebuilder:validation:Enum=Proposed;Dropped
type SlashState string

const (
	// SlashProposed proposes the slash and lets it take its course.
	SlashProposed SlashState = "Proposed"
	// SlashDropped takes the proposal back, for good.
	SlashDropped SlashState = "Dropped"
)

// SlashSpec is what a pool is to lose, and why.
type SlashSpec struct {
	// market names the Market that slashes.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Market string `json:"market,omitempty"`
	// owner is the wallet of the pool's owner.
	// +required
	Owner SolanaAddress `json:"owner,omitempty"`
	// reason is what the owner is held to have done. With lastedSeconds it determines the most that the pool can lose.
	// +required
	Reason SlashReason `json:"reason,omitempty"`
	// lastedSeconds is how long it lasted.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	LastedSeconds *int64 `json:"lastedSeconds,omitempty"`
	// amount is what the pool is to lose, such as "12.5", if that is less than the reason allows.
	// +optional
	Amount TokenAmount `json:"amount,omitempty"`
	// evidence is the SHA-256 digest of the evidence, in hexadecimal. No two slashes may have the same evidence.
	// +required
	Evidence SHA256 `json:"evidence,omitempty"`
	// evidenceURL is where the evidence can be read.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[^\s]+$`
	EvidenceURL string `json:"evidenceURL,omitempty"`
	// state is what is wanted of the slash. Dropped cannot be undone.
	// +optional
	// +default="Proposed"
	State SlashState `json:"state,omitempty"`
}

// SlashStatus is how far the slash has come on chain.
type SlashStatus struct {
	// conditions tell how far the slash has come.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`
	// pool is the pool's account on chain.
	// +optional
	Pool SolanaAddress `json:"pool,omitempty"`
	// transaction is the newest transaction of the market's authority, written down before it is sent.
	// +optional
	Transaction *Transaction `json:"transaction,omitempty"`
	// amount is what was proposed, in base units.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Amount *int64 `json:"amount,omitempty"`
	// text is the amount for people, such as "64.00 IO".
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Text string `json:"text,omitempty"`
	// executableAt is when the slash can be executed; until then the pool's owner can appeal. Of an appealed slash it is when the
	// arbiter's time is up.
	// +optional
	ExecutableAt *metav1.Time `json:"executableAt,omitempty"`
	// slot is how new a state of the chain must be to be acted upon: it shows what the last transaction did.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Slot *int64 `json:"slot,omitempty"`
}

// Slash is the market's proposal to slash a pool: proposed on chain, open to appeal for a while, then executed or dropped.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=slh,categories=bourse
// +kubebuilder:printcolumn:name="Owner",type=string,JSONPath=`.spec.owner`
// +kubebuilder:printcolumn:name="Why",type=string,JSONPath=`.spec.reason`
// +kubebuilder:printcolumn:name="Amount",type=string,JSONPath=`.status.text`
// +kubebuilder:printcolumn:name="Executable",type=date,JSONPath=`.status.executableAt`
// +kubebuilder:printcolumn:name="Succeeded",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`
// +kubebuilder:validation:XValidation:rule="self.spec.market == oldSelf.spec.market && self.spec.owner == oldSelf.spec.owner && self.spec.reason == oldSelf.spec.reason && self.spec.lastedSeconds == oldSelf.spec.lastedSeconds && self.spec.evidence == oldSelf.spec.evidence && has(self.spec.amount) == has(oldSelf.spec.amount) && (!has(self.spec.amount) || self.spec.amount == oldSelf.spec.amount)",message="a slash cannot be changed: drop it and make another one",fieldPath=".spec"
// +kubebuilder:validation:XValidation:rule="self.spec.state == oldSelf.spec.state || self.spec.state == 'Dropped'",message="a dropped slash stays dropped: make another one",fieldPath=".spec.state"
// +kubebuilder:validation:XValidation:rule="self.metadata.name == self.spec.evidence.substring(0, 16)",message="a slash is called like the first 16 digits of its evidence: so there is one for each evidence"
type Slash struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what a pool is to lose, and why.
	// +required
	Spec SlashSpec `json:"spec,omitzero"`
	// status is how far the slash has come.
	// +optional
	Status SlashStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the slash's conditions.
func (s *Slash) Conditions() *[]metav1.Condition { return &s.Status.Conditions }

// SlashList is a list of Slashes.
//
// +kubebuilder:object:root=true
type SlashList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []Slash `json:"items"`
}
