// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
)

// wide is a job of four workers that may be split.
func wide() *boursev1.ComputeJob {
	job := builders.Job("train")
	job.Spec.GPUs.Workers, job.Spec.Bid.BudgetUSD, job.Spec.Placement.Split = 4, "40", boursev1.SplitAcrossPools
	return job
}

// narrow is a supplier's offer with room for two of its workers.
func narrow(supplier string, price boursev1.USDPrice) *boursev1.GPUOffer {
	offer := builders.Offer(supplier, "h100")
	offer.Spec.PriceUSD, offer.Spec.FreeGPUs, offer.Spec.Shapes = price, new(int32(8)), []boursev1.NodeShape{{FreeGPUs: 8, Nodes: 1}}
	return offer
}

// split returns a bench with a wide job, and offers of oslo-dc and rome-dc that have room for it together.
func split(t *testing.T, more ...client.Object) *bench {
	t.Helper()
	return newBench(t, append(more, wide(), narrow(builders.Supplier, "1.85"), narrow("rome-dc", "1.90"), builders.Member("rome-dc"))...)
}

// part returns the lease of one part of the job.
func (b *bench) part(job *boursev1.ComputeJob, at int) *boursev1.GPULease {
	b.t.Helper()
	if len(job.Status.Parts) <= at {
		b.t.Fatalf("the job has %d parts", len(job.Status.Parts))
	}
	ref := job.Status.Parts[at].Lease
	lease := &boursev1.GPULease{ObjectMeta: metav1.ObjectMeta{Namespace: ref.Namespace, Name: ref.Name}}
	b.hub.Read(lease)
	return lease
}

// ends are the reasons for which the market ended leases, by supplier; empty for one that is active.
func (b *bench) ends() map[string]string {
	b.t.Helper()
	reasons := map[string]string{}
	for _, lease := range b.leases() {
		reasons[lease.Namespace] = lease.Spec.EndReason
	}
	return reasons
}

func TestAJobHasAsManyPartsAsOneTransactionOpens(t *testing.T) {
	if boursev1.MaxParts != escrow.MaxOpenings {
		t.Errorf("a job may have %d parts, and one transaction opens %d escrows", boursev1.MaxParts, escrow.MaxOpenings)
	}
}

func TestAllPartsAreJournalledBeforeAnyLeaseIsMade(t *testing.T) {
	b := split(t)
	job, _ := b.pass("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonLeasing)
	want := []boursev1.JobPart{
		{
			Lease: boursev1.ObjectReference{Namespace: builders.Supplier, Name: listing.LeaseName(job, 1, 0)}, Offer: "h100", Workers: 2,
			PriceUSD: "1.85", Score: job.Status.Decision.Score,
		},
		{
			Lease: boursev1.ObjectReference{Namespace: "rome-dc", Name: listing.LeaseName(job, 1, 1)}, Offer: "h100", Workers: 2,
			PriceUSD: "1.90", Score: "2.85",
		},
	}
	if diff := cmp.Diff(want, job.Status.Parts); diff != "" {
		t.Errorf("parts (-want +got):\n%s", diff)
	}
	if *job.Status.Lease != want[0].Lease || job.Status.Offer != "h100" || job.Status.PriceUSD != "1.85" {
		t.Errorf("the job names %+v, %s, %s, want the first part", job.Status.Lease, job.Status.Offer, job.Status.PriceUSD)
	}
	if n := len(b.leases()); n != 0 {
		t.Fatalf("%d leases were made in the pass that only journals", n)
	}
	job, _ = b.settle("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
	message := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMatched).Message
	if want := "Offer h100 of oslo-dc is the first of 2 of 2 that fit, which have room for the job together, at 1.85 to 1.90 USD per GPU-hour"; message != want {
		t.Errorf("message %q, want %q", message, want)
	}
	for i, deposit := range []int64{1_483_700_000, 1_523_800_000} { // 8 GPU-hours each, and the buyer's 25 bps
		lease := b.part(job, i)
		if part := lease.Spec.Part; part == nil || *part.Index != int32(i) || part.Of != 2 || lease.Spec.Workers != 2 || lease.Spec.PerWorker != 4 {
			t.Errorf("lease %d has part %+v and %d workers", i, part, lease.Spec.Workers)
		}
		if program := b.programOf(lease); program == nil || program.Spec.Salt != job.Status.ProgramSalt {
			t.Errorf("the supplier of part %d got %+v to run", i, program)
		}
		if lease.Spec.Payment.Deposit != deposit || lease.Spec.Payment.PriceUSD != want[i].PriceUSD {
			t.Errorf("lease %d deposits %d at %s", i, lease.Spec.Payment.Deposit, lease.Spec.Payment.PriceUSD)
		}
	}
}

func TestAJobThatFitsOneOfferIsNotSplit(t *testing.T) {
	b := split(t, builders.Offer("lima-dc", "h100"), builders.Member("lima-dc"))
	job, _ := b.settle("train")
	if job.Status.Parts != nil || job.Status.Lease.Namespace != "lima-dc" || len(b.leases()) != 1 || b.leases()[0].Spec.Part != nil {
		t.Errorf("parts %+v, lease %+v", job.Status.Parts, job.Status.Lease)
	}
}

func TestAJobThatMayNotBeSplitWaits(t *testing.T) {
	b := split(t)
	job := wide()
	b.hub.Read(job)
	job.Spec.Placement.Split = boursev1.SplitOnePool
	b.hub.Edit(job)
	job, _ = b.settle("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
}

func TestADecisionOnPartsCanBeReplayed(t *testing.T) {
	b := split(t, narrow("lima-dc", "1.95"), builders.Member("lima-dc"))
	job, _ := b.pass("train")
	record := recorded(t, job)
	if len(record.Winners) != 2 || record.By != "Score" || record.Next != "lima-dc/h100" {
		t.Errorf("record %+v", record)
	}
	asked, err := listing.Demand(job, builders.Address(builders.Buyer), nil, record.At)
	if err != nil {
		t.Fatal(err)
	}
	offers := b.snapshot(job)
	if differences := book.Replay(record, &asked, offers); differences != nil {
		t.Errorf("the replay differs: %v", differences)
	}
	job.Status.Parts[1].Workers++
	if differences := book.Replay(recorded(t, job), &asked, offers); differences == nil {
		t.Error("another split was not noticed")
	}
}

func TestWhatIsChosenForAllPartsIsKept(t *testing.T) {
	for name, restart := range map[string]bool{"by the process that chose": false, "after a restart": true} {
		t.Run(name, func(t *testing.T) {
			b := split(t, builders.Job("other"))
			b.pass("train") // chosen, and no lease is made yet
			if restart {
				b.restart()
			}
			other, _ := b.pass("other")
			expect(t, other, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
		})
	}
}

// A crash between the leases makes each once.
func TestACrashBetweenLeasesMakesNoneTwice(t *testing.T) {
	b := split(t)
	b.pass("train")
	crash := errors.New("crash")
	b.hub.Fail(func(verb string, obj client.Object) error {
		if verb == "create" && obj.GetNamespace() == "rome-dc" {
			return crash
		}
		return nil
	})
	job := wide()
	b.hub.Read(job)
	if _, err := b.r.Reconcile(t.Context(), job); !errors.Is(err, crash) {
		t.Fatalf("err %v, want the crash", err)
	}
	if n := len(b.leases()); n != 1 {
		t.Fatalf("%d leases, want the first", n)
	}
	b.hub.Fail(nil)
	b.restart()
	job, _ = b.settle("train")
	if len(b.leases()) != 2 || job.Status.Attempts != 1 {
		t.Errorf("%d leases in %d attempts", len(b.leases()), job.Status.Attempts)
	}
}

// What was written of an attempt that does not come about is ended before the job lets go of it.
func TestAnOfferThatChangesBetweenLeasesEndsTheAttempt(t *testing.T) {
	for name, written := range map[string]bool{"no lease is made yet": false, "one lease is made": true} {
		t.Run(name, func(t *testing.T) {
			b := split(t, narrow("lima-dc", "1.95"), builders.Member("lima-dc"))
			b.pass("train")
			if written {
				b.hub.Fail(func(verb string, obj client.Object) error {
					if verb == "create" && obj.GetNamespace() == "rome-dc" {
						return errors.New("crash")
					}
					return nil
				})
				job := wide()
				b.hub.Read(job)
				_, _ = b.r.Reconcile(t.Context(), job) // it fails: that is the point
				b.hub.Fail(nil)
				b.restart()
			}
			offer := narrow("rome-dc", "1.90")
			b.hub.Read(offer)
			offer.Spec.PriceUSD = "1.99"
			b.hub.Edit(offer)
			job, _ := b.pass("train")
			expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonRematching)
			if job.Status.Parts != nil || job.Status.Lease != nil {
				t.Errorf("the job keeps %+v", job.Status.Parts)
			}
			if written && b.ends()[builders.Supplier] != boursev1.EndPartEnded {
				t.Errorf("ends %v", b.ends())
			}
			if !written && len(b.leases()) != 0 {
				t.Error("a lease was made on an attempt that has changed")
			}
			job, _ = b.settle("train")
			if len(job.Status.Parts) != 2 || job.Status.Parts[1].Lease.Namespace != "lima-dc" || job.Status.Attempts != 2 {
				t.Errorf("parts %+v in attempt %d", job.Status.Parts, job.Status.Attempts)
			}
		})
	}
}

// One supplier holds its GPUs, the other refuses or says nothing: the first is released, and the job is matched without the other.
func TestAPartThatIsNotAcceptedReleasesTheOthers(t *testing.T) {
	cases := map[string]struct {
		refuse func(*bench, *boursev1.GPULease)
		ends   map[string]string
		waits  bool // before it is matched again
	}{
		"it is refused": {
			func(b *bench, lease *boursev1.GPULease) {
				b.supplier(lease, func(status *boursev1.GPULeaseStatus) {
					status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotAccepted, Party: boursev1.PartySupplier, At: metav1.NewTime(b.hub.Now())}
				}, builders.Condition(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonCapacityGone))
			},
			map[string]string{builders.Supplier: boursev1.EndPartEnded, "rome-dc": ""},
			true,
		},
		"nobody answers": {
			func(b *bench, _ *boursev1.GPULease) {
				b.hub.Step(listing.AcceptWithin + acceptGrace)
				b.pass("train")
			},
			map[string]string{builders.Supplier: boursev1.EndPartEnded, "rome-dc": boursev1.EndNotAccepted},
			false,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := split(t, narrow("lima-dc", "1.95"), builders.Member("lima-dc"))
			job, _ := b.settle("train")
			first, second := b.part(job, 0), b.part(job, 1)
			b.supplier(first, nil, accepted())
			tc.refuse(b, second)
			job, _ = b.pass("train")
			expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonRematching)
			if diff := cmp.Diff(tc.ends, b.ends()); diff != "" {
				t.Errorf("ends (-want +got):\n%s", diff)
			}
			if wrote := b.hub.Writes(func() { b.pass("train") }); tc.waits && len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
			b.hub.Step(time.Minute)
			job, _ = b.settle("train")
			if len(job.Status.Parts) != 2 || job.Status.Attempts != 2 || job.Status.Parts[0].Lease.Namespace == "rome-dc" || job.Status.Parts[1].Lease.Namespace == "rome-dc" {
				t.Errorf("attempt %d has parts %+v, want any but that of rome-dc", job.Status.Attempts, job.Status.Parts)
			}
		})
	}
}

// A lease that changes while it is ended is ended in the next pass, and the job keeps it until then.
func TestAConflictKeepsTheAttempt(t *testing.T) {
	b := split(t)
	job, _ := b.settle("train")
	b.supplier(b.part(job, 0), nil, accepted())
	b.supplier(b.part(job, 1), func(status *boursev1.GPULeaseStatus) {
		status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotAccepted, Party: boursev1.PartySupplier, At: metav1.NewTime(b.hub.Now())}
	})
	b.hub.Fail(func(verb string, obj client.Object) error {
		if _, ok := obj.(*boursev1.GPULease); ok && verb == "patch" {
			return apierrors.NewConflict(schema.GroupResource{Resource: "gpuleases"}, obj.GetName(), errors.New("changed"))
		}
		return nil
	})
	job, result := b.pass("train")
	if len(job.Status.Parts) != 2 || result.RequeueAfter == 0 {
		t.Fatalf("the job let go of %+v, next pass %+v", job.Status.Parts, result)
	}
	b.hub.Fail(nil)
	job, _ = b.pass("train")
	if job.Status.Parts != nil || b.ends()[builders.Supplier] != boursev1.EndPartEnded {
		t.Errorf("parts %+v, ends %v", job.Status.Parts, b.ends())
	}
}

// fateOf is what the lease of one part says.
type fateOf struct {
	conditions []metav1.Condition
	change     func(*boursev1.GPULeaseStatus)
}

func ended(well metav1.ConditionStatus, reason string) fateOf {
	return fateOf{
		conditions: []metav1.Condition{accepted(), funded, running, builders.Condition(boursev1.Succeeded, well, reason)}, change: end(reason),
	}
}

var (
	runs     = fateOf{conditions: []metav1.Condition{accepted(), funded, running}}
	ending   = fateOf{conditions: []metav1.Condition{accepted(), funded, running}, change: end(boursev1.EndCompleted)}
	takenNow = fateOf{conditions: []metav1.Condition{accepted(), funded, running}, change: end(boursev1.EndTakenBack)}
)

// partsCases are what both parts say, and what the job says then.
var partsCases = map[string]struct {
	first, second              fateOf
	funded, running, succeeded state
	message                    string // of Succeeded
	ends                       map[string]string
}{
	"one is not accepted": {
		first: fateOf{conditions: []metav1.Condition{accepted()}}, funded: absent, running: absent,
		succeeded: unknown(boursev1.ReasonAwaitingSupplier), message: "Part 2 of 2: " + awaitingSupplier,
	},
	"none is funded": {
		first: fateOf{conditions: []metav1.Condition{accepted()}}, second: fateOf{conditions: []metav1.Condition{accepted()}},
		funded: unknown(boursev1.ReasonAwaitingDeposit), running: absent, succeeded: unknown(boursev1.ReasonAwaitingDeposit),
		message: "The supplier holds the GPUs and waits for the deposit",
	},
	"one supplier has not seen the deposit": {
		first: fateOf{conditions: []metav1.Condition{accepted(), funded}}, second: fateOf{conditions: []metav1.Condition{accepted()}},
		funded: unknown(boursev1.ReasonAwaitingDeposit), running: unknown(boursev1.ReasonStarting),
		succeeded: unknown(boursev1.ReasonAwaitingDeposit), message: "Part 2 of 2: The supplier holds the GPUs and waits for the deposit",
	},
	"one starts and one runs": {
		first: runs, second: fateOf{conditions: []metav1.Condition{accepted(), funded}},
		funded: yes(boursev1.ReasonDeposited), running: unknown(boursev1.ReasonStarting), succeeded: unknown(boursev1.ReasonStarting),
		message: "Part 2 of 2: The Ray workers are being started",
	},
	"both run": {
		first: runs, second: runs, funded: yes(boursev1.ReasonDeposited), running: yes(boursev1.ReasonWorkersReady),
		succeeded: unknown(boursev1.ReasonRunning), message: "The job runs",
	},
	"one is told to go": {
		first: runs, second: fateOf{
			conditions: append(runs.conditions[:3:3], builders.Condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonTakingBack)),
			change:     notified,
		},
		funded: yes(boursev1.ReasonDeposited), running: yes(boursev1.ReasonWorkersReady), succeeded: unknown(boursev1.ReasonTakingBack),
		message: "Part 2 of 2: TakingBack",
	},
	"one node is silent, which ends nothing": {
		first: fateOf{conditions: []metav1.Condition{
			accepted(), funded, builders.Condition(boursev1.LeaseRunning, metav1.ConditionUnknown, boursev1.ReasonNodeSilent),
		}},
		second: runs, funded: yes(boursev1.ReasonDeposited), running: unknown(boursev1.ReasonNodeSilent),
		succeeded: unknown(boursev1.ReasonNodeSilent), message: "Part 1 of 2: NodeSilent",
	},
	"one has completed, the other goes on": {
		first: ended(metav1.ConditionTrue, boursev1.EndCompleted), second: runs, funded: yes(boursev1.ReasonDeposited),
		running: yes(boursev1.ReasonWorkersReady), succeeded: unknown(boursev1.ReasonRunning), message: "The job runs",
	},
	"one is being settled, the other goes on": {
		first: ending, second: runs, funded: yes(boursev1.ReasonDeposited),
		running: yes(boursev1.ReasonWorkersReady), succeeded: unknown(boursev1.ReasonRunning), message: "Part 2 of 2: The job runs",
	},
	"both have completed": {
		first: ended(metav1.ConditionTrue, boursev1.EndCompleted), second: ended(metav1.ConditionTrue, boursev1.EndCompleted),
		funded: yes(boursev1.ReasonDeposited), running: no(boursev1.ReasonEnded), succeeded: yes(boursev1.EndCompleted), message: "Completed",
	},
	"one is taken back, so the other is ended": {
		first: runs, second: takenNow, funded: yes(boursev1.ReasonDeposited), running: no(boursev1.ReasonEnded),
		succeeded: unknown(boursev1.ReasonSettling), message: "Part 2 of 2: The last claim and the refund are under way",
		ends: map[string]string{builders.Supplier: boursev1.EndPartEnded, "rome-dc": ""},
	},
	"one broke before the other began": {
		first: ended(metav1.ConditionFalse, boursev1.EndFault), second: fateOf{conditions: []metav1.Condition{accepted()}},
		funded: unknown(boursev1.ReasonAwaitingDeposit), running: no(boursev1.ReasonEnded),
		succeeded: unknown(boursev1.ReasonSettling), message: "Part 1 of 2: The last claim and the refund are under way",
		ends: map[string]string{builders.Supplier: "", "rome-dc": boursev1.EndPartEnded},
	},
	"one failed, and the other has ended for its sake": {
		first: ended(metav1.ConditionFalse, boursev1.EndPartEnded), second: ended(metav1.ConditionFalse, boursev1.EndJobFailed),
		funded: yes(boursev1.ReasonDeposited), running: no(boursev1.ReasonEnded), succeeded: no(boursev1.EndJobFailed),
		message: "Part 2 of 2: JobFailed",
	},
	"one completed, and the other failed": {
		first: ended(metav1.ConditionTrue, boursev1.EndCompleted), second: ended(metav1.ConditionFalse, boursev1.EndTakenBack),
		funded: yes(boursev1.ReasonDeposited), running: no(boursev1.ReasonEnded), succeeded: no(boursev1.EndTakenBack),
		message: "Part 2 of 2: TakenBack",
	},
	"nobody paid": {
		first: fateOf{conditions: []metav1.Condition{
			accepted(), builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndNotFunded),
		}, change: end(boursev1.EndNotFunded)},
		second: fateOf{conditions: []metav1.Condition{
			accepted(), builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndNotFunded),
		}, change: end(boursev1.EndNotFunded)},
		funded: no(boursev1.ReasonEnded), running: absent, succeeded: no(boursev1.EndNotFunded), message: "Part 1 of 2: NotFunded",
	},
}

func TestFollowParts(t *testing.T) {
	for name, tc := range partsCases {
		t.Run(name, func(t *testing.T) {
			b := split(t)
			job, _ := b.settle("train")
			for i, of := range []fateOf{tc.first, tc.second} {
				b.supplier(b.part(job, i), of.change, of.conditions...)
			}
			job, _ = b.pass("train")
			for kind, want := range map[string]state{boursev1.JobFunded: tc.funded, boursev1.JobRunning: tc.running} {
				if want != absent {
					expect(t, job, kind, want.status, want.reason)
				} else if got := meta.FindStatusCondition(job.Status.Conditions, kind); got != nil {
					t.Errorf("%s is %s/%s before its step began", kind, got.Status, got.Reason)
				}
			}
			expect(t, job, boursev1.Succeeded, tc.succeeded.status, tc.succeeded.reason)
			if got := meta.FindStatusCondition(job.Status.Conditions, boursev1.Succeeded).Message; got != tc.message {
				t.Errorf("message %q, want %q", got, tc.message)
			}
			want := tc.ends
			if want == nil {
				want = map[string]string{builders.Supplier: "", "rome-dc": ""}
			}
			if diff := cmp.Diff(want, b.ends()); diff != "" {
				t.Errorf("ends (-want +got):\n%s", diff)
			}
			if wrote := b.hub.Writes(func() { b.pass("train") }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}
