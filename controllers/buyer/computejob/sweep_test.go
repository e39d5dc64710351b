// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"net/http"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

func TestTwinsWithoutAJobAreDeleted(t *testing.T) {
	force := func(b *bench) { // as a user does who does not want to wait for the hub
		b.finalizers(b.here, b.job("train"))
		b.remove(b.here, b.job("train"))
	}
	again := func(b *bench) {
		force(b)
		job := builders.Job("train")
		job.UID = "the next one"
		if err := b.here.Client.Create(b.Context(), job); err != nil {
			b.Fatal(err)
		}
	}
	missing := apierrors.NewGenericServerResponse(http.StatusNotFound, "get", jobsResource, "train", "404 page not found", 0, true)
	cases := map[string]struct {
		prepare func(*bench)
		stays   bool
		fails   bool
	}{
		"its job was forced away":                    {force, false, false},
		"its job was made anew":                      {again, false, false},
		"its job is there":                           {func(*bench) {}, true, false},
		"its cluster is away":                        {func(b *bench) { force(b); b.here.away = unavailable() }, true, true},
		"its cluster does not know jobs just now":    {func(b *bench) { force(b); b.here.away = missing }, true, true},
		"it is another cluster's":                    {func(b *bench) { force(b); b.r.cluster = "cluster-2" }, true, false},
		"its job is missing in the cache, not there": {func(b *bench) { b.hereSeen.jobs = nil }, true, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"))
			b.settle("train")
			twin := b.twin()
			b.hereSeen.sync()
			tc.prepare(b)
			stale := b.hereSeen.jobs == nil
			for range 2 {
				if !stale {
					b.hereSeen.sync()
				}
				b.hubSeen.sync()
				if _, err := b.look("train"); (err != nil) != tc.fails {
					t.Fatal(err)
				}
			}
			stays := false
			for _, found := range b.twins() {
				stays = stays || found.UID == twin.UID
			}
			if stays != tc.stays {
				t.Errorf("the twin stays: %v, want %v", stays, tc.stays)
			}
			if len(b.hubWrte) > 0 {
				t.Errorf("the second pass wrote %v", b.hubWrte)
			}
		})
	}
}

// An older cache than the one that a twin was made by does not say that the twin's job is gone.
func TestATwinOfAYoungerJobThanTheCacheKnowsStays(t *testing.T) {
	b := newBench(t, builders.Job("train"))
	b.settle("train")
	b.hereSeen.sync()
	old := b.hereSeen.jobs
	b.finalizers(b.here, b.job("train"))
	b.remove(b.here, b.job("train"))
	next := builders.Job("train")
	next.UID = "the next one"
	if err := b.here.Client.Create(t.Context(), next); err != nil {
		t.Fatal(err)
	}
	b.settle("train")
	if got := b.twin().Labels[boursev1.LabelOriginUID]; got != "the next one" {
		t.Fatalf("the twin is of %s", got)
	}
	b.hereSeen.jobs = old
	b.hubSeen.sync()
	if _, err := b.look("train"); err != nil || len(b.twins()) != 1 || b.twin().Labels[boursev1.LabelOriginUID] != "the next one" {
		t.Errorf("error %v, %d twins", err, len(b.twins()))
	}
}

func TestWhomAChangeInTheHubConcerns(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Job("infer"))
	b.settle("train")
	b.hereSeen.sync()
	twin := b.twin()
	if got := b.r.jobOfTwin(t.Context(), twin); len(got) != 1 || got[0].String() != "team-a/train" {
		t.Errorf("the twin's change concerns %v", got)
	}
	twin.Namespace = "another"
	if got := b.r.jobOfTwin(t.Context(), twin); len(got) > 0 {
		t.Errorf("a twin in another namespace concerns %v", got)
	}
	if got := b.r.jobOfTwin(t.Context(), builders.Job("x")); len(got) > 0 {
		t.Errorf("a job of the hub concerns %v", got)
	}
	if got := b.r.jobsNotMirrored(t.Context(), builders.Member(ours)); len(got) != 1 || got[0].Name != "infer" {
		t.Errorf("the member's change concerns %v", got)
	}
	if got := b.r.jobsNotMirrored(t.Context(), builders.Member("another")); len(got) > 0 {
		t.Errorf("another member's change concerns %v", got)
	}
}
