// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"flag"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

var isolation = flag.String("isolation", "auto", "how `lab up` keeps a federation's clusters apart: namespaces, loopback or auto")

// leaseSpace is how the namespaces of leases begin, in their suppliers' clusters.
const leaseSpace = "bourse-lease-"

// Each supplier is a cluster with a manager of its own, and so is the buyer: they reach the hub with a member's rights only. The job is
// applied in the buyer's cluster, which sees its whole life, and the cheapest supplier runs it: its pods are there and nowhere else, and it is paid to the base unit. The lab's clocks are those of every lab: a settlement every
// 10 seconds instead of an hour, and slots of 100 milliseconds instead of 400.
func TestAFederatedSupplierIsPaidForWhatItsClusterRuns(t *testing.T) {
	t.Parallel()
	f := newFederation(t)
	f.rights("porto", "oslo")
	job := f.apply("computejob-interactive-io.yaml")
	f.must(f.teller.Running(t.Context(), f.lab, job))
	f.runsOnlyIn("porto", job)
	f.mirrored(job)
	f.logged(job)
	f.reads(job)
	f.knowsNothingOf("porto", "oslo", "buyer")
	f.must(f.teller.Claimed(t.Context(), f.lab, 2, job))
	f.must(f.teller.Finished(t.Context(), f.lab, job))
	wholeTerm(t, job)
	f.settled(job)
	f.fence.end()
}

// federation is a lab whose suppliers are clusters of their own.
type federation struct {
	t      *testing.T
	lab    *story.Lab
	teller *story.Teller
	before map[string]uint64 // how much of each token there was
	fence  *fence
}

func newFederation(t *testing.T) *federation {
	t.Helper()
	f := &federation{t: t, lab: up(t, "--federated", "--isolation="+*isolation), teller: story.NewTeller(t.Output(), time.Now)}
	f.fence = newFence(f)
	f.must(f.teller.Offers(t.Context(), f.lab, 2))
	var err error
	f.before, err = story.NewLedger(f.lab).Supplies(t.Context(), f.lab)
	f.must(err)
	return f
}

func (f *federation) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

func (f *federation) apply(sample string) *story.Job {
	f.t.Helper()
	job, err := f.teller.Apply(f.t.Context(), f.lab, filepath.Join(samples, sample))
	f.must(err)
	return job
}

// mirrored holds that the buyer's own job is one job in the hub, which says where it comes from.
func (f *federation) mirrored(job *story.Job) {
	f.t.Helper()
	var copies boursev1.ComputeJobList
	f.must(f.lab.Client.List(f.t.Context(), &copies, client.MatchingLabels{boursev1.LabelOriginUID: string(job.Object.UID)}))
	if len(copies.Items) != 1 || copies.Items[0].Name != job.Lease.Spec.Job.Name || copies.Items[0].Name == job.Name {
		f.t.Errorf("the hub has %d copies of %s, and its lease is of %s", len(copies.Items), job, job.Lease.Spec.Job.Name)
	}
}

// reads holds that the buyer reads the logs of its job at the market's gateway, from its own place and with its own credential, though they
// are in a cluster that nobody can call; and that somebody else does not.
func (f *federation) reads(job *story.Job) {
	f.t.Helper()
	inHub := &story.Job{ObjectKey: client.ObjectKey{Namespace: job.Lease.Spec.Job.Namespace, Name: job.Lease.Spec.Job.Name}}
	for container, which := range map[string][]string{"ray-head": {"--head"}, "ray-worker": {"--worker", "0"}} {
		var text string
		f.must(f.teller.Wait(f.t.Context(), "the buyer to read its job's logs", time.Minute, func(ctx context.Context) (_ bool, err error) {
			text, err = f.lab.Logs(ctx, "buyer", inHub, which...)
			return err == nil, err // its supplier may be about to connect
		}))
		line, _, _ := strings.Cut(text, "\n")
		if !strings.HasPrefix(line, fakeOutput) || !strings.Contains(line, container) {
			f.t.Errorf("the buyer reads %q with kubectl bourse logs %v, want the log of %s", text, which, container)
		}
		f.teller.Say("the buyer reads with kubectl bourse logs %s: %s", strings.Join(which, " "), line)
	}
	if text, err := f.lab.Logs(f.t.Context(), "oslo", inHub, "--head"); err == nil {
		f.t.Errorf("oslo reads the logs of another's job: %q", text)
	}
}

// runsOnlyIn holds that the job's pods are in the cluster of one supplier, and that no other cluster has any.
func (f *federation) runsOnlyIn(supplier string, job *story.Job) {
	f.t.Helper()
	if job.Lease.Namespace != supplier {
		f.t.Errorf("%s leases from %s, want %s, which asks less", job.Name, job.Lease.Namespace, supplier)
	}
	for name := range f.lab.Clusters {
		var pods corev1.PodList
		f.must(f.lab.In(name).List(f.t.Context(), &pods))
		var nodes corev1.NodeList
		f.must(f.lab.In(name).List(f.t.Context(), &nodes))
		leased := slices.DeleteFunc(pods.Items, func(pod corev1.Pod) bool { return !strings.HasPrefix(pod.Namespace, leaseSpace) })
		f.teller.Say("cluster %-6s has %d nodes, and %d pods of leases", name, len(nodes.Items), len(leased))
		if got := len(leased) > 0; got != (name == supplier) {
			f.t.Errorf("cluster %s has %d pods of leases", name, len(leased))
		}
		if got := len(nodes.Items) > 0; got != slices.Contains(f.lab.Sellers(), name) {
			f.t.Errorf("cluster %s has %d nodes", name, len(nodes.Items))
		}
	}
}

// knowsNothingOf holds that nothing in the hub leads to the suppliers' clusters: neither an address nor a key.
func (f *federation) knowsNothingOf(suppliers ...string) {
	f.t.Helper()
	all, err := f.lab.Kubectl(f.t.Context(), "get", "-A", "-o", "yaml",
		"secrets,configmaps,serviceaccounts,members,gpuoffers,gpuleases,computejobs,vouchers,markets,events.events.k8s.io")
	f.must(err)
	for _, name := range suppliers {
		if server := strings.TrimPrefix(f.lab.Clusters[name].Server, "https://"); server == "" || strings.Contains(all, server) {
			f.t.Errorf("the hub knows the address %q of cluster %s", server, name)
		}
	}
	var secrets corev1.SecretList
	f.must(f.lab.Client.List(f.t.Context(), &secrets))
	if len(secrets.Items) > 0 {
		f.t.Errorf("the hub holds %d Secrets", len(secrets.Items))
	}
}

// right is one thing that somebody may do in the hub, or not. Its resource may name a subresource.
type right struct{ verb, group, resource, namespace string }

// rights holds what the credential of a supplier allows in the hub, in its own namespace and in another's.
func (f *federation) rights(own, other string) {
	f.t.Helper()
	const market, all = "bourse.dev", ""
	may := []right{
		{"create", market, "gpuoffers", own},
		{"patch", market, "gpuoffers", own},
		{"delete", market, "gpuoffers", own},
		{"watch", market, "gpuleases", own},
		{"patch", market, "gpuleases", own},
		{"patch", market, "gpuleases/status", own},
		{"get", market, "members", own},
		{"patch", market, "stakepositions", own},
		{"create", "events.k8s.io", "events", own},
		{"patch", "coordination.k8s.io", "leases", own},
		{"trade", market, "members", own}, // so the hub's policies bind it
		{"watch", market, "leaseprograms", own},
		{"watch", market, "markets", all},
		{"watch", market, "vouchers", all},
		{"watch", market, "gpuleases", all},
		{"get", market, "gpuoffers", other},
		{"get", market, "members", other},
	}
	mayNot := []right{
		{"create", market, "gpuoffers", other},
		{"patch", market, "gpuleases", other},
		{"patch", market, "gpuleases/status", other},
		{"get", market, "leaseprograms", other},
		{"patch", market, "stakepositions", other},
		{"list", market, "leaseprograms", all},
		{"list", market, "computejobs", all},
		{"create", market, "leaseprograms", own},
		{"delete", market, "leaseprograms", own},
		{"create", "events.k8s.io", "events", other},
		{"create", market, "gpuleases", own},
		{"delete", market, "vouchers", own},
		{"delete", market, "gpuleases", own},
		{"patch", market, "gpuoffers/status", own},
		{"create", market, "members", own},
		{"patch", market, "members", own},
		{"patch", market, "members/status", own},
		{"manage", market, "members", own},
		{"patch", "coordination.k8s.io", "leases", other},
		{"patch", market, "markets", all},
		{"create", market, "settlements", "bourse-public"},
		{"get", all, "secrets", own},
		{"create", all, "pods", own},
		{"create", all, "serviceaccounts/token", own},
		{"create", "rbac.authorization.k8s.io", "rolebindings", own},
		{"create", all, "namespaces", all},
		{"list", all, "nodes", all},
		{"impersonate", all, "users", all},
	}
	hub, err := story.Connect(f.lab.Suppliers[own].HubKubeconfig)
	f.must(err)
	for _, r := range may {
		if !f.allowed(hub, r) {
			f.t.Errorf("%s may not %s", own, r)
		}
	}
	for _, r := range mayNot {
		if f.allowed(hub, r) {
			f.t.Errorf("%s may %s", own, r)
		}
	}
}

func (r right) String() string {
	return fmt.Sprintf("%s %s.%s in namespace %q", r.verb, r.resource, r.group, r.namespace)
}

// allowed asks the hub whether the holder of a credential may do something.
func (f *federation) allowed(as client.Client, r right) bool {
	f.t.Helper()
	resource, sub, _ := strings.Cut(r.resource, "/")
	review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{
			Verb: r.verb, Group: r.group, Resource: resource, Subresource: sub, Namespace: r.namespace,
		},
	}}
	f.must(as.Create(f.t.Context(), review))
	return review.Status.Allowed
}

// settled holds the money of jobs that have ended: on the chain, in the records, and by the manager's own audit.
func (f *federation) settled(jobs ...*story.Job) {
	f.t.Helper()
	for _, job := range jobs {
		paidOnce(f.t, f.lab, job)
	}
	f.must(f.teller.Audit(f.t.Context(), f.lab, f.before, f.leases(f.t.Context())...))
	f.must(f.teller.Recheck(f.t.Context(), f.lab))
}

// leases are all leases that there ever were, also those that no job has any more.
func (f *federation) leases(ctx context.Context) []*story.Job {
	f.t.Helper()
	var list boursev1.GPULeaseList
	f.must(f.lab.Client.List(ctx, &list))
	all := make([]*story.Job, 0, len(list.Items))
	for i := range list.Items {
		lease := &list.Items[i]
		key := client.ObjectKey{Namespace: lease.Spec.Job.Namespace, Name: lease.Spec.Job.Name}
		all = append(all, &story.Job{ObjectKey: key, Lease: lease})
	}
	return all
}

// wholeTerm holds that a lease which ran to its end was metered for its term, to the millisecond.
func wholeTerm(t *testing.T, job *story.Job) {
	t.Helper()
	gpus := int64(job.Lease.Spec.Workers * job.Lease.Spec.PerWorker)
	if got, want := *job.Lease.Status.Usage.GPUMilliseconds, gpus*int64(job.Lease.Spec.Terms.DurationSeconds)*1000; got != want {
		t.Errorf("%s: %d GPU-ms were metered, want the whole term: %d", job.Name, got, want)
	}
}
