// SPDX-License-Identifier: Apache-2.0

package ray

import (
	"net"
	"slices"
	"strconv"

	rayv1 "github.com/ray-project/kuberay/ray-operator/apis/ray/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Container is a container of a Ray pod.
type Container struct {
	Pod, Name string
	Host      string // where the pod is reached; empty before it has an address, and for one that would be reached as its node
}

// Head returns the head's container among the pods of a lease's namespace.
func Head(pods []corev1.Pod) (Container, bool) {
	heads := ofType(pods, rayv1.HeadNode)
	if len(heads) == 0 {
		return Container{}, false
	}
	return containerOf(heads[0], headContainer), true
}

// Worker returns a worker's container. Workers are numbered from 0 in the order of their pods' names.
func Worker(pods []corev1.Pod, number int) (Container, bool) {
	workers := ofType(pods, rayv1.WorkerNode)
	if number < 0 || number >= len(workers) {
		return Container{}, false
	}
	return containerOf(workers[number], workContainer), true
}

func containerOf(pod corev1.Pod, name string) Container {
	found := Container{Pod: pod.Name, Name: name}
	if !pod.Spec.HostNetwork {
		found.Host = pod.Status.PodIP
	}
	return found
}

// ofType are the pods of one kind, those that are not being deleted first.
func ofType(pods []corev1.Pod, kind rayv1.RayNodeType) []corev1.Pod {
	var found []corev1.Pod
	for _, pod := range pods {
		if pod.Labels[labelNodeType] == string(kind) {
			found = append(found, pod)
		}
	}
	slices.SortFunc(found, func(a, b corev1.Pod) int {
		switch aGoes, bGoes := !a.DeletionTimestamp.IsZero(), !b.DeletionTimestamp.IsZero(); {
		case aGoes && !bGoes:
			return 1
		case bGoes && !aGoes:
			return -1
		case a.Name < b.Name:
			return -1
		default:
			return 1
		}
	})
	return found
}

// Dashboard is the address of Ray's dashboard on a host.
func Dashboard(host string) string { return net.JoinHostPort(host, strconv.Itoa(dashboardPort)) }

// Token is the token in a lease's Secret, or empty.
func Token(secret *corev1.Secret) string { return string(secret.Data[tokenKey]) }

// Submitted returns an empty RayJob of a namespace to read into.
func Submitted(namespace string) client.Object {
	return &rayv1.RayJob{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: Name}}
}

// JobID is what Ray calls the program of a RayJob; empty before it was submitted.
func JobID(object client.Object) string {
	job, ok := object.(*rayv1.RayJob)
	if !ok {
		return ""
	}
	return job.Status.JobId
}
