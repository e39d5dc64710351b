// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"fmt"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/meter"
)

const (
	defaultUnpaid = 3                // periods, for a lease that does not say
	mostUnpaid    = 24               // periods, whatever a lease says
	leastUnpaid   = 10 * time.Minute // if the periods are short
)

// heed takes in what the buyer has promised by now, so that no newer usage record counts as unpaid what was answered in time.
func (r *Reconciler) heed(ctx context.Context, lease *boursev1.GPULease) error {
	if lease.Status.Usage == nil {
		return nil
	}
	voucher, err := r.voucher(ctx, lease)
	if err != nil {
		return err
	}
	if voucher != nil && amount(voucher.Spec.Gross) > amount(lease.Status.Promised) {
		lease.Status.Promised = voucher.Spec.Gross
	}
	return nil
}

// dun adds up for how long the lease was used without a promise for what its buyer could see, and ends it when that is too long. Time
// counts only between two records that were published within a period of each other: each was accepted by the hub, so the hub was
// there, and so were we. After an outage the record that catches up counts nothing.
func (r *Reconciler) dun(lease *boursev1.GPULease, terms meter.Terms, last, next *meter.Record) {
	const late = 2 // periods
	if last == nil || max(amount(lease.Status.Promised), amount(lease.Status.Paid)) >= last.Gross {
		lease.Status.UnpaidSeconds = 0
		return
	}
	if next.Through.Sub(last.Through) < late*terms.Period {
		used := next.GPUMilliseconds - last.GPUMilliseconds
		lease.Status.UnpaidSeconds += int64(used/uint64(terms.GPUs)) / time.Second.Milliseconds() //nolint:gosec // less than the term
	}
	periods := lease.Spec.Terms.UnpaidPeriods
	if periods <= 0 {
		periods = defaultUnpaid
	}
	bound := max(leastUnpaid, time.Duration(min(periods, mostUnpaid))*terms.Period)
	if time.Duration(lease.Status.UnpaidSeconds)*time.Second >= bound {
		r.end(lease, boursev1.EndUnpaid, boursev1.PartyBuyer, r.Now(),
			fmt.Sprintf("The buyer promised nothing for %s of use", bound))
	}
}
