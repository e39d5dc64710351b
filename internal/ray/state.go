// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"cmp"
	"slices"
	"strings"
	"time"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// outOfMemory is the reason that a kubelet gives for a container which was ended for its memory.
const outOfMemory = "OOMKilled"

// heardWithin is how long after its end KubeRay may hear of a program's end.
const heardWithin = time.Minute

// State is how a lease's pods fare.
type State struct {
	Pods    int          // all that still exist
	Workers int          // Ray workers that exist and are not being deleted
	Ready   int          // Ray workers that are ready, those in their notice too
	Holders []corev1.Pod // pods that hold the lease's place, and are not being deleted
	Since   time.Time    // with all workers ready: since when; else since when not, or zero if that is not known
	Rays    []corev1.Pod // the pods of the Ray cluster, those that are being deleted too
	Removed *Removal     // what somebody removes of the Ray cluster on purpose, or nil
	Silent  bool         // a worker's node is not among those that report
	Failing bool         // a worker is taken off its node, or a node says that it is not ready
	// OutOfMemory says that a worker's container was ended for using more memory than it may.
	OutOfMemory bool
	workers     []corev1.Pod
}

// Read sums up the pods of one lease's namespace, and what is known of their nodes.
func Read(pods []corev1.Pod, want int32, nodes map[string]Node) State {
	state := State{Pods: len(pods)}
	for i := range pods {
		pod := pods[i]
		switch pod.Labels[labelNodeType] {
		case string(rayv1.WorkerNode):
			state.worker(pod, nodes[pod.Spec.NodeName].Silent)
			fallthrough
		case string(rayv1.HeadNode):
			state.ray(pod, nodes[pod.Spec.NodeName])
		default:
			if pod.Labels[labelPart] == partHold && pod.DeletionTimestamp.IsZero() {
				state.Holders = append(state.Holders, pod)
			}
		}
	}
	slices.SortFunc(state.Holders, func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	state.Since = state.since(want)
	return state
}

func (s *State) worker(pod corev1.Pod, silent bool) {
	s.workers = append(s.workers, pod)
	s.Silent = s.Silent || silent
	s.blame(pod)
	if pod.DeletionTimestamp.IsZero() {
		s.Workers++
	}
	if _, ready := readiness(pod); ready {
		s.Ready++
	}
}

// ray takes in the head or a worker: without its head a Ray cluster is nothing.
func (s *State) ray(pod corev1.Pod, on Node) {
	s.Rays = append(s.Rays, pod)
	found, ok := removalOf(pod, on)
	switch {
	case !ok:
	case s.Removed == nil:
		s.Removed = &found
	default:
		*s.Removed = s.Removed.and(found)
	}
}

// blame notes what the cluster itself says of who stopped a worker.
func (s *State) blame(pod corev1.Pod) {
	s.Failing = s.Failing || disruption(pod) != nil
	for _, container := range pod.Status.ContainerStatuses {
		for _, ended := range []*corev1.ContainerStateTerminated{container.State.Terminated, container.LastTerminationState.Terminated} {
			s.OutOfMemory = s.OutOfMemory || ended != nil && ended.Reason == outOfMemory
		}
	}
}

// AllReady says whether every one of the wanted workers is ready.
func (s State) AllReady(want int32) bool { return want > 0 && s.Ready >= int(want) }

// Whole says whether the head and every one of the wanted workers are ready.
func (s State) Whole(want int32) bool {
	return s.AllReady(want) && slices.ContainsFunc(s.Rays, func(pod corev1.Pod) bool {
		_, ready := readiness(pod)
		return ready && pod.Labels[labelNodeType] == string(rayv1.HeadNode)
	})
}

// Stands says whether the Ray pod of that name is still the one that it was at a moment, and is not being deleted.
func (s State) Stands(name string, at time.Time) bool {
	return slices.ContainsFunc(s.Rays, func(pod corev1.Pod) bool {
		return pod.Name == name && pod.DeletionTimestamp.IsZero() && !pod.CreationTimestamp.After(at)
	})
}

// Began says whether a pod among the workers is younger than a moment, so that what stood in its place then is not known.
func (s State) Began(after time.Time) bool {
	return slices.ContainsFunc(s.workers, func(pod corev1.Pod) bool { return pod.CreationTimestamp.After(after) })
}

// since is the last moment at which a worker became ready if all are, else the first one at which one ceased to be.
func (s State) since(want int32) time.Time {
	var last, first time.Time
	for _, pod := range s.workers {
		changed, ready := readiness(pod)
		switch {
		case ready && changed.After(last):
			last = changed
		case !ready && !changed.IsZero() && (first.IsZero() || changed.Before(first)):
			first = changed
		}
	}
	switch {
	case s.AllReady(want):
		return last
	case len(s.workers) < int(want): // the one that is missing may have gone before
		return time.Time{}
	default:
		return first
	}
}

// readiness says whether a pod is ready and since when that is so. One that is being deleted may be until it is killed: its notice runs,
// and its kubelet still asks it.
func readiness(pod corev1.Pod) (time.Time, bool) {
	for _, condition := range pod.Status.Conditions {
		if condition.Type != corev1.PodReady {
			continue
		}
		ready := condition.Status == corev1.ConditionTrue
		if ready && pod.Status.Phase != corev1.PodRunning {
			return time.Time{}, false // it has ended, and nobody said when
		}
		return condition.LastTransitionTime.Time, ready
	}
	return time.Time{}, false
}

// Outcome is how a program ended.
type Outcome struct {
	Well    bool
	At      time.Time
	Message string
}

// OutcomeOf returns how the lease's program ended, or false while it has not, and for an interactive cluster, which does not end.
func OutcomeOf(object client.Object) (Outcome, bool) {
	job, ok := object.(*rayv1.RayJob)
	if !ok {
		return Outcome{}, false
	}
	status := job.Status
	broken := status.JobDeploymentStatus == rayv1.JobDeploymentStatusFailed ||
		status.JobDeploymentStatus == rayv1.JobDeploymentStatusValidationFailed
	if !rayv1.IsJobTerminal(status.JobStatus) && !broken {
		return Outcome{}, false
	}
	end := Outcome{Well: status.JobStatus == rayv1.JobStatusSucceeded, At: endOf(&status), Message: status.Message}
	// KubeRay appends the program's last output, with its colours: what a person needs first is the first line.
	end.Message, _, _ = strings.Cut(end.Message, "\n")
	end.Message = strings.TrimSuffix(end.Message, ", last available logs (truncated to 20,000 chars):")
	if end.Message == "" && !end.Well {
		end.Message = string(cmp.Or(status.Reason, rayv1.AppFailed))
	}
	return end, true
}

// endOf is when a program ended, or zero if that is not known. Ray says so to the second, but it runs in the buyer's image: it is believed as
// far as KubeRay, which asks it every few seconds, may have heard of it late.
func endOf(status *rayv1.RayJobStatus) time.Time {
	seen, told := status.EndTime, status.RayJobStatusInfo.EndTime
	switch {
	case seen == nil:
		return time.Time{}
	case told == nil || !told.Before(seen):
		return seen.Time
	case told.Add(heardWithin).Before(seen.Time):
		return seen.Add(-heardWithin)
	default:
		return told.Time
	}
}

// Hosts returns the nodes that the pods were given, in order and each once; ok is false while one has none.
func Hosts(pods []corev1.Pod) (hosts []string, ok bool) {
	for _, pod := range pods {
		if pod.Spec.NodeName == "" {
			return nil, false
		}
		hosts = append(hosts, pod.Spec.NodeName)
	}
	slices.Sort(hosts)
	return slices.Compact(hosts), true
}

// Unplaced returns what the scheduler says of the first pod that it finds no place for, or nothing.
func Unplaced(pods []corev1.Pod) string {
	for _, pod := range pods {
		for _, condition := range pod.Status.Conditions {
			if condition.Type == corev1.PodScheduled && condition.Status == corev1.ConditionFalse {
				return condition.Message
			}
		}
	}
	return ""
}
