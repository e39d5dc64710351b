// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ComputeJobSpec says what the buyer asks for.
//
// +kubebuilder:validation:XValidation:rule="!has(self.ranking) || !has(self.ranking.speeds) || self.ranking.speeds.all(s, s.model in self.gpus.models)",message="a speed must be of one of gpus.models",fieldPath=".ranking.speeds"
type ComputeJobSpec struct {
	// gpus is what the job needs, all at once.
	// +required
	GPUs GPURequest `json:"gpus,omitzero"`

	// bid is what the buyer pays at most, and in what.
	// +required
	Bid Bid `json:"bid,omitzero"`

	// placement says where the job may run.
	// +optional
	// +default={}
	Placement Placement `json:"placement,omitzero"`

	// ranking says what counts besides the price when several offers fit.
	// +optional
	// +default={}
	Ranking Ranking `json:"ranking,omitzero"`

	// durationSeconds is how long the job may run: a program is ended then, an interactive cluster lasts until then.
	// +required
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=2592000
	DurationSeconds int32 `json:"durationSeconds,omitempty"`

	// ray is the Ray cluster that the job runs.
	// +required
	Ray RayProgram `json:"ray,omitzero"`
}

// GPURequest is a gang of equal workers.
//
// +kubebuilder:validation:XValidation:rule="self.workers * self.perWorker <= 512",message="a job may ask for at most 512 GPUs: workers times perWorker",fieldPath=".workers"
type GPURequest struct {
	// models are the GPU models that the job accepts; every worker gets the same one.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Models []GPUModel `json:"models,omitempty"`

	// workers is how many Ray workers the job needs.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=128
	Workers int32 `json:"workers,omitempty"`

	// perWorker is how many GPUs each worker needs, on one node.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=16
	PerWorker int32 `json:"perWorker,omitempty"`
}

// Bid is what a buyer pays at most, and in what.
//
// +kubebuilder:validation:XValidation:rule="double(self.maxPriceUSD) > 0.0",message="maxPriceUSD must be more than 0",fieldPath=".maxPriceUSD"
// +kubebuilder:validation:XValidation:rule="double(self.budgetUSD) > 0.0",message="budgetUSD must be more than 0",fieldPath=".budgetUSD"
// +kubebuilder:validation:XValidation:rule="!has(self.rise) || double(self.rise.fromUSD) <= double(self.maxPriceUSD)",message="a rise begins at no more than maxPriceUSD, where it ends",fieldPath=".rise.fromUSD"
type Bid struct {
	// token is what the job is paid in.
	// +required
	Token TokenSymbol `json:"token,omitempty"`

	// maxPriceUSD is the highest acceptable price of one GPU for one hour, in US dollars, before fees.
	// +required
	MaxPriceUSD USDPrice `json:"maxPriceUSD,omitempty"`

	// budgetUSD is the most that the whole job may cost, in US dollars, fees included.
	// +required
	BudgetUSD USDPrice `json:"budgetUSD,omitempty"`

	// rise lets the job bid less at first, and more the longer it waits, up to maxPriceUSD.
	// +optional
	Rise *BidRise `json:"rise,omitempty"`
}

// BidRise is how the highest acceptable price of a job rises while it waits, counted from its creation.
type BidRise struct {
	// fromUSD is the highest acceptable price at first.
	// +required
	FromUSD USDPrice `json:"fromUSD,omitempty"`

	// restSeconds is how long it stays there.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	RestSeconds *int32 `json:"restSeconds,omitempty"`

	// overSeconds is how long it takes from there to maxPriceUSD.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=2592000
	OverSeconds int32 `json:"overSeconds,omitempty"`

	// steps is in how many equal steps it rises.
	// +optional
	// +default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	Steps int32 `json:"steps,omitempty"`
}

// Placement says where a job may run.
type Placement struct {
	// regions are the acceptable regions; any, when empty.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Regions []Region `json:"regions,omitempty"`

	// regionPenalties make offers of some regions count as dearer than they are; what is paid is their price.
	// +optional
	// +listType=map
	// +listMapKey=region
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	RegionPenalties []RegionPenalty `json:"regionPenalties,omitempty"`

	// split says whether the job's workers may be split over several offers of one model where no one offer has room for all. Each part is a
	// lease and a Ray cluster of its own that runs the same program, told which part it is; there are four at most, funded together or not
	// at all, and when one ends badly all end.
	// +optional
	// +default="OnePool"
	Split Split `json:"split,omitempty"`

	// isolation is the least isolation that the job accepts.
	// +optional
	// +default="Container"
	Isolation Isolation `json:"isolation,omitempty"`

	// tier says whether the supplier may take the GPUs back.
	// +optional
	// +default="Interruptible"
	Tier Tier `json:"tier,omitempty"`

	// egress is what the job's pods must be able to reach.
	// +optional
	// +default="None"
	Egress Egress `json:"egress,omitempty"`

	// minReputationPercent is the least reputation of a supplier that the job accepts. A newcomer has 50.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	MinReputationPercent *int32 `json:"minReputationPercent,omitempty"`
}

// Split says whether a job may be split over several offers.
//
// +kubebuilder:validation:Enum=OnePool;AcrossPools
type Split string

const (
	// SplitOnePool is a job whose workers are in one offer, or nowhere.
	SplitOnePool Split = "OnePool"
	// SplitAcrossPools is a job whose workers may be in several offers.
	SplitAcrossPools Split = "AcrossPools"
)

// MaxParts is how many parts a job may have: as many escrows as one transaction on chain can open.
const MaxParts = 4

// RegionPenalty is what the buyer would pay not to be in a region.
type RegionPenalty struct {
	// region is where the penalty holds.
	// +required
	Region Region `json:"region,omitempty"`
	// percent is how much dearer an offer there counts, in percent of its price.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Percent int32 `json:"percent,omitempty"`
}

// Ranking says what counts besides the price when several offers fit. With both percentages at 0, the cheapest offer wins.
type Ranking struct {
	// reputationPercent is how much dearer an offer counts whose supplier has no reputation at all, in percent of its price.
	// +optional
	// +default=100
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	ReputationPercent *int32 `json:"reputationPercent,omitempty"`

	// packingPercent is how much dearer an offer counts when the job would break whole nodes of eight GPUs and use next to nothing of
	// them, in percent of its price.
	// +optional
	// +default=5
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	PackingPercent *int32 `json:"packingPercent,omitempty"`

	// speeds say how fast models are for this job: the market then compares what the same work costs. A model that is not listed has 100
	// percent.
	// +optional
	// +listType=map
	// +listMapKey=model
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Speeds []ModelSpeed `json:"speeds,omitempty"`
}

// ModelSpeed is how fast a GPU model is for a job.
type ModelSpeed struct {
	// model is one of the models that the job accepts.
	// +required
	Model GPUModel `json:"model,omitempty"`
	// percent is its speed, in percent of a model that is not listed.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	Percent int32 `json:"percent,omitempty"`
}

// ComputeJobStatus is what the market last saw of the job.
type ComputeJobStatus struct {
	// conditions tell how far the job has come.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=8
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// lease is the contract that the job runs on; of a job in parts, that of the first part.
	// +optional
	Lease *ObjectReference `json:"lease,omitempty"`

	// parts are the contracts of a job that was split over several offers, the first one among them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=2
	// +kubebuilder:validation:MaxItems=4
	Parts []JobPart `json:"parts,omitempty"`

	// offer names the offer that was matched; of a job in parts, that of the first part.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Offer string `json:"offer,omitempty"`

	// model is the GPU model that was matched.
	// +optional
	Model GPUModel `json:"model,omitempty"`

	// gpus is how many GPUs the job asks for in all.
	// +optional
	// +kubebuilder:validation:Minimum=1
	GPUs int32 `json:"gpus,omitempty"`

	// priceUSD is the agreed price of one GPU for one hour, in US dollars; of a job in parts, that of the first part.
	// +optional
	PriceUSD USDPrice `json:"priceUSD,omitempty"`

	// decision says how the offer was chosen, so that whoever has the offers as they were can choose again.
	// +optional
	Decision *JobDecision `json:"decision,omitempty"`

	// programSalt is a random text, anew for each lease. The lease names a digest over it and ray, which tells nobody else anything.
	// +optional
	ProgramSalt Salt `json:"programSalt,omitempty"`

	// attempts counts the leases that were tried, from 1.
	// +optional
	// +kubebuilder:validation:Minimum=1
	Attempts int32 `json:"attempts,omitempty"`

	// usage is what the job used and paid so far, in all its parts.
	// +optional
	Usage *JobUsage `json:"usage,omitempty"`

	// notice says that the supplier takes the job's GPUs away, why, and until when they can be used; of several, the soonest.
	// +optional
	Notice *LeaseNotice `json:"notice,omitempty"`
}

// JobPart is one part of a job that was split: some of its workers, on one offer.
type JobPart struct {
	// lease is the part's contract.
	// +required
	Lease ObjectReference `json:"lease,omitzero"`
	// offer names the part's offer, in the namespace of its lease.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Offer string `json:"offer,omitempty"`
	// workers is how many of the job's workers the part has.
	// +required
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=127
	Workers int32 `json:"workers,omitempty"`
	// priceUSD is the agreed price of one of the part's GPUs for one hour, in US dollars.
	// +required
	PriceUSD USDPrice `json:"priceUSD,omitempty"`
	// score is the price that the part's offer counted as, in US dollars.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=24
	Score string `json:"score,omitempty"`
}

// JobDecision is the record of a match.
type JobDecision struct {
	// formula is the version of the rules, the score and the draw.
	// +required
	// +kubebuilder:validation:Minimum=1
	Formula int32 `json:"formula,omitempty"`
	// at is when it was decided.
	// +required
	At metav1.Time `json:"at,omitzero"`
	// demand is the digest of what the job asked.
	// +required
	Demand SHA256 `json:"demand,omitempty"`
	// book is the digest of all offers, with what was held of them.
	// +required
	Book SHA256 `json:"book,omitempty"`
	// offers is how many offers there were.
	// +required
	// +kubebuilder:validation:Minimum=1
	Offers int32 `json:"offers,omitempty"`
	// rejected counts the offers that each rule rejected, such as "model 30, price 3"; an offer counts for the first rule that it breaks.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Rejected string `json:"rejected,omitempty"`
	// score is the price that the offer counted as, in US dollars: the lowest wins. The scores of parts are with them.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=24
	Score string `json:"score,omitempty"`
	// by says what told the offer, or the last part's, from the next.
	// +required
	By DecisionEdge `json:"by,omitempty"`
	// next names the namespace and the offer that came after, or the best that is no part of the job.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	Next string `json:"next,omitempty"`
	// nextScore is the price that the next offer counted as, in US dollars.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=24
	NextScore string `json:"nextScore,omitempty"`
}

// DecisionEdge is what told the best offer from the next.
//
// +kubebuilder:validation:Enum=Alone;Refusal;Score;Draw;Room
type DecisionEdge string

const (
	// EdgeAlone says that no other offer fitted.
	EdgeAlone DecisionEdge = "Alone"
	// EdgeRefusal says that the next one refused the job last.
	EdgeRefusal DecisionEdge = "Refusal"
	// EdgeScore says that its score is lower.
	EdgeScore DecisionEdge = "Score"
	// EdgeDraw says that the scores are equal, and a draw decided.
	EdgeDraw DecisionEdge = "Draw"
	// EdgeRoom says that the next one has less room than any part of the job.
	EdgeRoom DecisionEdge = "Room"
)

// JobUsage is what a job used and paid.
type JobUsage struct {
	// gpuMilliseconds is GPU time with every worker ready.
	// +required
	// +kubebuilder:validation:Minimum=0
	GPUMilliseconds *int64 `json:"gpuMilliseconds,omitempty"`
	// token is what the amounts are in.
	// +required
	Token TokenSymbol `json:"token,omitempty"`
	// paid is what left the escrow so far, fees included, in base units.
	// +required
	// +kubebuilder:validation:Minimum=0
	Paid *int64 `json:"paid,omitempty"`
	// cost is paid as a person reads it, such as "1.25 IO".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Cost string `json:"cost,omitempty"`
}

// ComputeJob asks the market for GPUs and runs a Ray cluster on them.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=cj,categories=bourse
// +kubebuilder:printcolumn:name="GPUs",type=integer,JSONPath=`.status.gpus`
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.model`
// +kubebuilder:printcolumn:name="USD/h",type=string,JSONPath=`.status.priceUSD`
// +kubebuilder:printcolumn:name="Token",type=string,JSONPath=`.spec.bid.token`
// +kubebuilder:printcolumn:name="Cost",type=string,JSONPath=`.status.usage.cost`
// +kubebuilder:printcolumn:name="Succeeded",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Succeeded")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Usable-Until",type=string,priority=1,JSONPath=`.status.notice.until`
// +kubebuilder:printcolumn:name="Lease",type=string,priority=1,JSONPath=`.status.lease.name`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Succeeded")].message`
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec || !has(oldSelf.status) || !has(oldSelf.status.lease)",message="spec is immutable once the job has a lease: delete the job and make another",fieldPath=".spec"
type ComputeJob struct {
	metav1.TypeMeta `json:",inline"`
	// metadata is standard object metadata.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says what the buyer asks for.
	// +required
	Spec ComputeJobSpec `json:"spec,omitzero"`
	// status is what the market last saw of the job.
	// +optional
	Status ComputeJobStatus `json:"status,omitempty,omitzero"`
}

// Conditions returns the job's conditions.
func (j *ComputeJob) Conditions() *[]metav1.Condition { return &j.Status.Conditions }

// ComputeJobList is a list of ComputeJobs.
//
// +kubebuilder:object:root=true
type ComputeJobList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []ComputeJob `json:"items"`
}
