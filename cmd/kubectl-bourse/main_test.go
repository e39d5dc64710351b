// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
)

// file writes objects as kubectl does: one List.
func file(t *testing.T, objects ...client.Object) string {
	t.Helper()
	for _, object := range objects {
		kind, err := apiutil.GVKForObject(object, newScheme())
		if err != nil {
			t.Fatal(err)
		}
		object.GetObjectKind().SetGroupVersionKind(kind)
	}
	raw, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": objects})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "market.yaml")
	if err := os.WriteFile(name, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// priced is an offer at a price, in a region.
func priced(namespace, name, price, region string) *boursev1.GPUOffer {
	offer := builders.Offer(namespace, name)
	offer.Spec.PriceUSD, offer.Spec.Region = boursev1.USDPrice(price), boursev1.Region(region)
	return offer
}

// ask runs one command a second before the offers of the builders are looked at.
func ask(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, problems bytes.Buffer
	now := func() time.Time { return builders.Start.Add(-time.Second) }
	code = execute(t.Context(), args, &out, &problems, now)
	return code, out.String(), problems.String()
}

func TestAQuoteShowsWhatFitsAndWhatItCosts(t *testing.T) {
	other := priced("lima-rig", "l40s", "0.60", "sa-west")
	other.Spec.Model = "l40s"
	market := file(t, builders.Market(), builders.Member("oslo-dc"), builders.Member("rome-dc"), builders.Member("york-dc"),
		priced("oslo-dc", "h100", "1.85", "eu-north"), priced("rome-dc", "h100", "1.9", "eu-south"), priced("york-dc", "h100", "2.10", "us-east"), other, builders.Job("train"))
	code, stdout, stderr := ask(t, "quote", "train", "--from", market)
	want := `2 offers of 4 fit job train: 2 × 4 GPUs for 1h0m0s, paid in IO, at most 2 USD per GPU-hour.

OFFER          MODEL   REGION     USD/H   COUNTS AS   FREE   DEPOSIT
oslo-dc/h100   h100    eu-north   1.85    2.775       16     14.837 IO
rome-dc/h100   h100    eu-south   1.90    2.85        16     15.238 IO

The job would get oslo-dc/h100: the cheapest of 2 that fit, at 1.85 USD per GPU-hour.
`
	if diff := cmp.Diff(want, stdout); diff != "" || code != 0 || stderr != "" {
		t.Errorf("code %d, %s (-want +got):\n%s", code, stderr, diff)
	}
	if _, stdout, _ = ask(t, "quote", "train", "--from", market, "--most", "1"); !strings.Contains(stdout, "\nand 1 more\n") {
		t.Errorf("of two offers one was shown:\n%s", stdout)
	}
}

func TestNoFewerThanNoOffersAreShown(t *testing.T) {
	market := file(t, builders.Market(), builders.Member("oslo-dc"), priced("oslo-dc", "h100", "1.85", "eu-north"), builders.Job("train"))
	for _, command := range []string{"quote", "explain"} {
		if code, stdout, stderr := ask(t, command, "train", "--from", market, "--most", "-1"); code != exitError || stdout != "" || stderr != "error: --most must be 0 or more\n" {
			t.Errorf("%s: code %d, %q and %q", command, code, stdout, stderr)
		}
		if code, stdout, stderr := ask(t, command, "train", "--from", market, "--most", "0"); code != 0 || !strings.Contains(stdout, "and 1 more") {
			t.Errorf("%s: code %d, %q and %q", command, code, stdout, stderr)
		}
	}
}

// wide is a job of four workers that may be split, and small an offer with room for two of them.
func wide() *boursev1.ComputeJob {
	job := builders.Job("train")
	job.Spec.GPUs.Workers, job.Spec.Bid.BudgetUSD, job.Spec.Placement.Split = 4, "40", boursev1.SplitAcrossPools
	return job
}

func small(supplier, price string) *boursev1.GPUOffer {
	offer := priced(supplier, "h100", price, "eu-north")
	offer.Spec.Shapes = []boursev1.NodeShape{{FreeGPUs: 8, Nodes: 1}}
	return offer
}

func TestAQuoteOfAJobThatMayBeSplit(t *testing.T) {
	market := file(t, builders.Market(), builders.Member("oslo-dc"), builders.Member("rome-dc"), builders.Member("lima-dc"),
		small("oslo-dc", "1.85"), small("rome-dc", "1.90"), small("lima-dc", "1.95"), wide())
	code, stdout, stderr := ask(t, "quote", "train", "--from", market)
	want := `3 offers of 3 fit job train: 4 × 4 GPUs for 1h0m0s, paid in IO, at most 2 USD per GPU-hour.

WORKERS   OFFER          MODEL   REGION     USD/H   COUNTS AS   FREE   DEPOSIT
2         oslo-dc/h100   h100    eu-north   1.85    2.775       8      14.837 IO
2         rome-dc/h100   h100    eu-north   1.90    2.85        8      15.238 IO
0         lima-dc/h100   h100    eu-north   1.95    2.925       8      none

The job would get 2 of its workers on oslo-dc/h100 and 2 of its workers on rome-dc/h100: ` +
		`the first of 2 of 3 that fit, which have room for the job together, at 1.85 to 1.90 USD per GPU-hour.
`
	if diff := cmp.Diff(want, stdout); diff != "" || code != 0 || stderr != "" {
		t.Errorf("code %d, %s (-want +got):\n%s", code, stderr, diff)
	}
}

func TestAReplayOfAJobInParts(t *testing.T) {
	offers := []client.Object{small("oslo-dc", "1.85"), small("rome-dc", "1.90"), small("lima-dc", "1.95")}
	job := decided(t, wide(), offers...)
	for i, supplier := range []string{"oslo-dc", "rome-dc"} {
		job.Status.Parts = append(job.Status.Parts, boursev1.JobPart{
			Lease: boursev1.ObjectReference{Namespace: supplier, Name: listing.LeaseName(job, 1, i)}, Offer: "h100", Workers: 2,
			PriceUSD: []boursev1.USDPrice{"1.85", "1.90"}[i], Score: []string{"3.70", "3.80"}[i], // nobody is a member, so nobody has a reputation
		})
	}
	code, stdout, stderr := ask(t, "replay", "-f", file(t, job), "--from", file(t, offers...))
	if code != 0 || stderr != "" || !strings.Contains(stdout, "was given 2 workers on offer oslo-dc/h100, 2 workers on offer rome-dc/h100 at") ||
		!strings.Contains(stdout, "the same offer") {
		t.Errorf("code %d, %s:\n%s", code, stderr, stdout)
	}
	job.Status.Parts[1].Workers = 1
	if code, stdout, _ = ask(t, "replay", "-f", file(t, job), "--from", file(t, offers...)); code != exitNo || !strings.Contains(stdout, "winners: the record has") {
		t.Errorf("with another split: code %d:\n%s", code, stdout)
	}
}

func TestAnExplanationNamesEachRuleThatAnOfferBreaks(t *testing.T) {
	job := builders.Job("train")
	job.Spec.Placement.Regions = []boursev1.Region{"eu-north"}
	job.Spec.Bid.MaxPriceUSD = "1.80"
	market := file(t, builders.Market(), priced("oslo-dc", "h100", "1.85", "eu-north"), priced("york-dc", "h100", "2.10", "us-east"))
	code, stdout, stderr := ask(t, "explain", "-f", file(t, job), "--from", market)
	want := `1 of 2 offers fails only on price: the cheapest asks 1.85 USD, the job bids 1.80 USD (rejected: 1 on region, 1 on price).

OFFER          MODEL   REGION     USD/H   FREE   VERDICT
oslo-dc/h100   h100    eu-north   1.85    16     price: asks 1.85 USD
york-dc/h100   h100    us-east    2.10    16     region: is in us-east; price: asks 2.10 USD
`
	if diff := cmp.Diff(want, stdout); diff != "" || code != exitNo || stderr != "" {
		t.Errorf("code %d, %s (-want +got):\n%s", code, stderr, diff)
	}
}

// A lease that holds GPUs is no room for others, and is room for its own job.
func TestWhatLeasesHoldIsTakenFromTheOffers(t *testing.T) {
	_, lease := builders.Leased(t, "train")
	lease.Status.Conditions = nil // not accepted yet, so that the offer still has its GPUs
	lease.Spec.Workers, lease.Spec.PerWorker = 2, 8
	own := builders.Job("train")
	market := file(t, builders.Market(), builders.Offer(builders.Supplier, "h100"), lease, own, builders.Job("other"))
	if code, stdout, _ := ask(t, "quote", "other", "--from", market); code != exitNo || !strings.Contains(stdout, "capacity") {
		t.Errorf("another job: code %d:\n%s", code, stdout)
	}
	if code, stdout, _ := ask(t, "quote", "train", "--from", market); code != 0 || !strings.HasPrefix(stdout, "1 offer of 1 fits job train: ") {
		t.Errorf("its own job: code %d:\n%s", code, stdout)
	}
}

// decided is a job that the market has matched on the objects.
func decided(t *testing.T, job *boursev1.ComputeJob, objects ...client.Object) *boursev1.ComputeJob {
	t.Helper()
	text, err := os.ReadFile(file(t, objects...))
	if err != nil {
		t.Fatal(err)
	}
	var market listing.Snapshot
	if err := market.Parse(text); err != nil {
		t.Fatal(err)
	}
	leased, _ := builders.Leased(t, "train")
	job.Status = leased.Status
	b, err := market.Book(job.UID, builders.Start)
	if err != nil {
		t.Fatal(err)
	}
	demand, err := listing.Demand(job, "", nil, builders.Start)
	if err != nil {
		t.Fatal(err)
	}
	decision := b.Judge(&demand)
	record := decision.Record(b.Digest())
	job.Status.Decision = listing.Decision(&record)
	return job
}

func TestAReplayAgreesUntilAnInputIsAnother(t *testing.T) {
	cheap, dear := priced("oslo-dc", "h100", "1.85", "eu-north"), priced("rome-dc", "h100", "1.90", "eu-south")
	job := decided(t, builders.Job("train"), cheap, dear)
	code, stdout, stderr := ask(t, "replay", "-f", file(t, job), "--from", file(t, cheap, dear))
	if code != 0 || stderr != "" || !strings.Contains(stdout, "the same offer, for the same reason") {
		t.Errorf("code %d, %s:\n%s", code, stderr, stdout)
	}
	dear.Spec.PriceUSD = "1.84"
	code, stdout, _ = ask(t, "replay", "-f", file(t, job), "--from", file(t, cheap, dear))
	if code != exitNo || !strings.Contains(stdout, "book: the record has") || !strings.Contains(stdout, "rome-dc/h100") {
		t.Errorf("with another price: code %d:\n%s", code, stdout)
	}
	other := job.DeepCopy()
	other.Spec.DurationSeconds++
	dear.Spec.PriceUSD = "1.90"
	code, stdout, _ = ask(t, "replay", "-f", file(t, other), "--from", file(t, cheap, dear))
	if code != exitNo || !strings.Contains(stdout, "demand: the record has") {
		t.Errorf("with another demand: code %d:\n%s", code, stdout)
	}
}

func TestARecordSurvivesTheStatus(t *testing.T) {
	job := decided(t, builders.Job("train"), priced("oslo-dc", "h100", "1.85", "eu-north"), priced("rome-dc", "h100", "1.90", "eu-south"))
	record, err := listing.Record(job)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(job.Status.Decision, listing.Decision(&record)); diff != "" {
		t.Errorf("the record is another (-status +record):\n%s", diff)
	}
	if record.Formula != book.Formula {
		t.Errorf("the record has formula %d", record.Formula)
	}
}

func TestWhatCannotBeAskedIsSaid(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "broken.yaml")
	if err := os.WriteFile(broken, []byte("apiVersion: bourse.dev/v1alpha1\nkind: ComputeJob\nspec: {gpu: 1}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	empty := builders.Job("empty")
	empty.Spec.GPUs.Models = nil
	twice := builders.Job("train")
	twice.Namespace = "team-b"
	market := file(t, builders.Market(), builders.Offer(builders.Supplier, "h100"), builders.Job("train"), twice)
	cases := map[string]struct {
		args []string
		want string
	}{
		"no job":                      {[]string{"quote", "--from", market}, "name a job"},
		"a job that is not there":     {[]string{"quote", "none", "--from", market, "-n", "team-a"}, "namespace team-a has no job none"},
		"a name that two jobs have":   {[]string{"quote", "train", "--from", market}, "its namespace with --namespace"},
		"a field that is none":        {[]string{"quote", "-f", broken, "--from", market}, `"gpu"`},
		"a job without models":        {[]string{"quote", "-f", file(t, empty), "--from", market}, "spec.gpus.models"},
		"two jobs in one file":        {[]string{"explain", "-f", file(t, builders.Job("a"), builders.Job("b")), "--from", market}, "holds 2 jobs"},
		"a file that is not there":    {[]string{"explain", "-f", broken + "x", "--from", market}, "no such file"},
		"a job that was not decided":  {[]string{"replay", "train", "-n", "team-a", "--from", market}, "no record of a match"},
		"two jobs at once":            {[]string{"quote", "a", "b"}, "at most 1 arg"},
		"a command that is none":      {[]string{"quota"}, `unknown command "quota"`},
		"a cluster that is not there": {[]string{"quote", "train", "--kubeconfig", broken + "x"}, "read kubeconfig"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if code, stdout, stderr := ask(t, tc.args...); code != exitError || !strings.Contains(stderr, tc.want) || stdout != "" {
				t.Errorf("code %d, %q and %q; want %q", code, stdout, stderr, tc.want)
			}
		})
	}
}
