// SPDX-License-Identifier: Apache-2.0

package listing_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
)

// schemaOf returns the schema of a field of ComputeJob as the API server has it.
func schemaOf(t *testing.T, path ...string) map[string]any {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "crd", "bases", "bourse.dev_computejobs.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var crd map[string]any
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	versions, _, _ := unstructured.NestedSlice(crd, "spec", "versions")
	schema, _ := versions[0].(map[string]any)
	schema, _, _ = unstructured.NestedMap(schema, "schema", "openAPIV3Schema")
	for _, name := range path {
		field, ok, err := unstructured.NestedMap(schema, "properties", name)
		if !ok || err != nil {
			t.Fatalf("there is no field %s of %v: %v", name, path, err)
		}
		schema = field
	}
	return schema
}

// A job that the API server has not seen is asked about as if it had.
func TestDefaultsAreThoseOfTheAPIServer(t *testing.T) {
	var job boursev1.ComputeJob
	job.Spec.Bid.Rise = &boursev1.BidRise{}
	listing.SetDefaults(&job)
	for _, field := range []struct {
		path []string
		got  any
	}{
		{[]string{"spec", "gpus", "perWorker"}, job.Spec.GPUs.PerWorker},
		{[]string{"spec", "bid", "rise", "steps"}, job.Spec.Bid.Rise.Steps},
		{[]string{"spec", "placement", "split"}, job.Spec.Placement.Split},
		{[]string{"spec", "placement", "isolation"}, job.Spec.Placement.Isolation},
		{[]string{"spec", "placement", "tier"}, job.Spec.Placement.Tier},
		{[]string{"spec", "placement", "egress"}, job.Spec.Placement.Egress},
	} {
		want, got := schemaOf(t, field.path...)["default"], fmt.Sprint(field.got)
		if want == nil || fmt.Sprint(want) != got {
			t.Errorf("%v is %s, the API server makes it %v", field.path, got, want)
		}
	}
	fields, _, _ := unstructured.NestedMap(schemaOf(t, "spec", "placement"), "properties")
	for name, field := range fields {
		schema, _ := field.(map[string]any)
		if schema["default"] != nil && name != "split" && name != "isolation" && name != "tier" && name != "egress" {
			t.Errorf("spec.placement.%s has a default that nobody sets here", name)
		}
	}
}

// The weights that the API server sets are those that the book takes where none are.
func TestDefaultWeightsAreThoseOfTheAPIServer(t *testing.T) {
	plain := builders.Job("train")
	set := plain.DeepCopy()
	set.Spec.Ranking.ReputationPercent, set.Spec.Ranking.PackingPercent = new(int32(100)), new(int32(5))
	var demands [2]book.Demand
	for i, job := range []*boursev1.ComputeJob{plain, set} {
		var err error
		if demands[i], err = listing.Demand(job, "", nil, builders.Start); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(demands[1], demands[0]); diff != "" {
		t.Errorf("demands (-as the API server sets it +as nobody does):\n%s", diff)
	}
	for field, want := range map[string]string{"reputationPercent": "100", "packingPercent": "5"} {
		if got := fmt.Sprint(schemaOf(t, "spec", "ranking", field)["default"]); got != want {
			t.Errorf("the API server makes %s %s, want %s", field, got, want)
		}
	}
}

func TestABidRisesWhileTheJobWaits(t *testing.T) {
	job := builders.Job("train")
	job.CreationTimestamp = metav1.NewTime(builders.Start)
	job.Spec.Bid.Rise = &boursev1.BidRise{FromUSD: "1", RestSeconds: new(int32(60)), OverSeconds: 100, Steps: 10}
	for _, at := range []struct {
		waited, next time.Duration
		bids         string
	}{
		{0, 70 * time.Second, "1.00"},
		{69 * time.Second, time.Second, "1.00"},
		{70 * time.Second, 10 * time.Second, "1.10"},
		{159 * time.Second, time.Second, "1.90"},
		{160 * time.Second, 0, "2.00"},
		{time.Hour, 0, "2.00"},
	} {
		now := builders.Start.Add(at.waited)
		demand, err := listing.Demand(job, "", nil, now)
		if err != nil {
			t.Fatal(err)
		}
		next, rises := listing.NextRise(job, now)
		if demand.MaxPrice.String() != at.bids || rises != (at.next > 0) || rises && next != at.next {
			t.Errorf("after %s it bids %s and rises in %s (%t), want %s and %s", at.waited, demand.MaxPrice, next, rises, at.bids, at.next)
		}
	}
	job.Spec.Bid.Rise.FromUSD = "3"
	if _, err := listing.Demand(job, "", nil, builders.Start); err == nil || !strings.Contains(err.Error(), "spec.bid.rise") {
		t.Errorf("a bid that falls: %v", err)
	}
}
