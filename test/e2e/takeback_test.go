// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

// takeBackLimit is for a busy machine.
const takeBackLimit = 4 * time.Minute

// TestGPUsAreTakenBackByTheClusterItself lets the real scheduler give an interruptible lease's GPUs to local pods, and lets an admin drain,
// and then taint, the nodes of a firm one. In the end the pool is repaired, and sells again only after mock rentals.
func TestGPUsAreTakenBackByTheClusterItself(t *testing.T) {
	t.Parallel()
	lab := up(t)
	ctx := t.Context()
	teller := story.NewTeller(t.Output(), time.Now)
	for _, pool := range []string{"oslo", "porto"} {
		kubectl(ctx, t, lab, "patch", "gpupool", pool, "--type=merge", "-p", `{"spec":{"terms":{"tiers":["Firm","Interruptible"]}}}`)
	}
	if err := teller.Offers(ctx, lab, 2); err != nil {
		t.Fatal(err)
	}
	interruptible := rent(ctx, t, lab, teller, "taken", boursev1.TierInterruptible)
	preemptionGivesNotice(ctx, t, lab, teller, interruptible)
	firm := rent(ctx, t, lab, teller, "promised", boursev1.TierFirm)
	evictionIsRefused(ctx, t, lab, firm)
	aTaintIsABreach(ctx, t, lab, teller, firm)
	aRepairedPoolIsTried(ctx, t, lab, teller, firm.Lease.Spec.Pool)
}

func kubectl(ctx context.Context, t *testing.T, lab *story.Lab, args ...string) {
	t.Helper()
	if out, err := lab.Kubectl(ctx, args...); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// rent runs an interactive cluster of ten minutes, whose pods take all of their grace when they are deleted.
func rent(ctx context.Context, t *testing.T, lab *story.Lab, teller *story.Teller, name string, tier boursev1.Tier) *story.Job {
	t.Helper()
	sample, err := os.ReadFile(filepath.Join(samples, "computejob-interactive-io.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("name: notebook", "name: "+name, "durationSeconds: 60", "durationSeconds: 600",
		"  ray:\n", fmt.Sprintf("  placement:\n    tier: %s\n  ray:\n", tier)).Replace(string(sample))
	path := filepath.Join(t.TempDir(), name+".yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	job, err := teller.Apply(ctx, lab, path)
	if err != nil {
		t.Fatal(err)
	}
	if err := teller.Running(ctx, lab, job); err != nil {
		t.Fatal(err)
	}
	kubectl(ctx, t, lab, "annotate", "pods", "--all", "-n", job.Lease.Status.Namespace, "lab.bourse.dev/linger=true")
	return job
}

// local are pods of the supplier's own that want every GPU of the lease's nodes.
func local(job *story.Job, gpus string) []*corev1.Pod {
	pods := make([]*corev1.Pod, 0, len(job.Lease.Status.Nodes))
	for _, node := range job.Lease.Status.Nodes {
		list := corev1.ResourceList{"nvidia.com/gpu": resource.MustParse(gpus)}
		pods = append(pods, &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "local-" + job.Name + "-" + node},
			Spec: corev1.PodSpec{
				NodeSelector:  map[string]string{corev1.LabelHostname: node},
				Tolerations:   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
				RestartPolicy: corev1.RestartPolicyNever,
				Containers: []corev1.Container{{
					Name: "work", Image: "registry.k8s.io/pause:3.10", Resources: corev1.ResourceRequirements{Requests: list, Limits: list},
				}},
			},
		})
	}
	return pods
}

// preemptionGivesNotice starts local work at the default priority, and follows what the buyer is told.
func preemptionGivesNotice(ctx context.Context, t *testing.T, lab *story.Lab, teller *story.Teller, job *story.Job) {
	t.Helper()
	pods := local(job, "8")
	for _, pod := range pods {
		if err := lab.Client.Create(ctx, pod); err != nil {
			t.Fatal(err)
		}
	}
	var told boursev1.LeaseNotice
	err := teller.Wait(ctx, "the buyer to be told", takeBackLimit, func(ctx context.Context) (bool, error) {
		if err := teller.Look(ctx, lab, job); err != nil || job.Object.Status.Notice == nil {
			return false, err
		}
		told = *job.Object.Status.Notice
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	agreed := time.Duration(job.Lease.Spec.Terms.NoticeSeconds) * time.Second
	if length := told.Until.Sub(told.Since.Time); told.Cause != boursev1.NoticePreempted || length < agreed-time.Second || length > agreed+time.Second {
		t.Errorf("the buyer is told %+v, want a preemption with %s of notice", told, agreed)
	}
	if now := meta.FindStatusCondition(job.Object.Status.Conditions, boursev1.Succeeded); now.Reason != boursev1.ReasonTakingBack {
		t.Errorf("the job says %s: %s", now.Reason, now.Message)
	}
	end := ended(ctx, t, lab, teller, job)
	if end.Reason != boursev1.EndTakenBack || end.Party != boursev1.PartySupplier || end.NoticeSeconds == nil || end.At.After(told.Until.Time) {
		t.Errorf("the lease's end is %+v, and it was told %+v", end, told)
	}
	err = teller.Wait(ctx, "the local pods to run", takeBackLimit, func(ctx context.Context) (bool, error) {
		for _, pod := range pods {
			if err := lab.Client.Get(ctx, client.ObjectKeyFromObject(pod), pod); err != nil || pod.Status.Phase != corev1.PodRunning {
				return false, err
			}
			if ran := pod.Status.StartTime; ran.Time.Before(told.Until.Add(-time.Second)) {
				t.Errorf("local work began at %s, in the buyer's notice", ran)
			}
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, pod := range pods {
		if err := lab.Client.Delete(ctx, pod); err != nil {
			t.Fatal(err)
		}
	}
}

// ended waits until the lease has ended, and its job with it.
func ended(ctx context.Context, t *testing.T, lab *story.Lab, teller *story.Teller, job *story.Job) boursev1.LeaseEnd {
	t.Helper()
	err := teller.Wait(ctx, "the lease's end", takeBackLimit, func(ctx context.Context) (bool, error) {
		err := teller.Look(ctx, lab, job)
		succeeded := meta.FindStatusCondition(job.Object.Status.Conditions, boursev1.Succeeded)
		return err == nil && job.Lease.Status.End != nil && succeeded.Reason == job.Lease.Status.End.Reason, err
	})
	if err != nil {
		t.Fatal(err)
	}
	return *job.Lease.Status.End
}

// evictionIsRefused drains the nodes of a firm lease and asks for them at the default priority: neither gets a GPU.
func evictionIsRefused(ctx context.Context, t *testing.T, lab *story.Lab, job *story.Job) {
	t.Helper()
	pods := local(job, "8")
	if err := lab.Client.Create(ctx, pods[0]); err != nil {
		t.Fatal(err)
	}
	node := job.Lease.Status.Nodes[0]
	out, err := lab.Kubectl(ctx, "drain", node, "--force", "--ignore-daemonsets", "--delete-emptydir-data", "--timeout=15s")
	if err == nil || !strings.Contains(out, "disruption budget") {
		t.Errorf("the drain says %v:\n%s", err, out)
	}
	kubectl(ctx, t, lab, "uncordon", node)
	var lease boursev1.GPULease
	if err := lab.Client.Get(ctx, client.ObjectKeyFromObject(job.Lease), &lease); err != nil {
		t.Fatal(err)
	}
	if !meta.IsStatusConditionTrue(lease.Status.Conditions, boursev1.LeaseRunning) || lease.Status.Notice != nil {
		t.Errorf("the firm lease does not run on: %+v", lease.Status)
	}
	err = lab.Client.Delete(ctx, pods[0])
	if client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
}

// aTaintIsABreach puts the pods of a firm lease off their node.
func aTaintIsABreach(ctx context.Context, t *testing.T, lab *story.Lab, teller *story.Teller, job *story.Job) {
	t.Helper()
	node := job.Lease.Status.Nodes[0]
	kubectl(ctx, t, lab, "taint", "node", node, "example.org/repair=now:NoExecute")
	end := ended(ctx, t, lab, teller, job)
	if end.Reason != boursev1.EndBreached || end.Party != boursev1.PartySupplier || job.Lease.Status.Notice.Cause != boursev1.NoticeTainted {
		t.Errorf("the lease's end is %+v, and its notice %+v", end, job.Lease.Status.Notice)
	}
	kubectl(ctx, t, lab, "taint", "node", node, "example.org/repair-")
}

// aRepairedPoolIsTried asks for mock rentals, and waits for the answer.
func aRepairedPoolIsTried(ctx context.Context, t *testing.T, lab *story.Lab, teller *story.Teller, name string) {
	t.Helper()
	kubectl(ctx, t, lab, "annotate", "gpupool", name, boursev1.AnnotationRecycle+"=true")
	var tried bool
	err := teller.Wait(ctx, "the pool to be recycled", takeBackLimit, func(ctx context.Context) (bool, error) {
		var rentals corev1.PodList
		if err := lab.Client.List(ctx, &rentals, client.HasLabels{boursev1.LabelMockRental}); err != nil {
			return false, err
		}
		tried = tried || len(rentals.Items) > 0
		var pool boursev1.GPUPool
		err := lab.Client.Get(ctx, client.ObjectKey{Name: name}, &pool)
		return err == nil && !pool.Recycling(), err
	})
	if err != nil || !tried {
		t.Fatalf("recycled: %v, mock rentals seen: %t", err, tried)
	}
	if out, err := lab.Kubectl(ctx, "get", "events", "-A", "--field-selector=reason=Recycled"); err != nil || !strings.Contains(out, "Every mock rental passed") {
		t.Errorf("no event says so: %v\n%s", err, out)
	}
}
