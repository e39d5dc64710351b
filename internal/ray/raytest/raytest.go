// SPDX-License-Identifier: Apache-2.0

// Package raytest plays KubeRay in tests that have no cluster: it turns Ray objects into pods, and lets programs end.
package raytest

import (
	"fmt"
	"maps"
	"strconv"
	"time"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Pods returns the pods that KubeRay makes for a RayCluster or RayJob, not yet scheduled.
func Pods(object client.Object, created time.Time) ([]*corev1.Pod, error) {
	var spec rayv1.RayClusterSpec
	switch of := object.(type) {
	case *rayv1.RayCluster:
		spec = of.Spec
	case *rayv1.RayJob:
		spec = *of.Spec.RayClusterSpec
	default:
		return nil, fmt.Errorf("%T is no Ray object", object)
	}
	pods := []*corev1.Pod{pod(object, "head", spec.HeadGroupSpec.Template, created)}
	for _, group := range spec.WorkerGroupSpecs {
		for i := range *group.Replicas {
			pods = append(pods, pod(object, "worker-"+strconv.Itoa(int(i)), group.Template, created))
		}
	}
	return pods, nil
}

func pod(object client.Object, name string, template corev1.PodTemplateSpec, created time.Time) *corev1.Pod {
	meta := metav1.ObjectMeta{
		Namespace: object.GetNamespace(), Name: object.GetName() + "-" + name, UID: types.UID(name),
		CreationTimestamp: metav1.NewTime(created), Labels: map[string]string{"ray.io/node-type": "worker"},
	}
	if name == "head" {
		meta.Labels["ray.io/node-type"] = "head"
	}
	maps.Copy(meta.Labels, template.Labels)
	return &corev1.Pod{ObjectMeta: meta, Spec: template.Spec, Status: corev1.PodStatus{Phase: corev1.PodPending}}
}

// Finish lets a program end.
func Finish(object client.Object, well bool, at time.Time) error {
	job, ok := object.(*rayv1.RayJob)
	if !ok {
		return fmt.Errorf("%T runs no program", object)
	}
	job.Status.JobStatus, job.Status.JobDeploymentStatus = rayv1.JobStatusFailed, rayv1.JobDeploymentStatusFailed
	if well {
		job.Status.JobStatus, job.Status.JobDeploymentStatus = rayv1.JobStatusSucceeded, rayv1.JobDeploymentStatusComplete
	}
	job.Status.EndTime, job.Status.RayJobStatusInfo.EndTime = new(metav1.NewTime(at)), new(metav1.NewTime(at))
	return nil
}

// SetReady sets the readiness of a pod, as of a moment.
func SetReady(pod *corev1.Pod, ready bool, at time.Time) {
	status := corev1.ConditionFalse
	if ready {
		status, pod.Status.Phase = corev1.ConditionTrue, corev1.PodRunning
	}
	Set(pod, corev1.PodCondition{Type: corev1.PodReady, Status: status, LastTransitionTime: metav1.NewTime(at)})
}

// Preempt tells a pod that the scheduler needs its place.
func Preempt(pod *corev1.Pod, at time.Time) {
	Set(pod, corev1.PodCondition{
		Type: corev1.DisruptionTarget, Status: corev1.ConditionTrue, Reason: "PreemptionByScheduler", LastTransitionTime: metav1.NewTime(at),
	})
}

// Set replaces the pod's condition of that type.
func Set(pod *corev1.Pod, condition corev1.PodCondition) {
	for i := range pod.Status.Conditions {
		if pod.Status.Conditions[i].Type == condition.Type {
			pod.Status.Conditions[i] = condition
			return
		}
	}
	pod.Status.Conditions = append(pod.Status.Conditions, condition)
}

// Submit gives a program the name that Ray has for it.
func Submit(object client.Object, id string) {
	if job, ok := object.(*rayv1.RayJob); ok {
		job.Status.JobId = id
	}
}

// DateBack lets a program that has ended say of itself that it ended at another moment.
func DateBack(object client.Object, at time.Time) {
	if job, ok := object.(*rayv1.RayJob); ok {
		job.Status.RayJobStatusInfo.EndTime = new(metav1.NewTime(at))
	}
}
