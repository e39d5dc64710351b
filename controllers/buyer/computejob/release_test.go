// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"errors"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

const marketFinalizer = "bourse.dev/lease"

// leaving is a job that was deleted while its twin had a lease, and after the pass that passed that on.
func leaving(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.finalizers(b.hub, b.twin(), marketFinalizer)
	b.market(b.twin(), func(twin *boursev1.ComputeJob) {
		twin.Status.Lease = &boursev1.ObjectReference{Namespace: "oslo-dc", Name: "train-1"}
	})
	b.settle("train")
	b.remove(b.here, b.job("train"))
	return b
}

func TestADeletedJobTakesItsTwinAlong(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.remove(b.here, b.job("train"))
	b.settle("train")
	if b.find("train") != nil || len(b.twins()) > 0 {
		t.Errorf("the job is there: %v; the hub has %d jobs", b.find("train") != nil, len(b.twins()))
	}
}

func TestADeletedJobWaitsForItsTwinAndShowsItsEnd(t *testing.T) {
	b := leaving(t)
	b.settle("train")
	b.says(boursev1.JobMirrored, metav1.ConditionUnknown, boursev1.ReasonReleasing)
	if b.twin().DeletionTimestamp.IsZero() {
		t.Fatal("the twin is not deleted")
	}
	b.market(b.twin(), func(twin *boursev1.ComputeJob) {
		twin.Status.Conditions = []metav1.Condition{condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonSettling, 1)}
	})
	b.settle("train")
	b.says(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonSettling)
	b.finalizers(b.hub, b.twin())
	b.settle("train")
	if b.find("train") != nil {
		t.Error("the job is still there")
	}
}

func TestADeletedJobIsLetGoAfterAWhile(t *testing.T) {
	forbid := func(b *bench) {
		b.hub.fake.Fail(func(verb string, _ client.Object) error {
			if verb == "delete" {
				return apierrors.NewForbidden(jobsResource, "x", errors.New("the member was suspended"))
			}
			return nil
		})
	}
	hide := func(b *bench) {
		b.hub.away = apierrors.NewForbidden(jobsResource, "x", errors.New("cannot get"))
		b.hubSeen.blind = true
	}
	cases := map[string]struct {
		prepare func(*bench)
		after   time.Duration
		stays   bool
		fails   bool
	}{
		"the market is still at it":                 {func(*bench) {}, releaseWithin - time.Minute, true, false},
		"the market does not come to an end":        {func(*bench) {}, releaseWithin + time.Minute, false, false},
		"the hub forbids it":                        {forbid, releaseWithin - time.Minute, true, false},
		"the hub forbids it, and goes on":           {forbid, releaseWithin + time.Minute, false, false},
		"the hub tells the member nothing":          {hide, releaseWithin - time.Minute, true, false},
		"the hub goes on to tell nothing":           {hide, releaseWithin + time.Minute, false, false},
		"the hub is away, however long that may be": {func(b *bench) { b.hub.away = unavailable() }, 100 * releaseWithin, true, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := leaving(t)
			tc.prepare(b)
			for range 3 {
				if _, err := b.pass("train"); (err != nil) != tc.fails {
					t.Fatal(err)
				}
			}
			events := b.here.fake.Events()
			b.later = tc.after
			if _, err := b.pass("train"); (err != nil) != tc.fails {
				t.Fatal(err)
			}
			_, _ = b.pass("train") // what is left in the hub is still tried to be deleted
			if stays := b.find("train") != nil; stays != tc.stays || len(b.twins()) != 1 {
				t.Errorf("the job stays: %v, want %v; the hub has %d jobs", stays, tc.stays, len(b.twins()))
			}
			told := b.here.fake.Events() - events
			if tc.stays {
				if told != 0 {
					t.Errorf("%d events were told", told)
				}
				return
			}
			var last string
			for range b.here.fake.Events() {
				last = <-b.here.fake.Recorder.Events
			}
			if told != 1 || !strings.HasPrefix(last, "Warning LeftInHub") || !strings.Contains(last, "kubectl -n member-1 delete computejob "+b.twin().Name) {
				t.Errorf("%d events, the last one %q", told, last)
			}
		})
	}
}

// That the twin takes too long is not concluded from a cache: the hub itself must say so.
func TestAHubThatWentAwayDuringTheEndIsWaitedFor(t *testing.T) {
	b := leaving(t)
	b.settle("train")
	b.hub.away = unavailable()
	b.later = 10 * releaseWithin
	for range 2 {
		if _, err := b.pass("train"); err == nil {
			t.Error("the hub answered")
		}
	}
	b.says(boursev1.JobMirrored, metav1.ConditionUnknown, boursev1.ReasonHubUnreachable)
	b.hub.away = nil
	b.finalizers(b.hub, b.twin())
	b.settle("train")
	if b.find("train") != nil {
		t.Error("the job is still there")
	}
}

func TestAJobOfWhoseNameTheHubHasAnotherIsLetGo(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	twin := b.twin()
	twin.Labels = nil
	if err := b.hub.Update(t.Context(), twin); err != nil {
		t.Fatal(err)
	}
	b.remove(b.here, b.job("train"))
	b.settle("train")
	if b.find("train") != nil || len(b.twins()) != 1 {
		t.Errorf("the job is there: %v; the hub has %d jobs, of which one is not the job's", b.find("train") != nil, len(b.twins()))
	}
}

// A cache that has not seen the twin yet does not say that there is none.
func TestADeletedJobLooksForItsTwinItself(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.finalizers(b.hub, b.twin(), marketFinalizer)
	b.remove(b.here, b.job("train"))
	b.hereSeen.sync()
	b.hubSeen.jobs = nil
	if _, err := b.look("train"); err != nil {
		t.Fatal(err)
	}
	if b.find("train") == nil || b.twin().DeletionTimestamp.IsZero() {
		t.Error("the job went without its twin")
	}
}
