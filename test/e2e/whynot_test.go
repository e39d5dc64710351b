// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

// A job that no offer fits is told why in one sentence, whose counts add up to all offers; what that sentence names is enough.
func TestAJobThatNothingFitsIsToldWhy(t *testing.T) {
	t.Parallel()
	lab := up(t)
	ctx := t.Context()
	teller := story.NewTeller(t.Output(), time.Now)
	if err := teller.Offers(ctx, lab, 2); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(samples, "computejob-interactive-io.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "job.yaml")
	poor := strings.NewReplacer("name: notebook", "name: poor", `maxPriceUSD: "2.50"`, `maxPriceUSD: "1.00"`).Replace(string(text))
	if err := os.WriteFile(path, []byte(poor), 0o600); err != nil {
		t.Fatal(err)
	}
	job, err := teller.Apply(ctx, lab, path)
	if err != nil {
		t.Fatal(err)
	}
	told := reasonOf(ctx, t, lab, teller, job)
	for _, args := range [][]string{{"get", "-o", "wide"}, {"describe"}} {
		out, err := lab.Kubectl(ctx, append(args, "computejob", job.Name, "-n", job.Namespace)...)
		if err != nil || !strings.Contains(out, told) {
			t.Errorf("kubectl %s does not say why (%v):\n%s", args[0], err, out)
		}
		t.Log(out)
	}
	addsUp(ctx, t, lab, told)
	explained(ctx, t, lab, job, told)
	if _, err := lab.Kubectl(ctx, "patch", "computejob", job.Name, "-n", job.Namespace, "--type=merge", "-p", `{"spec":{"bid":{"maxPriceUSD":"1.10"}}}`); err != nil {
		t.Fatal(err)
	}
	if err := teller.Running(ctx, lab, job); err != nil {
		t.Fatal(err)
	}
}

// reasonOf waits until the job was told why nothing fits it, and returns that.
func reasonOf(ctx context.Context, t *testing.T, lab *story.Lab, teller *story.Teller, job *story.Job) string {
	t.Helper()
	const want = "2 of 4 offers fail only on price: the cheapest asks 1.10 USD, the job bids 1.00 USD (rejected: 2 on model, 2 on price)"
	var told string
	err := teller.Wait(ctx, "the job to be told", time.Minute, func(ctx context.Context) (bool, error) {
		if err := teller.Look(ctx, lab, job); err != nil {
			return false, err
		}
		matched := meta.FindStatusCondition(job.Object.Status.Conditions, boursev1.JobMatched)
		if matched != nil {
			told = matched.Message
		}
		return told == want, nil
	})
	if err != nil {
		t.Fatalf("%v\nit was told: %s\nwant: %s", err, told, want)
	}
	return told
}

// addsUp checks that the counts of a sentence are those of all offers.
func addsUp(ctx context.Context, t *testing.T, lab *story.Lab, told string) {
	t.Helper()
	var offers boursev1.GPUOfferList
	if err := lab.Client.List(ctx, &offers); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for _, count := range regexp.MustCompile(`(\d+) on `).FindAllStringSubmatch(told, -1) {
		n, err := strconv.Atoi(count[1])
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum != len(offers.Items) || sum == 0 {
		t.Errorf("%q counts %d offers, and there are %d", told, sum, len(offers.Items))
	}
}

// explained asks the plugin the same.
func explained(ctx context.Context, t *testing.T, lab *story.Lab, job *story.Job, told string) {
	t.Helper()
	program := filepath.Join(t.TempDir(), "kubectl-bourse")
	build := exec.CommandContext(ctx, "go", "build", "-ldflags=-s -w", "-o", program, "./cmd/kubectl-bourse")
	build.Dir = filepath.Join("..", "..")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build the plugin: %v: %s", err, out)
	}
	cmd := exec.CommandContext(ctx, program, "explain", job.Name, "-n", job.Namespace, "--kubeconfig", lab.Kubeconfig())
	out, err := cmd.CombinedOutput()
	t.Log(string(out))
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 1 || !strings.HasPrefix(string(out), told) ||
		strings.Count(string(out), "price: asks ") != 2 || strings.Count(string(out), "model: has ") != 2 {
		t.Errorf("kubectl bourse explain: %v:\n%s", err, out)
	}
}
