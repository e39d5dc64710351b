// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// givenUpAfter is how long after its escrow's deadline a lease is waited for: longer than a supplier and a buyer take that are there, since
// from the deadline on anybody may refund the buyer.
const givenUpAfter = 2 * time.Hour

// GivenUp is when nothing of the lease is waited for any more, whoever is gone.
func GivenUp(lease *boursev1.GPULease) time.Time {
	at := lease.Spec.Escrow.Deadline.Add(givenUpAfter)
	if lease.Spec.Payment.Arbiter != "" { // who has two delays to decide
		at = at.Add(2 * time.Duration(lease.Spec.Payment.DisputeDelaySeconds) * time.Second)
	}
	return at
}

// Over says whether the supplier is done with the lease: its pods are gone, and the money is settled or given up.
func Over(lease *boursev1.GPULease) bool {
	return kube.IsTrue(lease, boursev1.Succeeded) || kube.IsFalse(lease, boursev1.Succeeded)
}

// Settled says whether nothing can come of the lease any more. recorded says whether a Settlement tells that its escrow was closed, which an
// escrow that was opened needs.
func Settled(lease *boursev1.GPULease, recorded bool, now time.Time) bool {
	if !now.Before(GivenUp(lease)) {
		return true
	}
	settled := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseSettled)
	return Over(lease) && settled != nil && (recorded || settled.Reason == boursev1.ReasonNothingOwed)
}

// Worthless says whether the lease is over without anything on chain: no Settlement is of it, and nobody's record needs it.
func Worthless(lease *boursev1.GPULease) bool {
	settled := meta.FindStatusCondition(lease.Status.Conditions, boursev1.LeaseSettled)
	never := Refused(lease) && !kube.IsTrue(lease, boursev1.LeaseAccepted)
	return lease.Status.Paid == nil && (never || Over(lease) && settled != nil && settled.Reason == boursev1.ReasonNothingOwed)
}
