// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LabelLease is on everything in a supplier's cluster that belongs to a lease; its value is the lease's name, cut where a label ends.
const LabelLease = "bourse.dev/lease"

// Labels of a GPULease that name its job; each value is cut where a label ends. Selectors use them; the truth is spec.job.
const (
	// LabelJobUID is the job's UID.
	LabelJobUID = "bourse.dev/job-uid"
	// LabelJobName is the job's name.
	LabelJobName = "bourse.dev/job-name"
	// LabelJobNamespace is the job's namespace.
	LabelJobNamespace = "bourse.dev/job-namespace"
)
