// SPDX-License-Identifier: Apache-2.0

package member

import (
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/reputation"
)

// history reads leases as what they say of their supplier, and adds up the GPU-hours that were leased in all, in millionths: those agreed
// while a lease is open, so that a quota is not lent out twice at once, and those used when it has ended. paid is what the chain paid for
// each closed lease, by its name, before fees. A lease that cannot be read was accepted by nobody, so it says nothing.
func history(leases []boursev1.GPULease, paid map[string]money.Amount) (events []reputation.Event, explored uint64) {
	for i := range leases {
		lease := &leases[i]
		terms, err := contract.Meter(lease)
		if err != nil {
			continue
		}
		agreed := reputation.Hours(terms.Whole())
		if listing.Open(lease) {
			explored += agreed
			continue
		}
		used := min(agreed, reputation.Hours(ran(lease)))
		explored += used
		bought := min(used, reputation.Bought(paid[lease.Name], terms.Price))
		if event := eventOf(lease, agreed, bought); event.Weight > 0 {
			events = append(events, event)
		}
	}
	return events, explored
}

// eventOf is what the end of a lease says of its supplier. One that ran as agreed weighs what was used and paid, so that nobody gains by
// leases that cost nothing; so does one that the market ended for the sake of another part of its job. One that the supplier failed weighs
// what was agreed, because that is what the buyer did not get. What weighs nothing says nothing.
func eventOf(lease *boursev1.GPULease, agreed, bought uint64) reputation.Event {
	end := lease.Status.End
	if end == nil {
		return reputation.Event{}
	}
	event := reputation.Event{
		Day: dayOf(endOf(lease)), Part: reputation.Completion, Counterparty: string(lease.Spec.Buyer),
		Related: lease.Spec.Buyer == lease.Spec.Supplier,
	}
	forAnother := end.Reason == boursev1.EndPartEnded && lease.Spec.EndReason == boursev1.EndPartEnded
	switch {
	case end.Party == boursev1.PartyBuyer || forAnother:
		event.Good, event.Weight = true, bought
	case end.Party == boursev1.PartySupplier && failed(lease):
		event.Weight = agreed
	}
	return event
}

// failed says whether an end that the supplier brought about was against what was agreed. Nothing was agreed before the supplier accepted;
// what does not start may be the buyer's image as well; and an interruptible lease may be taken back, after its notice if anything ran.
func failed(lease *boursev1.GPULease) bool {
	switch lease.Status.End.Reason {
	case boursev1.EndNotAccepted:
		return listing.Began(lease)
	case boursev1.EndStartTimeout:
		return false
	case boursev1.EndSupplierLeft: // without notice
		return lease.Status.Usage != nil || lease.Spec.Terms.Tier == boursev1.TierFirm
	case boursev1.EndTakenBack:
		var given int32
		if lease.Status.End.NoticeSeconds != nil {
			given = *lease.Status.End.NoticeSeconds
		}
		return lease.Status.Usage != nil && given < lease.Spec.Terms.NoticeSeconds
	default:
		return true
	}
}

// endOf is when the lease ended. The supplier says so, and cannot say a moment at which the lease was not there or was over by its terms.
func endOf(lease *boursev1.GPULease) time.Time {
	at, first, last := lease.Status.End.At.Time, lease.CreationTimestamp.Time, lease.Spec.Escrow.Deadline.Time
	if at.After(last) {
		at = last
	}
	if at.Before(first) {
		at = first
	}
	return at
}

// dayOf counts days from the first of 1970, in UTC.
func dayOf(at time.Time) int { return int(at.Unix() / int64(day/time.Second)) }

// ran is the GPU time of a lease, in milliseconds.
func ran(lease *boursev1.GPULease) uint64 {
	if lease.Status.Usage == nil || lease.Status.Usage.GPUMilliseconds == nil {
		return 0
	}
	return uint64(max(0, *lease.Status.Usage.GPUMilliseconds))
}
