// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// The limits are for a busy machine: nothing waits for them when all goes well.
const (
	startLimit = 5 * time.Minute
	endLimit   = 10 * time.Minute
)

// Interactive shows two interactive Ray clusters, one paid in each token. The samples are in the folder.
func (t *Teller) Interactive(ctx context.Context, lab *Lab, samples string) error {
	if err := t.Offers(ctx, lab, 2); err != nil {
		return err
	}
	before, err := NewLedger(lab).Supplies(ctx, lab)
	if err != nil {
		return err
	}
	t.Title("Two jobs: match, acceptance, escrow, Ray cluster")
	var jobs []*Job
	for _, file := range []string{"computejob-interactive-io.yaml", "computejob-interactive-usdc.yaml"} {
		job, err := t.Apply(ctx, lab, filepath.Join(samples, file))
		if err != nil {
			return err
		}
		jobs = append(jobs, job)
	}
	if err := t.Running(ctx, lab, jobs...); err != nil {
		return err
	}
	t.Title("Metering, vouchers, claims")
	if err := t.Claimed(ctx, lab, 2, jobs...); err != nil {
		return err
	}
	t.Title("The first job runs to the end of its term; the second is deleted by its buyer, who is refunded")
	early := jobs[1]
	if _, err := lab.Kubectl(ctx, "delete", "computejob", "-n", early.Namespace, early.Name, "--wait=false"); err != nil {
		return err
	}
	t.Say("deleted %s", early)
	return t.settle(ctx, lab, before, jobs...)
}

// fitted is the last line that the sample's program writes, if it has worked.
const fitted = "8 GPUs fitted 16000 points: y = 3.00x + 2.00"

// Batch shows a real Ray program on real kubelets, with what its buyer sees of it. The sample is in the folder.
func (t *Teller) Batch(ctx context.Context, lab *Lab, samples string) error {
	if err := t.Offers(ctx, lab, 1); err != nil {
		return err
	}
	before, err := NewLedger(lab).Supplies(ctx, lab)
	if err != nil {
		return err
	}
	t.Title("A Ray program: match, acceptance, escrow, Ray job, and what its buyer sees of it through the market's gateway")
	job, err := t.Apply(ctx, lab, filepath.Join(samples, "computejob-ray-batch.yaml"))
	if err != nil {
		return err
	}
	if err := t.Seen(ctx, lab, job, fitted); err != nil {
		return err
	}
	t.Title("Metering, voucher, claim, refund")
	return t.settle(ctx, lab, before, job)
}

// settle follows the jobs to their end and audits them.
func (t *Teller) settle(ctx context.Context, lab *Lab, before map[string]uint64, jobs ...*Job) error {
	if err := t.Finished(ctx, lab, jobs...); err != nil {
		return err
	}
	t.Title("The chain's own word")
	if err := t.Audit(ctx, lab, before, jobs...); err != nil {
		return err
	}
	t.Title("The audit: every record derived again, and one byte of an export changed")
	return t.Recheck(ctx, lab)
}

// Apply applies a file with one ComputeJob and returns the job.
func (t *Teller) Apply(ctx context.Context, lab *Lab, path string) (*Job, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	object := &boursev1.ComputeJob{}
	if err := yaml.Unmarshal(text, object); err != nil {
		return nil, fmt.Errorf("parse %s: %w", path, err)
	}
	if object.Kind != "ComputeJob" {
		return nil, fmt.Errorf("%s holds a %s, want a ComputeJob", path, object.Kind)
	}
	if _, err := lab.KubectlIn(ctx, lab.Orders(), "apply", "-f", path); err != nil {
		return nil, err
	}
	job := &Job{ObjectKey: client.ObjectKeyFromObject(object)}
	t.Say("applied %s: %s", filepath.Base(path), job)
	return job, nil
}

// Offers waits until every pool sells and shows what the market has.
func (t *Teller) Offers(ctx context.Context, lab *Lab, pools int) error {
	t.Title("Offers: what the pools' idle GPUs are to the market")
	err := t.Wait(ctx, "the pools' offers", startLimit, func(ctx context.Context) (bool, error) {
		selling := 0
		for _, cluster := range lab.Sellers() {
			list := &boursev1.GPUPoolList{}
			if err := lab.In(cluster).List(ctx, list); err != nil {
				return false, err
			}
			for i := range list.Items {
				pool := &list.Items[i]
				t.conditions("pool/"+pool.Name, pool, boursev1.PoolDiscovered, boursev1.PoolAdvertised)
				if offered := pool.Status.GPUs.Offered; offered != nil && *offered > 0 {
					selling++
				}
			}
		}
		return selling >= pools, nil
	})
	if err != nil {
		return err
	}
	for _, cluster := range lab.Sellers() {
		if err := t.TableIn(ctx, lab, cluster, "get", "gpupools"); err != nil {
			return err
		}
	}
	return t.Table(ctx, lab, "get", "gpuoffers", "-A")
}

// Running follows the jobs until all of them run, and shows their pods.
func (t *Teller) Running(ctx context.Context, lab *Lab, jobs ...*Job) error {
	err := t.Wait(ctx, "the jobs to run", startLimit, func(ctx context.Context) (bool, error) {
		running := 0
		for _, job := range jobs {
			if err := t.Look(ctx, lab, job); err != nil {
				return false, err
			}
			if meta.IsStatusConditionTrue(job.Object.Status.Conditions, boursev1.JobRunning) || terminal(job.Object) {
				running++
			}
		}
		return running == len(jobs), nil
	})
	if err != nil {
		return err
	}
	for _, job := range jobs {
		if terminal(job.Object) {
			return errors.New(job.Name + " ended before it ran")
		}
	}
	return t.show(ctx, lab, jobs...)
}

// show shows jobs that run, and their pods.
func (t *Teller) show(ctx context.Context, lab *Lab, jobs ...*Job) error {
	if err := t.ordered(ctx, lab); err != nil {
		return err
	}
	if err := t.Table(ctx, lab, "get", "computejobs,gpuleases", "-A"); err != nil {
		return err
	}
	for _, job := range jobs {
		cluster := lab.ClusterOf(job.Lease.Namespace)
		if err := t.TableIn(ctx, lab, cluster, "get", "pods", "-o", "wide", "-n", job.Lease.Status.Namespace); err != nil {
			return err
		}
	}
	return nil
}

// Finished follows the jobs until all of them have ended well and are refunded.
func (t *Teller) Finished(ctx context.Context, lab *Lab, jobs ...*Job) error {
	err := t.Wait(ctx, "the jobs to end", endLimit, func(ctx context.Context) (bool, error) {
		ended := 0
		for _, job := range jobs {
			done, err := t.Ended(ctx, lab, job)
			if err != nil {
				return false, err
			}
			if done {
				ended++
			}
		}
		return ended == len(jobs), nil
	})
	if err != nil {
		return err
	}
	for _, job := range jobs {
		c := meta.FindStatusCondition(job.Lease.Status.Conditions, boursev1.Succeeded)
		if c.Status == metav1.ConditionFalse && c.Reason != boursev1.EndJobDeleted {
			return fmt.Errorf("%s did not succeed: %s: %s", job.Name, c.Reason, c.Message)
		}
	}
	if err := t.ordered(ctx, lab); err != nil {
		return err
	}
	return t.Table(ctx, lab, "get", "computejobs,gpuleases,vouchers,settlements,feeburns", "-A")
}

// ordered shows the jobs of a buyer with a cluster of its own, as the buyer sees them.
func (t *Teller) ordered(ctx context.Context, lab *Lab) error {
	if lab.Orders() == hub {
		return nil
	}
	return t.TableIn(ctx, lab, lab.Orders(), "get", "computejobs", "-A")
}

// Claimed follows the jobs until so many claims of each are on record.
func (t *Teller) Claimed(ctx context.Context, lab *Lab, claims int, jobs ...*Job) error {
	return t.Wait(ctx, "the jobs' claims", endLimit, func(ctx context.Context) (bool, error) {
		done := true
		for _, job := range jobs {
			if err := t.Look(ctx, lab, job); err != nil {
				return false, err
			}
			list, err := Settlements(ctx, lab, job)
			if err != nil {
				return false, err
			}
			done = done && len(list) >= claims
		}
		return done, nil
	})
}

// terminal says whether a thing that ends has ended.
func terminal(obj interface{ Conditions() *[]metav1.Condition }) bool {
	c := meta.FindStatusCondition(*obj.Conditions(), boursev1.Succeeded)
	return c != nil && c.Status != metav1.ConditionUnknown
}
