// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
)

// stuck is how long a pass may take that waits for nothing.
const stuck = 30 * time.Second

// A job is decided on while the decision on another one is still being written, and cannot get the same GPUs.
func TestADecisionIsKeptWhileItIsWritten(t *testing.T) {
	b := newBench(t, builders.Job("one"), builders.Job("two"), tight())
	b.tell()
	writing, write := make(chan struct{}), make(chan struct{})
	b.hub.Fail(func(verb string, obj client.Object) error {
		if verb == "patch" && obj.GetName() == "one" {
			close(writing)
			<-write
		}
		return nil
	})
	first, second := builders.Job("one"), builders.Job("two")
	b.hub.Read(first)
	b.hub.Read(second)
	one := b.begin(first)
	<-writing
	if err := awaited(t, b.begin(second)); err != nil {
		t.Fatal(err)
	}
	close(write)
	if err := awaited(t, one); err != nil {
		t.Fatal(err)
	}
	b.hub.Fail(nil)
	b.hub.Read(first)
	b.hub.Read(second)
	expect(t, first, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonLeasing)
	expect(t, second, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonNoOfferFits)
}

// begin makes a pass on a job beside the test.
func (b *bench) begin(job *boursev1.ComputeJob) <-chan error {
	done := make(chan error, 1)
	go func() {
		_, err := b.r.Reconcile(b.t.Context(), job)
		done <- err
	}()
	return done
}

func awaited(t *testing.T, pass <-chan error) error {
	t.Helper()
	select {
	case err := <-pass:
		return err
	case <-time.After(stuck):
		t.Fatal("a pass waits for another one's write")
		return nil
	}
}

// What was chosen for a job whose decision cannot be written is there for the next one at once.
func TestWhatCannotBeWrittenIsGivenBack(t *testing.T) {
	b := newBench(t, builders.Job("one"), builders.Job("two"), tight())
	b.tell()
	refused := errors.New("refused")
	b.hub.Fail(func(verb string, obj client.Object) error {
		if verb == "patch" && obj.GetName() == "one" {
			return refused
		}
		return nil
	})
	job := builders.Job("one")
	b.hub.Read(job)
	if _, err := b.r.Reconcile(t.Context(), job); !errors.Is(err, refused) {
		t.Fatalf("err = %v, want that the write was refused", err)
	}
	job, _ = b.pass("two")
	expect(t, job, boursev1.JobMatched, metav1.ConditionUnknown, boursev1.ReasonLeasing)
}

// A pass on what was read before the last write does nothing: it would only be refused. A version that stays is believed in the end.
func TestAPassOnAnOlderVersionThanWasWrittenDoesNothing(t *testing.T) {
	for name, passes := range map[string]int{"before its decision was written": 1, "before its lease was written": 2} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
			older := builders.Job("train")
			for range passes {
				b.hub.Read(older)
				b.pass("train")
			}
			var result reconcile.Result
			look := func() {
				var err error
				if result, err = b.r.Reconcile(t.Context(), older.DeepCopy()); err != nil {
					t.Fatal(err)
				}
			}
			b.hub.Step(time.Second)
			if wrote := b.hub.Writes(look); len(wrote) != 0 || result.RequeueAfter != journalled {
				t.Errorf("wrote %v and is run again after %s, want nothing and %s", wrote, result.RequeueAfter, journalled)
			}
			b.hub.Step(minute)
			if wrote := b.hub.Writes(look); len(wrote) == 0 {
				t.Error("a version that stays for a minute is still not believed")
			}
			if n := len(b.leases()); n > 1 {
				t.Errorf("%d leases, want one at most", n)
			}
		})
	}
}

// What is kept for a decision is kept for a while only, so that it is carried out before others are taken.
func TestADecisionIsCarriedOutBeforeOthersAreTaken(t *testing.T) {
	b := newBench(t, builders.Job("one"), builders.Job("two"), tight())
	for _, tc := range []struct {
		job, reason string
		want        int
	}{
		{"one", boursev1.ReasonLeasing, decided},
		{"two", boursev1.ReasonNoOfferFits, 0},
		{"one", boursev1.ReasonOfferFound, 0},
		{"one", boursev1.ReasonOfferFound, 0},
	} {
		job, result := b.pass(tc.job)
		if got := meta.FindStatusCondition(job.Status.Conditions, boursev1.JobMatched); got == nil || got.Reason != tc.reason {
			t.Fatalf("%s is matched: %+v, want %s", tc.job, got, tc.reason)
		}
		if result.RequeueAfter == 0 || result.Priority == nil || *result.Priority != tc.want {
			t.Errorf("%s, %s: looked at again %+v, want with priority %d", tc.job, tc.reason, result, tc.want)
		}
	}
}

// unread is an API server that must not be asked.
type unread struct {
	client.Reader

	t *testing.T
}

func (u unread) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	u.t.Errorf("asked the API server for the %T %s", obj, key)
	return errors.New("asked")
}

func TestALeaseThatNobodyMadeIsNotAskedFor(t *testing.T) {
	b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
	b.r.Live = unread{t: t}
	b.pass("train")
	var job *boursev1.ComputeJob
	wrote := b.hub.Writes(func() { job, _ = b.pass("train") })
	expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
	lease := job.Status.Lease.Name
	if diff := cmp.Diff([]string{"create " + lease, "create " + lease, "patch status train"}, wrote); diff != "" {
		t.Errorf("what was written (-want +got):\n%s", diff)
	}
}

// A lease that was made stands, whatever has become of its offer by the time that the job hears of it.
func TestALeaseThatWasMadeStandsThoughItsOfferDoesNot(t *testing.T) {
	cases := map[string]func(*bench, *boursev1.GPUOffer){
		"an offer as it was": func(*bench, *boursev1.GPUOffer) {},
		"one that costs more": func(b *bench, offer *boursev1.GPUOffer) {
			offer.Spec.PriceUSD = "1.86"
			b.hub.Edit(offer)
		},
		"one that is gone": func(b *bench, offer *boursev1.GPUOffer) {
			if err := b.hub.Delete(b.t.Context(), offer); err != nil {
				b.t.Fatal(err)
			}
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, builders.Job("train"), builders.Offer(builders.Supplier, "h100"))
			b.pass("train")
			crash := errors.New("crash")
			b.hub.Fail(func(verb string, _ client.Object) error {
				if verb == "patch status" {
					return crash
				}
				return nil
			})
			job := builders.Job("train")
			b.hub.Read(job)
			if _, err := b.r.Reconcile(t.Context(), job); !errors.Is(err, crash) {
				t.Fatalf("err = %v, want the crash", err)
			}
			b.hub.Fail(nil)
			b.restart()
			offer := builders.Offer(builders.Supplier, "h100")
			b.hub.Read(offer)
			change(b, offer)
			job, _ = b.settle("train")
			expect(t, job, boursev1.JobMatched, metav1.ConditionTrue, boursev1.ReasonOfferFound)
			if n := len(b.leases()); n != 1 {
				t.Errorf("%d leases, want the one", n)
			}
		})
	}
}
