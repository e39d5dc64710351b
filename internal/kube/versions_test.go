// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/test/builders"
)

func TestAPassOnAnOlderVersionThanWasWrittenIsKnown(t *testing.T) {
	cases := map[string]struct {
		uid   types.UID
		read  string
		after time.Duration
		want  bool
	}{
		"the version that was written":              {"one", "1000", 0, false},
		"an older one":                              {"one", "999", 0, true},
		"an older one, as long as a cache may take": {"one", "999", 10 * time.Second, true},
		"an older one that stays":                   {"one", "999", 10*time.Second + 1, false},
		"a newer one":                               {"one", "1001", 0, false},
		"one with more digits":                      {"one", "10000", 0, false},
		"an older version of another object":        {"another", "999", 0, false},
		"a version that is no number":               {"one", "abc", 0, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			job := builders.Job("train")
			job.UID, job.ResourceVersion = "one", "1000"
			var versions kube.Versions
			versions.Wrote(job, builders.Start)
			job.UID, job.ResourceVersion = tc.uid, tc.read
			for range 2 {
				if got := versions.Outdated(job, builders.Start.Add(tc.after)); got != tc.want {
					t.Errorf("a newer one was written: %t, want %t", got, tc.want)
				}
			}
		})
	}
}

// A version that was shown once is not waited for again: what is read after it may only be newer.
func TestAWriteThatWasShownIsForgotten(t *testing.T) {
	job := builders.Job("train")
	job.ResourceVersion = "1000"
	var versions kube.Versions
	versions.Wrote(job, builders.Start)
	if versions.Outdated(job, builders.Start) {
		t.Error("the version that was written counts as older than itself")
	}
	job.ResourceVersion = "999"
	if versions.Outdated(job, builders.Start) {
		t.Error("a version that was shown is still waited for")
	}
}
