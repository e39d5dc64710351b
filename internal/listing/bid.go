// SPDX-License-Identifier: Apache-2.0

package listing

import (
	"fmt"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/auction"
	"github.com/bourse-dev/bourse/internal/money"
)

// scheduleOf is how the highest price of a job rises: not at all, unless it says so.
func scheduleOf(job *boursev1.ComputeJob) (auction.Schedule, error) {
	most, err := money.ParseUSD(string(job.Spec.Bid.MaxPriceUSD))
	if err != nil {
		return auction.Schedule{}, fmt.Errorf("read spec.bid.maxPriceUSD: %w", err)
	}
	rise := job.Spec.Bid.Rise
	if rise == nil {
		return auction.Schedule{From: most, To: most, Steps: 1}, nil
	}
	from, err := money.ParseUSD(string(rise.FromUSD))
	if err != nil {
		return auction.Schedule{}, fmt.Errorf("read spec.bid.rise.fromUSD: %w", err)
	}
	schedule := auction.Schedule{
		From: from, To: most, Rest: time.Duration(value(rise.RestSeconds)) * time.Second,
		Over: time.Duration(rise.OverSeconds) * time.Second, Steps: int(rise.Steps),
	}
	if err := schedule.Validate(); err != nil {
		return auction.Schedule{}, fmt.Errorf("read spec.bid.rise: %w", err)
	}
	return schedule, nil
}

// waited is how long a job has waited; one that was not created yet has not.
func waited(job *boursev1.ComputeJob, at time.Time) time.Duration {
	if job.CreationTimestamp.IsZero() {
		return 0
	}
	return max(0, at.Sub(job.CreationTimestamp.Time))
}

// NextRise returns how long it takes from now until the job bids more; false when it never does.
func NextRise(job *boursev1.ComputeJob, now time.Time) (time.Duration, bool) {
	bids, err := scheduleOf(job)
	if err != nil { // a demand of it says so
		return 0, false
	}
	since := waited(job, now)
	next, rises := bids.Next(since)
	return next - since, rises
}
