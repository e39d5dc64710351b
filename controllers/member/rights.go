// SPDX-License-Identifier: Apache-2.0

// Package member names the roles that a supplier needs in a hub which is another cluster than its own, and holds the markers that they are
// generated from. They are what its controllers do there, and nothing more; who binds them is not known here.
package member

// In its own namespace it offers, works on its leases, stakes, and tells of both.
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuoffers,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases;stakepositions,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases/status,verbs=patch
// +kubebuilder:rbac:groups=bourse.dev,resources=members,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// Elsewhere it reads the market's rules, and what buyers promise, which they do in namespaces of their own.
// +kubebuilder:rbac:roleName=bourse-member-reader,groups=bourse.dev,resources=markets;vouchers,verbs=get;list;watch

const (
	// Role is the ClusterRole to bind in the member's own namespace, by a RoleBinding.
	Role = "bourse-member"
	// ReaderRole is the ClusterRole to bind everywhere, by a ClusterRoleBinding.
	ReaderRole = "bourse-member-reader"
)
