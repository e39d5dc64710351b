// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// LeaseNotice tells a buyer that the GPUs of its lease are taken away.
type LeaseNotice struct {
	// cause is what takes them.
	// +required
	Cause NoticeCause `json:"cause,omitempty"`
	// party is who takes them.
	// +required
	Party Party `json:"party,omitempty"`
	// pod is the pod that is taken away first; absent where the supplier has only announced it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Pod string `json:"pod,omitempty"`
	// since is when the lease was told.
	// +required
	Since metav1.Time `json:"since,omitzero"`
	// until is when the GPUs are gone. It never moves to a later moment, and to an earlier one only if the supplier kills the pods sooner.
	// +required
	Until metav1.Time `json:"until,omitzero"`
	// message explains it to a person.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message,omitempty"`
}

// NoticeCause is what takes a lease's GPUs away.
//
// +kubebuilder:validation:Enum=Preempted;Evicted;Tainted;Deleted;Drain;Maintenance
type NoticeCause string

const (
	// NoticePreempted is a pod that the supplier's scheduler removes for one of the supplier's own.
	NoticePreempted NoticeCause = "Preempted"
	// NoticeEvicted is a pod that was evicted through the API, as by kubectl drain.
	NoticeEvicted NoticeCause = "Evicted"
	// NoticeTainted is a pod that a taint puts off a node which is ready.
	NoticeTainted NoticeCause = "Tainted"
	// NoticeDeleted is a pod that somebody deletes. A new one may take its place: the lease goes on if all workers become ready again in time.
	NoticeDeleted NoticeCause = "Deleted"
	// NoticeDrain is a pool whose mode is Drain.
	NoticeDrain NoticeCause = "Drain"
	// NoticeMaintenance is a maintenance window of the pool.
	NoticeMaintenance NoticeCause = "Maintenance"
)
