// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/test/builders"
)

// secretive is a job whose environment nobody but its parties may see.
func secretive() *boursev1.ComputeJob {
	job := builders.Job("train")
	job.Spec.Ray.Env = []boursev1.EnvVar{{Name: "API_KEY", Value: new("hunter2")}}
	return job
}

// programOf returns what the lease runs, as the hub holds it, or nil.
func (b *bench) programOf(lease *boursev1.GPULease) *boursev1.LeaseProgram {
	b.t.Helper()
	program := &boursev1.LeaseProgram{}
	err := b.hub.Get(b.t.Context(), client.ObjectKeyFromObject(lease), program)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return program
}

func TestWhatALeaseRunsIsApartFromIt(t *testing.T) {
	b := newBench(t, secretive(), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.settle("train")
	lease := b.lease(job)
	program := b.programOf(lease)
	if program == nil {
		t.Fatal("the supplier was not told what the lease runs")
	}
	if diff := cmp.Diff(boursev1.LeaseProgramSpec{Salt: job.Status.ProgramSalt, Ray: job.Spec.Ray}, program.Spec); diff != "" {
		t.Errorf("program (-want +got):\n%s", diff)
	}
	owner := []metav1.OwnerReference{{APIVersion: "bourse.dev/v1alpha1", Kind: "GPULease", Name: lease.Name, UID: lease.UID}}
	if diff := cmp.Diff(owner, program.OwnerReferences); diff != "" {
		t.Errorf("whose the program is (-want +got):\n%s", diff)
	}
	if differs := contract.Runs(lease, program.Spec.Salt, &program.Spec.Ray); differs != "" {
		t.Errorf("the lease %s", differs)
	}
	public, err := json.Marshal(lease)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"API_KEY", "hunter2", job.Spec.Ray.Image, string(job.Status.ProgramSalt)} {
		if strings.Contains(string(public), secret) {
			t.Errorf("the lease shows %q", secret)
		}
	}
}

func TestTwoLeasesOfAProgramHaveNothingInCommon(t *testing.T) {
	other := secretive()
	other.Name, other.UID = "again", "uid-of-again"
	b := newBench(t, secretive(), other, builders.Offer(builders.Supplier, "h100"))
	first, _ := b.settle("train")
	second, _ := b.settle("again")
	if b.lease(first).Spec.ProgramSHA256 == b.lease(second).Spec.ProgramSHA256 {
		t.Error("everybody can see that two leases run the same")
	}
}

// A market that dies after it wrote the lease, and before it wrote the program, makes the program when it is back.
func TestACrashBetweenLeaseAndProgramLosesNeither(t *testing.T) {
	b := newBench(t, secretive(), builders.Offer(builders.Supplier, "h100"))
	b.pass("train")
	crash := errors.New("crash")
	b.hub.Fail(func(_ string, obj client.Object) error {
		if _, ok := obj.(*boursev1.LeaseProgram); ok {
			return crash
		}
		return nil
	})
	job := builders.Job("train")
	b.hub.Read(job)
	if _, err := b.r.Reconcile(t.Context(), job); !errors.Is(err, crash) {
		t.Fatalf("err = %v, want the crash", err)
	}
	if len(b.leases()) != 1 || b.programOf(&b.leases()[0]) != nil {
		t.Fatal("the crash was meant to come between the lease and its program")
	}
	b.hub.Read(job)
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonLeasing)
	b.hub.Fail(nil)
	b.restart()
	job, _ = b.settle("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
	lease := b.lease(job)
	program := b.programOf(lease)
	if program == nil || len(b.leases()) != 1 {
		t.Fatalf("program %v of %d leases", program, len(b.leases()))
	}
	if differs := contract.Runs(lease, program.Spec.Salt, &program.Spec.Ray); differs != "" {
		t.Errorf("the lease %s", differs)
	}
}

// A program of a lease that had the same name goes with that lease; until it is gone, the new one's cannot be written.
func TestAProgramThatBelongsToAnotherLeaseIsNotTaken(t *testing.T) {
	b := newBench(t, secretive(), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.pass("train")
	left := &boursev1.LeaseProgram{
		ObjectMeta: metav1.ObjectMeta{Namespace: job.Status.Lease.Namespace, Name: job.Status.Lease.Name, OwnerReferences: []metav1.OwnerReference{{
			APIVersion: "bourse.dev/v1alpha1", Kind: "GPULease", Name: job.Status.Lease.Name, UID: "another",
		}}},
		Spec: boursev1.LeaseProgramSpec{Salt: builders.Salt, Ray: job.Spec.Ray},
	}
	if err := b.hub.Create(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	if _, err := b.r.Reconcile(t.Context(), job); err == nil || !strings.Contains(err.Error(), "still taken") {
		t.Fatalf("err = %v, want that the name is still taken", err)
	}
	if err := b.hub.Delete(t.Context(), left); err != nil {
		t.Fatal(err)
	}
	job, _ = b.settle("train")
	expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
	if program := b.programOf(b.lease(job)); program == nil || program.Spec.Salt != job.Status.ProgramSalt {
		t.Errorf("program %+v", program)
	}
}

func TestEachLeaseOfAJobHasASaltOfItsOwn(t *testing.T) {
	b := newBench(t, secretive(), builders.Offer(builders.Supplier, "h100"))
	job, _ := b.settle("train")
	first := job.Status.ProgramSalt
	b.supplier(b.lease(job), func(status *boursev1.GPULeaseStatus) {
		status.End = &boursev1.LeaseEnd{Reason: boursev1.EndNotAccepted, Party: boursev1.PartySupplier, At: metav1.NewTime(b.hub.Now())}
	}, builders.Condition(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonCapacityGone))
	job, _ = b.settle("train")
	if job.Status.ProgramSalt != "" {
		t.Errorf("a job without a lease has the salt %s", job.Status.ProgramSalt)
	}
	b.hub.Step(firstBackoff)
	job, _ = b.settle("train")
	if second := job.Status.ProgramSalt; second == "" || second == first {
		t.Errorf("the second lease has the salt %q, the first had %q", second, first)
	}
}
