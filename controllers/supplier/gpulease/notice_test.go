// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
	"github.com/bourse-dev/bourse/test/builders"
)

// leaving are pods that are being deleted, and when each is killed: the fake API server has no clock of the test's, and no grace.
type leaving map[string]time.Time

// local is the supplier's cluster: it says of its pods which are leaving, and may be unreachable for one kind or another.
type local struct {
	client.Client
	going   leaving
	refuses func(object any) bool
}

var errNoAnswer = errors.New("no answer")

func (c local) Get(ctx context.Context, key client.ObjectKey, object client.Object, opts ...client.GetOption) error {
	if c.refuses != nil && c.refuses(object) {
		return errNoAnswer
	}
	return c.Client.Get(ctx, key, object, opts...)
}

func (c local) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if c.refuses != nil && c.refuses(list) {
		return errNoAnswer
	}
	if err := c.Client.List(ctx, list, opts...); err != nil {
		return err
	}
	if pods, ok := list.(*corev1.PodList); ok {
		for i := range pods.Items {
			pod := &pods.Items[i]
			if until, going := c.going[pod.Name]; going {
				pod.DeletionTimestamp, pod.DeletionGracePeriodSeconds = new(metav1.NewTime(until)), pod.Spec.TerminationGracePeriodSeconds
			}
		}
	}
	return nil
}

const notice = 30 * time.Second

// tier returns a change that makes the lease of that tier, on a pool that has both.
func tier(of boursev1.Tier) func(*boursev1.GPULease, *boursev1.GPUPool) {
	return func(lease *boursev1.GPULease, pool *boursev1.GPUPool) {
		lease.Spec.Terms.Tier = of
		pool.Spec.Terms.Tiers = []boursev1.Tier{boursev1.TierFirm, boursev1.TierInterruptible}
	}
}

// disrupt lets Kubernetes remove a pod for a reason, with the lease's notice.
func (b *bench) disrupt(name, reason string) {
	b.t.Helper()
	b.edit(name, func(pod *corev1.Pod) {
		raytest.Set(pod, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: metav1.NewTime(b.hub.Now()),
		})
	})
	b.going[name] = b.hub.Now().Add(notice)
}

// cease lets a pod's kubelet say that it is not ready any more.
func (b *bench) cease(name string) {
	b.t.Helper()
	b.edit(name, func(pod *corev1.Pod) { raytest.SetReady(pod, false, b.hub.Now()) })
}

// wantNotice fails unless the buyer is told just that, in a field and in a sentence with a time that stands.
func (b *bench) wantNotice(cause boursev1.NoticeCause, since, until time.Time) {
	b.t.Helper()
	got := b.lease.Status.Notice
	if got == nil || got.Cause != cause || got.Party != boursev1.PartySupplier || !got.Since.Time.Equal(since) || !got.Until.Time.Equal(until) {
		b.t.Fatalf("notice is %+v, want %s from %s until %s", got, cause, since, until)
	}
	b.want(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonTakingBack)
	for _, condition := range b.lease.Status.Conditions {
		if condition.Type == boursev1.Succeeded && !strings.HasSuffix(condition.Message, "until "+until.Format(time.RFC3339)) {
			b.t.Errorf("it says %q, which does not name %s", condition.Message, until)
		}
	}
}

// goesOn fails if the lease has ended, or if somebody is told that it will.
func (b *bench) goesOn() {
	b.t.Helper()
	if b.lease.Status.End != nil || b.lease.Status.Notice != nil {
		b.t.Fatalf("it does not go on: notice %+v, end %+v", b.lease.Status.Notice, b.lease.Status.End)
	}
}

// TestWhoTookTheGPUs goes through every reason that Kubernetes has for removing a pod, for both tiers. Whatever somebody wills is told at
// once and ends the lease when the GPU is gone; what befalls a node is borne for as long as any break.
func TestWhoTookTheGPUs(t *testing.T) {
	willed := map[string]boursev1.NoticeCause{
		"PreemptionByScheduler": boursev1.NoticePreempted, "EvictionByEvictionAPI": boursev1.NoticeEvicted, "DeletionByTaintManager": boursev1.NoticeTainted,
	}
	ends := map[boursev1.Tier]string{boursev1.TierInterruptible: boursev1.EndTakenBack, boursev1.TierFirm: boursev1.EndBreached}
	for of, reason := range ends {
		for disruption, cause := range willed {
			for _, name := range []string{"ray-worker-1", "ray-head"} {
				t.Run(fmt.Sprintf("%s: %s of %s", of, disruption, name), func(t *testing.T) {
					b := newBench(t, tier(of))
					b.running()
					b.hub.Step(10 * time.Second)
					told := b.hub.Now()
					b.disrupt(name, disruption)
					b.rest()
					b.wantNotice(cause, told, told.Add(notice))
					b.want(boursev1.LeaseRunning, metav1.ConditionTrue, boursev1.ReasonWorkersReady)
					b.hub.Step(20 * time.Second)
					b.rest()
					b.wantNotice(cause, told, told.Add(notice))
					b.cease(name)
					b.rest()
					b.wantTaken(reason, told.Add(20*time.Second), 30, 30*8_000)
				})
			}
		}
		for _, disruption := range []string{"DeletionByPodGC", "TerminationByKubelet"} {
			t.Run(fmt.Sprintf("%s: %s is a fault", of, disruption), func(t *testing.T) {
				b := newBench(t, tier(of))
				b.running()
				b.hub.Step(10 * time.Second)
				b.disrupt("ray-worker-1", disruption)
				b.cease("ray-worker-1")
				b.rest()
				b.goesOn()
				b.hub.Step(lostAllowance)
				b.rest()
				b.wantEnd(boursev1.EndFault, boursev1.PartySupplier)
				if b.lease.Status.End.NoticeSeconds != nil || !strings.Contains(b.lease.Status.End.Message, "its node failed") {
					t.Errorf("the end is %+v", b.lease.Status.End)
				}
			})
		}
		t.Run(fmt.Sprintf("%s: a taint on a node that nobody sees", of), func(t *testing.T) {
			b := newBench(t, tier(of))
			b.running()
			b.report("n1", corev1.ConditionUnknown)
			b.report("n2", corev1.ConditionUnknown)
			b.disrupt("ray-worker-1", "DeletionByTaintManager")
			b.cease("ray-worker-1")
			b.rest()
			b.goesOn()
			b.hub.Step(30 * time.Minute)
			b.rest()
			b.goesOn()
		})
	}
}

// wantTaken fails unless the lease ended so, with such a notice, and with so much to be paid, and comes to its end.
func (b *bench) wantTaken(reason string, at time.Time, given int32, gpuMilliseconds int64) {
	b.t.Helper()
	b.wantEnd(reason, boursev1.PartySupplier)
	end := b.lease.Status.End
	if !end.At.Time.Equal(at) || end.NoticeSeconds == nil || *end.NoticeSeconds != given {
		b.t.Errorf("it ended at %s with %v seconds of notice, want %s and %d", end.At, end.NoticeSeconds, at, given)
	}
	if breach := strings.HasSuffix(end.Message, "so this is a breach"); breach != (reason == boursev1.EndBreached) {
		b.t.Errorf("%s, and it says %q", reason, end.Message)
	}
	if got := *b.lease.Status.Usage.GPUMilliseconds; got != gpuMilliseconds {
		b.t.Errorf("%d GPU-ms are to be paid, want %d", got, gpuMilliseconds)
	}
	b.promise()
	b.over()
	b.want(boursev1.Succeeded, metav1.ConditionFalse, reason)
	if b.paid() != *b.lease.Status.Usage.Gross {
		b.t.Errorf("%d of %d was paid", b.paid(), *b.lease.Status.Usage.Gross)
	}
	b.nothingLeft()
}

func TestANoticeRunsOut(t *testing.T) {
	cases := map[string]struct {
		happens func(*bench) // with the worker told ten seconds after the minute in which it became ready
		at      time.Duration
		given   int32
		ms      int64
	}{
		"a pod that uses all of it": {
			func(b *bench) { b.hub.Step(notice) }, notice, 30, 40 * 8_000,
		},
		"a pod that outlasts it, because its kubelet is slow": {
			func(b *bench) { b.hub.Step(5 * time.Minute) }, notice, 30, 40 * 8_000,
		},
		"a pod that is killed sooner": {
			func(b *bench) {
				b.going["ray-worker-1"] = b.hub.Now().Add(5 * time.Second)
				b.rest()
				b.hub.Step(5 * time.Second)
			}, 5 * time.Second, 5, 15 * 8_000,
		},
		"a pod that is gone, and nobody saw when": {
			func(b *bench) {
				b.hub.Step(20 * time.Second)
				b.gone("ray-worker-1")
			}, 20 * time.Second, 30, 0, // nothing is counted since the last record
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.running()
			b.hub.Step(10 * time.Second)
			told := b.hub.Now()
			b.disrupt("ray-worker-1", "PreemptionByScheduler")
			wait := b.rest()
			if wait.RequeueAfter != notice {
				t.Errorf("it looks again in %s, want when the notice has run out", wait.RequeueAfter)
			}
			tc.happens(b)
			b.rest()
			if short := strings.Contains(b.lease.Status.End.Message, "5 seconds of notice instead of 30"); short != (tc.given == 5) {
				t.Errorf("it says %q", b.lease.Status.End.Message)
			}
			b.wantTaken(boursev1.EndTakenBack, told.Add(tc.at), tc.given, tc.ms)
		})
	}
}

// gone removes a pod without a word.
func (b *bench) gone(name string) {
	b.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: space(b.lease), Name: name}}
	if err := b.hub.Delete(b.t.Context(), pod); err != nil {
		b.t.Fatal(err)
	}
	delete(b.going, name)
}

func TestNobodyIsTakenAtAWordAlone(t *testing.T) {
	b := newBench(t, nil)
	b.running()
	b.disrupt("ray-worker-1", "PreemptionByScheduler")
	delete(b.going, "ray-worker-1") // the scheduler has not deleted it yet
	told := b.hub.Now()
	b.rest()
	b.wantNotice(boursev1.NoticePreempted, told, told.Add(notice))
	b.hub.Step(notice + time.Minute)
	b.rest()
	if b.lease.Status.End != nil {
		t.Fatalf("it ended though the pod was not deleted: %+v", b.lease.Status.End)
	}
	b.edit("ray-worker-1", func(pod *corev1.Pod) {
		raytest.Set(pod, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionFalse, Reason: "PreemptionByScheduler"})
	})
	b.rest()
	b.goesOn()
	b.want(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning)
}

// TestADeletedPodMayBeReplaced deletes a worker by hand, which bypasses every budget. KubeRay makes another one; if that has no place in
// time, the deletion was what took the GPUs away.
func TestADeletedPodMayBeReplaced(t *testing.T) {
	for of, reason := range map[boursev1.Tier]string{
		boursev1.TierInterruptible: boursev1.EndTakenBack, boursev1.TierFirm: boursev1.EndBreached,
	} {
		t.Run(string(of), func(t *testing.T) {
			b := newBench(t, tier(of))
			b.running()
			b.hub.Step(10 * time.Second)
			told := b.hub.Now()
			b.going["ray-worker-1"] = told.Add(notice)
			b.rest()
			b.wantNotice(boursev1.NoticeDeleted, told, told.Add(notice))
			b.hub.Step(5 * time.Second)
			b.cease("ray-worker-1")
			b.rest()
			b.replace("ray-worker-1", "ray-worker-2")
			b.hub.Step(time.Minute)
			b.rest()
			if b.lease.Status.End != nil {
				t.Fatalf("it ended before another pod could take the place: %+v", b.lease.Status.End)
			}
			b.edit("ray-worker-2", func(pod *corev1.Pod) { raytest.SetReady(pod, true, b.hub.Now()) })
			b.rest()
			b.goesOn()
			b.want(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning)

			b.hub.Step(10 * time.Second)
			b.rest()
			again := b.hub.Now()
			b.going["ray-worker-2"] = again.Add(notice)
			b.rest()
			b.cease("ray-worker-2")
			b.rest()
			b.replace("ray-worker-2", "ray-worker-3")
			b.hub.Step(lostAllowance)
			b.rest()
			b.wantTaken(reason, again.Add(notice), 30, 25*8_000)
		})
	}
}

// TestAnEvictedHeadIsGoneThoughAnotherHasItsName has no pass between the head's end and its successor, which KubeRay calls the same.
func TestAnEvictedHeadIsGoneThoughAnotherHasItsName(t *testing.T) {
	b := newBench(t, nil)
	b.running()
	b.disrupt("ray-head", "EvictionByEvictionAPI")
	b.rest()
	b.hub.Step(5 * time.Second)
	b.replace("ray-head", "ray-head")
	b.rest()
	b.wantEnd(boursev1.EndTakenBack, boursev1.PartySupplier)
}

// TestAMomentThatWasToldDoesNotMoveAway evicts a pod, with all of its grace, in the notice that a drained pool has given.
func TestAMomentThatWasToldDoesNotMoveAway(t *testing.T) {
	b := newBench(t, nil)
	b.running()
	b.pool(mode(boursev1.PoolDrain))
	b.rest()
	told := b.hub.Now()
	b.wantNotice(boursev1.NoticeDrain, told, told.Add(notice))
	b.hub.Step(10 * time.Second)
	b.disrupt("ray-worker-1", "EvictionByEvictionAPI")
	b.rest()
	b.wantNotice(boursev1.NoticeEvicted, told, told.Add(notice))
	b.hub.Step(20 * time.Second)
	b.rest()
	b.wantTaken(boursev1.EndTakenBack, told.Add(notice), 30, 30*8_000)
}

// replace lets KubeRay put a pod in the place of one that is gone.
func (b *bench) replace(old, name string) {
	b.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: space(b.lease), Name: old}}
	b.hub.Read(pod)
	b.gone(old)
	pod.ObjectMeta = metav1.ObjectMeta{
		Namespace: pod.Namespace, Name: name, UID: types.UID(name), CreationTimestamp: metav1.NewTime(b.hub.Now()), Labels: pod.Labels,
	}
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
	if err := b.hub.Create(b.t.Context(), pod); err != nil {
		b.t.Fatal(err)
	}
}

// TestAProgramThatIsKilledDidNotFail ends a program with its worker.
func TestAProgramThatIsKilledDidNotFail(t *testing.T) {
	cases := map[string]struct {
		happens func(*bench)
		reason  string
		party   boursev1.Party
	}{
		"it fails in its notice": {
			func(b *bench) { b.hub.Step(5 * time.Second); b.finishProgram(false) }, boursev1.EndTakenBack, boursev1.PartySupplier,
		},
		"it ends well in its notice": {
			func(b *bench) { b.hub.Step(5 * time.Second); b.finishProgram(true) }, boursev1.EndCompleted, boursev1.PartyBuyer,
		},
		"it had failed before": {
			func(b *bench) {
				b.finishProgram(false)
				b.edit("ray-worker-1", func(pod *corev1.Pod) { raytest.Preempt(pod, b.hub.Now().Add(time.Second)) })
				b.hub.Step(time.Second)
			}, boursev1.EndJobFailed, boursev1.PartyBuyer,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, program)
			b.running()
			b.hub.Step(10 * time.Second)
			if tc.reason != boursev1.EndJobFailed {
				b.disrupt("ray-worker-1", "PreemptionByScheduler")
				b.rest()
			}
			tc.happens(b)
			b.rest()
			b.wantEnd(tc.reason, tc.party)
		})
	}
}

// pool changes what the supplier's admin wants of the pool.
func (b *bench) pool(change func(*boursev1.GPUPoolSpec)) {
	b.t.Helper()
	pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: b.lease.Spec.Pool}}
	b.hub.Read(pool)
	change(&pool.Spec)
	b.hub.Edit(pool)
}

func mode(of boursev1.PoolMode) func(*boursev1.GPUPoolSpec) {
	return func(spec *boursev1.GPUPoolSpec) { spec.Mode = of }
}

// window announces an hour of maintenance.
func window(start time.Time) func(*boursev1.GPUPoolSpec) {
	return func(spec *boursev1.GPUPoolSpec) {
		spec.Maintenance = []boursev1.MaintenanceWindow{{Start: metav1.NewTime(start), DurationSeconds: 3600}}
	}
}

// graces keeps how long the pods have that are deleted.
type graces struct {
	local
	of map[string]int64
}

func (c graces) Delete(ctx context.Context, object client.Object, opts ...client.DeleteOption) error {
	options := (&client.DeleteOptions{}).ApplyOptions(opts)
	if _, pod := object.(*corev1.Pod); pod && options.GracePeriodSeconds != nil {
		c.of[object.GetName()] = *options.GracePeriodSeconds
		c.going[object.GetName()] = builders.Start.Add(time.Hour) // by the real API server, which this one stands for
		return nil
	}
	return c.local.Delete(ctx, object, opts...)
}

// TestTheRestOfAGangHasTheSameNotice lets the worker that was told stop at once, and looks at what the others have left.
func TestTheRestOfAGangHasTheSameNotice(t *testing.T) {
	for name, tc := range map[string]struct {
		uses time.Duration
		want int64
	}{
		"a worker that stops at once":           {2 * time.Second, 28},
		"a worker that uses all of its notice":  {notice, 1},
		"a worker whose end is seen only later": {10 * time.Minute, 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.running()
			b.disrupt("ray-worker-1", "EvictionByEvictionAPI")
			b.rest()
			b.hub.Step(tc.uses)
			b.cease("ray-worker-1")
			b.pass()
			b.wantEnd(boursev1.EndTakenBack, boursev1.PartySupplier)
			given := graces{local{Client: b.hub, going: b.going}, map[string]int64{}}
			r := b.controller()
			r.Local = given
			if _, err := r.Reconcile(t.Context(), b.lease); err != nil {
				t.Fatal(err)
			}
			for _, pod := range []string{"ray-head", "ray-worker-0"} {
				if got, told := given.of[pod]; !told || got != tc.want {
					t.Errorf("%s has %d seconds, want %d", pod, got, tc.want)
				}
			}
		})
	}
}

// TestNothingEndsForWhatNobodySees plays at random what keeps the supplier's operator from seeing its cluster, or its cluster from seeing
// its nodes, for less than the term. The pods may run on through all of it, so the lease does.
func TestNothingEndsForWhatNobodySees(t *testing.T) {
	for seed := range uint64(12) {
		for _, of := range []boursev1.Tier{boursev1.TierFirm, boursev1.TierInterruptible} {
			t.Run(fmt.Sprintf("seed %d, %s", seed, of), func(t *testing.T) {
				random := rand.New(rand.NewPCG(seed, 1))
				b := newBench(t, tier(of))
				b.running()
				blind := local{Client: b.hub, going: b.going}
				happens := []func(){
					func() { blind.refuses = func(object any) bool { _, of := object.(*corev1.PodList); return of } },
					func() { blind.refuses = func(object any) bool { _, of := object.(*boursev1.GPUPool); return of } },
					func() { blind.refuses = func(object any) bool { _, of := object.(*corev1.Node); return of } },
					func() { blind.refuses = func(object any) bool { return object != nil } },
					func() { blind.refuses = nil },
					func() {
						b.report("n1", corev1.ConditionUnknown)
						b.report("n2", corev1.ConditionUnknown)
						b.cease("ray-")
					},
					func() {
						b.report("n1", corev1.ConditionUnknown)
						b.report("n2", corev1.ConditionUnknown)
						b.disrupt("ray-worker-0", "DeletionByTaintManager")
					},
					func() {
						b.report("n1", corev1.ConditionUnknown)
						b.report("n2", corev1.ConditionUnknown)
						b.going["ray-worker-1"] = b.hub.Now().Add(notice)
					},
					func() { b.hub.Step(5 * time.Minute) },
				}
				for range 10 {
					what := random.IntN(len(happens))
					happens[what]()
					b.hub.Step(time.Duration(random.IntN(10)) * time.Second)
					b.hub.Read(b.lease)
					r := b.controller()
					r.Local = blind
					if _, err := r.Reconcile(t.Context(), b.lease); err != nil && !errors.Is(err, errNoAnswer) {
						t.Fatal(err)
					}
					b.hub.Read(b.lease)
					if b.lease.Status.End != nil || b.lease.Status.Notice != nil {
						t.Fatalf("after %d: notice %+v, end %+v", what, b.lease.Status.Notice, b.lease.Status.End)
					}
				}
			})
		}
	}
}
