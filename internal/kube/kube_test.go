// SPDX-License-Identifier: Apache-2.0

package kube_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
)

const finalizer = "bourse.dev/test"

// world is a fake API server with one ComputeJob, and counts what is written to it.
type world struct {
	client   client.Client
	writes   int
	recorder *events.FakeRecorder
	registry *prometheus.Registry
	teller   *kube.Teller
}

func newWorld(t *testing.T) *world {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := boursev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	w := &world{recorder: events.NewFakeRecorder(16), registry: prometheus.NewPedanticRegistry()}
	job := &boursev1.ComputeJob{ObjectMeta: metav1.ObjectMeta{Name: "train", Namespace: "team", Generation: 3}}
	job.Spec.DurationSeconds = 60
	w.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(job).WithStatusSubresource(job).
		WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				w.writes++
				return c.Patch(ctx, o, p, opts...)
			},
			SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
				w.writes++
				return c.SubResource(sub).Patch(ctx, o, p, opts...)
			},
		}).Build()
	w.teller = &kube.Teller{Client: w.client, Recorder: w.recorder, Metrics: metrics.New(w.registry)}
	return w
}

func (w *world) job(t *testing.T) *boursev1.ComputeJob {
	t.Helper()
	job := &boursev1.ComputeJob{}
	if err := w.client.Get(t.Context(), client.ObjectKey{Namespace: "team", Name: "train"}, job); err != nil {
		t.Fatal(err)
	}
	return job
}

// outdate changes the job behind the back of whoever read it before.
func (w *world) outdate(t *testing.T) {
	t.Helper()
	job := w.job(t)
	job.Labels = map[string]string{"touched": "yes"}
	if err := w.client.Update(t.Context(), job); err != nil {
		t.Fatal(err)
	}
}

func (w *world) transitions(t *testing.T) int {
	t.Helper()
	count, err := testutil.GatherAndCount(w.registry, "bourse_condition_transitions_total")
	if err != nil {
		t.Fatal(err)
	}
	return count
}

func matched(_ context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
	kube.True(job, boursev1.JobMatched, "OfferFound", "Leased from pool oslo")
	return reconcile.Result{}, nil
}

func TestRunWritesOnceAndTellsOfEachChangedCondition(t *testing.T) {
	w := newWorld(t)
	waiting := func(_ context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
		kube.Waiting(job, boursev1.Succeeded, "Running", "The job runs")
		return reconcile.Result{}, nil
	}
	if _, err := kube.Run(t.Context(), w.teller, w.job(t), matched, waiting); err != nil {
		t.Fatal(err)
	}
	got := w.job(t)
	condition := meta.FindStatusCondition(got.Status.Conditions, boursev1.JobMatched)
	if condition == nil || condition.Status != metav1.ConditionTrue || condition.ObservedGeneration != 3 {
		t.Errorf("Matched = %+v", condition)
	}
	if w.writes != 1 || len(w.recorder.Events) != 2 || w.transitions(t) != 2 {
		t.Errorf("%d writes, %d events, %d transitions; want 1, 2, 2", w.writes, len(w.recorder.Events), w.transitions(t))
	}
	if event := <-w.recorder.Events; event != "Normal OfferFound Leased from pool oslo" {
		t.Errorf("event = %q", event)
	}
}

func TestRunWritesNothingInASecondPass(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		if _, err := kube.Run(t.Context(), w.teller, w.job(t), matched); err != nil {
			t.Fatal(err)
		}
	}
	if w.writes != 1 || len(w.recorder.Events) != 1 {
		t.Errorf("%d writes, %d events; want 1 and 1", w.writes, len(w.recorder.Events))
	}
}

func TestRunTellsNothingWhenTheWriteIsRefused(t *testing.T) {
	w := newWorld(t)
	stale := w.job(t)
	w.outdate(t)
	result, err := kube.Run(t.Context(), w.teller, stale, matched)
	if err != nil || result.RequeueAfter <= 0 {
		t.Errorf("Run = %+v, %v; want another pass and no error", result, err)
	}
	if len(w.recorder.Events) != 0 || w.transitions(t) != 0 {
		t.Errorf("%d events, %d transitions told of a write that was refused", len(w.recorder.Events), w.transitions(t))
	}
	if count, _ := testutil.GatherAndCount(w.registry, "bourse_write_conflicts_total"); count != 1 {
		t.Errorf("conflicts = %d, want 1", count)
	}
}

func TestWriteReturnsTheConflict(t *testing.T) {
	w := newWorld(t)
	stale := w.job(t)
	before := stale.DeepCopy()
	w.outdate(t)
	stale.Status.GPUs = 8
	if err := w.teller.Write(t.Context(), before, stale); !apierrors.IsConflict(err) {
		t.Errorf("err = %v, want a conflict", err)
	}
}

func TestRunWarnsOfWhatCannotHold(t *testing.T) {
	w := newWorld(t)
	refuse := func(_ context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
		kube.Failed(job, boursev1.JobAdmitted, "UnknownToken", "The market has no token DOGE")
		return reconcile.Result{}, nil
	}
	if _, err := kube.Run(t.Context(), w.teller, w.job(t), refuse); err != nil {
		t.Fatal(err)
	}
	if event := <-w.recorder.Events; event != "Warning UnknownToken The market has no token DOGE" {
		t.Errorf("event = %q", event)
	}
}

func TestRunEndsAtTheFirstErrorOrResult(t *testing.T) {
	broken := errors.New("broken")
	later := reconcile.Result{RequeueAfter: time.Minute}
	cases := map[string]struct {
		result reconcile.Result
		err    error
	}{
		"an error ends the pass":             {err: broken},
		"a result ends the pass":             {result: later},
		"a terminal error is still terminal": {err: reconcile.TerminalError(broken)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			var after bool
			result, err := kube.Run(t.Context(), w.teller, w.job(t), matched,
				func(context.Context, *boursev1.ComputeJob) (reconcile.Result, error) { return tc.result, tc.err },
				func(context.Context, *boursev1.ComputeJob) (reconcile.Result, error) {
					after = true
					return reconcile.Result{}, nil
				})
			if !errors.Is(err, tc.err) || result != tc.result {
				t.Errorf("Run = %+v, %v; want %+v, %v", result, err, tc.result, tc.err)
			}
			if after {
				t.Error("the phase after it ran")
			}
			if !kube.IsTrue(w.job(t), boursev1.JobMatched) {
				t.Error("what the phase before it found was not written")
			}
		})
	}
}

func TestRunRunsAgainAfterAPhaseReadSomethingStale(t *testing.T) {
	resource := schema.GroupResource{Group: "bourse.dev", Resource: "gpuoffers"}
	cause := metav1.StatusCause{Type: metav1.CauseTypeFieldManagerConflict, Field: ".spec"}
	cases := map[string]struct {
		err       error
		wantRetry bool
	}{
		"a stale object is read again":      {apierrors.NewConflict(resource, "oslo", errors.New("modified")), true},
		"a field with two owners is wrong":  {apierrors.NewApplyConflict([]metav1.StatusCause{cause}, "two owners"), false},
		"another error is not about writes": {errors.New("broken"), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			result, err := kube.Run(t.Context(), w.teller, w.job(t), func(context.Context, *boursev1.ComputeJob) (reconcile.Result, error) {
				return reconcile.Result{}, fmt.Errorf("change offer: %w", tc.err)
			})
			if retry := err == nil && result.RequeueAfter > 0; retry != tc.wantRetry {
				t.Errorf("Run = %+v, %v; want a retry: %v", result, err, tc.wantRetry)
			}
		})
	}
}

func TestRunIgnoresAnObjectThatIsGone(t *testing.T) {
	w := newWorld(t)
	job := w.job(t)
	if err := w.client.Delete(t.Context(), w.job(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := kube.Run(t.Context(), w.teller, job, matched); err != nil {
		t.Errorf("err = %v, want none", err)
	}
	if len(w.recorder.Events) != 0 {
		t.Error("an event told of an object that is gone")
	}
}

func TestSpecWriterWritesTheSpecUnderLock(t *testing.T) {
	w := newWorld(t)
	writer := &kube.SpecWriter{Client: w.client}
	longer := func(_ context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
		job.Spec.DurationSeconds = 120
		return reconcile.Result{}, nil
	}
	stale := w.job(t)
	for range 2 {
		if _, err := kube.Run(t.Context(), writer, w.job(t), longer); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.job(t).Spec.DurationSeconds; got != 120 || w.writes != 1 {
		t.Errorf("durationSeconds = %d after %d writes; want 120 after 1", got, w.writes)
	}
	before := stale.DeepCopy()
	stale.Spec.DurationSeconds = 180
	if err := writer.Write(t.Context(), before, stale); !apierrors.IsConflict(err) {
		t.Errorf("err = %v, want a conflict", err)
	}
}

func TestHoldKeepsWhatThePassFoundAndTheStatusIsWrittenAfterIt(t *testing.T) {
	w := newWorld(t)
	hold := func(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
		return reconcile.Result{}, kube.Hold(ctx, w.client, job, finalizer)
	}
	for range 2 {
		if _, err := kube.Run(t.Context(), w.teller, w.job(t), matched, hold); err != nil {
			t.Fatal(err)
		}
	}
	got := w.job(t)
	if diff := cmp.Diff([]string{finalizer}, got.Finalizers); diff != "" {
		t.Errorf("finalizers (-want +got):\n%s", diff)
	}
	if !kube.IsTrue(got, boursev1.JobMatched) || w.writes != 2 {
		t.Errorf("matched = %v after %d writes; want true after 2", kube.IsTrue(got, boursev1.JobMatched), w.writes)
	}
}

func TestHoldRefusesAStaleObject(t *testing.T) {
	w := newWorld(t)
	stale := w.job(t)
	w.outdate(t)
	if err := kube.Hold(t.Context(), w.client, stale, finalizer); !apierrors.IsConflict(err) {
		t.Errorf("err = %v, want a conflict", err)
	}
}

func TestFreeLetsTheObjectGo(t *testing.T) {
	w := newWorld(t)
	job := w.job(t)
	if err := kube.Hold(t.Context(), w.client, job, finalizer); err != nil {
		t.Fatal(err)
	}
	if err := w.client.Delete(t.Context(), w.job(t)); err != nil {
		t.Fatal(err)
	}
	free := func(ctx context.Context, job *boursev1.ComputeJob) (reconcile.Result, error) {
		kube.Failed(job, boursev1.Succeeded, "JobDeleted", "The job was deleted")
		return reconcile.Result{}, kube.Free(ctx, w.client, job, finalizer)
	}
	if _, err := kube.Run(t.Context(), w.teller, w.job(t), free); err != nil {
		t.Fatal(err)
	}
	err := w.client.Get(t.Context(), client.ObjectKeyFromObject(job), job)
	if !apierrors.IsNotFound(err) {
		t.Errorf("err = %v, want the job gone", err)
	}
}
