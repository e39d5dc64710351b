// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

// What the wallet of the buyer says for the lead part, the job says.
func TestARefusedDepositOfPartsIsTold(t *testing.T) {
	b := split(t)
	job, _ := b.settle("train")
	for i := range 2 {
		lease := b.part(job, i)
		voucher := &boursev1.Voucher{ObjectMeta: metav1.ObjectMeta{Namespace: job.Namespace, Name: lease.Name}}
		voucher.Spec.Lease = job.Status.Parts[i].Lease
		if i == 0 {
			voucher.Spec.Refusal = "Refused: the deposits are too much"
		}
		if err := b.hub.Create(t.Context(), voucher); err != nil {
			t.Fatal(err)
		}
		b.supplier(lease, nil, accepted())
	}
	job, _ = b.settle("train")
	expect(t, job, boursev1.JobFunded, metav1.ConditionFalse, boursev1.ReasonDepositRefused)
}

func TestTheJobSumsItsParts(t *testing.T) {
	b := split(t)
	job, _ := b.settle("train")
	for i, used := range []int64{480_000, 120_000} {
		b.supplier(b.part(job, i), func(status *boursev1.GPULeaseStatus) {
			status.Usage = &boursev1.LeaseUsage{
				Sequence: 2, GPUMilliseconds: &used, Gross: new(used * 10), Through: metav1.NewTime(builders.Start), Digest: builders.Hash("record"),
			}
			status.Paid = new(used * 10)
			notified(status)
			status.Notice.Until = metav1.NewTime(builders.Start.Add(time.Duration(5-i) * time.Minute))
		}, runs.conditions...)
	}
	job, _ = b.settle("train")
	want := &boursev1.JobUsage{
		GPUMilliseconds: new(int64(600_000)), Token: "IO", Paid: new(int64(6_015_000)), Cost: "0.06015 IO", // with 25 bps on top
	}
	if diff := cmp.Diff(want, job.Status.Usage); diff != "" {
		t.Errorf("usage (-want +got):\n%s", diff)
	}
	if job.Status.Notice == nil || !job.Status.Notice.Until.Time.Equal(builders.Start.Add(4*time.Minute)) {
		t.Errorf("notice %+v, want the soonest", job.Status.Notice)
	}
}

func TestADeletedJobEndsAllItsParts(t *testing.T) {
	b := split(t)
	job, _ := b.settle("train")
	for i := range 2 {
		b.supplier(b.part(job, i), nil, runs.conditions...)
	}
	b.delete(job)
	job, _ = b.settle("train")
	if diff := cmp.Diff(map[string]string{builders.Supplier: boursev1.EndJobDeleted, "rome-dc": boursev1.EndJobDeleted}, b.ends()); diff != "" {
		t.Errorf("ends (-want +got):\n%s", diff)
	}
	b.supplier(b.part(job, 1), end(boursev1.EndJobDeleted), builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndJobDeleted))
	if job, _ = b.settle("train"); job == nil {
		t.Fatal("the job was let go while one of its leases is open")
	}
	expect(t, job, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonSettling)
	b.supplier(b.part(job, 0), end(boursev1.EndJobDeleted), builders.Condition(boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndJobDeleted))
	if job, _ = b.pass("train"); job != nil {
		t.Error("the job is kept after its leases ended")
	}
}

// A part that is gone ends the others before the job is over; one whose supplier is silent ends nothing until its escrow is over.
func TestAPartThatIsGoneOrSilent(t *testing.T) {
	t.Run("gone", func(t *testing.T) {
		b := split(t)
		job, _ := b.settle("train")
		b.supplier(b.part(job, 0), nil, runs.conditions...)
		if err := b.hub.Delete(t.Context(), b.part(job, 1)); err != nil {
			t.Fatal(err)
		}
		job, _ = b.settle("train")
		expect(t, job, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonSettling)
		if b.ends()[builders.Supplier] != boursev1.EndPartEnded {
			t.Errorf("ends %v", b.ends())
		}
		first := ended(metav1.ConditionFalse, boursev1.EndPartEnded)
		b.supplier(b.part(job, 0), first.change, first.conditions...)
		job, _ = b.settle("train")
		expect(t, job, boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndFault)
	})
	t.Run("silent", func(t *testing.T) {
		b := split(t)
		job, _ := b.settle("train")
		first := ended(metav1.ConditionTrue, boursev1.EndCompleted)
		b.supplier(b.part(job, 0), first.change, first.conditions...)
		b.supplier(b.part(job, 1), nil, runs.conditions...)
		job, result := b.settle("train")
		if want := b.part(job, 1).Spec.Escrow.Deadline.Add(silence).Sub(b.hub.Now()); result.RequeueAfter != want {
			t.Fatalf("next pass in %s, want %s", result.RequeueAfter, want)
		}
		b.hub.Step(result.RequeueAfter - time.Second)
		job, _ = b.settle("train")
		expect(t, job, boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning)
		b.hub.Step(time.Second)
		job, _ = b.settle("train")
		expect(t, job, boursev1.Succeeded, metav1.ConditionFalse, boursev1.EndFault)
		if message := meta.FindStatusCondition(job.Status.Conditions, boursev1.Succeeded).Message; !strings.HasPrefix(message, "Part 2 of 2: ") {
			t.Errorf("message %q", message)
		}
	})
}
