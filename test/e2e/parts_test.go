// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

// twoPools have the same model: two nodes of eight GPUs each.
const twoPools = `pools:
- name: oslo
  region: eu-north-1
  zone: eu-north-1a
  nodes: [{model: NVIDIA-H100-80GB-HBM3, count: 2, gpus: 8}]
- name: porto
  region: eu-west-3
  zone: eu-west-3b
  nodes: [{model: NVIDIA-H100-80GB-HBM3, count: 2, gpus: 8}]
`

// A job of more GPUs than either pool has runs in two parts, which one transaction funds, and each is settled by itself.
func TestAJobThatNoPoolHasRoomForRunsInTwoParts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	lab := up(t, "--fake-nodes", textFile(t, "nodes.yaml", twoPools))
	teller := story.NewTeller(t.Output(), time.Now)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(teller.Offers(ctx, lab, 2))
	before, err := story.NewLedger(lab).Supplies(ctx, lab)
	must(err)
	sample, err := os.ReadFile(filepath.Join(samples, "computejob-interactive-io.yaml"))
	must(err)
	text := strings.NewReplacer("name: notebook", "name: wide", "workers: 2", "workers: 3", "perWorker: 4", "perWorker: 8",
		"  ray:\n", "  placement:\n    split: AcrossPools\n  ray:\n").Replace(string(sample))
	first, err := teller.Apply(ctx, lab, textFile(t, "job.yaml", text))
	must(err)
	second := &story.Job{ObjectKey: first.ObjectKey, Part: 1}
	must(teller.Running(ctx, lab, first, second))
	splitOverBoth(t, first, second)
	for i, part := range []*story.Job{first, second} {
		knowsItsPart(ctx, t, lab, part, i)
	}
	must(teller.Finished(ctx, lab, first, second))
	fundedTogether(ctx, t, lab, first, second)
	must(teller.Wait(ctx, "the job to succeed", time.Minute, func(ctx context.Context) (bool, error) {
		err := teller.Look(ctx, lab, first)
		return meta.IsStatusConditionTrue(first.Object.Status.Conditions, boursev1.Succeeded), err
	}))
	for _, part := range []*story.Job{first, second} {
		wholeTerm(t, part)
		paidOnce(t, lab, part)
	}
	if used := *first.Object.Status.Usage.GPUMilliseconds; used != 24*60*1000 {
		t.Errorf("the job used %d GPU-ms, want those of 24 GPUs for a minute", used)
	}
	must(teller.Audit(ctx, lab, before, first, second))
	must(teller.Recheck(ctx, lab))
}

func textFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// splitOverBoth holds that the cheaper pool is full and the other has the rest.
func splitOverBoth(t *testing.T, first, second *story.Job) {
	t.Helper()
	for i, part := range []*story.Job{first, second} {
		spec := part.Lease.Spec
		want := []struct {
			pool    string
			workers int32
		}{{"porto", 2}, {"oslo", 1}}[i]
		if spec.Pool != want.pool || spec.Workers != want.workers || spec.Part == nil || int(*spec.Part.Index) != i || spec.Part.Of != 2 {
			t.Errorf("part %d is %+v with %d workers on pool %s, want %d on %s", i, spec.Part, spec.Workers, spec.Pool, want.workers, want.pool)
		}
	}
}

// knowsItsPart reads the environment of the part's pods.
func knowsItsPart(ctx context.Context, t *testing.T, lab *story.Lab, job *story.Job, part int) {
	t.Helper()
	pods, err := story.Pods(ctx, lab, job)
	if err != nil {
		t.Fatal(err)
	}
	told := 0
	for _, pod := range pods {
		for _, variable := range pod.Spec.Containers[0].Env {
			if variable.Name == "BOURSE_PART" && variable.Value == strconv.Itoa(part) {
				told++
			}
		}
	}
	if told == 0 || told != len(pods) {
		t.Errorf("%d of %d pods know that they are of part %d", told, len(pods), part)
	}
}

// fundedTogether holds that one transaction opened both escrows.
func fundedTogether(ctx context.Context, t *testing.T, lab *story.Lab, parts ...*story.Job) {
	t.Helper()
	signatures := map[boursev1.SolanaSignature]bool{}
	for _, part := range parts {
		var voucher boursev1.Voucher
		if err := lab.Client.Get(ctx, client.ObjectKey{Namespace: part.Namespace, Name: part.Lease.Name}, &voucher); err != nil {
			t.Fatal(err)
		}
		if voucher.Spec.Deposit == nil || voucher.Spec.Deposit.State != boursev1.TransactionLanded {
			t.Fatalf("deposit %+v", voucher.Spec.Deposit)
		}
		signatures[voucher.Spec.Deposit.Signature] = true
	}
	if len(signatures) != 1 {
		t.Errorf("the parts were funded by %v, want one transaction", signatures)
	}
}
