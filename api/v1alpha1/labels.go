// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// LabelLease is on everything in a supplier's cluster that belongs to a lease; its value is the lease's name, cut where a label ends.
const LabelLease = "bourse.dev/lease"
