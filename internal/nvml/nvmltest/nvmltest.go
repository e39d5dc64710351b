// SPDX-License-Identifier: Apache-2.0

// Package nvmltest makes libraries that stand for NVIDIA's driver library on machines without a GPU: they are loaded as the real one is,
// and describe the machine that a test says. The calls are those that the agent makes; nothing is computed.
package nvmltest

import (
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

//go:embed testdata/nvml.c
var source []byte

// Machine is what a library describes.
type Machine struct {
	Driver string
	Begin  int // the code that nvmlInit returns
	Broken int // the code that reading the driver's version returns
	GPUs   []GPU
	Events []Event // all since the machine was started; those from before somebody listened are not told
}

// GPU is a GPU, or a partition of one. What is nil, the driver says that it does not support.
type GPU struct {
	UUID, Name, BusID                            string
	MemoryMiB, UsedMiB                           int
	Generation, Width                            *int
	Capability                                   string
	Links                                        *int
	Cluster                                      string // 32 hexadecimal digits
	Clique                                       int
	Milliwatts, LimitMilliwatts, UsualMilliwatts *int
	Celsius, Busy, Megahertz                     *int
	ECC                                          bool
	ECCErrors                                    int
	Rows                                         bool
	RowPending, RowFailed                        int
	MIG                                          *int
	Partitions                                   []GPU
	Lost                                         bool
	Processes                                    []Process
}

// Process is a process on a GPU.
type Process struct {
	PID      int
	Graphics bool
}

// Event is an XID of the GPU with this number.
type Event struct{ GPU, XID int }

// Library is a library on disk.
type Library struct {
	Path  string
	state string
}

// Build compiles a library for the machine. It skips the test where there is no C compiler.
func Build(t *testing.T, m Machine, flags ...string) *Library {
	t.Helper()
	compiler, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("SKIPPED: there is no C compiler (cc), so nothing was tested against a driver library")
	}
	dir := t.TempDir()
	lib := &Library{Path: filepath.Join(dir, "libnvidia-ml.so.1"), state: filepath.Join(dir, "machine")}
	lib.Set(t, m)
	code := filepath.Join(dir, "nvml.c")
	if err := os.WriteFile(code, source, 0o600); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"-O1", "-shared", "-fPIC", "-DSTATE=\"" + lib.state + "\"", "-DFOLDER=\"" + dir + "\"", "-o", lib.Path, code}, flags...)
	compile := exec.CommandContext(t.Context(), compiler, args...) //nolint:gosec // the C compiler that was found
	if output, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("compile the library: %v\n%s", err, output)
	}
	return lib
}

// Old builds a library without the functions that came after 2019: partitions, row remapping, fabrics, and newer forms of others.
func Old(t *testing.T, m Machine) *Library {
	t.Helper()
	return Build(t, m, "-DOLD")
}

// Set changes the machine, at once, for every process that has the library loaded.
func (l *Library) Set(t *testing.T, m Machine) {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, "driver\tversion=%s\tbegin=%d\tbroken=%d\n", m.Driver, m.Begin, m.Broken)
	for _, gpu := range m.GPUs {
		gpu.write(&text, "gpu")
		for _, part := range gpu.Partitions {
			part.write(&text, "partition")
		}
	}
	for _, event := range m.Events {
		fmt.Fprintf(&text, "event\tgpu=%d\txid=%d\n", event.GPU, event.XID)
	}
	next := l.state + ".next"
	if err := os.WriteFile(next, []byte(text.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(next, l.state); err != nil {
		t.Fatal(err)
	}
}

func (g GPU) write(to *strings.Builder, kind string) {
	fmt.Fprintf(to, "%s\tuuid=%s\tname=%s\tmemory=%d\tused=%d\tbus=%s\tcc=%s", kind, g.UUID, g.Name, g.MemoryMiB, g.UsedMiB, g.BusID, g.Capability)
	for _, field := range []struct {
		key string
		of  *int
	}{
		{"generation", g.Generation},
		{"width", g.Width},
		{"links", g.Links},
		{"usage", g.Milliwatts},
		{"limit", g.LimitMilliwatts},
		{"default", g.UsualMilliwatts},
		{"temperature", g.Celsius},
		{"busy", g.Busy},
		{"clock", g.Megahertz},
		{"mig", g.MIG},
	} {
		if field.of != nil {
			fmt.Fprintf(to, "\t%s=%d", field.key, *field.of)
		}
	}
	if g.Cluster != "" {
		fmt.Fprintf(to, "\tcluster=%s\tclique=%d", g.Cluster, g.Clique)
	}
	if g.ECC {
		fmt.Fprintf(to, "\tecc=1\terrors=%d", g.ECCErrors)
	}
	if g.Rows {
		fmt.Fprintf(to, "\tpending=%d\tfailed=%d", g.RowPending, g.RowFailed)
	}
	if g.Lost {
		fmt.Fprint(to, "\tlost=1")
	}
	fmt.Fprintln(to)
	for _, process := range g.Processes {
		graphics := 0
		if process.Graphics {
			graphics = 1
		}
		fmt.Fprintf(to, "process\tpid=%d\tgraphics=%d\n", process.PID, graphics)
	}
}
