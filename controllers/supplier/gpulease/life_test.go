// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
)

// grossOf is what GPU-seconds cost at 1.85 IO for one GPU for one hour.
func grossOf(gpuSeconds int64) int64 { return gpuSeconds * 185_000_000 / 3600 }

// TestLifeOfAnInteractiveCluster follows a lease from its creation to the end of its term. A new controller makes every pass, and
// after each step a pass in which nothing has happened writes nothing.
func TestLifeOfAnInteractiveCluster(t *testing.T) {
	b := newBench(t, nil)
	wait := b.rest()
	b.want(boursev1.LeaseAccepted, metav1.ConditionUnknown, boursev1.ReasonHolding)
	if wait.RequeueAfter != 30*time.Second {
		t.Errorf("it looks again in %s, want at acceptBy", wait.RequeueAfter)
	}
	if got := len(b.pods()); got != 3 {
		t.Fatalf("%d pods hold the place of a head and two workers", got)
	}
	b.schedule()
	b.rest()
	b.want(boursev1.LeaseAccepted, metav1.ConditionTrue, boursev1.ReasonCapacityHeld)
	b.want(boursev1.LeaseFunded, metav1.ConditionUnknown, boursev1.ReasonAwaitingDeposit)

	b.deposit()
	b.rest()
	b.want(boursev1.LeaseFunded, metav1.ConditionTrue, boursev1.ReasonDeposited)
	b.want(boursev1.LeaseRunning, metav1.ConditionUnknown, boursev1.ReasonStarting)
	b.kuberay()
	b.rest()
	if got := len(b.pods()); got != 3 {
		t.Fatalf("%d pods: the holding ones are still there", got)
	}
	b.schedule()
	b.hub.Step(time.Minute)
	b.edit("ray-", func(pod *corev1.Pod) { raytest.SetReady(pod, true, b.hub.Now()) })
	wait = b.rest()
	b.want(boursev1.LeaseRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady)
	b.want(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning)
	if wait.RequeueAfter != time.Minute {
		t.Errorf("it looks again in %s, want a period", wait.RequeueAfter)
	}

	b.hub.Step(time.Minute)
	b.rest()
	if got := *b.lease.Status.Usage.GPUMilliseconds; got != 480_000 {
		t.Errorf("%d GPU-ms after a period of eight GPUs", got)
	}
	b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonAwaitingVoucher)
	b.promise()
	b.until("the first period is paid", func() bool { return b.paid() == grossOf(480) })
	b.rest()
	b.want(boursev1.LeaseSettled, metav1.ConditionUnknown, boursev1.ReasonClaimed)

	b.hub.Step(2 * time.Hour)
	b.rest()
	b.wantEnd(boursev1.EndTermReached, boursev1.PartyBuyer)
	usage := b.lease.Status.Usage
	if usage.Final != boursev1.UsageFinal || *usage.GPUMilliseconds != 8*3600*1000 || *usage.Gross != grossOf(8*3600) {
		t.Errorf("the last record is %+v, want eight GPU-hours", usage)
	}
	b.promise()
	b.over()
	b.want(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndTermReached)
	b.want(boursev1.LeaseSettled, metav1.ConditionTrue, boursev1.ReasonClosed)
	if succeeded, failed := b.transactions(); len(succeeded) != 4 || failed != 0 {
		t.Errorf("%d transactions and %d failed, want open, two claims and close", len(succeeded), failed)
	}
	b.nothingLeft()
}

// nothingLeft fails if anything of the lease is still in the supplier's cluster.
func (b *bench) nothingLeft() {
	b.t.Helper()
	if got := b.pods(); len(got) != 0 {
		b.t.Errorf("%d pods are left", len(got))
	}
	var namespace corev1.Namespace
	if err := b.hub.Get(b.t.Context(), client.ObjectKey{Name: space(b.lease)}, &namespace); !apierrors.IsNotFound(err) {
		b.t.Errorf("the namespace is left: %v", err)
	}
	if controllerutil.ContainsFinalizer(b.lease, Finalizer) {
		b.t.Error("the finalizer is left")
	}
	if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) != 0 {
		b.t.Errorf("a lease that is over is written: %v", wrote)
	}
}

func program(lease *boursev1.GPULease, _ *boursev1.GPUPool) {
	lease.Spec.Ends = boursev1.EndsWithProgram
}

// finishProgram lets the lease's RayJob end.
func (b *bench) finishProgram(well bool) {
	b.t.Helper()
	object, _, err := b.controller().running(b.t.Context(), b.lease)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := raytest.Finish(object, well, b.hub.Now()); err != nil {
		b.t.Fatal(err)
	}
	b.hub.Edit(object)
}

func TestEnds(t *testing.T) {
	cases := map[string]struct {
		change     func(*boursev1.GPULease, *boursev1.GPUPool)
		happens    func(*bench)
		wantReason string
		wantParty  boursev1.Party
		wantStatus metav1.ConditionStatus
		wantMs     int64
	}{
		"a program that ends well is paid until then": {
			program, func(b *bench) { b.hub.Step(30 * time.Second); b.finishProgram(true); b.hub.Step(5 * time.Second) },
			boursev1.EndCompleted, boursev1.PartyBuyer, metav1.ConditionTrue, 240_000,
		},
		"a program that fails is paid until then": {
			program, func(b *bench) { b.hub.Step(30 * time.Second); b.finishProgram(false) },
			boursev1.EndJobFailed, boursev1.PartyBuyer, metav1.ConditionFalse, 240_000,
		},
		"a program that outlasts its term is paid for the term": {
			program, func(b *bench) { b.hub.Step(65 * time.Minute) },
			boursev1.EndJobFailed, boursev1.PartyBuyer, metav1.ConditionFalse, 8 * 3600 * 1000,
		},
		"an interactive cluster is ended by deleting its job": {
			nil, func(b *bench) { b.hub.Step(10 * time.Second); b.deleteJob() },
			boursev1.EndJobDeleted, boursev1.PartyBuyer, metav1.ConditionTrue, 80_000,
		},
		"a program is cut off by deleting its job": {
			program, func(b *bench) { b.hub.Step(10 * time.Second); b.deleteJob() },
			boursev1.EndJobDeleted, boursev1.PartyBuyer, metav1.ConditionFalse, 80_000,
		},
		"a supplier that leaves at once is at fault, and paid until then": {
			nil, func(b *bench) { b.hub.Step(10 * time.Second); b.endLease(boursev1.EndSupplierLeft) },
			boursev1.EndSupplierLeft, boursev1.PartySupplier, metav1.ConditionFalse, 80_000,
		},
		"a worker that stays away is a fault, and not paid": {
			nil, func(b *bench) {
				b.hub.Step(10 * time.Second)
				b.edit("ray-worker-1", func(pod *corev1.Pod) { raytest.SetReady(pod, false, b.hub.Now()) })
				b.rest()
				b.want(boursev1.LeaseRunning, metav1.ConditionUnknown, boursev1.ReasonWorkersNotReady)
				b.hub.Step(10 * time.Minute)
			},
			boursev1.EndFault, boursev1.PartySupplier, metav1.ConditionFalse, 80_000,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			b.running()
			tc.happens(b)
			b.rest()
			b.wantEnd(tc.wantReason, tc.wantParty)
			if got := *b.lease.Status.Usage.GPUMilliseconds; got != tc.wantMs {
				t.Errorf("%d GPU-ms are to be paid, want %d", got, tc.wantMs)
			}
			b.promise()
			b.over()
			b.want(boursev1.Succeeded, tc.wantStatus, tc.wantReason)
			if b.paid() != *b.lease.Status.Usage.Gross {
				t.Errorf("%d of %d was paid", b.paid(), *b.lease.Status.Usage.Gross)
			}
			b.nothingLeft()
		})
	}
}

// deleteJob ends the lease as the market does when its job is deleted.
func (b *bench) deleteJob() {
	b.t.Helper()
	b.endLease(boursev1.EndJobDeleted)
}

// endLease ends the lease as the market does.
func (b *bench) endLease(reason string) {
	b.t.Helper()
	b.lease.Spec.State, b.lease.Spec.EndReason = boursev1.LeaseEnded, reason
	b.hub.Edit(b.lease)
}

func TestASupplierThatLeavesBeforeItAcceptsHasNotAccepted(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.endLease(boursev1.EndSupplierLeft)
	b.rest()
	b.wantEnd(boursev1.EndNotAccepted, boursev1.PartySupplier)
	b.over()
	b.nothingLeft()
}

// endForAnother ends the lease as the market does because another part of its job cannot go on.
func (b *bench) endForAnother() {
	b.t.Helper()
	b.lease.Spec.State, b.lease.Spec.EndReason = boursev1.LeaseEnded, boursev1.EndPartEnded
	b.hub.Edit(b.lease)
}

// A program that runs in parts knows which part it is; one that does not is told nothing.
func TestAPartKnowsWhichItIs(t *testing.T) {
	b := newBench(t, nil)
	program := &boursev1.RayProgram{Env: []boursev1.EnvVar{{Name: "SEED", Value: new("1")}}}
	own := []corev1.EnvVar{{Name: "SEED", Value: "1"}}
	if diff := cmp.Diff(own, b.controller().plan(b.lease, program).Env); diff != "" {
		t.Errorf("a whole job (-want +got):\n%s", diff)
	}
	b.lease.Spec.Part = &boursev1.LeasePart{Index: new(int32(1)), Of: 3}
	want := append(slices.Clone(own),
		corev1.EnvVar{Name: "BOURSE_PART", Value: "1"}, corev1.EnvVar{Name: "BOURSE_PARTS", Value: "3"},
		corev1.EnvVar{Name: "BOURSE_PART_WORKERS", Value: "2"})
	if diff := cmp.Diff(want, b.controller().plan(b.lease, program).Env); diff != "" {
		t.Errorf("a part (-want +got):\n%s", diff)
	}
	for _, variable := range want[1:] {
		if !ray.Reserved(variable.Name) {
			t.Errorf("a job may set %s itself", variable.Name)
		}
	}
}

func TestEndsBeforeTheWorkersAreReady(t *testing.T) {
	cases := map[string]struct {
		reach      func(*bench)
		happens    func(*bench)
		wantReason string
		wantParty  boursev1.Party
	}{
		"GPUs that are not held in time are not accepted": {
			func(b *bench) {
				b.rest()
				b.edit("hold-1", func(pod *corev1.Pod) {
					raytest.Set(pod, corev1.PodCondition{
						Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "Insufficient cpu",
					})
				})
			}, func(b *bench) { b.hub.Step(30 * time.Second) },
			boursev1.EndNotAccepted, boursev1.PartySupplier,
		},
		"a deposit that does not come in time": {
			(*bench).accepted, func(b *bench) { b.hub.Step(6 * time.Minute) },
			boursev1.EndNotFunded, boursev1.PartyBuyer,
		},
		"a job that is deleted before its deposit": {
			(*bench).accepted, func(b *bench) { b.deleteJob() },
			boursev1.EndJobDeleted, boursev1.PartyBuyer,
		},
		"a job that is deleted after its deposit": {
			(*bench).launched, func(b *bench) { b.deleteJob() },
			boursev1.EndJobDeleted, boursev1.PartyBuyer,
		},
		"a supplier that leaves before the lease begins": {
			(*bench).launched, func(b *bench) { b.endLease(boursev1.EndSupplierLeft) },
			boursev1.EndSupplierLeft, boursev1.PartySupplier,
		},
		"another part that was not accepted": {
			(*bench).accepted, func(b *bench) { b.endForAnother() },
			boursev1.EndPartEnded, boursev1.PartyMarket,
		},
		"another part that ended after the deposit": {
			(*bench).launched, func(b *bench) { b.endForAnother() },
			boursev1.EndPartEnded, boursev1.PartyMarket,
		},
		"GPUs that are taken before the lease begins": {
			func(b *bench) { b.accepted(); b.vanish(); b.deposit() }, func(*bench) {},
			boursev1.EndTakenBack, boursev1.PartySupplier,
		},
		"firm GPUs that are taken before the lease begins": {
			func(b *bench) {
				b.lease.Spec.Terms.Tier = boursev1.TierFirm
				b.hub.Edit(b.lease)
				pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: b.lease.Spec.Pool}}
				b.hub.Read(pool)
				pool.Spec.Terms.Tiers = []boursev1.Tier{boursev1.TierFirm}
				b.hub.Edit(pool)
				b.accepted()
				b.vanish()
				b.deposit()
			}, func(*bench) {},
			boursev1.EndBreached, boursev1.PartySupplier,
		},
		"workers that do not become ready in time": {
			(*bench).launched, func(b *bench) { b.hub.Step(10 * time.Minute) },
			boursev1.EndStartTimeout, boursev1.PartySupplier,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			tc.reach(b)
			tc.happens(b)
			b.rest()
			b.wantEnd(tc.wantReason, tc.wantParty)
			if tc.wantReason == boursev1.EndNotAccepted && !strings.HasSuffix(b.lease.Status.End.Message, ": Insufficient cpu") {
				t.Errorf("it does not say what the scheduler said: %q", b.lease.Status.End.Message)
			}
			b.hub.Step(signingWait)
			b.over()
			b.want(boursev1.Succeeded, metav1.ConditionFalse, tc.wantReason)
			if b.paid() != 0 {
				t.Errorf("%d was paid for nothing", b.paid())
			}
			b.nothingLeft()
		})
	}
}

// Whoever waits for workers learns what is in their way, while it is and afterwards, and nobody learns the image's name.
func TestWhatKeepsTheWorkersIsTold(t *testing.T) {
	b := newBench(t, nil)
	b.launched()
	pull := func(reason string) {
		b.edit("ray-worker-1", func(pod *corev1.Pod) {
			pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
				Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: "pull of secret/image"},
			}}}
		})
	}
	pull("ErrImagePull")
	b.rest()
	b.want(boursev1.LeaseRunning, metav1.ConditionUnknown, boursev1.ReasonStarting)
	if got := meta.FindStatusCondition(b.lease.Status.Conditions, boursev1.LeaseRunning).Message; got != "The workers are starting: an image cannot be pulled" {
		t.Errorf("Running says %q", got)
	}
	pull("ImagePullBackOff")
	if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) != 0 {
		t.Errorf("the same told anew wrote %v", wrote)
	}
	b.hub.Step(10 * time.Minute)
	b.rest()
	b.wantEnd(boursev1.EndStartTimeout, boursev1.PartySupplier)
	if got := b.lease.Status.End.Message; got != "The workers did not become ready in time: an image cannot be pulled" {
		t.Errorf("the end says %q", got)
	}
}

// TestSilenceEndsNothing lets a node fall silent for longer than any allowance. Its pods may run on, so the lease does too.
func TestSilenceEndsNothing(t *testing.T) {
	b := newBench(t, nil)
	b.running()
	b.hub.Step(10 * time.Second)
	silent := node("n1")
	b.hub.Read(silent)
	silent.Status.Conditions[0].Status = corev1.ConditionUnknown
	b.hub.EditStatus(silent)
	b.edit("ray-worker", func(pod *corev1.Pod) { raytest.SetReady(pod, false, b.hub.Now()) })
	b.rest()
	b.hub.Step(30 * time.Minute)
	b.rest()
	if b.lease.Status.End != nil {
		t.Fatalf("the lease ended for what nobody saw: %+v", b.lease.Status.End)
	}
	b.edit("ray-worker", func(pod *corev1.Pod) { raytest.SetReady(pod, true, b.hub.Now()) })
	b.rest()
	b.want(boursev1.LeaseRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady)
	if got := *b.lease.Status.Usage.GPUMilliseconds; got != 80_000 {
		t.Errorf("%d GPU-ms, want the ten seconds that were seen", got)
	}
}

// TestOutageChangesNoFigure compares a lease that was looked at every second with one whose operator was down in between.
func TestOutageChangesNoFigure(t *testing.T) {
	usage := func(steps int, step time.Duration) boursev1.LeaseUsage {
		b := newBench(t, nil)
		b.running()
		for range steps {
			b.hub.Step(step)
			b.rest()
		}
		b.deleteJob()
		b.rest()
		return *b.lease.Status.Usage
	}
	watched, down := usage(300, time.Second), usage(1, 300*time.Second)
	if *watched.GPUMilliseconds != *down.GPUMilliseconds || *watched.Gross != *down.Gross || *down.GPUMilliseconds != 8*300*1000 {
		t.Errorf("watched %d GPU-ms for %d, down %d for %d", *watched.GPUMilliseconds, *watched.Gross, *down.GPUMilliseconds, *down.Gross)
	}
}

func TestConflictTellsNothing(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.schedule()
	b.hub.Fail(func(verb string, obj client.Object) error {
		if verb == "patch status" {
			return apierrors.NewConflict(schema.GroupResource{Resource: "gpuleases"}, obj.GetName(), errors.New("it changed"))
		}
		return nil
	})
	told := b.hub.Events()
	if result := b.pass(); result.RequeueAfter == 0 {
		t.Error("a pass whose write was refused is not run again")
	}
	if b.hub.Events() != told {
		t.Error("an event was told of a change that was refused")
	}
	b.hub.Fail(nil)
	b.pass()
	b.want(boursev1.LeaseAccepted, metav1.ConditionTrue, boursev1.ReasonCapacityHeld)
	if b.hub.Events() == told {
		t.Error("no event was told of the change that was accepted")
	}
}

var errKilled = errors.New("killed")

// TestEveryWriteMayBeTheLast kills the operator at each write of a whole life, in turn, before the write is made, and starts it again.
func TestEveryWriteMayBeTheLast(t *testing.T) {
	for kill := 0; ; kill++ {
		b := newBench(t, program)
		left := kill
		b.hub.Fail(func(string, client.Object) error {
			if !b.in {
				return nil
			}
			left--
			if left == -1 {
				return errKilled
			}
			return nil
		})
		if done := b.survive(); !done {
			t.Fatalf("killed at write %d, the lease is stuck: %+v", kill, b.lease.Status)
		}
		if succeeded, failed := b.transactions(); len(succeeded) != 3 || failed != 0 {
			t.Fatalf("killed at write %d: %d transactions and %d failed, want open, one claim and close", kill, len(succeeded), failed)
		}
		if b.paid() != grossOf(240) || *b.lease.Status.Usage.GPUMilliseconds != 240_000 {
			t.Fatalf("killed at write %d: paid %d for %d GPU-ms", kill, b.paid(), *b.lease.Status.Usage.GPUMilliseconds)
		}
		if left >= 0 {
			t.Logf("%d writes, each of which was the last one once", kill)
			return
		}
	}
}

// survive plays everybody else around a lease whose passes may fail, and says whether it came to its end.
func (b *bench) survive() bool {
	b.t.Helper()
	var deposited, made, ready, finished bool
	for range 80 {
		if _, err := b.try(); err != nil && !errors.Is(err, errKilled) {
			b.t.Fatal(err)
		}
		b.schedule()
		switch status := b.lease.Status; {
		case over(b.lease):
			return true
		case status.End != nil:
			b.hub.Step(time.Second)
			if status.Usage != nil && status.Usage.Final == boursev1.UsageFinal {
				b.promise()
			}
			if _, launched, err := b.controller().running(b.t.Context(), b.lease); err == nil && !launched {
				b.vanish()
			}
		case finished:
		case ready:
			if status.Usage != nil {
				b.hub.Step(30 * time.Second)
				b.finishProgram(true)
				finished = true
			}
		case made:
			if len(b.pods()) == 3 {
				b.edit("ray-", func(pod *corev1.Pod) { raytest.SetReady(pod, true, b.hub.Now()) })
				ready = true
			}
		case deposited:
			if _, launched, err := b.controller().running(b.t.Context(), b.lease); err == nil && launched {
				b.kuberay()
				made = true
			}
		case len(status.Nodes) > 0:
			b.deposit()
			deposited = true
		}
		b.chain.Tick(1)
	}
	return false
}

func TestRayObjectsAreThoseOfTheLease(t *testing.T) {
	b := newBench(t, program)
	b.launched()
	object, launched, err := b.controller().running(t.Context(), b.lease)
	if err != nil || !launched || object.GetName() != ray.Name || object.GetLabels()[boursev1.LabelLease] != b.lease.Name {
		t.Errorf("launched %v %v: %v", launched, object, err)
	}
}
