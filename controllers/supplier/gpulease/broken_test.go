// SPDX-License-Identifier: Apache-2.0

package gpulease

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
)

// stutter lets a worker stop for a while and come back, and returns how long the supplier would have slept in the break.
func (b *bench) stutter(away time.Duration, change func(*corev1.Pod)) reconcile.Result {
	b.t.Helper()
	b.edit("ray-worker-1", func(pod *corev1.Pod) {
		raytest.SetReady(pod, false, b.hub.Now())
		change(pod)
	})
	slept := b.rest()
	b.hub.Step(away)
	b.rest()
	if b.lease.Status.End == nil {
		b.edit("ray-worker-1", func(pod *corev1.Pod) { raytest.SetReady(pod, true, b.hub.Now()) })
		b.rest()
	}
	b.promise()
	b.until("the promise is paid", func() bool { return b.paid() == *b.lease.Status.Usage.Gross })
	b.hub.Step(time.Minute)
	b.rest()
	return slept
}

func nothing(*corev1.Pod) {}

func TestManyShortBreaksEndALease(t *testing.T) {
	oom := func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "ray", LastTerminationState: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Reason: "OOMKilled", ExitCode: 137}},
		}}
	}
	evicted := func(pod *corev1.Pod) {
		raytest.Set(pod, corev1.PodCondition{Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "TerminationByKubelet"})
	}
	cases := map[string]struct {
		change func(*corev1.Pod)
		want   boursev1.Party
	}{
		"and nobody knows why":              {nothing, boursev1.PartyNetwork},
		"of a program that takes too much":  {oom, boursev1.PartyBuyer},
		"of a node that puts workers out":   {evicted, boursev1.PartySupplier},
		"of both, so that nobody can judge": {func(pod *corev1.Pod) { oom(pod); evicted(pod) }, boursev1.PartyNetwork},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.running()
			for n := range 3 {
				b.stutter(9*time.Minute, tc.change)
				if b.lease.Status.End != nil {
					t.Fatalf("ended after %d breaks: %+v", n+1, b.lease.Status.End)
				}
			}
			if got := b.lease.Status.NotReadySeconds; got != 27*60 {
				t.Errorf("%d seconds count, want 27 minutes", got)
			}
			if slept := b.stutter(3*time.Minute, tc.change); slept.RequeueAfter != 3*time.Minute {
				t.Errorf("in the last break it sleeps for %s, want 3m0s", slept.RequeueAfter)
			}
			b.wantEnd(boursev1.EndInterrupted, tc.want)
			b.over()
			b.nothingLeft()
		})
	}
}

// A break that ended while the operator was away counts for what the API server says of it, and one in a node's silence not at all.
func TestWhatNobodySawIsNoBreak(t *testing.T) {
	b := newBench(t, nil)
	b.running()
	b.edit("ray-worker-1", func(pod *corev1.Pod) { raytest.SetReady(pod, false, b.hub.Now()) })
	b.rest()
	b.hub.Step(time.Minute)
	back := b.hub.Now()
	b.edit("ray-worker-1", func(pod *corev1.Pod) { raytest.SetReady(pod, true, back) })
	b.hub.Step(20 * time.Minute)
	b.rest()
	if got := b.lease.Status.NotReadySeconds; got != 60 || b.lease.Status.End != nil {
		t.Errorf("%d seconds count, end %+v; want a minute and none", got, b.lease.Status.End)
	}
	node := &corev1.Node{}
	node.Name = "n1"
	for _, status := range []corev1.ConditionStatus{corev1.ConditionUnknown, corev1.ConditionTrue} {
		b.hub.Read(node)
		node.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: status}}
		b.hub.EditStatus(node)
		if status == corev1.ConditionUnknown {
			b.edit("ray-worker-", func(pod *corev1.Pod) { raytest.SetReady(pod, false, b.hub.Now()) })
			b.rest()
			b.hub.Step(20 * time.Minute)
		} else {
			b.edit("ray-worker-", func(pod *corev1.Pod) { raytest.SetReady(pod, true, b.hub.Now()) })
		}
		b.rest()
	}
	if got := b.lease.Status.NotReadySeconds; got != 60 || b.lease.Status.End != nil {
		t.Errorf("%d seconds count after the silence, end %+v; want a minute and none", got, b.lease.Status.End)
	}
}
