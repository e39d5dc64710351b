// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LabelLease is on everything in a supplier's cluster that belongs to a lease; its value is the lease's name, cut where a label ends.
const LabelLease = "bourse.dev/lease"

// Annotations of a lease's namespace in a supplier's cluster, for when the hub has the lease no more.
const (
	// AnnotationHubNamespace is the namespace in the hub that the lease is in.
	AnnotationHubNamespace = "bourse.dev/hub-namespace"
	// AnnotationGivenUp is when nothing of the lease is waited for any more, in the form of RFC 3339.
	AnnotationGivenUp = "bourse.dev/given-up"
	// AnnotationLeaseUID is the UID of the lease, which tells it from an earlier one of the same name.
	AnnotationLeaseUID = "bourse.dev/lease-uid"
)

// FinalizerRelease keeps a GPULease until its pods are gone and its escrow is settled. The supplier gives it up an hour after the escrow's
// deadline, when the buyer can be refunded without it, and the market an hour later for a supplier that is gone.
const FinalizerRelease = "bourse.dev/release"

// FinalizerStakeJournal keeps a StakePosition until no transaction of it can be on its way: as long as its member looks after that, and an
// hour if it is gone, when the blocks that any of them names are long forgotten.
const FinalizerStakeJournal = "bourse.dev/stake-journal"

// Labels of a GPULease that name its job; each value is cut where a label ends. Selectors use them; the truth is spec.job.
const (
	// LabelJobUID is the job's UID.
	LabelJobUID = "bourse.dev/job-uid"
	// LabelJobName is the job's name.
	LabelJobName = "bourse.dev/job-name"
	// LabelJobNamespace is the job's namespace.
	LabelJobNamespace = "bourse.dev/job-namespace"
)

// AnnotationRecycle on a GPUPool asks for mock rentals of its free GPUs before they are sold again, once for each value. The operator
// repeats it on the pool's GPUNodes, whose agents then read their devices anew and forget faults that are gone.
const AnnotationRecycle = "bourse.dev/recycle"

// AnnotationRecycled on a GPUPool is the value of AnnotationRecycle for which every mock rental has passed.
const AnnotationRecycled = "bourse.dev/recycled"

// LabelMockRental is on the pods of mock rentals and on their namespace; its value is the pool's name, cut where a label ends.
const LabelMockRental = "bourse.dev/mock-rental"

// Recycling says whether the pool's free GPUs must be kept from the market until mock rentals have passed.
func (p *GPUPool) Recycling() bool {
	asked := p.Annotations[AnnotationRecycle]
	return asked != "" && p.Annotations[AnnotationRecycled] != asked
}

// LabelWallet is on a namespace that the join server made; its value is the wallet of the member that it is for.
const LabelWallet = "bourse.dev/wallet"

// LabelPresence is on the Leases by which members' managers say in the hub that they are there; its value is the manager's role.
const LabelPresence = "bourse.dev/presence"

// What a job of the hub that is a copy of one in a buyer's own cluster says of its original.
const (
	// LabelOriginCluster is the UID of the namespace kube-system of the original's cluster.
	LabelOriginCluster = "bourse.dev/origin-cluster"
	// LabelOriginUID is the original's UID.
	LabelOriginUID = "bourse.dev/origin-uid"
	// AnnotationOriginNamespace is the original's namespace.
	AnnotationOriginNamespace = "bourse.dev/origin-namespace"
	// AnnotationOriginName is the original's name.
	AnnotationOriginName = "bourse.dev/origin-name"
	// AnnotationOriginGeneration is the generation of the original whose spec the copy has.
	AnnotationOriginGeneration = "bourse.dev/origin-generation"
)
