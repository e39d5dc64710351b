// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

// Killing the manager changes nothing for a running job: the same pods run on, the lease never stops running, and each period is
// paid once, to the base unit.
func TestKillingTheManagerFiveTimesChangesNothing(t *testing.T) {
	t.Parallel()
	lab := up(t)
	ctx := t.Context()
	teller := story.NewTeller(t.Output(), time.Now)
	if err := teller.Offers(ctx, lab, 2); err != nil {
		t.Fatal(err)
	}
	before, err := story.NewLedger(lab).Supplies(ctx, lab)
	if err != nil {
		t.Fatal(err)
	}
	job, err := teller.Apply(ctx, lab, filepath.Join(samples, "computejob-interactive-io.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if err := teller.Running(ctx, lab, job); err != nil {
		t.Fatal(err)
	}
	want := identities(ctx, t, lab, job)
	since := meta.FindStatusCondition(job.Lease.Status.Conditions, boursev1.LeaseRunning).LastTransitionTime
	for kill := range 5 {
		if err := command(ctx, t, "restart", "manager", "--dir", lab.Dir); err != nil {
			t.Fatalf("kill %d: %v", kill+1, err)
		}
		if err := teller.Look(ctx, lab, job); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, identities(ctx, t, lab, job)); diff != "" {
			t.Errorf("kill %d changed the job's pods (-before +after):\n%s", kill+1, diff)
		}
		running := meta.FindStatusCondition(job.Lease.Status.Conditions, boursev1.LeaseRunning)
		if running.Status != "True" || !running.LastTransitionTime.Equal(&since) {
			t.Errorf("kill %d: the lease does not run on: %+v", kill+1, running)
		}
	}
	if err := teller.Finished(ctx, lab, job); err != nil {
		t.Fatal(err)
	}
	wholeTerm(t, job)
	if err := teller.Audit(ctx, lab, before, job); err != nil {
		t.Error(err)
	}
}

// identities are the UIDs of the job's pods.
func identities(ctx context.Context, t *testing.T, lab *story.Lab, job *story.Job) []string {
	t.Helper()
	pods, err := story.Pods(ctx, lab, job)
	if err != nil {
		t.Fatal(err)
	}
	var uids []string
	for i := range pods {
		if pods[i].DeletionTimestamp == nil {
			uids = append(uids, string(pods[i].UID))
		}
	}
	slices.Sort(uids)
	return uids
}
