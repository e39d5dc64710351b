// SPDX-License-Identifier: Apache-2.0

// Package host reads what the Linux kernel says of its machine: which boot this is, which pod a process belongs to, and what its
// processors are. It decides nothing.
package host

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/internal/device"
)

// Host reads below a folder, which is / outside of tests.
type Host struct {
	root string
}

// New returns the host whose files are below root.
func New(root string) *Host { return &Host{root} }

// BootID returns the kernel's identity of its current boot.
func (h *Host) BootID(context.Context) (string, error) {
	text, err := h.read("proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot: %w", err)
	}
	return strings.TrimSpace(text), nil
}

// podUID finds the identity of a pod in the name of a control group: as the kubelet writes it for containerd and CRI-O with cgroupfs,
// "/kubepods/burstable/pod<uid>/", or with systemd, where underscores take the place of dashes, "kubepods-burstable-pod<uid>.slice".
var podUID = regexp.MustCompile(`[/-]pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|$)`)

// PodOf returns the UID of the pod that a process belongs to, and "" for one that belongs to none. A process that is no more belongs to
// none and returns fs.ErrNotExist.
func (h *Host) PodOf(pid int) (string, error) {
	text, err := h.read(filepath.Join("proc", strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return "", fmt.Errorf("read control groups of process %d: %w", pid, err)
	}
	return podIn(text), nil
}

// podIn reads /proc/<pid>/cgroup: one line for the whole in version 2, one for each controller in version 1.
func podIn(cgroups string) string {
	for line := range strings.Lines(cgroups) {
		_, path, found := strings.Cut(strings.TrimSpace(line), "::")
		if !found {
			parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
			path = parts[len(parts)-1]
		}
		if !strings.Contains(path, "kubepods") {
			continue
		}
		if match := podUID.FindStringSubmatch(path); match != nil {
			return strings.ReplaceAll(match[1], "_", "-")
		}
	}
	return ""
}

// CPUs reads the machine's processors as one device. Processors have no identity of their own, so the device has that of the agent.
type CPUs struct {
	host     *Host
	identity string
}

// NewCPUs returns a reader of the processors of the machine of the agent with this identity.
func NewCPUs(h *Host, identity string) CPUs { return CPUs{h, identity} }

// Read returns the processors.
func (c CPUs) Read(context.Context) (device.Reading, error) {
	info, err := c.host.read("proc/cpuinfo")
	if errors.Is(err, fs.ErrNotExist) {
		return device.Reading{Class: device.CPU}, fmt.Errorf("read processors: %w", device.ErrAbsent)
	}
	if err != nil {
		return device.Reading{Class: device.CPU}, fmt.Errorf("read processors: %w", err)
	}
	memory, err := c.host.read("proc/meminfo")
	if err != nil {
		return device.Reading{Class: device.CPU}, fmt.Errorf("read memory: %w", err)
	}
	read, err := processors(info, memory)
	if err != nil {
		return device.Reading{Class: device.CPU}, err
	}
	read.UUID = Identity("CPU", c.identity)
	return device.Reading{Class: device.CPU, Devices: []device.Device{read}, Present: []string{read.UUID}}, nil
}

// decoration is what makers write into the names of their processors besides the name.
var decoration = regexp.MustCompile(`\((?i:r|tm)\)| CPU| @.*$| \d+-Core Processor$| Processor$`)

func processors(info, memory string) (device.Device, error) {
	read := device.Device{Class: device.CPU}
	product := ""
	for _, field := range []string{"model name", "Model", "cpu model"} { // x86 says the first, boards with ARM the second
		if product = value(info, field); product != "" {
			break
		}
	}
	kibi, err := strconv.ParseInt(strings.TrimSuffix(value(memory, "MemTotal"), " kB"), 10, 64)
	if err != nil {
		return read, fmt.Errorf("read memory: %w", err)
	}
	if product = strings.Join(strings.Fields(decoration.ReplaceAllString(product, "")), " "); product == "" {
		product = "CPU" // many a server with ARM does not say what it is
	}
	read.Named(product, int32(min(kibi/1024, math.MaxInt32))) //nolint:gosec // bounded in the same expression
	return read, nil
}

func value(text, name string) string {
	for line := range strings.Lines(text) {
		if field, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(field) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// Identity makes a UUID for a device that has none of its own, from what tells it from all others.
func Identity(kind string, parts ...string) string {
	hash := sha256.New()
	for _, part := range append([]string{"bourse.dev/device", kind}, parts...) {
		fmt.Fprintf(hash, "%d:%s", len(part), part) // a hash takes everything
	}
	text := hex.EncodeToString(hash.Sum(nil))
	return kind + "-" + text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:32]
}

func (h *Host) read(path string) (string, error) {
	text, err := os.ReadFile(filepath.Join(h.root, path)) //nolint:gosec // files of the kernel, by the names above
	return string(text), err
}
