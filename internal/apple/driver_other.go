// SPDX-License-Identifier: Apache-2.0

//go:build !darwin

package apple

import (
	"context"
	"fmt"

	"github.com/bourse-dev/bourse/internal/device"
)

// Driver is absent: this is not macOS.
type Driver struct{}

// New returns a reader that finds no GPU of Apple's.
func New() Driver { return Driver{} }

// Read returns device.ErrAbsent.
func (Driver) Read(context.Context) (device.Reading, error) {
	return device.Reading{Class: device.Apple}, fmt.Errorf("look for macOS: %w", device.ErrAbsent)
}
