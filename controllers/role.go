// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"fmt"
	"slices"
	"strings"
)

// Role is one part that a manager plays.
type Role string

const (
	// Market matches jobs to offers and records what was settled. It runs in the hub.
	Market Role = "market"
	// Supplier sells a cluster's idle GPUs.
	Supplier Role = "supplier"
	// Buyer pays for jobs.
	Buyer Role = "buyer"
)

// Roles are the parts that one manager plays.
type Roles []Role

// ParseRoles reads a comma-separated list.
func ParseRoles(list string) (Roles, error) {
	var roles Roles
	for name := range strings.SplitSeq(list, ",") {
		role := Role(strings.TrimSpace(name))
		switch role {
		case Market, Supplier, Buyer:
		default:
			return nil, fmt.Errorf("%q is no role: choose from %s, %s and %s", role, Market, Supplier, Buyer)
		}
		if !roles.Has(role) {
			roles = append(roles, role)
		}
	}
	return roles, nil
}

// Has says whether the role is among them.
func (r Roles) Has(role Role) bool { return slices.Contains(r, role) }

// String lists the roles as ParseRoles reads them.
func (r Roles) String() string {
	names := make([]string, len(r))
	for i, role := range r {
		names[i] = string(role)
	}
	return strings.Join(names, ",")
}
