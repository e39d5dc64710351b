// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"testing"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
)

// periods lets periods of a minute pass, one at a time, until the lease ends; it returns how many passed.
func (b *bench) periods(most int, each func()) int {
	b.t.Helper()
	for n := range most {
		if b.lease.Status.End != nil {
			return n
		}
		each()
		b.hub.Step(time.Minute)
		b.rest()
	}
	return most
}

func TestALeaseThatNobodyPaysForEnds(t *testing.T) {
	cases := map[string]struct {
		unpaid int32
		want   int // periods of a minute, after the first one was published
	}{
		"as a lease says nothing":  {0, 10},
		"as its periods are short": {3, 10},
		"as it says":               {15, 15},
		"whatever it says":         {1_000_000, 24},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, func(lease *boursev1.GPULease, pool *boursev1.GPUPool) {
				withoutArbiter(lease, pool) // who would have to be waited for
				lease.Spec.Terms.UnpaidPeriods = tc.unpaid
			})
			b.running()
			b.hub.Step(time.Minute)
			b.rest()
			if got := b.periods(40, func() {}); got != tc.want {
				t.Errorf("it ended after %d periods without a promise, want %d", got, tc.want)
			}
			b.wantEnd(boursev1.EndUnpaid, boursev1.PartyBuyer)
			b.rest()
			b.hub.Step(leastWait)
			b.over()
			b.nothingLeft()
		})
	}
}

// Whoever answers late, within the bound, begins anew; whoever answers in part does not.
func TestAPromiseBeginsTheCountAnew(t *testing.T) {
	b := metered(t)
	for range 3 {
		if got := b.periods(8, func() {}); got != 8 {
			t.Fatalf("it ended after %d periods", got)
		}
		b.promise()
		b.until("the promise is paid", func() bool { return b.paid() == *b.lease.Status.Usage.Gross })
	}
	b.periods(30, func() {
		usage := b.lease.Status.Usage
		b.promiseAmount(usage.Sequence, b.paid()+1, usage.Digest)
	})
	b.wantEnd(boursev1.EndUnpaid, boursev1.PartyBuyer)
}

// A buyer that answers every record, a period late at most, is never cut off.
func TestAPayingBuyerIsLeftAlone(t *testing.T) {
	b := metered(t)
	if got := b.periods(30, b.promise); got != 30 || b.lease.Status.UnpaidSeconds != 0 {
		t.Errorf("ended after %d periods with %d seconds unpaid: %+v", got, b.lease.Status.UnpaidSeconds, b.lease.Status.End)
	}
}

// What nobody could see or answer does not count: an operator that was away, workers that were not ready, a chain that does not answer.
func TestAnOutageIsNoDebt(t *testing.T) {
	b := metered(t)
	for range 4 {
		b.hub.Step(10 * time.Minute) // nobody was there to publish
		b.rest()
	}
	if b.lease.Status.UnpaidSeconds != 0 || b.lease.Status.End != nil {
		t.Errorf("%d seconds count, end %+v; want none", b.lease.Status.UnpaidSeconds, b.lease.Status.End)
	}
	b.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
	for range 15 { // promised in time, and not claimed for want of the chain
		b.promise()
		b.hub.Step(time.Minute)
		b.passes(3)
	}
	if b.lease.Status.UnpaidSeconds != 0 || b.lease.Status.End != nil {
		t.Errorf("%d seconds count, end %+v; want none", b.lease.Status.UnpaidSeconds, b.lease.Status.End)
	}
}

// A promise that came while we were away is seen before the record that would have been the last one.
func TestAPromiseAtTheLastMomentCounts(t *testing.T) {
	b := metered(t)
	b.periods(9, func() {})
	b.promise()
	b.hub.Step(time.Minute)
	b.rest()
	if b.lease.Status.End != nil {
		t.Errorf("the lease ended: %+v", b.lease.Status.End)
	}
}
