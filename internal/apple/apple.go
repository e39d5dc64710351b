// SPDX-License-Identifier: Apache-2.0

// Package apple reads the GPU of a machine with Apple silicon from what macOS' own tools print. It decides nothing.
package apple

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/internal/device"
)

const mebi = 1 << 20

// profile is what "system_profiler -json SPHardwareDataType SPDisplaysDataType" prints, as far as it is read.
type profile struct {
	Hardware []struct {
		Chip string `json:"chip_type"`
		UUID string `json:"platform_UUID"`
	} `json:"SPHardwareDataType"`
	Displays []struct {
		Model  string `json:"sppci_model"`
		Vendor string `json:"spdisplays_vendor"`
		Cores  string `json:"sppci_cores"`
	} `json:"SPDisplaysDataType"`
}

// parse reads the profile and the size of the memory, which "sysctl -n hw.memsize" prints in bytes and the GPU shares with the processor.
func parse(printed []byte, memory string) (device.Reading, error) {
	reading := device.Reading{Class: device.Apple}
	var read profile
	if err := json.Unmarshal(printed, &read); err != nil {
		return reading, fmt.Errorf("read system profile: %w", err)
	}
	if len(read.Hardware) == 0 || read.Hardware[0].UUID == "" {
		return reading, errors.New("read system profile: it names no machine")
	}
	bytes, err := strconv.ParseInt(strings.TrimSpace(memory), 10, 64)
	if err != nil {
		return reading, fmt.Errorf("read memory: %w", err)
	}
	for _, display := range read.Displays {
		if !strings.Contains(strings.ToLower(display.Vendor), "apple") {
			continue // a card of another maker, in a machine with a processor of Intel's
		}
		product := display.Model
		if display.Cores != "" {
			product += " " + display.Cores + "-core GPU"
		}
		one := device.Device{UUID: "APPLE-" + strings.ToLower(read.Hardware[0].UUID), Class: device.Apple}
		one.Named(product, int32(min(bytes/mebi, math.MaxInt32))) //nolint:gosec // bounded in the same expression
		reading.Devices, reading.Present = []device.Device{one}, []string{one.UUID}
		return reading, nil
	}
	return reading, fmt.Errorf("read system profile: %w: no GPU of Apple's", device.ErrAbsent)
}
