// SPDX-License-Identifier: Apache-2.0

//go:build crashpoints

package crashpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// Variable names the point at which the process kills itself: "deposit.signed", or "deposit.signed:3" for the third time.
const Variable = "BOURSE_CRASHPOINT"

//nolint:gochecknoglobals // read once; the build that has it is for tests alone
var (
	name, at = parse(os.Getenv(Variable))
	hits     atomic.Uint64
)

func parse(text string) (string, uint64) {
	point, times, found := strings.Cut(text, ":")
	count, err := strconv.ParseUint(times, 10, 64)
	if !found || err != nil {
		return point, 1
	}
	return point, count
}

// Hit kills the process if this is the point, and this the time: nothing is flushed, closed or told.
func Hit(point string) {
	if point != name || hits.Add(1) != at {
		return
	}
	if err := syscall.Kill(os.Getpid(), syscall.SIGKILL); err != nil {
		panic(err)
	}
	select {} // until the kernel has done it
}
