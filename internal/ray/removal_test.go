// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// disrupted says that Kubernetes removes a pod, and why, as of a moment.
func disrupted(reason string, at time.Time) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Spec.TerminationGracePeriodSeconds = new(int64(60))
		pod.Status.Conditions = append(pod.Status.Conditions, corev1.PodCondition{
			Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: reason, LastTransitionTime: metav1.NewTime(at),
		})
	}
}

// all changes a pod in several ways.
func all(changes ...func(*corev1.Pod)) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		for _, change := range changes {
			change(pod)
		}
	}
}

func terminated(at time.Time) func(*corev1.Pod) {
	return func(pod *corev1.Pod) {
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "ray-worker", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{FinishedAt: metav1.NewTime(at)}},
		}}
	}
}

func TestRemoved(t *testing.T) {
	two, three, four := noon.Add(2*time.Minute), noon.Add(3*time.Minute), noon.Add(4*time.Minute)
	steady := Node{Ready: noon}
	removal := func(cause boursev1.NoticeCause, change func(*Removal)) *Removal {
		found := &Removal{Pod: "b", Cause: cause, Since: three, Until: four}
		if change != nil {
			change(found)
		}
		return found
	}
	isGoing := func(r *Removal) { r.Going = true }
	cases := map[string]struct {
		change func(*corev1.Pod)
		on     Node
		want   *Removal
	}{
		"a pod that nobody wants to remove":        {func(*corev1.Pod) {}, steady, nil},
		"one that the scheduler is about to take":  {disrupted(preempted, three), steady, removal(boursev1.NoticePreempted, nil)},
		"one that the scheduler takes":             {all(disrupted(preempted, three), going(four)), steady, removal(boursev1.NoticePreempted, isGoing)},
		"one that was spared":                      {all(disrupted(preempted, three), func(pod *corev1.Pod) { pod.Status.Conditions[1].Status = "False" }), steady, nil},
		"one that is drained":                      {all(disrupted(evicted, three), going(four)), steady, removal(boursev1.NoticeEvicted, isGoing)},
		"one that is drained from a silent node":   {all(disrupted(evicted, three), going(four)), Node{Silent: true}, removal(boursev1.NoticeEvicted, isGoing)},
		"one that a taint puts off a ready node":   {all(disrupted(tainted, three), going(four)), steady, removal(boursev1.NoticeTainted, isGoing)},
		"one that a taint puts off a silent node":  {all(disrupted(tainted, three), going(four)), Node{Silent: true}, nil},
		"one that a taint puts off a failing node": {all(disrupted(tainted, three), going(four)), Node{}, nil},
		"one that a taint put off a node which reports again by now": {
			all(disrupted(tainted, three), going(four)), Node{Ready: four}, nil,
		},
		"one whose node is gone":             {all(disrupted("DeletionByPodGC", three), going(three)), Node{}, nil},
		"one that its kubelet puts out":      {all(disrupted("TerminationByKubelet", three), going(four)), steady, nil},
		"one with a reason that we know not": {all(disrupted("SomethingNew", three), going(four)), steady, nil},
		"one that somebody deletes":          {going(four), steady, removal(boursev1.NoticeDeleted, isGoing)},
		"one that is deleted on a silent node": {
			going(four), Node{Silent: true}, nil,
		},
		"one that KubeRay removes because it has ended": {all(terminated(two), going(four)), steady, nil},
		"one that failed": {all(going(four), func(pod *corev1.Pod) { pod.Status.Phase = corev1.PodFailed }), steady, nil},
		"one whose container ends because it is deleted": {all(terminated(four), going(four)), steady, removal(boursev1.NoticeDeleted, isGoing)},
		"one that has ceased to be ready since it was told": {
			all(disrupted(evicted, three), going(four), readyAt(three.Add(time.Second), "False")), steady,
			removal(boursev1.NoticeEvicted, func(r *Removal) { r.Going, r.Stopped = true, three.Add(time.Second) }),
		},
		"one that was not ready before": {
			all(disrupted(evicted, three), readyAt(two, "False")), steady,
			removal(boursev1.NoticeEvicted, func(r *Removal) { r.Stopped = three }),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, kind := range []string{"worker", "head"} {
				pod := worker("b", tc.change)
				pod.Labels[labelNodeType] = kind
				state := Read([]corev1.Pod{worker("a", nil), pod}, 2, map[string]Node{"node-a": steady, "node-b": tc.on})
				if diff := cmp.Diff(tc.want, state.Removed); diff != "" {
					t.Errorf("of a %s (-want +got):\n%s", kind, diff)
				}
			}
		})
	}
}

func TestOfSeveralRemovalsTheFirstCountsAndThatWhichEndsTheLease(t *testing.T) {
	two, three, four, five := noon.Add(2*time.Minute), noon.Add(3*time.Minute), noon.Add(4*time.Minute), noon.Add(5*time.Minute)
	nodes := map[string]Node{"node-a": {Ready: noon}, "node-b": {Ready: noon}}
	cases := map[string]struct {
		a, b func(*corev1.Pod)
		want Removal
	}{
		"the one that was told first gives the name": {
			all(disrupted(preempted, three), going(five)), all(disrupted(evicted, two), going(four)),
			Removal{Pod: "b", Cause: boursev1.NoticeEvicted, Since: two, Until: four, Going: true},
		},
		"the first one in order does, if it was told first": {
			all(disrupted(preempted, two), going(four)), all(disrupted(evicted, three), going(five)),
			Removal{Pod: "a", Cause: boursev1.NoticePreempted, Since: two, Until: four, Going: true},
		},
		"one that was only deleted counts for less": {
			going(four), all(disrupted(evicted, five), readyAt(five, "False")),
			Removal{Pod: "b", Cause: boursev1.NoticeEvicted, Since: three, Until: four, Going: true, Stopped: five},
		},
		"also when it comes second": {
			all(disrupted(evicted, five), readyAt(five, "False")), going(four),
			Removal{Pod: "a", Cause: boursev1.NoticeEvicted, Since: three, Until: four, Going: true, Stopped: five},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			state := Read([]corev1.Pod{worker("a", tc.a), worker("b", tc.b)}, 2, nodes)
			if diff := cmp.Diff(&tc.want, state.Removed); diff != "" {
				t.Errorf("removal (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTroubleOfAMockRental(t *testing.T) {
	waiting := func(pod *corev1.Pod) {
		readyAt(noon, "False")(pod)
		pod.Status.ContainerStatuses = []corev1.ContainerStatus{{State: corev1.ContainerState{
			Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff", Message: "no such image"},
		}}}
	}
	cases := map[string]struct {
		change func(*corev1.Pod)
		why    string
		lost   bool
	}{
		"one that runs": {func(*corev1.Pod) {}, "", false},
		"one without a place": {func(pod *corev1.Pod) {
			pod.Status = corev1.PodStatus{Phase: corev1.PodPending, Conditions: []corev1.PodCondition{
				{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "Insufficient nvidia.com/gpu"},
			}}
		}, "Insufficient nvidia.com/gpu", false},
		"one whose image is missing": {waiting, "ImagePullBackOff: no such image", false},
		"one that its kubelet refuses": {func(pod *corev1.Pod) {
			pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError", Message: "Allocate failed"}
		}, "UnexpectedAdmissionError: Allocate failed", true},
		"one that local work pushes out": {disrupted(preempted, noon), preempted, false},
		"one that is being removed":      {going(noon), "an earlier mock rental is being removed", false},
		"one that is young":              {readyAt(noon, "False"), "the pod does not run yet", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			pod := worker("a", tc.change)
			if why, lost := Trouble(&pod); why != tc.why || lost != tc.lost {
				t.Errorf("%q, lost %t; want %q, %t", why, lost, tc.why, tc.lost)
			}
		})
	}
}

func TestAMockRentalGoesTheWayOfALease(t *testing.T) {
	long := "a-pool-whose-name-is-longer-than-what-a-namespace-may-be-called-by-its-cluster"
	trial := Trial{Namespace: TrialSpace(long), Pool: long, Node: "n1", GPUs: 8, HoldImage: "pause:1", Seconds: 300}
	pod := trial.Pod()
	if diff := cmp.Diff(testPlan().Holders()[0].Spec.SecurityContext, pod.Spec.SecurityContext); diff != "" {
		t.Errorf("security context (-lease +trial):\n%s", diff)
	}
	if diff := cmp.Diff(testPlan().Holders()[0].Spec.Tolerations, pod.Spec.Tolerations); diff != "" {
		t.Errorf("tolerations (-lease +trial):\n%s", diff)
	}
	host := pod.Spec.Affinity.NodeAffinity.RequiredDuringSchedulingIgnoredDuringExecution.NodeSelectorTerms[0].MatchFields[0].Values[0]
	if Requested(pod) != 8 || host != "n1" || pod.Spec.PriorityClassName != PriorityInterruptible || *pod.Spec.ActiveDeadlineSeconds != 300 {
		t.Errorf("the pod is %+v", pod.Spec)
	}
	if len(trial.Namespace) > 63 || TrialSpace(long) == TrialSpace(long+"s") || TrialSpace("oslo") != "bourse-recycle-oslo" {
		t.Errorf("namespaces %s and %s", TrialSpace(long), TrialSpace(long+"s"))
	}
	for _, object := range append(trial.Space(), pod) {
		if object.GetLabels()[boursev1.LabelLease] != "" || len(object.GetLabels()[boursev1.LabelMockRental]) != 63 {
			t.Errorf("%T has the labels %v: it is no lease's, and its pool's name is cut", object, object.GetLabels())
		}
	}
	if got := trial.Space()[0].GetLabels()["pod-security.kubernetes.io/enforce"]; got != "restricted" {
		t.Errorf("the namespace admits what is %q", got)
	}
}
