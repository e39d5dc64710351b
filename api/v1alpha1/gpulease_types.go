// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// GPULeaseSpec is the contract between a job and an offer: typed facts, never manifests. Only state and endReason change.
type GPULeaseSpec struct {
	// job is the ComputeJob that the lease serves.
	// +required
	Job JobReference `json:"job,omitzero"`

	// part says which part of the job the lease is; absent where it is the whole job.
	// +optional
	Part *LeasePart `json:"part,omitempty"`

	// offer names the GPUOffer in the lease's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Offer string `json:"offer,omitempty"`

	// pool names the supplier's GPUPool.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pool string `json:"pool,omitempty"`

	// buyer is the wallet that pays.
	// +required
	Buyer SolanaAddress `json:"buyer,omitempty"`

	// supplier is the wallet that is paid.
	// +required
	Supplier SolanaAddress `json:"supplier,omitempty"`

	// model is the GPU model.
	// +required
	Model GPUModel `json:"model,omitempty"`

	// workers is how many Ray workers the lease holds GPUs for.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	Workers int32 `json:"workers,omitempty"`

	// perWorker is how many GPUs each worker has.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	PerWorker int32 `json:"perWorker,omitempty"`

	// terms are the agreed terms.
	// +required
	Terms LeaseTerms `json:"terms,omitzero"`

	// payment is the agreed price and fees.
	// +required
	Payment LeasePayment `json:"payment,omitzero"`

	// escrow is where the deposit is kept on chain.
	// +required
	Escrow LeaseEscrow `json:"escrow,omitzero"`

	// programSHA256 is the digest of what the lease runs, which the LeaseProgram of the same name holds.
	// +required
	ProgramSHA256 SHA256 `json:"programSHA256,omitempty"`

	// ends is what ends the lease if nothing else does.
	// +required
	Ends LeaseEnding `json:"ends,omitempty"`

	// acceptBy is when the supplier must have accepted.
	// +required
	AcceptBy metav1.Time `json:"acceptBy,omitzero"`

	// state is Ended when the market or the buyer wants the lease to end.
	// +optional
	// +default="Active"
	State LeaseState `json:"state,omitempty"`

	// endReason says why the state is Ended.
	// +optional
	// +kubebuilder:validation:Enum=JobDeleted;NotAccepted;NotFunded;PartEnded;SupplierLeft
	EndReason string `json:"endReason,omitempty"`
}

// LeaseEnding is what ends a lease if nothing else does.
//
// +kubebuilder:validation:Enum=Program;Term
type LeaseEnding string

const (
	// EndsWithProgram is a lease whose program ends by itself, within the term.
	EndsWithProgram LeaseEnding = "Program"
	// EndsWithTerm is a lease of an interactive cluster, which lasts for the term.
	EndsWithTerm LeaseEnding = "Term"
)

// LeaseState is what the market wants of a lease.
//
// +kubebuilder:validation:Enum=Active;Ended
type LeaseState string

const (
	// LeaseActive is a lease that goes on until its own end.
	LeaseActive LeaseState = "Active"
	// LeaseEnded is a lease that is to be released now.
	LeaseEnded LeaseState = "Ended"
)

// JobReference names one incarnation of a ComputeJob.
type JobReference struct {
	// namespace is the job's namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`
	// name is the job's name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name,omitempty"`
	// uid is the job's UID.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	UID string `json:"uid,omitempty"`
}

// LeasePart is one of several leases of one job, which are funded together or not at all.
//
// +kubebuilder:validation:XValidation:rule="self.index < self.of",message="index counts from 0 up to of, which is not one of them",fieldPath=".index"
type LeasePart struct {
	// index is the part's number, from 0.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=3
	Index *int32 `json:"index,omitempty"`
	// of is how many parts the job has.
	// +required
	// +kubebuilder:validation:Minimum=2
	// +kubebuilder:validation:Maximum=4
	Of int32 `json:"of,omitempty"`
}

// LeaseTerms are a lease's agreed terms.
type LeaseTerms struct {
	// tier says whether the supplier may take the GPUs back.
	// +required
	Tier Tier `json:"tier,omitempty"`
	// isolation is how the lease is kept apart from other work.
	// +required
	Isolation Isolation `json:"isolation,omitempty"`
	// egress is what the lease's pods may reach.
	// +required
	Egress Egress `json:"egress,omitempty"`
	// durationSeconds is the longest time that the lease may be ready.
	// +required
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2592000
	DurationSeconds int32 `json:"durationSeconds,omitempty"`
	// noticeSeconds is how long before a take-back the pods are told.
	// +required
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=3600
	NoticeSeconds int32 `json:"noticeSeconds,omitempty"`
	// periodSeconds is the length of one billing period.
	// +required
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=86400
	PeriodSeconds int32 `json:"periodSeconds,omitempty"`
	// unpaidPeriods is for how many periods of use, and ten minutes at least, the buyer may promise nothing before the supplier ends the
	// lease. A supplier takes 3 when it is not set.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=24
	UnpaidPeriods int32 `json:"unpaidPeriods,omitempty"`
}

// LeasePayment is a lease's agreed price and fees, and who decides about them when the parties do not agree.
//
// +kubebuilder:validation:XValidation:rule="has(self.arbiter) == has(self.arbiterCapBps) && has(self.arbiter) == has(self.disputeDelaySeconds)",message="arbiter, arbiterCapBps and disputeDelaySeconds belong together: set all of them or none",fieldPath=".arbiter"
type LeasePayment struct {
	// market names the Market whose rules apply.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Market string `json:"market,omitempty"`
	// marketGeneration is the version of those rules.
	// +required
	// +kubebuilder:validation:Minimum=1
	MarketGeneration int64 `json:"marketGeneration,omitempty"`
	// token is what the lease is paid in.
	// +required
	Token TokenSymbol `json:"token,omitempty"`
	// mint is that token's mint.
	// +required
	Mint SolanaAddress `json:"mint,omitempty"`
	// decimals is how many decimals the mint has.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=12
	Decimals *int32 `json:"decimals,omitempty"`
	// priceUSD is the price of one GPU for one hour, in US dollars, that the bid and the offer agreed on.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`
	// pricePerGPUHour is that price in base units of the token.
	// +required
	// +kubebuilder:validation:Minimum=1
	PricePerGPUHour int64 `json:"pricePerGPUHour,omitempty"`
	// buyerFeeBps is the buyer's fee, facilitation included, in basis points of the gross amount.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	BuyerFeeBps *int32 `json:"buyerFeeBps,omitempty"`
	// supplierFeeBps is the supplier's fee in basis points of the gross amount.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	SupplierFeeBps *int32 `json:"supplierFeeBps,omitempty"`
	// burnBps is the share of the fees that claims burn.
	// +required
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=10000
	BurnBps *int32 `json:"burnBps,omitempty"`
	// treasury is the wallet that receives the rest of the fees.
	// +required
	Treasury SolanaAddress `json:"treasury,omitempty"`
	// config is the market's configuration on chain, under which the escrow is opened.
	// +required
	Config SolanaAddress `json:"config,omitempty"`
	// arbiter is the wallet that may award to the supplier after a dispute; absent when nobody may.
	// +optional
	Arbiter SolanaAddress `json:"arbiter,omitempty"`
	// arbiterCapBps is the most that an award may take of the deposit without a promise, in basis points.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=5000
	ArbiterCapBps int32 `json:"arbiterCapBps,omitempty"`
	// disputeDelaySeconds is how long after a dispute nobody can be awarded anything.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2592000
	DisputeDelaySeconds int32 `json:"disputeDelaySeconds,omitempty"`
	// deposit is what the buyer puts into escrow, in base units: price times term, and fees.
	// +required
	// +kubebuilder:validation:Minimum=1
	Deposit int64 `json:"deposit,omitempty"`
}

// LeaseEscrow is where a lease's deposit is kept on chain.
type LeaseEscrow struct {
	// programID is the lease program.
	// +required
	ProgramID SolanaAddress `json:"programID,omitempty"`
	// id is the lease's identity on chain: 32 bytes in hexadecimal.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	ID string `json:"id,omitempty"`
	// address is the lease account, derived from the program, the buyer and the id.
	// +required
	Address SolanaAddress `json:"address,omitempty"`
	// deadline is when anybody may refund the buyer.
	// +required
	Deadline metav1.Time `json:"deadline,omitzero"`
}

// GPULeaseStatus is what the supplier did and measured.
type GPULeaseStatus struct {
	// conditions tell how far the lease has come.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// namespace is where the lease's pods run in the supplier's cluster.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace,omitempty"`

	// nodes are the nodes that hold the lease's GPUs: the first 32 of them.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=253
	Nodes []string `json:"nodes,omitempty"`

	// usage is the newest usage record.
	// +optional
	Usage *LeaseUsage `json:"usage,omitempty"`

	// promised is the cumulative gross amount of the newest verified voucher, in base units.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Promised *int64 `json:"promised,omitempty"`

	// paid is the cumulative gross amount that was claimed on chain, in base units.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Paid *int64 `json:"paid,omitempty"`

	// unpaidSeconds is for how long the lease was used without a promise for what its buyer could see. Outages do not count.
	// +optional
	// +kubebuilder:validation:Minimum=1
	UnpaidSeconds int64 `json:"unpaidSeconds,omitempty"`

	// notReadySeconds is for how long workers that had been ready were seen not to be, in the breaks that are over.
	// +optional
	// +kubebuilder:validation:Minimum=1
	NotReadySeconds int64 `json:"notReadySeconds,omitempty"`

	// disputed is the cumulative gross amount that the supplier disputed on chain, in base units. There is one dispute at most.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Disputed *int64 `json:"disputed,omitempty"`

	// transaction is the newest claim, dispute or close, written down before it is sent.
	// +optional
	Transaction *Transaction `json:"transaction,omitempty"`

	// notice says that the supplier takes the GPUs away, and until when they can be used. It is withdrawn if the supplier thinks otherwise in
	// time.
	// +optional
	Notice *LeaseNotice `json:"notice,omitempty"`

	// end says why the lease ended.
	// +optional
	End *LeaseEnd `json:"end,omitempty"`
}

// LeaseUsage is one usage record. Records are chained by digest, and cumulative: only the newest counts.
type LeaseUsage struct {
	// sequence counts the records, from 1.
	// +required
	// +kubebuilder:validation:Minimum=1
	Sequence int64 `json:"sequence,omitempty"`
	// gpuMilliseconds is the GPU time with every worker ready, since the lease began.
	// +required
	// +kubebuilder:validation:Minimum=0
	GPUMilliseconds *int64 `json:"gpuMilliseconds,omitempty"`
	// gross is what that time costs before fees, in base units.
	// +required
	// +kubebuilder:validation:Minimum=0
	Gross *int64 `json:"gross,omitempty"`
	// readySince is when the workers became ready, while they are.
	// +optional
	ReadySince *metav1.Time `json:"readySince,omitempty"`
	// through is the moment up to which the time is counted.
	// +required
	Through metav1.Time `json:"through,omitzero"`
	// digest is the SHA-256 over the previous digest and this record, in hexadecimal.
	// +required
	// +kubebuilder:validation:MinLength=64
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`
	// final is Final when no record follows.
	// +optional
	Final UsageFinality `json:"final,omitempty"`
}

// UsageFinality says whether more usage records follow.
//
// +kubebuilder:validation:Enum=Open;Final
type UsageFinality string

const (
	// UsageOpen is a record that others follow.
	UsageOpen UsageFinality = "Open"
	// UsageFinal is a lease's last record.
	UsageFinal UsageFinality = "Final"
)

// LeaseEnd says why a lease ended.
type LeaseEnd struct {
	// reason is one of a closed list.
	// +required
	// +kubebuilder:validation:Enum=Completed;TermReached;JobDeleted;JobFailed;NotAccepted;NotFunded;PartEnded;TakenBack;Breached;StartTimeout;Unpaid;Interrupted;SupplierLeft;Fault
	Reason string `json:"reason,omitempty"`
	// party is who brought the end about.
	// +required
	Party Party `json:"party,omitempty"`
	// at is when the pods stopped being used.
	// +required
	At metav1.Time `json:"at,omitzero"`
	// noticeSeconds is how much notice the supplier gave who took the GPUs away; spec.terms.noticeSeconds is what was agreed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NoticeSeconds *int32 `json:"noticeSeconds,omitempty"`
	// message explains it to a person.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}

// GPULease is the contract between a job and an offer, in the supplier's namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=gl,categories=bourse
// +kubebuilder:printcolumn:name="Job",type=string,JSONPath=`.spec.job.name`
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.spec.model`
// +kubebuilder:printcolumn:name="Workers",type=integer,JSONPath=`.spec.workers`
// +kubebuilder:printcolumn:name="Each",type=integer,JSONPath=`.spec.perWorker`
// +kubebuilder:printcolumn:name="USD/h",type=string,JSONPath=`.spec.payment.priceUSD`
// +kubebuilder:printcolumn:name="Token",type=string,JSONPath=`.spec.payment.token`
// +kubebuilder:printcolumn:name="GPU-ms",type=integer,JSONPath=`.status.usage.gpuMilliseconds`
// +kubebuilder:printcolumn:name="Succeeded",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Usable-Until",type=string,priority=1,JSONPath=`.status.notice.until`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`
// +kubebuilder:printcolumn:name="Namespace",type=string,priority=1,JSONPath=`.status.namespace`
// +kubebuilder:printcolumn:name="Escrow",type=string,priority=1,JSONPath=`.spec.escrow.address`
// +kubebuilder:selectablefield:JSONPath=`.spec.job.namespace`
// +kubebuilder:selectablefield:JSONPath=`.spec.pool`
// +kubebuilder:selectablefield:JSONPath=`.spec.buyer`
// +kubebuilder:selectablefield:JSONPath=`.spec.supplier`
// +kubebuilder:validation:XValidation:rule="self.spec.job == oldSelf.spec.job && self.spec.offer == oldSelf.spec.offer && self.spec.pool == oldSelf.spec.pool && self.spec.buyer == oldSelf.spec.buyer && self.spec.supplier == oldSelf.spec.supplier && self.spec.model == oldSelf.spec.model && self.spec.workers == oldSelf.spec.workers && self.spec.perWorker == oldSelf.spec.perWorker && self.spec.acceptBy == oldSelf.spec.acceptBy",message="spec is immutable: only state and endReason may change",fieldPath=".spec"
// +kubebuilder:validation:XValidation:rule="self.spec.terms == oldSelf.spec.terms && self.spec.payment == oldSelf.spec.payment && self.spec.escrow == oldSelf.spec.escrow && self.spec.programSHA256 == oldSelf.spec.programSHA256 && self.spec.ends == oldSelf.spec.ends",message="spec is immutable: only state and endReason may change",fieldPath=".spec"
// +kubebuilder:validation:XValidation:rule="has(self.spec.part) == has(oldSelf.spec.part) && (!has(self.spec.part) || self.spec.part == oldSelf.spec.part)",message="spec is immutable: only state and endReason may change",fieldPath=".spec"
// +kubebuilder:validation:XValidation:rule="self.spec.state == oldSelf.spec.state || oldSelf.spec.state == 'Active'",message="an ended lease stays ended",fieldPath=".spec.state"
// +kubebuilder:validation:XValidation:rule="(self.spec.state == 'Ended') == has(self.spec.endReason)",message="endReason is set exactly when state is Ended",fieldPath=".spec.endReason"
type GPULease struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the contract.
	// +required
	Spec GPULeaseSpec `json:"spec,omitzero"`
	// status is what the supplier did and measured.
	// +optional
	Status GPULeaseStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the lease's conditions.
func (l *GPULease) Conditions() *[]metav1.Condition { return &l.Status.Conditions }

// GPULeaseList is a list of GPULeases.
//
// +kubebuilder:object:root=true
type GPULeaseList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []GPULease `json:"items"`
}
