// SPDX-License-Identifier: Apache-2.0

package member

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/reputation"
	"github.com/bourse-dev/bourse/test/builders"
)

const (
	hour   = reputation.PPM  // a GPU-hour in millionths
	agreed = 8 * hour        // as builders.Leased has it
	price  = 185_000_000     // of each of them
	first  = 20_878          // the day on which tests begin
	used   = 2 * 3600 * 1000 // two GPU-hours in milliseconds
	earned = money.Amount(2 * price)
)

// ended returns a lease that used two GPU-hours, and ended an hour after it was made.
func ended(t *testing.T, name, reason string, party boursev1.Party) *boursev1.GPULease {
	t.Helper()
	_, lease := builders.Leased(t, name)
	lease.CreationTimestamp = metav1.NewTime(builders.Start)
	lease.Status.Usage = &boursev1.LeaseUsage{Sequence: 3, GPUMilliseconds: new(int64(used)), Final: boursev1.UsageFinal}
	lease.Status.End = &boursev1.LeaseEnd{Reason: reason, Party: party, At: metav1.NewTime(builders.Start.Add(time.Hour))}
	return lease
}

func TestWhatAnEndSays(t *testing.T) {
	buyer := string(builders.Address(builders.Buyer))
	good := []reputation.Event{{Day: first, Part: reputation.Completion, Good: true, Weight: 2 * hour, Counterparty: buyer}}
	bad := []reputation.Event{{Day: first, Part: reputation.Completion, Weight: agreed, Counterparty: buyer}}
	unused := func(l *boursev1.GPULease) { l.Status.Usage = nil }
	given := func(seconds int32) func(*boursev1.GPULease) {
		return func(l *boursev1.GPULease) { l.Status.End.NoticeSeconds = &seconds }
	}
	cases := map[string]struct {
		reason string
		party  boursev1.Party
		change func(*boursev1.GPULease)
		want   []reputation.Event
	}{
		"a program that ended well":              {reason: boursev1.EndCompleted, party: boursev1.PartyBuyer, want: good},
		"a cluster that reached its term":        {reason: boursev1.EndTermReached, party: boursev1.PartyBuyer, want: good},
		"a job that was deleted":                 {reason: boursev1.EndJobDeleted, party: boursev1.PartyBuyer, want: good},
		"a program that failed":                  {reason: boursev1.EndJobFailed, party: boursev1.PartyBuyer, want: good},
		"a buyer that paid for a part only":      {reason: boursev1.EndUnpaid, party: boursev1.PartyBuyer, want: good},
		"breaks that the buyer's program made":   {reason: boursev1.EndInterrupted, party: boursev1.PartyBuyer, want: good},
		"a job that was deleted before it began": {reason: boursev1.EndJobDeleted, party: boursev1.PartyBuyer, change: unused},
		"no deposit":                             {reason: boursev1.EndNotFunded, party: boursev1.PartyBuyer, change: unused},
		"a firm lease that was taken away":       {reason: boursev1.EndBreached, party: boursev1.PartySupplier, want: bad},
		"a firm lease that was taken away before it began": {
			reason: boursev1.EndBreached, party: boursev1.PartySupplier, change: unused, want: bad,
		},
		"a worker that was away for too long":    {reason: boursev1.EndFault, party: boursev1.PartySupplier, want: bad},
		"breaks that the supplier's nodes made":  {reason: boursev1.EndInterrupted, party: boursev1.PartySupplier, want: bad},
		"breaks that nobody knows the reason of": {reason: boursev1.EndInterrupted, party: boursev1.PartyNetwork},
		"an end of the operator's own making":    {reason: boursev1.EndFault, party: boursev1.PartyControl},
		"an end of the market's making":          {reason: boursev1.EndFault, party: boursev1.PartyMarket},
		"a part that the market ended for another's sake": {
			reason: boursev1.EndPartEnded, party: boursev1.PartyMarket, want: good, change: func(l *boursev1.GPULease) {
				l.Spec.State, l.Spec.EndReason = boursev1.LeaseEnded, boursev1.EndPartEnded
			},
		},
		"a part that only its supplier says was ended so": {reason: boursev1.EndPartEnded, party: boursev1.PartyMarket},
		"a lease that the supplier did not accept": {
			reason: boursev1.EndNotAccepted, party: boursev1.PartySupplier, change: func(l *boursev1.GPULease) {
				l.Status.Usage, l.Status.Conditions = nil, nil
			},
		},
		"a lease that the supplier accepted, and says that it did not": {
			reason: boursev1.EndNotAccepted, party: boursev1.PartySupplier, change: unused, want: bad,
		},
		"a lease that was used, and that the supplier says it did not accept": {
			reason: boursev1.EndNotAccepted, party: boursev1.PartySupplier, want: bad,
		},
		"workers that did not start": {reason: boursev1.EndStartTimeout, party: boursev1.PartySupplier, change: unused},
		"a lease that was taken back as its terms allow": {
			reason: boursev1.EndTakenBack, party: boursev1.PartySupplier, change: given(30),
		},
		"with less notice than its terms demand": {
			reason: boursev1.EndTakenBack, party: boursev1.PartySupplier, change: given(29), want: bad,
		},
		"without any":                              {reason: boursev1.EndTakenBack, party: boursev1.PartySupplier, want: bad},
		"before anything ran":                      {reason: boursev1.EndTakenBack, party: boursev1.PartySupplier, change: unused},
		"a supplier that left at once":             {reason: boursev1.EndSupplierLeft, party: boursev1.PartySupplier, want: bad},
		"a supplier that left before anything ran": {reason: boursev1.EndSupplierLeft, party: boursev1.PartySupplier, change: unused},
		"a supplier that left before a firm lease ran": {
			reason: boursev1.EndSupplierLeft, party: boursev1.PartySupplier, want: bad,
			change: func(l *boursev1.GPULease) { l.Status.Usage, l.Spec.Terms.Tier = nil, boursev1.TierFirm },
		},
		"a lease that is not over": {change: func(l *boursev1.GPULease) { l.Status.End = nil }},
		"a lease that its market ended and its supplier says nothing of": {change: func(l *boursev1.GPULease) {
			l.Status.End, l.Spec.State = nil, boursev1.LeaseEnded
		}},
		"a lease that nobody can read": {
			reason: boursev1.EndCompleted, party: boursev1.PartyBuyer, change: func(l *boursev1.GPULease) { l.Spec.Escrow.ID = "x" },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lease := ended(t, "train", tc.reason, tc.party)
			if tc.change != nil {
				tc.change(lease)
			}
			got, _ := history([]boursev1.GPULease{*lease}, map[string]money.Amount{lease.Name: earned})
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatALeaseWeighs(t *testing.T) {
	bySupplier := func(l *boursev1.GPULease) { l.Status.End.Party = boursev1.PartySupplier }
	uses := func(milliseconds *int64) func(*boursev1.GPULease) {
		return func(l *boursev1.GPULease) { l.Status.Usage.GPUMilliseconds = milliseconds }
	}
	cases := map[string]struct {
		paid   money.Amount
		change func(*boursev1.GPULease)
		want   uint64
	}{
		"what was used and paid":                     {paid: earned, want: 2 * hour},
		"nothing that was not paid":                  {paid: 0, want: 0},
		"a part of which the rest was not paid":      {paid: price / 2, want: hour / 2},
		"no more than was used, whatever was paid":   {paid: 100 * price, want: 2 * hour},
		"no more than was agreed, whatever was used": {paid: 100 * price, change: uses(new(int64(1 << 62))), want: agreed},
		"nothing if the usage is less than nothing":  {paid: earned, change: uses(new(int64(-1)))},
		"nothing if the usage does not say how much": {paid: earned, change: uses(nil)},
		"what was agreed, if the supplier failed it": {change: bySupplier, want: agreed},
		"what was agreed, however little of it ran on": {change: func(l *boursev1.GPULease) {
			l.Status.End.Party, l.Status.Usage = boursev1.PartySupplier, nil
		}, want: agreed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lease := ended(t, "train", boursev1.EndFault, boursev1.PartyBuyer)
			if tc.change != nil {
				tc.change(lease)
			}
			events, _ := history([]boursev1.GPULease{*lease}, map[string]money.Amount{lease.Name: tc.paid, "another": earned})
			var got uint64
			for _, event := range events {
				got += event.Weight
			}
			if got != tc.want {
				t.Errorf("the lease weighs %d, want %d", got, tc.want)
			}
		})
	}
}

// A supplier that dates an end cannot make a failure old, nor keep a success new.
func TestTheDayOfAnEnd(t *testing.T) {
	cases := map[string]struct {
		at   time.Time
		want int
	}{
		"as the lease says":               {builders.Start.Add(time.Hour), first},
		"not before the lease was made":   {time.Unix(0, 0), first},
		"not after its escrow's deadline": {builders.Start.Add(1000 * day), first},
		"the next day":                    {builders.Start.Add(12 * time.Hour), first + 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			lease := ended(t, "train", boursev1.EndBreached, boursev1.PartySupplier)
			if tc.want > first {
				lease.Spec.Escrow.Deadline = metav1.NewTime(builders.Start.Add(2 * day))
			}
			lease.Status.End.At = metav1.NewTime(tc.at)
			if events, _ := history([]boursev1.GPULease{*lease}, nil); len(events) != 1 || events[0].Day != tc.want {
				t.Errorf("events %+v, want one of day %d", events, tc.want)
			}
		})
	}
}

func TestALeaseToItselfIsRelated(t *testing.T) {
	lease := ended(t, "train", boursev1.EndCompleted, boursev1.PartyBuyer)
	lease.Spec.Buyer = lease.Spec.Supplier
	events, explored := history([]boursev1.GPULease{*lease}, map[string]money.Amount{lease.Name: earned})
	if len(events) != 1 || !events[0].Related {
		t.Errorf("events %+v, want one that is related", events)
	}
	if explored != 2*hour {
		t.Errorf("explored %d, want %d: the quota is not for that either", explored, 2*hour)
	}
}

// An open lease takes of the quota what was agreed, so that it is not lent out many times at once; an ended one what was used.
func TestWhatIsExplored(t *testing.T) {
	running := ended(t, "running", "", "")
	running.Status.End = nil
	over := ended(t, "over", boursev1.EndCompleted, boursev1.PartyBuyer)
	failed := ended(t, "failed", boursev1.EndBreached, boursev1.PartySupplier)
	recalled := ended(t, "recalled", "", "")
	recalled.Status.End, recalled.Status.Usage, recalled.Spec.State = nil, nil, boursev1.LeaseEnded
	cases := map[string]struct {
		leases []boursev1.GPULease
		want   uint64
	}{
		"nothing":                       {nil, 0},
		"what an open lease may use":    {[]boursev1.GPULease{*running}, agreed},
		"what a lease used":             {[]boursev1.GPULease{*over}, 2 * hour},
		"however it ended":              {[]boursev1.GPULease{*failed}, 2 * hour},
		"nothing of one that never ran": {[]boursev1.GPULease{*recalled}, 0},
		"all of them together":          {[]boursev1.GPULease{*running, *over, *failed, *recalled}, agreed + 4*hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if _, got := history(tc.leases, nil); got != tc.want {
				t.Errorf("explored %d, want %d", got, tc.want)
			}
		})
	}
}
