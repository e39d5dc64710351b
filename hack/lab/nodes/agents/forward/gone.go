// SPDX-License-Identifier: Apache-2.0

package forward

import (
	"errors"
	"net"
	"syscall"
)

func gone(err error) bool {
	for _, end := range []error{syscall.ECONNRESET, syscall.EPIPE, syscall.ENOTCONN, net.ErrClosed} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}
