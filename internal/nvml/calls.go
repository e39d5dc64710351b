// SPDX-License-Identifier: Apache-2.0

package nvml

import (
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/device"
)

// code is what a call of the library returns.
type code int32

// The codes that are told from each other; nvml.h names them.
const (
	success         code = 0
	notSupported    code = 3
	driverNotLoaded code = 9
	timedOut        code = 10
	gpuIsLost       code = 15
	resetRequired   code = 16
	versionMismatch code = 18
)

// The kinds of events that are listened for.
const (
	eventDoubleBitECC = 0x2
	eventXID          = 0x8
)

// calls are the library's functions. One that the driver does not have is nil.
type calls struct {
	shutdown                            func()
	driver                              func() (string, code)
	count                               func() (uint32, code)
	at                                  func(index uint32) (handle, code)
	uuid, name, busID                   func(of handle) (string, code)
	memory                              func(of handle) (total, used uint64, c code)
	generation, width                   func(of handle) (uint32, code)
	capability                          func(of handle) (major, minor int32, c code)
	link                                func(of handle, index uint32) (active bool, c code)
	fabric                              func(of handle) (fabric, code)
	enforcedLimit, defaultLimit         func(of handle) (milliwatts uint32, c code)
	power, temperature, utilization     func(of handle) (uint32, code)
	clock                               func(of handle) (megahertz uint32, c code)
	uncorrected                         func(of handle) (errors uint64, c code)
	rows                                func(of handle) (pending, failed bool, c code)
	partitioned                         func(of handle) (bool, code)
	slots                               func(of handle) (uint32, code)
	partition                           func(of handle, index uint32) (handle, code)
	computeProcesses, graphicsProcesses func(of handle) ([]int, code)
	listen                              func(to []handle) *listener
}

// complete says whether the functions are there without which nothing can be said.
func (c *calls) complete() bool {
	return c.driver != nil && c.count != nil && c.at != nil && c.uuid != nil && c.name != nil && c.memory != nil
}

// listener waits for the driver's events.
type listener struct {
	wait func(most time.Duration) (event, code)
	free func()
}

type event struct {
	of         handle
	kind, data uint64
}

type fabric struct {
	cluster  [16]byte
	clique   uint32
	complete bool // the GPU has joined its fabric
}

// failure says what a call returned. A driver whose kernel part is not there is absent.
func failure(what string, of code) error {
	switch of {
	case driverNotLoaded:
		return fmt.Errorf("%s: %w: the kernel module is not loaded", what, device.ErrAbsent)
	case versionMismatch:
		return fmt.Errorf("%s: the library and the kernel module are of different versions", what)
	default:
		return fmt.Errorf("%s: NVML error %d", what, of)
	}
}
