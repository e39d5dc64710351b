// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/device"
	"github.com/bourse-dev/bourse/internal/gpunode"
	"github.com/bourse-dev/bourse/internal/kubelet"
	"github.com/bourse-dev/bourse/internal/metrics"
)

// fakeBoard keeps one GPUNode.
type fakeBoard struct {
	node      boursev1.GPUNode
	version   int
	writes    int
	conflicts int // how many writes are yet to be refused
	down      bool
}

func (f *fakeBoard) Get(context.Context) (*boursev1.GPUNode, error) {
	if f.down {
		return nil, errors.New("down")
	}
	return f.node.DeepCopy(), nil
}

func (f *fakeBoard) Write(_ context.Context, node *boursev1.GPUNode) error {
	if f.down {
		return errors.New("down")
	}
	if f.conflicts > 0 {
		f.conflicts--
		return apierrors.NewConflict(schema.GroupResource{Resource: "gpunodes"}, node.Name, errors.New("it has changed"))
	}
	f.writes++
	f.version++
	f.node.Status = node.DeepCopy().Status
	f.node.ResourceVersion = strconv.Itoa(f.version)
	return nil
}

func (f *fakeBoard) Beat(context.Context, time.Time) error { return nil }

// fakeDriver says what a test says.
type fakeDriver struct {
	class   device.Class
	devices []device.Device
	present []string
	err     error
	closed  int
	onClose func()
}

func (f *fakeDriver) Read(context.Context) (device.Reading, error) {
	reading := device.Reading{Class: f.class, Driver: "570.86.15"}
	if f.err != nil {
		return reading, f.err
	}
	for _, d := range f.devices {
		d.PIDs = slices.Clone(d.PIDs)
		reading.Devices = append(reading.Devices, d)
		reading.Present = append(reading.Present, d.Whole())
	}
	reading.Present = append(reading.Present, f.present...)
	return reading, nil
}

func (f *fakeDriver) Wait(ctx context.Context) (device.Event, error) {
	<-ctx.Done()
	return device.Event{}, ctx.Err()
}

func (f *fakeDriver) Close() {
	f.closed++
	if f.onClose != nil {
		f.onClose()
	}
}

type fakeMachine struct {
	boot string
	pods map[int]string
}

func (f *fakeMachine) BootID(context.Context) (string, error) { return f.boot, nil }

func (f *fakeMachine) PodOf(pid int) (string, error) {
	pod, known := f.pods[pid]
	if !known {
		return "", fs.ErrNotExist
	}
	return pod, nil
}

type fakeKubelet struct {
	allocation kubelet.Allocation
	err        error
}

func (f *fakeKubelet) Devices(context.Context) (kubelet.Allocation, error) {
	return f.allocation, f.err
}

type fakeKey struct{ key ed25519.PrivateKey }

func newKey(seed byte) fakeKey {
	return fakeKey{ed25519.NewKeyFromSeed(append(make([]byte, ed25519.SeedSize-1), seed))}
}

func (f fakeKey) PublicKey() string {
	return base64.StdEncoding.EncodeToString(f.key[ed25519.SeedSize:])
}

func (f fakeKey) Sign(message []byte) string {
	return base64.StdEncoding.EncodeToString(ed25519.Sign(f.key, message))
}

// bench is an agent and all that it looks at.
type bench struct {
	*testing.T

	agent   *Agent
	board   *fakeBoard
	driver  *fakeDriver
	machine *fakeMachine
	kubelet *fakeKubelet
	reg     *prometheus.Registry
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{
		T: t, board: &fakeBoard{}, driver: &fakeDriver{class: device.NVIDIA}, machine: &fakeMachine{boot: "boot-1", pods: map[int]string{}},
		kubelet: &fakeKubelet{allocation: kubelet.Allocation{Pods: map[string]device.Pod{}, Slots: map[device.Class]int{}}}, reg: prometheus.NewRegistry(),
	}
	b.board.node.Name = "n"
	for i := range 3 {
		b.driver.devices = append(b.driver.devices, device.Device{
			UUID: fmt.Sprintf("GPU-%d", i), Class: device.NVIDIA, Product: "NVIDIA L4", Model: "l4", MemoryMiB: 23034, PIDs: []int{},
			PCI: device.PCI{BusID: fmt.Sprintf("00000000:0%d:00.0", i)}, Load: device.Load{Celsius: new(40.0)},
		})
	}
	b.restart(newKey(1))
	return b
}

// restart makes the agent a new one, which knows nothing.
func (b *bench) restart(key Key) {
	b.reg = prometheus.NewRegistry()
	b.agent = &Agent{
		Readers: []Reader{b.driver}, Machine: b.machine, Kubelet: b.kubelet, Board: b.board, Key: key, Metrics: metrics.NewAgent(b.reg),
		Now: func() time.Time { return time.Unix(1_790_000_000, 0) }, Interval: 30 * time.Second, Beat: 30 * time.Second,
	}
}

// pass passes, wants the second pass to write nothing, and returns the status.
func (b *bench) pass() boursev1.GPUNodeStatus {
	b.Helper()
	b.agent.pass(b.Context())
	writes := b.board.writes
	b.agent.pass(b.Context())
	if b.board.writes != writes {
		b.Errorf("a second pass wrote")
	}
	return b.board.node.Status
}

// faults are the faults of the devices, as "Lost", "XID 79" or "".
func faults(status boursev1.GPUNodeStatus) map[string]string {
	found := map[string]string{}
	for i := range status.Devices {
		of := &status.Devices[i]
		found[of.UUID] = string(of.Fault)
		if of.XID != nil {
			found[of.UUID] += fmt.Sprint(" ", *of.XID)
		}
		if (of.Health == boursev1.DeviceHealthy) != (of.Fault == "") {
			found[of.UUID] += " but " + string(of.Health)
		}
	}
	return found
}

func (b *bench) wantFaults(status boursev1.GPUNodeStatus, want map[string]string) {
	b.Helper()
	if diff := cmp.Diff(want, faults(status)); diff != "" {
		b.Errorf("faults (-want +got):\n%s", diff)
	}
}

func (b *bench) wantReady(want metav1.ConditionStatus, reason string) {
	b.Helper()
	if got := ready(&b.board.node); got.Status != want || got.Reason != reason || got.Message == "" {
		b.Errorf("ready %s %s %q, want %s %s", got.Status, got.Reason, got.Message, want, reason)
	}
}

func TestANodeIsReported(t *testing.T) {
	b := newBench(t)
	b.kubelet.allocation.Pods["GPU-1"] = device.Pod{Namespace: "ml", Name: "train"}
	b.kubelet.allocation.Slots[device.NVIDIA] = 3
	status := b.pass()
	b.wantReady(metav1.ConditionTrue, boursev1.ReasonReading)
	if *status.GPUs != 3 || *status.Healthy != 3 || status.DriverVersion != "570.86.15" || status.BootID != "boot-1" || status.Record.Sequence != 1 {
		t.Errorf("status %+v", status)
	}
	want := boursev1.GPUDevice{
		UUID: "GPU-1", Class: boursev1.ClassNVIDIA, Product: "NVIDIA L4", Model: "l4", MemoryMiB: 23034, Health: boursev1.DeviceHealthy,
		Pod: boursev1.DevicePod{Namespace: "ml", Name: "train"}, Processes: new(int32(0)), PCI: boursev1.DevicePCI{BusID: "00000000:01:00.0"},
	}
	if diff := cmp.Diff(want, status.Devices[1]); diff != "" {
		t.Errorf("device (-want +got):\n%s", diff)
	}
	if err := gpunode.Verify(&b.board.node); err != nil {
		t.Error(err)
	}
}

func TestWhatChangesAllTheTimeIsNotWritten(t *testing.T) {
	b := newBench(t)
	b.pass()
	b.driver.devices[0].Load.Celsius = new(88.0)
	b.agent.pass(t.Context())
	if b.board.writes != 1 {
		t.Errorf("%d writes", b.board.writes)
	}
	if err := testutil.GatherAndCompare(b.reg, strings.NewReader(`# HELP bourse_gpu_temperature_celsius The temperature of the device.
# TYPE bourse_gpu_temperature_celsius gauge
bourse_gpu_temperature_celsius{gpu="0",model="l4"} 88
bourse_gpu_temperature_celsius{gpu="1",model="l4"} 40
bourse_gpu_temperature_celsius{gpu="2",model="l4"} 40
`), "bourse_gpu_temperature_celsius"); err != nil {
		t.Error(err)
	}
}

func TestAFaultStaysUntilTheNextBoot(t *testing.T) {
	b := newBench(t)
	b.pass()
	if !b.agent.hear(t.Context(), device.Event{UUID: "GPU-1", XID: 79}) {
		t.Error("an error of a device changes nothing")
	}
	b.driver.devices = append(b.driver.devices[:1:1], b.driver.devices[2]) // it fell off the bus
	sick := map[string]string{"GPU-0": "", "GPU-1": "XID 79", "GPU-2": ""}
	status := b.pass()
	b.wantFaults(status, sick)
	b.wantReady(metav1.ConditionTrue, boursev1.ReasonReading)
	if *status.GPUs != 3 || *status.Healthy != 2 || status.Record.Sequence != 2 {
		t.Errorf("%d of %d are well, record %d", *status.Healthy, *status.GPUs, status.Record.Sequence)
	}
	b.restart(newKey(1))
	b.wantFaults(b.pass(), sick)
	whole := newBench(t).driver.devices
	b.driver.devices = whole // it is back on the bus
	b.wantFaults(b.pass(), sick)
	b.machine.boot = "boot-2"
	b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "", "GPU-2": ""})
}

func TestAnErrorOfAProgramIsNoFault(t *testing.T) {
	b := newBench(t)
	b.pass()
	for _, xid := range []int32{13, 31, 43, 45, 68} {
		if b.agent.hear(t.Context(), device.Event{UUID: "GPU-1", XID: xid}) {
			t.Errorf("XID %d changes something", xid)
		}
	}
	b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "", "GPU-2": ""})
}

func TestAnErrorIsKnownEvenIfTheDriverCannotBeReadAfterIt(t *testing.T) {
	b := newBench(t)
	b.pass()
	b.agent.hear(t.Context(), device.Event{UUID: "GPU-0", XID: 119})
	b.driver.err = errors.New("read GPU 0: NVML error 999")
	status := b.pass()
	sick := map[string]string{"GPU-0": "XID 119", "GPU-1": "", "GPU-2": ""}
	b.wantFaults(status, sick)
	b.wantReady(metav1.ConditionFalse, boursev1.ReasonDriverFailed)
	if status.BootID != "boot-1" || status.DriverVersion != "570.86.15" || *status.Healthy != 2 || gpunode.Verify(&b.board.node) != nil {
		t.Errorf("status %+v", status)
	}
	b.driver.err = nil
	b.wantFaults(b.pass(), sick)
}

func TestWhatIsKnownFromAnotherBootStaysOfThatBoot(t *testing.T) {
	b := newBench(t)
	b.pass()
	b.agent.hear(t.Context(), device.Event{UUID: "GPU-0", XID: 119})
	b.pass()
	b.machine.boot = "boot-2"
	b.driver.err = device.ErrAbsent
	if status := b.pass(); status.BootID != "boot-1" {
		t.Errorf("boot %s", status.BootID)
	}
	b.driver.err = nil
	b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "", "GPU-2": ""})
}

func TestAnErrorThatCouldNotBePublishedIsNotForgotten(t *testing.T) {
	b := newBench(t)
	b.pass()
	b.board.down = true
	b.agent.hear(t.Context(), device.Event{UUID: "GPU-2", XID: 48})
	if wait := b.agent.pass(t.Context()); wait > 3*time.Second {
		t.Errorf("the next try is in %s", wait)
	}
	b.board.down = false
	b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "", "GPU-2": "XID 48"})
}

func TestRecycling(t *testing.T) {
	sick := func(t *testing.T) *bench {
		t.Helper()
		b := newBench(t)
		b.pass()
		b.agent.hear(t.Context(), device.Event{UUID: "GPU-1", XID: 48})
		b.pass()
		b.board.node.Annotations = map[string]string{boursev1.AnnotationRecycle: "1"}
		return b
	}
	t.Run("forgets the fault of a device that is well", func(t *testing.T) {
		b := sick(t)
		status := b.pass()
		b.wantFaults(status, map[string]string{"GPU-0": "", "GPU-1": "", "GPU-2": ""})
		if status.Recycled != "1" || b.driver.closed != 1 {
			t.Errorf("recycled %q, driver begun anew %d times", status.Recycled, b.driver.closed)
		}
	})
	t.Run("counts once", func(t *testing.T) {
		b := sick(t)
		b.pass()
		b.agent.hear(t.Context(), device.Event{UUID: "GPU-1", XID: 48})
		b.restart(newKey(1))
		b.agent.hear(t.Context(), device.Event{UUID: "GPU-1", XID: 48})
		b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "XID 48", "GPU-2": ""})
		b.board.node.Annotations[boursev1.AnnotationRecycle] = "2"
		b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "", "GPU-2": ""})
	})
	t.Run("keeps the fault that the device still has", func(t *testing.T) {
		b := sick(t)
		b.driver.devices[1].Fault = device.RowRemap
		b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "RowRemap", "GPU-2": ""})
	})
	t.Run("does not forget what it could not read", func(t *testing.T) {
		b := sick(t)
		b.driver.err = errors.New("read GPUs: NVML error 999")
		b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "XID 48", "GPU-2": ""})
		b.driver.err = nil
		b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "", "GPU-2": ""})
	})
	t.Run("drops a device that was taken out", func(t *testing.T) {
		b := sick(t)
		b.driver.devices = b.driver.devices[:1]
		b.wantFaults(b.pass(), map[string]string{"GPU-0": ""})
	})
	t.Run("sees a device that was reset", func(t *testing.T) {
		b := sick(t)
		whole := b.driver.devices
		b.driver.devices = whole[:1]
		b.driver.onClose = func() { b.driver.devices = whole }
		b.wantFaults(b.pass(), map[string]string{"GPU-0": "", "GPU-1": "", "GPU-2": ""})
	})
}

func TestADriverThatCannotBeReadChangesNoDevice(t *testing.T) {
	cases := map[string]struct {
		err    error
		reason string
	}{
		"it is gone":          {fmt.Errorf("load: %w", device.ErrAbsent), boursev1.ReasonDriverMissing},
		"it does not answer":  {errors.New("read GPU 3: NVML error 999"), boursev1.ReasonDriverFailed},
		"it says a long text": {errors.New(strings.Repeat("é", 400)), boursev1.ReasonDriverFailed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.machine.pods[9] = ""
			b.driver.devices[2].PIDs = []int{9}
			before := b.pass()
			b.driver.err = tc.err
			after := b.pass()
			b.wantReady(metav1.ConditionFalse, tc.reason)
			before.Conditions, after.Conditions = nil, nil
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("the status besides its condition (-before +after):\n%s", diff)
			}
			b.driver.err = nil
			b.pass()
			b.wantReady(metav1.ConditionTrue, boursev1.ReasonReading)
		})
	}
}

func TestANodeWithoutADriver(t *testing.T) {
	b := newBench(t)
	b.driver.err = device.ErrAbsent
	status := b.pass()
	b.wantReady(metav1.ConditionFalse, boursev1.ReasonDriverMissing)
	if len(status.Devices) != 0 || status.Record.PublicKey != "" || status.GPUs != nil {
		t.Errorf("status %+v", status)
	}
}

func TestTwoClassesOfDevices(t *testing.T) {
	b := newBench(t)
	second := &fakeDriver{class: device.AMD, devices: []device.Device{{UUID: "AMD-1", Class: device.AMD, Model: "mi300x", MemoryMiB: 1, PCI: device.PCI{BusID: "0000:c1:00.0"}}}}
	b.agent.Readers = append(b.agent.Readers, second)
	b.kubelet.allocation.Pods["0000:c1:00.0"] = device.Pod{Namespace: "ml", Name: "rocm"}
	status := b.pass()
	if *status.GPUs != 4 || status.Devices[0].Pod.Name != "rocm" {
		t.Errorf("status %+v", status)
	}
	second.err = errors.New("list GPUs: no permission")
	after := b.pass()
	b.wantReady(metav1.ConditionFalse, boursev1.ReasonDriverFailed)
	if diff := cmp.Diff(status.Devices, after.Devices); diff != "" {
		t.Errorf("devices (-before +after):\n%s", diff)
	}
	second.err = device.ErrAbsent
	b.pass()
	b.wantReady(metav1.ConditionFalse, boursev1.ReasonDriverMissing)
	b.driver.err = device.ErrAbsent
	second.err = nil
	b.pass()
	b.wantReady(metav1.ConditionFalse, boursev1.ReasonDriverMissing)
}

func TestOneClassOfSeveralIsEnough(t *testing.T) {
	b := newBench(t)
	b.agent.Readers = append(b.agent.Readers, &fakeDriver{class: device.AMD, err: device.ErrAbsent})
	b.pass()
	b.wantReady(metav1.ConditionTrue, boursev1.ReasonReading)
}

func TestAConflictIsTriedOnceMoreAtOnce(t *testing.T) {
	b := newBench(t)
	b.board.conflicts = 1
	b.agent.pass(t.Context())
	if b.board.writes != 1 {
		t.Errorf("%d writes", b.board.writes)
	}
}
