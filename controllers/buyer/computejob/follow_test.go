// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

// All that the hub says of a job is told, and only what the hub cannot know is added.
func TestTheJobSaysWhatTheHubSays(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	events := b.here.fake.Events()
	said := boursev1.ComputeJobStatus{
		Conditions: []metav1.Condition{
			condition(boursev1.JobAdmitted, metav1.ConditionTrue, boursev1.ReasonJobAdmitted, 1),
			condition(boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound, 1),
			condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning, 1),
			condition(boursev1.JobMirrored, metav1.ConditionFalse, "Nonsense", 1), // not the hub's to say
		},
		Lease: &boursev1.ObjectReference{Namespace: "oslo-dc", Name: "train-1"}, Offer: "oslo-h100", Model: "h100", GPUs: 8, PriceUSD: "1.85",
		Decision: &boursev1.JobDecision{
			Formula: 1, At: metav1.NewTime(builders.Start), Demand: boursev1.SHA256(builders.Hash("demand")), Book: boursev1.SHA256(builders.Hash("book")),
			Offers: 3, Score: "1.85", By: boursev1.EdgeScore,
		},
		Attempts: 2,
		Usage:    &boursev1.JobUsage{GPUMilliseconds: new(int64(5)), Token: "IO", Paid: new(int64(7)), Cost: "0.00000007 IO"},
	}
	b.market(b.twin(), func(twin *boursev1.ComputeJob) { twin.Status = *said.DeepCopy() })
	b.settle("train")
	got := b.job("train").Status
	want := said.DeepCopy()
	want.Conditions = append([]metav1.Condition{*b.says(boursev1.JobMirrored, metav1.ConditionTrue, boursev1.ReasonInHub)}, want.Conditions[:3]...)
	want.Conditions[0].LastTransitionTime = metav1.NewTime(want.Conditions[0].LastTransitionTime.UTC())
	got.Decision.At = metav1.NewTime(got.Decision.At.UTC())
	for i := range got.Conditions {
		got.Conditions[i].LastTransitionTime = metav1.NewTime(got.Conditions[i].LastTransitionTime.UTC())
	}
	if diff := cmp.Diff(*want, got); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	if told := b.here.fake.Events() - events; told != 3 {
		t.Errorf("%d events were told, want one for each condition that changed", told)
	}
}

func TestAMarketThatWritesNothingIsWaitedFor(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	before := b.says(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonAwaitingMarket)
	b.market(b.twin(), func(twin *boursev1.ComputeJob) { twin.Status.GPUs = 8 })
	b.settle("train")
	after := b.says(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonAwaitingMarket)
	if !before.LastTransitionTime.Equal(&after.LastTransitionTime) || b.job("train").Status.GPUs != 8 {
		t.Errorf("before %v, after %v", before, after)
	}
}
