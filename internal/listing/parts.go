// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"slices"
	"strings"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// mostParts is in how many offers the job's workers may stand.
func mostParts(job *boursev1.ComputeJob) int {
	if job.Spec.Placement.Split == boursev1.SplitAcrossPools {
		return boursev1.MaxParts
	}
	return 1
}

// Parts are the leases that a job's status names, in their order: one, unless the job was split; none while nothing is chosen.
func Parts(job *boursev1.ComputeJob) []boursev1.JobPart {
	switch {
	case len(job.Status.Parts) > 0:
		return job.Status.Parts
	case job.Status.Lease == nil:
		return nil
	}
	whole := boursev1.JobPart{
		Lease: *job.Status.Lease, Offer: job.Status.Offer, Workers: job.Spec.GPUs.Workers, PriceUSD: job.Status.PriceUSD,
	}
	if job.Status.Decision != nil {
		whole.Score = job.Status.Decision.Score
	}
	return []boursev1.JobPart{whole}
}

// RefusedIn returns those of the leases whose suppliers refused the job in its n-th attempt, in the order of their offers' names.
func RefusedIn(job *boursev1.ComputeJob, attempt int32, leases []boursev1.GPULease) []*boursev1.GPULease {
	names := make([]string, 0, boursev1.MaxParts)
	for part := range boursev1.MaxParts {
		names = append(names, LeaseName(job, attempt, part))
	}
	var refused []*boursev1.GPULease
	for i := range leases {
		lease := &leases[i]
		if lease.Spec.Job.UID == string(job.UID) && slices.Contains(names, lease.Name) && Refused(lease) {
			refused = append(refused, lease)
		}
	}
	slices.SortFunc(refused, func(a, b *boursev1.GPULease) int { return strings.Compare(OfferOf(a), OfferOf(b)) })
	return refused
}

// OffersOf are what the book calls the leases' offers; nothing without any.
func OffersOf(leases []*boursev1.GPULease) []string {
	if len(leases) == 0 {
		return nil
	}
	offers := make([]string, len(leases))
	for i, lease := range leases {
		offers[i] = OfferOf(lease)
	}
	return offers
}

// OfferOf is what the book calls the lease's offer.
func OfferOf(lease *boursev1.GPULease) string { return lease.Namespace + "/" + lease.Spec.Offer }
