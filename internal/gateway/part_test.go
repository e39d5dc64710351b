// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/test/builders"
)

// Each part has a lease of its own, at a supplier of its own, of which one may be away.
func TestABuyerAsksTheSupplierOfAPart(t *testing.T) {
	job, leases := builders.LeasedInParts(t, "ray", 3)
	b := newBench(t, job, leases[0], leases[1], leases[2])
	b.supplier.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		fmt.Fprintf(writer, "%s %s", request.Method, request.URL)
	})
	b.reviewer.set("second", leases[1].Namespace+" create gpuleases/tunnel")
	b.connect(builders.Supplier, "supplier")
	b.connect(leases[1].Namespace, "second")
	b.eventually("two suppliers are connected", func() bool { return b.tunnels.Open() == 2 })
	below := func(part int) string { return "/leases/" + leases[part].Name + "/" }
	cases := map[string]struct {
		method, path, want string
		refused            access.Reason
	}{
		"no part named":            {path: access.OfJob(builders.Buyer, "ray", access.Log), want: "GET " + below(0) + "log"},
		"the first part":           {path: access.OfPart(builders.Buyer, "ray", 0, access.Log) + "?worker=1", want: "GET " + below(0) + "log?worker=1"},
		"the second part":          {path: access.OfPart(builders.Buyer, "ray", 1, access.Log), want: "GET " + below(1) + "log"},
		"a part's output":          {path: access.OfPart(builders.Buyer, "ray", 1, access.Output), want: "GET " + below(1) + "output"},
		"a part's dashboard":       {path: access.OfPart(builders.Buyer, "ray", 1, access.Ray) + "/", want: "GET " + below(1) + "ray/"},
		"a part's program":         {path: access.OfPart(builders.Buyer, "ray", 1, access.Ray) + "/api/jobs/a%2Fb?x=1", want: "GET " + below(1) + "ray/api/jobs/a%2Fb?x=1"},
		"a program, no part":       {path: access.OfJob(builders.Buyer, "ray", access.Ray) + "/api/jobs/a%2Fb", want: "GET " + below(0) + "ray/api/jobs/a%2Fb"},
		"a program that begins":    {method: http.MethodPost, path: access.OfPart(builders.Buyer, "ray", 1, access.Ray) + "/api/jobs/", want: "POST " + below(1) + "ray/api/jobs/"},
		"a part that is away":      {path: access.OfPart(builders.Buyer, "ray", 2, access.Log), refused: access.NotConnected},
		"a part that it has not":   {path: access.OfPart(builders.Buyer, "ray", 3, access.Log), refused: access.PartUnknown},
		"a part that is no number": {path: access.OfJob(builders.Buyer, "ray", "parts/last/log"), refused: access.Malformed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.method == "" {
				tc.method = http.MethodGet
			}
			text, err := b.ask(tc.method, tc.path, "buyer")
			if diff := cmp.Diff(tc.want, text); diff != "" || tc.refused == "" && err != nil || tc.refused != "" && !errors.Is(err, tc.refused) {
				t.Errorf("%v, want %q (-want +got):\n%s", err, tc.refused, diff)
			}
		})
	}
	b.eventually("all are counted", func() bool {
		return b.recorder.count("log ok") == 3 && b.recorder.count("log PartUnknown") == 1
	})
}

func TestAPartThatAJobDoesNotHaveIsSaidToBeSo(t *testing.T) {
	split, leases := builders.LeasedInParts(t, "split", 3)
	whole, lease := builders.Leased(t, "whole")
	b := newBench(t, split, whole, leases[0], leases[1], leases[2], lease)
	for job, want := range map[string]string{
		"split": "Job split has 3 parts, from 0 to 2, and no part 3",
		"whole": "Job whole is not split: it has 1 part, which is part 0, and no part 3",
	} {
		_, err := b.ask(http.MethodGet, access.OfPart(builders.Buyer, job, 3, access.Log), "buyer")
		if !errors.Is(err, access.PartUnknown) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// split gives the job a second part, on the lease of that name.
func (b *bench) split(lease string) {
	b.Helper()
	b.job(func(job *boursev1.ComputeJob) {
		job.Status.Parts = append(listing.Parts(job), boursev1.JobPart{Lease: boursev1.ObjectReference{Namespace: builders.Supplier, Name: lease}})
	})
}
