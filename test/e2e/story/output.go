// SPDX-License-Identifier: Apache-2.0

package story

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// driverLogs are where Ray keeps what a submitted program prints, on the head.
const driverLogs = "cat /tmp/ray/session_latest/logs/job-driver-*.log"

// Output prints what the job's program prints, as it does, until the head is gone.
func (t *Teller) Output(ctx context.Context, lab *Lab, job *Job) error {
	printed := 0
	err := t.Wait(ctx, "the program's output", endLimit, func(ctx context.Context) (bool, error) {
		if err := t.Look(ctx, lab, job); err != nil {
			return false, err
		}
		cluster := lab.ClusterOf(job.Lease.Namespace)
		if status, err := lab.KubectlIn(ctx, cluster, "get", "rayjobs", "-n", job.Lease.Status.Namespace, "-o", "jsonpath={.items[*].status.jobStatus}"); err == nil {
			t.once("rayjob/"+job.Name, status, "%-16s RayJob %s", "ray of "+job.Name, status)
		}
		if job.Lease.Status.End != nil {
			return true, nil
		}
		head, err := headOf(ctx, lab, job)
		if err != nil || head == "" {
			return false, err
		}
		text, err := lab.KubectlIn(ctx, cluster, "exec", "-n", job.Lease.Status.Namespace, head, "-c", "ray-head", "--", "sh", "-c", driverLogs)
		if err != nil {
			return false, err // there is none yet, or no head any more
		}
		for line := range strings.Lines(text[min(printed, len(text)):]) {
			fmt.Fprintf(t.out, "          | %s\n", strings.TrimRight(line, "\n"))
		}
		printed = max(printed, len(text))
		return false, nil
	})
	if err != nil {
		return err
	}
	if printed == 0 {
		return fmt.Errorf("%s: the program printed nothing", job.Name)
	}
	return nil
}

func headOf(ctx context.Context, lab *Lab, job *Job) (string, error) {
	pods, err := Pods(ctx, lab, job)
	if err != nil {
		return "", err
	}
	for _, pod := range pods {
		if pod.Labels["ray.io/node-type"] == "head" && pod.Status.Phase == corev1.PodRunning {
			return pod.Name, nil
		}
	}
	return "", nil
}
