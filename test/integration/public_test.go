// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers/market/computejob"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/test/builders"
)

// match runs the market's controller of jobs.
func (l *joinLab) match() {
	l.Helper()
	mgr, err := ctrl.NewManager(apiServer, ctrl.Options{
		Scheme: l.admin.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		l.Fatal(err)
	}
	teller := &kube.Teller{Client: mgr.GetClient(), Recorder: events.NewFakeRecorder(1000), Metrics: metrics.New(prometheus.NewRegistry())}
	r := &computejob.Reconciler{Teller: teller, Hub: mgr.GetClient(), Live: mgr.GetAPIReader(), Now: time.Now}
	if err := r.SetupWithManager(l.Context(), mgr); err != nil {
		l.Fatal(err)
	}
	l.run(mgr)
}

// market creates a market that is ready.
func (l *joinLab) market() {
	l.Helper()
	market := builders.Market()
	status := market.Status
	market.ResourceVersion, market.UID = "", ""
	l.create(market)
	market.Status = status
	l.told(market)
}

// told writes a status, as the controller would that does not run here.
func (l *joinLab) told(object client.Object) {
	l.Helper()
	if err := l.admin.Status().Update(l.Context(), object); err != nil {
		l.Fatal(err)
	}
}

// sells lets a member offer what builders.Offer does.
func (l *joinLab) sells(access join.Access) *boursev1.GPUOffer {
	l.Helper()
	offer := builders.Offer(access.Namespace, "pool-h100")
	status := offer.Status
	offer.Spec.ValidUntil = metav1.NewTime(time.Now().Add(time.Hour))
	l.create(offer)
	offer.Status = status
	l.told(offer)
	return offer
}

// buys lets a member ask for two workers of four GPUs, and waits for the lease.
func (l *joinLab) buys(access join.Access, change func(*boursev1.ComputeJob)) (*boursev1.ComputeJob, *boursev1.GPULease) {
	l.Helper()
	job := builders.Job("train")
	job.ObjectMeta = metav1.ObjectMeta{Namespace: access.Namespace, Name: job.Name}
	change(job)
	if err := l.as(access).Create(l.Context(), job); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { l.gone(job) })
	lease := &boursev1.GPULease{}
	l.eventually("the job has its lease", func() bool {
		if err := l.as(access).Get(l.Context(), client.ObjectKeyFromObject(job), job); err != nil {
			l.Fatal(err)
		}
		return kube.IsTrue(job, boursev1.JobMatched)
	})
	if err := l.admin.Get(l.Context(), client.ObjectKey{Namespace: job.Status.Lease.Namespace, Name: job.Status.Lease.Name}, lease); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { l.gone(lease) })
	return job, lease
}

// gone removes an object with its finalizers, and its children as a garbage collector would.
func (l *joinLab) gone(object client.Object) {
	none := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	for _, step := range []func() error{
		func() error { return l.admin.Delete(cleanupContext(), object) },
		func() error { return l.admin.Patch(cleanupContext(), object, none) },
		func() error {
			return l.admin.Delete(cleanupContext(), &boursev1.LeaseProgram{ObjectMeta: metav1.ObjectMeta{Namespace: object.GetNamespace(), Name: object.GetName()}})
		},
	} {
		if err := step(); client.IgnoreNotFound(err) != nil {
			l.Errorf("remove %s: %v", object.GetName(), err)
		}
	}
}

// A lease is as public as the chain. What it runs is known to the buyer, the supplier and the market, and to no other member.
func TestOthersReadALeaseAndNotWhatItRuns(t *testing.T) {
	l := newJoinLab(t)
	l.readable()
	l.market()
	l.match()
	agent := builders.Wallet("agent")
	supplier, buyer, other := l.must(l.send(join.Join, builders.Wallet("sells"), agent)), l.must(l.send(join.Join, builders.Wallet("buys"), agent)),
		l.must(l.send(join.Join, builders.Wallet("looks on"), agent))
	l.sells(supplier)
	secrets := []string{"PRIVATE_KEY", "open sesame", "registry.example/own", "python private.py", "print('private')"}
	job, lease := l.buys(buyer, func(job *boursev1.ComputeJob) {
		job.Spec.Ray.Env = []boursev1.EnvVar{{Name: secrets[0], Value: &secrets[1]}}
		job.Spec.Ray.Image, job.Spec.Ray.Entrypoint, job.Spec.Ray.Program = secrets[2], secrets[3], secrets[4]
	})
	var found boursev1.GPULease
	key := client.ObjectKeyFromObject(lease)
	l.eventually("another member reads the lease", func() bool { return l.as(other).Get(t.Context(), key, &found) == nil })
	if diff := cmp.Diff(lease.Spec, found.Spec); diff != "" {
		t.Errorf("what another member reads (-want +got):\n%s", diff)
	}
	for name, of := range map[string]join.Access{"another member": other, "the buyer, in the supplier's namespace,": buyer} {
		if err := l.as(of).Get(t.Context(), key, &boursev1.LeaseProgram{}); !apierrors.IsForbidden(err) {
			t.Errorf("%s reads what the lease runs: %v, want it forbidden", name, err)
		}
	}
	if err := l.as(other).Get(t.Context(), client.ObjectKeyFromObject(job), &boursev1.ComputeJob{}); !apierrors.IsForbidden(err) {
		t.Errorf("another member reads the job: %v, want it forbidden", err)
	}
	l.searches(other, append(secrets, string(job.Status.ProgramSalt)))

	var program boursev1.LeaseProgram
	if err := l.as(supplier).Get(t.Context(), key, &program); err != nil {
		t.Fatalf("the supplier: %v", err)
	}
	if differs := contract.Runs(lease, program.Spec.Salt, &program.Spec.Ray); differs != "" {
		t.Errorf("for the supplier the lease %s", differs)
	}
	if differs := contract.Runs(&found, job.Status.ProgramSalt, &job.Spec.Ray); differs != "" {
		t.Errorf("for the buyer the lease %s", differs)
	}
	l.followsItsOwn(buyer, lease)
}

// searches holds that nothing that a member may list, anywhere, has one of the texts.
func (l *joinLab) searches(member join.Access, texts []string) {
	l.Helper()
	as, listed := l.as(member), 0
	for _, kind := range []string{
		"ComputeJob", "FeeBurn", "GPULease", "GPUNode", "GPUOffer", "GPUPool", "LeaseProgram", "Market", "Member", "Settlement", "Slash", "StakePosition", "Voucher",
	} {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(schema.GroupVersionKind{Group: boursev1.GroupVersion.Group, Version: boursev1.GroupVersion.Version, Kind: kind + "List"})
		err := as.List(l.Context(), list)
		if apierrors.IsForbidden(err) {
			continue
		}
		if err != nil {
			l.Fatal(err)
		}
		listed++
		all, err := json.Marshal(list)
		if err != nil {
			l.Fatal(err)
		}
		for _, text := range texts {
			if strings.Contains(string(all), text) {
				l.Errorf("%s shows %q to everybody", kind, text)
			}
		}
	}
	if listed != len(public(l.T)) {
		l.Errorf("it lists %d kinds everywhere, want %d", listed, len(public(l.T)))
	}
}

// followsItsOwn holds that a buyer can ask for the leases of its own jobs alone.
func (l *joinLab) followsItsOwn(buyer join.Access, lease *boursev1.GPULease) {
	l.Helper()
	strange := lease.DeepCopy()
	strange.ObjectMeta = metav1.ObjectMeta{Namespace: lease.Namespace, Name: "strange"}
	strange.Spec.Job.Namespace = "another"
	l.create(strange)
	for namespace, want := range map[string]string{buyer.Namespace: lease.Name, "another": "strange", "nobody": ""} {
		var leases boursev1.GPULeaseList
		if err := l.as(buyer).List(l.Context(), &leases, client.MatchingFields{"spec.job.namespace": namespace}); err != nil {
			l.Fatal(err)
		}
		names := make([]string, 0, len(leases.Items))
		for i := range leases.Items {
			names = append(names, leases.Items[i].Name)
		}
		if got := strings.Join(names, " "); got != want {
			l.Errorf("the leases of jobs in %s are %q, want %q", namespace, got, want)
		}
	}
}

// run runs a manager until the test ends.
func (l *joinLab) run(mgr ctrl.Manager) {
	l.Helper()
	ctx, stop := context.WithCancel(cleanupContext())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	l.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			l.Errorf("run manager: %v", err)
		}
	})
}
