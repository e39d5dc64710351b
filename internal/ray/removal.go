// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"time"

	corev1 "k8s.io/api/core/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
)

// The reasons that Kubernetes gives a pod which it removes because somebody of the supplier's wants its place or its node. The two others
// that it has, DeletionByPodGC and TerminationByKubelet, say that a node is gone or in need: that is nobody's will, and the pod may be
// replaced.
const (
	preempted = "PreemptionByScheduler"
	evicted   = "EvictionByEvictionAPI"
	tainted   = "DeletionByTaintManager"
)

// Node is what is known of a node that pods of a lease are on.
type Node struct {
	Silent bool      // it does not report
	Ready  time.Time // since when it has been ready; zero while it is not
}

// Removal is a pod of the Ray cluster that somebody removes on purpose, or several.
type Removal struct {
	Pod     string // the one that was told first
	Cause   boursev1.NoticeCause
	Since   time.Time // when that one was told
	Until   time.Time // when the first of them is killed
	Going   bool      // one of them is being deleted; whoever only announced it may yet think otherwise
	Stopped time.Time // when the first of them ceased to be ready; zero while none has
}

// removalOf says whether somebody removes the pod on purpose.
func removalOf(pod corev1.Pod, on Node) (Removal, bool) {
	cause, since := told(pod, on)
	if cause == "" {
		return Removal{}, false
	}
	found := Removal{Pod: pod.Name, Cause: cause, Since: since, Until: since.Add(grace(pod)), Going: !pod.DeletionTimestamp.IsZero()}
	if found.Going {
		found.Until = pod.DeletionTimestamp.Time
	}
	if changed, ready := readiness(pod); !ready {
		found.Stopped = since
		if changed.After(since) {
			found.Stopped = changed
		}
	}
	return found, true
}

// told is what removes the pod, and when it was told. What a taint did to a pod on a node that was not ready then is the node's silence
// or its failing, and nobody's will.
func told(pod corev1.Pod, on Node) (boursev1.NoticeCause, time.Time) {
	if condition := disruption(pod); condition != nil {
		return willOf(condition, on)
	}
	if pod.DeletionTimestamp.IsZero() || on.Silent || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return "", time.Time{}
	}
	since := pod.DeletionTimestamp.Time
	if pod.DeletionGracePeriodSeconds != nil {
		since = since.Add(-time.Duration(*pod.DeletionGracePeriodSeconds) * time.Second)
	}
	if ended(pod, since) { // KubeRay removes what has ended, to put a new one in its place
		return "", time.Time{}
	}
	return boursev1.NoticeDeleted, since
}

// willOf is the cause that Kubernetes' reason stands for, if it is somebody's will.
func willOf(condition *corev1.PodCondition, on Node) (boursev1.NoticeCause, time.Time) {
	since := condition.LastTransitionTime.Time
	switch condition.Reason {
	case preempted:
		return boursev1.NoticePreempted, since
	case evicted:
		return boursev1.NoticeEvicted, since
	case tainted:
		if !on.Silent && !on.Ready.IsZero() && !since.Before(on.Ready) {
			return boursev1.NoticeTainted, since
		}
	}
	return "", time.Time{}
}

// disruption is what Kubernetes says of who removes the pod, or nil.
func disruption(pod corev1.Pod) *corev1.PodCondition {
	for i := range pod.Status.Conditions {
		if of := &pod.Status.Conditions[i]; of.Type == corev1.DisruptionTarget && of.Status == corev1.ConditionTrue {
			return of
		}
	}
	return nil
}

// grace is how long the pod has between being told and being killed.
func grace(pod corev1.Pod) time.Duration {
	seconds := int64(corev1.DefaultTerminationGracePeriodSeconds)
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		seconds = *pod.Spec.TerminationGracePeriodSeconds
	}
	return time.Duration(seconds) * time.Second
}

// ended says whether a container of the pod had ended by itself before a moment.
func ended(pod corev1.Pod, before time.Time) bool {
	for _, container := range pod.Status.ContainerStatuses {
		if last := container.State.Terminated; last != nil && last.FinishedAt.Time.Before(before) {
			return true
		}
	}
	return false
}

// and sums up two removals. A pod that was only deleted counts for less than one that cannot come back.
func (r Removal) and(other Removal) Removal {
	sum, lesser := r, r.Cause == boursev1.NoticeDeleted
	alike := lesser == (other.Cause == boursev1.NoticeDeleted)
	if alike && other.Since.Before(r.Since) || !alike && lesser {
		sum = other
	}
	if sum.Since = r.Since; other.Since.Before(r.Since) {
		sum.Since = other.Since
	}
	if sum.Until = r.Until; other.Until.Before(r.Until) {
		sum.Until = other.Until
	}
	if sum.Stopped = r.Stopped; r.Stopped.IsZero() || !other.Stopped.IsZero() && other.Stopped.Before(r.Stopped) {
		sum.Stopped = other.Stopped
	}
	sum.Going = r.Going || other.Going
	return sum
}
