// SPDX-License-Identifier: Apache-2.0

package apple

import (
	"context"
	"fmt"
	"os/exec"
	"strings"

	"github.com/bourse-dev/bourse/internal/device"
)

// Driver asks macOS' own tools.
type Driver struct{}

// New returns a reader of this machine's GPU.
func New() Driver { return Driver{} }

// Read returns the GPU. It returns device.ErrAbsent on a machine without Apple silicon.
func (Driver) Read(ctx context.Context) (device.Reading, error) {
	printed, err := exec.CommandContext(ctx, "/usr/sbin/system_profiler", "-json", "SPHardwareDataType", "SPDisplaysDataType").Output()
	if err != nil {
		return device.Reading{Class: device.Apple}, fmt.Errorf("run system_profiler: %w", err)
	}
	memory, err := sysctl(ctx, "hw.memsize")
	if err != nil {
		return device.Reading{Class: device.Apple}, err
	}
	return parse(printed, memory)
}

// BootID returns the kernel's identity of its current boot.
func (Driver) BootID(ctx context.Context) (string, error) {
	text, err := sysctl(ctx, "kern.bootsessionuuid")
	return strings.ToLower(strings.TrimSpace(text)), err
}

// PodOf returns that a process belongs to no pod: macOS runs none.
func (Driver) PodOf(int) (string, error) { return "", nil }

func sysctl(ctx context.Context, name string) (string, error) {
	text, err := exec.CommandContext(ctx, "/usr/sbin/sysctl", "-n", name).Output() //nolint:gosec // the names are those above
	if err != nil {
		return "", fmt.Errorf("run sysctl %s: %w", name, err)
	}
	return string(text), nil
}
