// SPDX-License-Identifier: Apache-2.0

package nvml

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/device"
	"github.com/bourse-dev/bourse/internal/nvml/nvmltest"
)

// These tests are one suite for both ways of loading the library: make unit runs them with cgo and without. A process can load one
// library only once for good, so each test reads in a process of its own, which is this test's binary.

// library names the library that this process is to read instead of running tests.
const library = "BOURSE_TEST_NVML"

// answer is what such a process prints for each line that it is given.
type answer struct {
	Reading device.Reading
	Event   device.Event
	Error   string
	Absent  bool
}

func TestMain(m *testing.M) {
	if path := os.Getenv(library); path != "" {
		serve(New(path))
		return
	}
	os.Exit(m.Run())
}

// serve does what each line says.
func serve(driver *Driver) {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		var a answer
		var err error
		switch lines.Text() {
		case "read":
			a.Reading, err = driver.Read(ctx)
		case "wait":
			a.Event, err = driver.Wait(ctx)
		case "close":
			driver.Close()
		}
		if err != nil {
			a.Error, a.Absent = err.Error(), errors.Is(err, device.ErrAbsent)
		}
		cancel()
		if err := json.NewEncoder(os.Stdout).Encode(a); err != nil {
			panic(err)
		}
	}
}

// reader is such a process.
type reader struct {
	t     *testing.T
	say   *bufio.Writer
	heard *bufio.Scanner
}

func start(t *testing.T, path string) reader {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0]) // it ends after the test
	cmd.Env = append(os.Environ(), library+"="+path)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close() // it ends when it hears no more
		if err := cmd.Wait(); err != nil {
			t.Errorf("the reading process: %v\n%s", err, stderr.String())
		}
	})
	heard := bufio.NewScanner(out)
	heard.Buffer(nil, 1<<20)
	return reader{t, bufio.NewWriter(in), heard}
}

func (r reader) do(what string) answer {
	r.t.Helper()
	fmt.Fprintln(r.say, what)
	if err := r.say.Flush(); err != nil {
		r.t.Fatal(err)
	}
	if !r.heard.Scan() {
		r.t.Fatalf("%s: the process died: a function that the library does not have?", what)
	}
	var a answer
	if err := json.Unmarshal(r.heard.Bytes(), &a); err != nil {
		r.t.Fatal(err)
	}
	return a
}

func (r reader) read() device.Reading {
	r.t.Helper()
	a := r.do("read")
	if a.Error != "" {
		r.t.Fatal(a.Error)
	}
	return a.Reading
}

func TestEightH100s(t *testing.T) {
	got := start(t, nvmltest.Build(t, nvmltest.H100s()).Path).read()
	if got.Driver != "570.86.15" || got.Class != device.NVIDIA || len(got.Devices) != 8 || len(got.Present) != 8 {
		t.Fatalf("driver %q of %s with %d GPUs, %d of them present", got.Driver, got.Class, len(got.Devices), len(got.Present))
	}
	want := device.Device{
		UUID: "GPU-1100b0d1-7a43-4c1e-9d52-000000000001", Class: device.NVIDIA, Product: "NVIDIA H100 80GB HBM3", Model: "h100-sxm-80gb", MemoryMiB: 81559,
		PCI:   device.PCI{BusID: "00000000:29:00.0", Generation: 5, Width: 16},
		Links: new(int32(18)), Fabric: "5f1c2b3a-4d5e-6f70-8192-a3b4c5d6e7f8.7", PowerLimitPercent: new(int32(100)), ComputeCapability: "9.0", PIDs: []int{},
		Load: device.Load{Celsius: new(31.0), Watts: new(69.5), Hertz: new(345e6), Utilization: new(0.0), MemoryUsed: new(4.0 * mebi)},
	}
	if diff := cmp.Diff(want, got.Devices[1]); diff != "" {
		t.Errorf("device (-want +got):\n%s", diff)
	}
}

func TestFourA100s(t *testing.T) {
	got := start(t, nvmltest.Build(t, nvmltest.A100s()).Path).read()
	limits := make([]int32, 0, len(got.Devices))
	for _, d := range got.Devices {
		limits = append(limits, *d.PowerLimitPercent)
		if d.Model != "a100-pcie-80gb" || d.Links != nil || d.Fabric != "" || d.Fault != "" {
			t.Errorf("device %+v", d)
		}
	}
	if diff := cmp.Diff([]int32{100, 100, 100, 60}, limits); diff != "" {
		t.Errorf("power limits (-want +got):\n%s", diff)
	}
}

func TestPartitionsTakeThePlaceOfTheirGPU(t *testing.T) {
	machine := nvmltest.Partitioned()
	got := start(t, nvmltest.Build(t, machine).Path).read()
	if diff := cmp.Diff([]string{machine.GPUs[0].UUID, machine.GPUs[1].UUID}, got.Present); diff != "" {
		t.Errorf("present (-want +got):\n%s", diff)
	}
	want := []device.Device{
		{
			UUID: "MIG-3b3b3b3b-0000-4000-8000-000000000001", Parent: machine.GPUs[0].UUID, Class: device.NVIDIA, Product: "NVIDIA A100-SXM4-80GB MIG 3g.40gb",
			Model: "a100-sxm-80gb-mig-3g-40gb", MemoryMiB: 40192, PCI: device.PCI{BusID: "00000000:07:00.0", Generation: 4, Width: 16},
			PowerLimitPercent: new(int32(100)), ComputeCapability: "8.0", PIDs: []int{4242}, Load: device.Load{Celsius: new(35.0), MemoryUsed: new(11.0 * mebi)},
		},
		{
			UUID: "MIG-3b3b3b3b-0000-4000-8000-000000000002", Parent: machine.GPUs[0].UUID, Class: device.NVIDIA, Product: "NVIDIA A100-SXM4-80GB MIG 1g.10gb",
			Model: "a100-sxm-80gb-mig-1g-10gb", MemoryMiB: 9728, PCI: device.PCI{BusID: "00000000:07:00.0", Generation: 4, Width: 16},
			PowerLimitPercent: new(int32(100)), ComputeCapability: "8.0", PIDs: []int{}, Load: device.Load{Celsius: new(35.0), MemoryUsed: new(0.0)},
		},
	}
	if diff := cmp.Diff(want, got.Devices); diff != "" {
		t.Errorf("devices (-want +got):\n%s", diff)
	}
}

func TestARigOfCardsForPlayers(t *testing.T) {
	got := start(t, nvmltest.Build(t, nvmltest.Rig()).Path).read()
	if len(got.Devices) != 6 {
		t.Fatalf("%d devices", len(got.Devices))
	}
	first := got.Devices[0]
	if first.Model != "rtx-3090" || first.PCI.Width != 1 || *first.PowerLimitPercent != 68 || first.Links != nil {
		t.Errorf("device %+v", first)
	}
	if diff := cmp.Diff([]int{1800, 1999}, first.PIDs); diff != "" {
		t.Errorf("processes, each once (-want +got):\n%s", diff)
	}
}

func TestMoreProcessesThanThereWasRoomFor(t *testing.T) {
	machine := nvmltest.Pair()
	for pid := 1; pid <= 20; pid++ {
		machine.GPUs[0].Processes = append(machine.GPUs[0].Processes, nvmltest.Process{PID: pid})
	}
	for name, build := range map[string]func(*testing.T, nvmltest.Machine) *nvmltest.Library{"a driver of today": func(t *testing.T, m nvmltest.Machine) *nvmltest.Library {
		t.Helper()
		return nvmltest.Build(t, m)
	}, "an old driver": nvmltest.Old} {
		t.Run(name, func(t *testing.T) {
			if got := start(t, build(t, machine).Path).read().Devices[0].PIDs; len(got) != 20 || got[0] != 1 || got[19] != 20 {
				t.Errorf("processes %v", got)
			}
		})
	}
}

func TestAnOldDriverLeavesFieldsEmpty(t *testing.T) {
	machine := nvmltest.H100s()
	machine.GPUs[0].Processes = []nvmltest.Process{{PID: 7}}
	machine.GPUs[0].RowPending = 1
	lib := nvmltest.Old(t, machine)
	r := start(t, lib.Path)
	got := r.read()
	if len(got.Devices) != 8 {
		t.Fatalf("%d devices", len(got.Devices))
	}
	first := got.Devices[0]
	if first.Fabric != "" || first.Fault != "" || *first.Links != 18 || first.Model != "h100-sxm-80gb" {
		t.Errorf("device %+v", first)
	}
	if diff := cmp.Diff([]int{7}, first.PIDs); diff != "" {
		t.Errorf("processes (-want +got):\n%s", diff)
	}
	machine.Events = []nvmltest.Event{{GPU: 2, XID: 48}}
	lib.Set(t, machine)
	if a := r.do("wait"); a.Event != (device.Event{UUID: machine.GPUs[2].UUID, XID: 48}) {
		t.Errorf("event %+v, %s", a.Event, a.Error)
	}
}

func TestWhatAGPURemembersOfItsMemory(t *testing.T) {
	cases := map[string]struct {
		change func(*nvmltest.GPU)
		want   device.Fault
	}{
		"a well one":                 {func(*nvmltest.GPU) {}, ""},
		"uncorrectable errors":       {func(g *nvmltest.GPU) { g.ECCErrors = 2 }, device.ECC},
		"rows wait for a reset":      {func(g *nvmltest.GPU) { g.RowPending = 1 }, device.RowRemap},
		"no spare rows are left":     {func(g *nvmltest.GPU) { g.RowFailed = 1 }, device.RowRemap},
		"it has no error correction": {func(g *nvmltest.GPU) { g.ECC, g.Rows = false, false }, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			machine := nvmltest.Pair()
			tc.change(&machine.GPUs[1])
			got := start(t, nvmltest.Build(t, machine).Path).read()
			if got.Devices[1].Fault != tc.want || got.Devices[0].Fault != "" {
				t.Errorf("faults %q and %q, want none and %q", got.Devices[0].Fault, got.Devices[1].Fault, tc.want)
			}
		})
	}
}

func TestAGPUThatFallsOffTheBus(t *testing.T) {
	machine := nvmltest.Pair()
	lib := nvmltest.Build(t, machine)
	r := start(t, lib.Path)
	if got := r.read(); len(got.Devices) != 2 {
		t.Fatalf("%d devices", len(got.Devices))
	}
	machine.GPUs[1].Lost = true
	machine.Events = []nvmltest.Event{{GPU: 1, XID: 79}, {GPU: 0, XID: 999}}
	lib.Set(t, machine)
	if a := r.do("wait"); a.Event != (device.Event{UUID: machine.GPUs[1].UUID, XID: 79}) {
		t.Errorf("event %+v, %s", a.Event, a.Error)
	}
	if a := r.do("wait"); a.Event != (device.Event{UUID: machine.GPUs[0].UUID}) {
		t.Errorf("an XID that the driver does not know: %+v, %s", a.Event, a.Error)
	}
	got := r.read()
	if len(got.Devices) != 1 || got.Devices[0].UUID != machine.GPUs[0].UUID || len(got.Present) != 1 {
		t.Errorf("devices %+v, present %v", got.Devices, got.Present)
	}
}

func TestNoDriver(t *testing.T) {
	a := start(t, filepath.Join(t.TempDir(), Library)).do("read")
	if !a.Absent || a.Error == "" {
		t.Errorf("absent %t: %q", a.Absent, a.Error)
	}
}

func TestADriverThatDoesNotAnswer(t *testing.T) {
	cases := map[string]struct {
		change     func(*nvmltest.Machine)
		wantAbsent bool
		want       string
	}{
		"no kernel module":             {func(m *nvmltest.Machine) { m.Begin = 9 }, true, "kernel module is not loaded"},
		"an update without a restart":  {func(m *nvmltest.Machine) { m.Begin = 18 }, false, "different versions"},
		"it fails when it is asked":    {func(m *nvmltest.Machine) { m.Broken = 999 }, false, "NVML error 999"},
		"it fails when it is to begin": {func(m *nvmltest.Machine) { m.Begin = 999 }, false, "begin: NVML error 999"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			machine := nvmltest.Pair()
			tc.change(&machine)
			lib := nvmltest.Build(t, machine)
			r := start(t, lib.Path)
			if a := r.do("read"); a.Absent != tc.wantAbsent || !strings.Contains(a.Error, tc.want) {
				t.Errorf("absent %t: %q", a.Absent, a.Error)
			}
			lib.Set(t, nvmltest.Pair())
			if got := r.read(); len(got.Devices) != 2 {
				t.Errorf("%d devices after it was mended", len(got.Devices))
			}
		})
	}
}

func TestClosedAndReadAgain(t *testing.T) {
	r := start(t, nvmltest.Build(t, nvmltest.Pair()).Path)
	first := r.read()
	r.do("close")
	if a := r.do("wait"); a.Error == "" {
		t.Errorf("a closed driver told of %+v", a.Event)
	}
	if diff := cmp.Diff(first, r.read()); diff != "" {
		t.Errorf("second reading (-first +second):\n%s", diff)
	}
}
