// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
)

func TestAdmit(t *testing.T) {
	cases := map[string]struct {
		change                     func(*boursev1.ComputeJob)
		drop                       client.Object
		status                     metav1.ConditionStatus
		reason, succeeded, message string
	}{
		"a job that the market can serve": {
			status: metav1.ConditionTrue, reason: boursev1.ReasonJobAdmitted, succeeded: boursev1.ReasonMatching,
			message: "The market can serve the job",
		},
		"a namespace without a member": {
			drop:   builders.Member(builders.Buyer),
			status: metav1.ConditionFalse, reason: boursev1.ReasonBuyerNotMember, succeeded: boursev1.ReasonBuyerNotMember,
			message: "The job's namespace has no admitted Member",
		},
		"a hub without a market": {
			drop:   builders.Market(),
			status: metav1.ConditionUnknown, reason: boursev1.ReasonNoMarket, succeeded: boursev1.ReasonNoMarket,
			message: "The hub has no Market that is ready",
		},
		"a token that the market does not take": {
			change: func(job *boursev1.ComputeJob) { job.Spec.Bid.Token = "USDT" },
			status: metav1.ConditionFalse, reason: boursev1.ReasonTokenUnknown, succeeded: boursev1.ReasonRejected,
			message: "The market does not take USDT",
		},
		"a budget that does not cover the fees": { // 8 GPUs × 2 USD × 1 h = 16, and 0.04 of fees
			change: func(job *boursev1.ComputeJob) { job.Spec.Bid.BudgetUSD = "16.039999" },
			status: metav1.ConditionFalse, reason: boursev1.ReasonBudgetTooSmall, succeeded: boursev1.ReasonRejected,
			message: "At its highest price the job needs a deposit of 16.04 IO, and its budget is worth 16.039999 IO",
		},
		"a budget that covers the term to the last unit": {
			change: func(job *boursev1.ComputeJob) { job.Spec.Bid.BudgetUSD = "16.04" },
			status: metav1.ConditionTrue, reason: boursev1.ReasonJobAdmitted, succeeded: boursev1.ReasonMatching,
			message: "The market can serve the job",
		},
		"facilitation counts against the budget": { // 2.25 % in USDC
			change: func(job *boursev1.ComputeJob) { job.Spec.Bid.Token, job.Spec.Bid.BudgetUSD = "USDC", "16.04" },
			status: metav1.ConditionFalse, reason: boursev1.ReasonBudgetTooSmall, succeeded: boursev1.ReasonRejected,
			message: "At its highest price the job needs a deposit of 16.36 USDC, and its budget is worth 16.04 USDC",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := builders.Job("train")
			if tc.change != nil {
				tc.change(job)
			}
			b := newBench(t, job)
			if tc.drop != nil {
				if err := b.hub.Delete(t.Context(), tc.drop); err != nil {
					t.Fatal(err)
				}
			}
			job, _ = b.pass("train")
			expect(t, job, boursev1.JobAdmitted, tc.status, tc.reason)
			if got := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobAdmitted).Message; got != tc.message {
				t.Errorf("message %q, want %q", got, tc.message)
			}
			if got := meta.FindStatusCondition(job.Status.Conditions, boursev1.Succeeded).Reason; got != tc.succeeded {
				t.Errorf("Succeeded has reason %s, want %s", got, tc.succeeded)
			}
			if job.Status.GPUs != 8 {
				t.Errorf("%d GPUs, want 8", job.Status.GPUs)
			}
			if wrote := b.hub.Writes(func() { b.pass("train") }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestARejectedJobCanBeEdited(t *testing.T) {
	job := builders.Job("train")
	job.Spec.Bid.BudgetUSD = "1"
	b := newBench(t, job, builders.Offer(builders.Supplier, "h100"))
	job, _ = b.settle("train")
	expect(t, job, boursev1.Succeeded, metav1.ConditionFalse, boursev1.ReasonRejected)
	job.Spec.Bid.BudgetUSD = "20"
	b.hub.Edit(job)
	job, _ = b.settle("train")
	expect(t, job, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonAwaitingSupplier)
	b.lease(job)
}

func TestAMatchIsJournalledBeforeItsLeaseIsMade(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	job, result := b.pass("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonLeasing)
	if job.Status.Lease == nil || job.Status.Attempts != 1 || result.RequeueAfter == 0 {
		t.Fatalf("the choice is not journalled: %+v, %+v", job.Status, result)
	}
	if !controllerutil.ContainsFinalizer(job, Finalizer) {
		t.Error("the job could vanish without its lease being ended")
	}
	if n := len(b.leases()); n != 0 {
		t.Fatalf("%d leases were made in the pass that only journals", n)
	}
	job, _ = b.pass("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
	message := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMatched).Message
	if want := "Offer h100 of oslo-dc is the only offer that fits, at 1.85 USD per GPU-hour"; message != want {
		t.Errorf("message %q, want %q", message, want)
	}
	if wrote := b.hub.Writes(func() { b.pass("train") }); len(wrote) != 0 {
		t.Errorf("the next pass wrote %v", wrote)
	}
}

func TestTheLeaseSaysWhatWasAgreed(t *testing.T) {
	job := builders.Job("train.of-the_day"[:12])
	b := newBench(t, job, builders.Offer(builders.Supplier, "h100"))
	job, _ = b.settle(job.Name)
	lease := b.lease(job)
	if want := listing.LeaseName(job, 1, 0); lease.Name != want || lease.Namespace != builders.Supplier {
		t.Errorf("lease %s/%s, want %s/%s", lease.Namespace, lease.Name, builders.Supplier, want)
	}
	got := lease.Spec
	if len(got.Escrow.ID) != 64 || got.Escrow.Address == "" {
		t.Errorf("escrow %+v", got.Escrow)
	}
	config, err := contract.Config(builders.Market())
	if err != nil {
		t.Fatal(err)
	}
	want := boursev1.GPULeaseSpec{
		Job:   boursev1.JobReference{Namespace: builders.Buyer, Name: job.Name, UID: string(job.UID)},
		Offer: "h100", Pool: "pool", Buyer: builders.Address(builders.Buyer), Supplier: builders.Address(builders.Supplier),
		Model: "h100", Workers: 2, PerWorker: 4,
		Terms: boursev1.LeaseTerms{
			Tier: boursev1.TierInterruptible, Isolation: boursev1.IsolationContainer, Egress: boursev1.EgressNone,
			DurationSeconds: 3600, NoticeSeconds: 30, PeriodSeconds: 60,
		},
		Payment: boursev1.LeasePayment{
			Market: "main", MarketGeneration: 1, Token: "IO", Mint: builders.Address("mint of IO"), Decimals: new(int32(8)),
			PriceUSD: "1.85", PricePerGPUHour: 185_000_000,
			BuyerFeeBps: new(int32(25)), SupplierFeeBps: new(int32(25)), BurnBps: new(int32(10_000)),
			Treasury: builders.Address("treasury"), Config: boursev1.SolanaAddress(config.String()),
			Arbiter: builders.Address("arbiter"), ArbiterCapBps: 2_000, DisputeDelaySeconds: 1_800,
			Deposit: 1_480_000_000 + 3_700_000, // 8 GPU-hours, and the buyer's 25 bps
		},
		Escrow: boursev1.LeaseEscrow{
			ProgramID: builders.Address("program"), ID: got.Escrow.ID, Address: got.Escrow.Address,
			Deadline: metav1.NewTime(builders.Start.Add(10*minute + 3600*time.Second + 3600*time.Second)),
		},
		ProgramSHA256: contract.ProgramDigest(job.Status.ProgramSalt, &job.Spec.Ray), Ends: boursev1.EndsWithTerm,
		AcceptBy: metav1.NewTime(builders.Start.Add(30 * time.Second)),
		State:    boursev1.LeaseActive,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("lease (-want +got):\n%s", diff)
	}
}

func TestARestartKeepsTheChoice(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"), builders.Member("rome-dc"))
	job, _ := b.pass("train")
	chosen := *job.Status.Lease
	cheaper := builders.Offer("rome-dc", "h100")
	cheaper.Spec.PriceUSD = "0.10"
	if err := b.hub.Create(t.Context(), cheaper); err != nil {
		t.Fatal(err)
	}
	b.restart()
	job, _ = b.settle("train")
	if *job.Status.Lease != chosen || len(b.leases()) != 1 || b.leases()[0].Namespace != builders.Supplier {
		t.Errorf("lease %+v after a restart, want %+v and no other", job.Status.Lease, chosen)
	}
}

func TestACrashAfterTheLeaseIsMadeMakesNoSecondOne(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	b.pass("train")
	crash := errors.New("crash")
	b.hub.Fail(func(verb string, _ client.Object) error {
		if verb == "patch status" {
			return crash
		}
		return nil
	})
	job := builders.Job("train")
	b.hub.Read(job)
	if _, err := b.r.Reconcile(t.Context(), job); !errors.Is(err, crash) {
		t.Fatalf("err = %v, want the crash", err)
	}
	if len(b.leases()) != 1 {
		t.Fatal("the crash was meant to come after the lease was made")
	}
	b.hub.Fail(nil)
	b.restart()
	b.hub.Step(minute / 2)
	job, _ = b.settle("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
	if leases := b.leases(); len(leases) != 1 || !leases[0].Spec.AcceptBy.Time.Equal(builders.Start.Add(listing.AcceptWithin)) {
		t.Errorf("leases after the restart: %d", len(leases))
	}
}

func TestALeaseThatTheCacheDoesNotShowIsAdopted(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	b.r.Hub = blind{b.hub.Client}
	b.pass("train")
	crash := errors.New("crash")
	b.hub.Fail(func(verb string, _ client.Object) error {
		if verb == "patch status" {
			return crash
		}
		return nil
	})
	job := builders.Job("train")
	b.hub.Read(job)
	if _, err := b.r.Reconcile(t.Context(), job); !errors.Is(err, crash) {
		t.Fatalf("err = %v, want the crash", err)
	}
	b.hub.Fail(nil)
	job, _ = b.pass("train") // a second lease cannot have the name, and an error here would be that the first was not adopted
	expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
}

func TestAnOfferThatChangesBeforeItsLeaseIsMadeIsMatchedAgain(t *testing.T) {
	cases := map[string]func(*bench, *boursev1.GPUOffer){
		"dearer": func(b *bench, offer *boursev1.GPUOffer) {
			offer.Spec.PriceUSD = "1.99"
			b.hub.Edit(offer)
		},
		"gone": func(b *bench, offer *boursev1.GPUOffer) {
			if err := b.hub.Delete(b.t.Context(), offer); err != nil {
				b.t.Fatal(err)
			}
		},
		"expired": func(b *bench, _ *boursev1.GPUOffer) { b.hub.Step(6 * minute) },
		"needed back": func(b *bench, offer *boursev1.GPUOffer) {
			offer.Spec.AvailableUntil = new(metav1.NewTime(builders.Start.Add(time.Hour)))
			b.hub.Edit(offer)
		},
		"smaller": func(b *bench, offer *boursev1.GPUOffer) {
			offer.Spec.Shapes[0].FreeGPUs = 3
			b.hub.Edit(offer)
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
			b.pass("train")
			offer := builders.Offer(builders.Supplier, "h100")
			b.hub.Read(offer)
			change(b, offer)
			job, _ := b.pass("train")
			expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonRematching)
			if job.Status.Lease != nil || len(b.leases()) != 0 {
				t.Error("a lease was made on an offer that has changed")
			}
			job, _ = b.settle("train")
			switch name {
			case "dearer":
				if lease := b.lease(job); lease.Spec.Payment.PriceUSD != "1.99" || lease.Name != listing.LeaseName(job, 2, 0) {
					t.Errorf("lease %s at %s", lease.Name, lease.Spec.Payment.PriceUSD)
				}
			case "needed back", "smaller":
				expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
			default:
				expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOffers)
			}
		})
	}
}

func TestNoOfferIsExplained(t *testing.T) {
	job := builders.Job("train")
	job.Spec.Bid.MaxPriceUSD = "1.80"
	expired := builders.Offer(builders.Supplier, "expired")
	expired.Spec.ValidUntil = metav1.NewTime(builders.Start)
	invalid := builders.Offer(builders.Supplier, "invalid")
	invalid.Status.Conditions = nil
	b := newBench(t, job, builders.Offer(builders.Supplier, "h100"), expired, invalid)
	job, result := b.pass("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
	want := "1 of 3 offers fails only on price: the cheapest asks 1.85 USD, the job bids 1.80 USD (rejected: 2 on validity, 1 on price)"
	for _, kind := range []string{boursev1.JobMatched, boursev1.Succeeded} {
		if got := meta.FindStatusCondition(job.Status.Conditions, kind).Message; got != want {
			t.Errorf("%s says %q, want %q", kind, got, want)
		}
	}
	if result.RequeueAfter < rematchEvery {
		t.Errorf("the job is tried again after %s, want at least %s", result.RequeueAfter, rematchEvery)
	}
	if wrote := b.hub.Writes(func() { b.pass("train") }); len(wrote) != 0 {
		t.Errorf("the second pass wrote %v", wrote)
	}
}

// Two jobs that each need the whole offer: only one may get it, whatever the cache shows.
func TestTwoJobsNeverGetTheSameGPUs(t *testing.T) {
	offer := builders.Offer(builders.Supplier, "h100")
	offer.Spec.Shapes = []boursev1.NodeShape{{FreeGPUs: 4, Nodes: 2}}
	for _, stale := range []bool{false, true} {
		b := newBench(t, builders.Job("one"), builders.Job("two"), offer.DeepCopy())
		if stale {
			b.r.Hub = blind{b.hub.Client}
		}
		first, _ := b.pass("one")
		second, _ := b.pass("two") // the first lease is not even made
		if first.Status.Lease == nil || second.Status.Lease != nil {
			t.Fatalf("stale=%t: leases %v and %v", stale, first.Status.Lease, second.Status.Lease)
		}
		b.pass("one") // now it is made, and a stale cache does not show it
		second, _ = b.pass("two")
		expect(t, second, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
		if n := len(b.leases()); n != 1 {
			t.Errorf("stale=%t: %d leases, want 1", stale, n)
		}
	}
}

func TestAcceptedGPUsCountUntilTheOfferIsPublishedAgain(t *testing.T) {
	offer := builders.Offer(builders.Supplier, "h100")
	offer.Spec.Shapes = []boursev1.NodeShape{{FreeGPUs: 4, Nodes: 2}}
	b := newBench(t, builders.Job("one"), builders.Job("two"), offer)
	job, _ := b.settle("one")
	b.supplier(b.lease(job), nil, accepted())
	second, _ := b.pass("two")
	expect(t, second, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
	b.hub.Step(listing.Republished)
	second, _ = b.settle("two") // the published numbers are the supplier's word again
	expect(t, second, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
}

func TestARefusedJobIsMatchedAgainElsewhere(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"), builders.Member("rome-dc"))
	job, _ := b.settle("train")
	dearer := builders.Offer("rome-dc", "h100")
	dearer.Spec.PriceUSD = "1.99"
	if err := b.hub.Create(t.Context(), dearer); err != nil {
		t.Fatal(err)
	}
	first := b.lease(job)
	b.supplier(first, func(status *boursev1.GPULeaseStatus) {
		status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotAccepted, Party: boursev1.PartySupplier, At: metav1.NewTime(b.hub.Now())}
	}, builders.Condition(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonCapacityGone),
		builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndNotAccepted))
	job, result := b.settle("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonRematching)
	if job.Status.Lease != nil || result.RequeueAfter != firstBackoff {
		t.Fatalf("lease %v, next pass in %s; want none, in %s", job.Status.Lease, result.RequeueAfter, firstBackoff)
	}
	b.hub.Step(firstBackoff)
	job, _ = b.settle("train")
	second := b.lease(job)
	if second.Namespace != "rome-dc" || job.Status.Attempts != 2 || second.Name == first.Name {
		t.Errorf("lease %s/%s at attempt %d, want one of rome-dc at the second", second.Namespace, second.Name, job.Status.Attempts)
	}
}

// The supplier's clock, or its word, may be far from ours: the job is neither matched again at once nor kept from it.
func TestARefusalIsNoEarlierAndNoLaterThanItCanBe(t *testing.T) {
	for name, off := range map[string]time.Duration{"a clock that is ahead": 48 * time.Hour, "a clock that is behind": -48 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
			job, _ := b.settle("train")
			lease := b.lease(job)
			lease.CreationTimestamp = metav1.NewTime(b.hub.Now())
			b.hub.Edit(lease)
			b.supplier(lease, func(status *boursev1.GPULeaseStatus) {
				status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotAccepted, Party: boursev1.PartySupplier, At: metav1.NewTime(b.hub.Now().Add(off))}
			})
			_, result := b.settle("train")
			if most := listing.AcceptWithin + acceptGrace + firstBackoff; result.RequeueAfter < firstBackoff || result.RequeueAfter > most {
				t.Fatalf("it is matched again in %s, want from %s to %s", result.RequeueAfter, firstBackoff, most)
			}
			b.hub.Step(result.RequeueAfter)
			if job, _ = b.settle("train"); job.Status.Attempts != 2 || job.Status.Lease == nil {
				t.Errorf("attempt %d, lease %v; want one at the second", job.Status.Attempts, job.Status.Lease)
			}
		})
	}
}

func TestBackoffGrowsToItsMost(t *testing.T) {
	want := []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second}
	for i, wait := range want {
		if got := backoff(int32(i + 1)); got != wait {
			t.Errorf("attempt %d waits %s, want %s", i+1, got, wait)
		}
	}
	for _, attempts := range []int32{7, 64, 1 << 30} {
		if got := backoff(attempts); got != mostBackoff {
			t.Errorf("attempt %d waits %s, want %s", attempts, got, mostBackoff)
		}
	}
}

func TestASilentSupplierLosesTheLease(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	job, result := b.settle("train")
	if result.RequeueAfter != listing.AcceptWithin+acceptGrace {
		t.Errorf("next pass in %s, want %s", result.RequeueAfter, listing.AcceptWithin+acceptGrace)
	}
	name := b.lease(job).Name
	b.hub.Step(listing.AcceptWithin + acceptGrace)
	b.pass("train")
	lease := &boursev1.GPULease{ObjectMeta: metav1.ObjectMeta{Namespace: builders.Supplier, Name: name}}
	b.hub.Read(lease)
	if lease.Spec.State != boursev1.LeaseEnded || lease.Spec.EndReason != boursev1.EndNotAccepted {
		t.Errorf("lease is %s/%s, want Ended/NotAccepted", lease.Spec.State, lease.Spec.EndReason)
	}
	job, _ = b.pass("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonRematching)
}

func TestAConflictTellsNothing(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	stale := builders.Job("train")
	b.hub.Read(stale)
	stale.Finalizers = []string{Finalizer} // so that the only write is the status
	b.hub.Edit(stale)
	newer := stale.DeepCopy()
	newer.Labels = map[string]string{"touched": "yes"}
	b.hub.Edit(newer)
	result, err := b.r.Reconcile(t.Context(), stale)
	if err != nil || result.RequeueAfter == 0 {
		t.Fatalf("result %+v, err %v; want another pass soon", result, err)
	}
	if n := b.hub.Events(); n != 0 {
		t.Errorf("%d events told of a write that was refused", n)
	}
}

func TestLeaseNamesFitANamespace(t *testing.T) {
	names := map[string]bool{}
	for _, name := range []string{"a", "train.v2.daily", strings.Repeat("long-", 50), strings.Repeat("x", 40) + "-y"} {
		job := builders.Job(name)
		for i := range 3 * boursev1.MaxParts {
			attempt, part := int32(1+i/boursev1.MaxParts), i%boursev1.MaxParts
			got := listing.LeaseName(job, attempt, part)
			if len(got) > 50 || strings.ContainsAny(got, "._") || strings.Contains(got, "--") || names[got] {
				t.Errorf("lease name %q of job %q: too long, unfit or not unique", got, name)
			}
			names[got] = true
			if got != listing.LeaseName(job, attempt, part) {
				t.Error("the name changes from call to call")
			}
		}
	}
	other := builders.Job("a")
	other.UID = types.UID("another incarnation")
	if names[listing.LeaseName(other, 1, 0)] {
		t.Error("another incarnation of a job has the same lease")
	}
}

func TestRenewalsDoNotWakeJobs(t *testing.T) {
	base := builders.Offer(builders.Supplier, "h100")
	cases := map[string]struct {
		change func(*boursev1.GPUOffer)
		want   bool
	}{
		"a renewal":         {func(o *boursev1.GPUOffer) { o.Spec.ValidUntil = metav1.NewTime(builders.Start.Add(time.Hour)) }, false},
		"a lower price":     {func(o *boursev1.GPUOffer) { o.Spec.PriceUSD = "1" }, true},
		"more free GPUs":    {func(o *boursev1.GPUOffer) { o.Spec.Shapes[0].Nodes = 9 }, true},
		"an offer expiring": {func(o *boursev1.GPUOffer) { o.Status.Conditions = nil }, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			after := base.DeepCopy()
			tc.change(after)
			if got := offerChanged(base, after); got != tc.want {
				t.Errorf("changed = %t, want %t", got, tc.want)
			}
		})
	}
}

func TestOnlyUnmatchedJobsAreWoken(t *testing.T) {
	matched := builders.Job("matched")
	matched.Status.Lease = &boursev1.ObjectReference{Namespace: "n", Name: "l"}
	over := builders.Job("over")
	over.Status.Conditions = []metav1.Condition{builders.Condition(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndCompleted)}
	rejected := builders.Job("rejected")
	rejected.Status.Conditions = []metav1.Condition{builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.ReasonRejected)}
	b := newBench(t, builders.Job("waiting"), matched, over, rejected)
	got := map[string]bool{}
	for _, request := range b.r.unmatchedJobs(t.Context()) {
		got[request.Name] = true
	}
	if diff := cmp.Diff(map[string]bool{"waiting": true, "rejected": true}, got); diff != "" {
		t.Errorf("woken (-want +got):\n%s", diff)
	}
}
