// SPDX-License-Identifier: Apache-2.0

package stakeposition

import "github.com/bourse-dev/bourse/internal/chain/chaintest"

// failing makes one method fail, or all of them when it is empty.
func failing(method string, fault chaintest.Fault) func(string) chaintest.Fault {
	return func(called string) chaintest.Fault {
		if method == "" || called == method {
			return fault
		}
		return chaintest.Fault{}
	}
}
