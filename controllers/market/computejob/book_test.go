// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
)

// tight is an offer that one job fills.
func tight() *boursev1.GPUOffer {
	offer := builders.Offer(builders.Supplier, "h100")
	offer.Spec.Shapes = []boursev1.NodeShape{{FreeGPUs: 4, Nodes: 2}}
	return offer
}

// recorded reads a job's decision as the matcher wrote it.
func recorded(t *testing.T, job *boursev1.ComputeJob) book.Record {
	t.Helper()
	record, err := listing.Record(job)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

// snapshot is what a person has who asks the API server for all offers, without what is held for a job.
func (b *bench) snapshot(except *boursev1.ComputeJob) []book.Offer {
	b.t.Helper()
	market, err := listing.Take(b.t.Context(), b.hub, builders.Buyer)
	if err != nil {
		b.t.Fatal(err)
	}
	found, err := market.Book(except.UID, b.hub.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return found.Offers()
}

func TestADecisionCanBeReplayed(t *testing.T) {
	dear := builders.Offer("rome-dc", "h100")
	dear.Spec.PriceUSD = "1.99"
	other := builders.Offer("lima-dc", "l4")
	other.Spec.Model = "l4"
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"), dear, other, builders.Member("rome-dc"))
	job, _ := b.pass("train")
	record := recorded(t, job)
	if record.Offers != 3 || record.Rejected != "model 1" || record.By != "Score" || record.Next != "rome-dc/h100" {
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
	offers[0].Price++
	if differences := book.Replay(record, &asked, offers); differences == nil {
		t.Error("another price was not noticed")
	}
	raw, err := json.Marshal(job.Status.Decision)
	if err != nil || len(raw) > 1024 {
		t.Errorf("a record of %d bytes, %v", len(raw), err)
	}
	// The decision stays with the lease, and goes with it.
	job, _ = b.settle("train")
	if job.Status.Decision == nil {
		t.Error("the lease came and the decision went")
	}
	b.supplier(b.lease(job), func(status *boursev1.GPULeaseStatus) {
		status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotAccepted, Party: boursev1.PartySupplier, At: metav1.NewTime(b.hub.Now())}
	})
	if job, _ = b.pass("train"); job.Status.Decision != nil {
		t.Errorf("the lease was refused, and the job still says %+v", job.Status.Decision)
	}
}

// The longest that a record can be, by the bounds of its fields.
func TestARecordIsBounded(t *testing.T) {
	raw, err := json.Marshal(&boursev1.JobDecision{
		Formula: 1, At: metav1.NewTime(builders.Start), Demand: boursev1.SHA256(builders.Hash("a")), Book: boursev1.SHA256(builders.Hash("b")),
		Offers: 1<<31 - 1, Rejected: string(make([]byte, 0)) + fmt.Sprintf("%0256d", 0), Score: fmt.Sprintf("%024d", 0), By: boursev1.EdgeRefusal,
		Next: fmt.Sprintf("%0317d", 0), NextScore: fmt.Sprintf("%024d", 0),
	})
	if err != nil || len(raw) > 1024 {
		t.Errorf("a record can have %d bytes (%v), want at most 1024", len(raw), err)
	}
}

// A write that is refused leaves nothing behind that stands in the job's own way.
func TestARefusedWriteDoesNotHoldTheGPUs(t *testing.T) {
	b := newBench(t, builders.Job("train"), tight())
	stale := builders.Job("train")
	b.hub.Read(stale)
	stale.Finalizers = []string{Finalizer} // so that the only write is the status
	b.hub.Edit(stale)
	newer := stale.DeepCopy()
	newer.Labels = map[string]string{"touched": "yes"}
	b.hub.Edit(newer)
	b.tell()
	if _, err := b.r.Reconcile(t.Context(), stale); err != nil {
		t.Fatal(err)
	}
	job, _ := b.settle("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
}

func TestARestartKeepsWhatWasChosenForOthers(t *testing.T) {
	b := newBench(t, builders.Job("one"), builders.Job("two"), tight())
	b.pass("one") // chosen, and its lease is not made yet
	b.restart()
	two, _ := b.pass("two")
	expect(t, two, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
	one, _ := b.settle("one")
	b.lease(one)
	if n := len(b.leases()); n != 1 {
		t.Errorf("%d leases, want 1", n)
	}
}

func TestALeaseThatEndsGivesBackWhatItHeld(t *testing.T) {
	b := newBench(t, builders.Job("one"), builders.Job("two"), tight())
	one, _ := b.settle("one")
	two, _ := b.pass("two")
	expect(t, two, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
	b.supplier(b.lease(one), func(status *boursev1.GPULeaseStatus) {
		status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotAccepted, Party: boursev1.PartySupplier, At: metav1.NewTime(b.hub.Now())}
	})
	b.queue.added = nil
	b.tell()
	if !slices.Contains(b.queue.added, "two") {
		t.Errorf("the end of the lease brought back %v, want the job that waits too", b.queue.added)
	}
	two, _ = b.settle("two")
	b.lease(two)
}

func TestADeletedLeaseGivesBackWhatItHeld(t *testing.T) {
	b := newBench(t, builders.Job("one"), builders.Job("two"), tight())
	one, _ := b.settle("one")
	if err := b.hub.Delete(t.Context(), b.lease(one)); err != nil {
		t.Fatal(err)
	}
	two, _ := b.settle("two")
	b.lease(two)
}

func TestOnlyOffersThatCanServeAJobBringItBack(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPUOffer)
		want   bool
	}{
		"a price that is low enough":   {func(o *boursev1.GPUOffer) { o.Spec.PriceUSD = "1.80" }, true},
		"a price that is still high":   {func(o *boursev1.GPUOffer) { o.Spec.PriceUSD = "1.81" }, false},
		"a low price with little room": {func(o *boursev1.GPUOffer) { o.Spec.PriceUSD, o.Spec.Shapes[0].FreeGPUs = "1.00", 2 }, false},
		"a renewal":                    {func(o *boursev1.GPUOffer) { o.Spec.ValidUntil = metav1.NewTime(builders.Start.Add(time.Hour)) }, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := builders.Job("train")
			job.Spec.Bid.MaxPriceUSD = "1.80"
			b := newBench(t, job, builders.Offer(builders.Supplier, "h100"))
			b.pass("train")
			b.queue.added = nil
			offer := builders.Offer(builders.Supplier, "h100")
			b.hub.Read(offer)
			tc.change(offer)
			b.hub.Edit(offer)
			b.tell()
			if got := slices.Contains(b.queue.added, "train"); got != tc.want {
				t.Errorf("brought back: %t, want %t", got, tc.want)
			}
		})
	}
}

func TestAJobThatIsNotTriedAnyMoreIsForgotten(t *testing.T) {
	job := builders.Job("train")
	job.Spec.Bid.MaxPriceUSD = "1.80"
	b := newBench(t, job, builders.Offer(builders.Supplier, "h100"))
	b.pass("train")
	b.hub.Step(forgotten*rematchEvery + 1)
	cheap, err := listing.Offer(builders.Offer(builders.Supplier, "h100"), listing.Supplier{})
	if err != nil {
		t.Fatal(err)
	}
	cheap.Price = 1
	cheap.ValidUntil = b.hub.Now().Add(time.Hour)
	if got := b.r.feed.served(&cheap, b.hub.Now()); len(got) != 0 || len(b.r.feed.waiting) != 0 {
		t.Errorf("%v was brought back, %d jobs are remembered", got, len(b.r.feed.waiting))
	}
}

func TestManyWaitingJobsAreTriedLessOften(t *testing.T) {
	var f feed
	var every time.Duration
	for i := range 3000 {
		every = f.wait(client.ObjectKey{Name: strconv.Itoa(i)}, &book.Demand{At: builders.Start}, 1)
		if i == 0 && every != rematchEvery {
			t.Errorf("one job is tried every %s, want %s", every, rematchEvery)
		}
	}
	if want := 2999 * spacing; every != want {
		t.Errorf("the last of 3000 jobs is tried every %s, want %s", every, want)
	}
}

func TestARenewedOfferIsMatchedAndAnExpiredOneIsNot(t *testing.T) {
	b := newBench(t, builders.Job("one"), builders.Job("two"), builders.Offer(builders.Supplier, "h100"))
	b.settle("one") // the book is built
	b.hub.Step(10 * minute)
	two, _ := b.pass("two")
	expect(t, two, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOffers)
	offer := builders.Offer(builders.Supplier, "h100")
	b.hub.Read(offer)
	offer.Spec.ValidUntil = metav1.NewTime(b.hub.Now().Add(minute))
	b.hub.Edit(offer)
	two, _ = b.settle("two")
	b.lease(two)
}

func TestWhatAJobIsToldFollowsTheBook(t *testing.T) {
	job := builders.Job("train")
	job.Spec.Bid.MaxPriceUSD = "1.80"
	b := newBench(t, job, builders.Offer(builders.Supplier, "h100"))
	message := func() string {
		got, _ := b.pass("train")
		return meta.FindStatusCondition(got.Status.Conditions, boursev1.JobMatched).Message
	}
	want := "1 of 1 offer fails only on price: the cheapest asks 1.85 USD, the job bids 1.80 USD (rejected: 1 on price)"
	if got := message(); got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	second := builders.Offer("rome-dc", "h100")
	second.Spec.PriceUSD = "1.82"
	if err := b.hub.Create(t.Context(), second); err != nil {
		t.Fatal(err)
	}
	want = "2 of 2 offers fail only on price: the cheapest asks 1.82 USD, the job bids 1.80 USD (rejected: 2 on price)"
	if got := message(); got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	b.hub.Read(job)
	job.Spec.Bid.MaxPriceUSD, job.Generation = "1.81", 2
	b.hub.Edit(job)
	want = "2 of 2 offers fail only on price: the cheapest asks 1.82 USD, the job bids 1.81 USD (rejected: 2 on price)"
	if got := message(); got != want {
		t.Errorf("message %q, want %q", got, want)
	}
	if wrote := b.hub.Writes(func() { b.pass("train") }); len(wrote) != 0 {
		t.Errorf("a pass without news wrote %v", wrote)
	}
}

func TestWhatAJobSaysOfItsRanking(t *testing.T) {
	rome := func(change func(*boursev1.GPUOffer)) *boursev1.GPUOffer {
		offer := builders.Offer("rome-dc", "h100")
		offer.Spec.PriceUSD = "1.80"
		if change != nil {
			change(offer)
		}
		return offer
	}
	cases := map[string]struct {
		job  func(*boursev1.ComputeJobSpec)
		rome *boursev1.GPUOffer
		want string
	}{
		"the cheapest wins": {func(*boursev1.ComputeJobSpec) {}, rome(nil), "rome-dc"},
		"unless its region has a penalty": {
			func(s *boursev1.ComputeJobSpec) {
				s.Placement.RegionPenalties = []boursev1.RegionPenalty{{Region: "eu-south", Percent: 5}}
			}, rome(func(o *boursev1.GPUOffer) { o.Spec.Region = "eu-south" }), builders.Supplier,
		},
		"or its model is slow": {
			func(s *boursev1.ComputeJobSpec) {
				s.GPUs.Models = append(s.GPUs.Models, "a100")
				s.Ranking.Speeds = []boursev1.ModelSpeed{{Model: "a100", Percent: 90}}
			}, rome(func(o *boursev1.GPUOffer) { o.Spec.Model = "a100" }), builders.Supplier,
		},
		"or the job would break its whole nodes": {
			func(s *boursev1.ComputeJobSpec) {
				s.GPUs.Workers, s.GPUs.PerWorker, s.Ranking.PackingPercent = 1, 7, new(int32(100))
			},
			rome(func(o *boursev1.GPUOffer) { o.Spec.Shapes[0].FreeGPUs = 9 }), builders.Supplier,
		},
		"which a job may count for nothing": {
			func(s *boursev1.ComputeJobSpec) {
				s.GPUs.Workers, s.GPUs.PerWorker, s.Ranking.PackingPercent = 1, 7, new(int32(0))
			},
			rome(func(o *boursev1.GPUOffer) { o.Spec.Shapes[0].FreeGPUs = 9 }), "rome-dc",
		},
		"or its GPUs are needed back too soon": {
			func(*boursev1.ComputeJobSpec) {},
			rome(func(o *boursev1.GPUOffer) {
				o.Spec.AvailableUntil = new(metav1.NewTime(builders.Start.Add(70*minute - time.Second)))
			}), builders.Supplier,
		},
		"which is not so at the last moment": {
			func(*boursev1.ComputeJobSpec) {},
			rome(func(o *boursev1.GPUOffer) {
				o.Spec.AvailableUntil = new(metav1.NewTime(builders.Start.Add(70 * minute)))
			}), "rome-dc",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job, oslo := builders.Job("train"), builders.Offer(builders.Supplier, "h100")
			tc.job(&job.Spec)
			if job.Spec.GPUs.PerWorker == 7 {
				oslo.Spec.Shapes[0].FreeGPUs = 7
			}
			b := newBench(t, job, oslo, tc.rome, builders.Member("rome-dc"))
			got, _ := b.pass("train")
			if got.Status.Lease == nil || got.Status.Lease.Namespace != tc.want {
				t.Errorf("the job got %+v, want an offer of %s", got.Status.Lease, tc.want)
			}
		})
	}
}

// Whatever happened to offers and leases, a controller that saw it all and one that was just started have the same book.
func TestARestartedControllerHasTheSameBook(t *testing.T) {
	offers := 0
	defer func() {
		if offers < 12 {
			t.Errorf("%d offers in 6 books: the property was hardly tried", offers)
		}
	}()
	for seed := range uint64(6) {
		rng := rand.New(rand.NewPCG(seed, 5))
		b := newBench(t)
		if err := b.r.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i := range 50 {
			b.happen(rng, i)
			b.tell()
			if err := b.r.sync(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		want := b.r.book.Digest()
		b.restart()
		if err := b.r.sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		offers += b.r.book.Len()
		b.r.book.Expire(b.hub.Now())
		if got := b.r.book.Digest(); got != want {
			t.Fatalf("seed %d: the restarted controller has another book", seed)
		}
	}
}

// happen changes something that the book depends on.
func (b *bench) happen(rng *rand.Rand, i int) {
	b.t.Helper()
	offer := builders.Offer(fmt.Sprintf("member-%d", rng.IntN(4)), "h100")
	exists := b.hub.Get(b.t.Context(), client.ObjectKeyFromObject(offer), offer) == nil
	_, lease := builders.Leased(b.t, fmt.Sprintf("lease-%d", rng.IntN(5)))
	lease.Namespace = offer.Namespace
	if rng.IntN(2) == 0 {
		lease.Status = boursev1.GPULeaseStatus{}
	}
	leased := b.hub.Get(b.t.Context(), client.ObjectKeyFromObject(lease), lease) == nil
	switch action := rng.IntN(6); {
	case action == 0 && exists:
		if err := b.hub.Delete(b.t.Context(), offer); err != nil {
			b.t.Fatal(err)
		}
	case action < 3 && exists:
		offer.Spec.PriceUSD = boursev1.USDPrice(fmt.Sprintf("1.%02d", i))
		b.hub.Edit(offer)
	case action < 3:
		if err := b.hub.Create(b.t.Context(), offer); err != nil {
			b.t.Fatal(err)
		}
	case action == 3 && !leased:
		lease.Spec.Offer, lease.Spec.Workers = "h100", int32(1+rng.IntN(2))
		if err := b.hub.Create(b.t.Context(), lease); err != nil {
			b.t.Fatal(err)
		}
	case action == 4 && leased:
		if err := b.hub.Delete(b.t.Context(), lease); err != nil {
			b.t.Fatal(err)
		}
	case leased:
		b.supplier(lease, func(status *boursev1.GPULeaseStatus) {
			if i%2 == 0 {
				status.End = &boursev1.LeaseEnd{Reason: boursev1.EndFault, Party: boursev1.PartySupplier, At: metav1.NewTime(b.hub.Now())}
			}
		})
	}
}

// What the market holds of a supplier counts: where stake is asked for, an offer without it is out, and the better reputation outweighs a
// lower price.
func TestWhatTheMarketHoldsOfASupplierCounts(t *testing.T) {
	trusted, other := builders.Member("rome-dc"), builders.Offer("rome-dc", "h100")
	other.Spec.PriceUSD = "1.90"
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"), other, trusted)
	market := builders.Market()
	b.hub.Read(market)
	market.Spec.Stake = &boursev1.MarketStake{Token: "IO", PerGPU: "200"}
	b.hub.Edit(market)
	job, _ := b.pass("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
	want := "2 of 2 offers fail only on stake: the cheapest has less at stake than the market asks for (rejected: 2 on stake)"
	if got := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMatched).Message; got != want {
		t.Errorf("the job was told %q, want %q", got, want)
	}
	for _, namespace := range []string{builders.Supplier, "rome-dc"} {
		stake := builders.StakePosition(namespace)
		stake.Status.Conditions = []metav1.Condition{builders.Condition(boursev1.StakeCovered, metav1.ConditionTrue, boursev1.ReasonRequirementMet)}
		if err := b.hub.Create(t.Context(), stake); err != nil {
			t.Fatal(err)
		}
	}
	trusted.Status.Reputation = &boursev1.MemberReputation{OverallPPM: new(int32(960_000)), Standing: boursev1.StandingKnown}
	b.hub.EditStatus(trusted)
	if served := b.r.suppliers(t.Context()); len(served) != 2 { // one job, by two offers
		t.Errorf("the watches brought back %v, want the job that waits", served)
	}
	job, _ = b.pass("train")
	if job.Status.Offer != "h100" || job.Status.Lease == nil || job.Status.Lease.Namespace != "rome-dc" {
		t.Errorf("the job got offer %s, lease %v; want that of rome-dc", job.Status.Offer, job.Status.Lease)
	}
}

// A job whose bid rises is told what it bids now, and is matched as soon as that is enough.
func TestARisingBidIsTriedAtEachStep(t *testing.T) {
	job := builders.Job("train")
	job.CreationTimestamp = metav1.NewTime(builders.Start)
	job.Spec.Bid.Rise = &boursev1.BidRise{FromUSD: "1.80", OverSeconds: 60, Steps: 6} // to 2.00
	b := newBench(t, job, builders.Offer(builders.Supplier, "h100"))
	for _, bids := range []string{"1.80", "1.833333333"} {
		var result reconcile.Result
		job, result = b.pass("train")
		want := "1 of 1 offer fails only on price: the cheapest asks 1.85 USD, the job bids " + bids + " USD (rejected: 1 on price)"
		if got := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMatched); got == nil || got.Message != want {
			t.Fatalf("the job was told %+v, want %q", got, want)
		}
		if result.RequeueAfter != 10*time.Second {
			t.Errorf("it is tried again in %s, want when it bids more, in 10s", result.RequeueAfter)
		}
		b.hub.Step(10 * time.Second)
	}
	if job, _ = b.pass("train"); job.Status.Offer != "h100" {
		t.Errorf("at 1.866 USD the job got %q, want the offer at 1.85", job.Status.Offer)
	}
}
