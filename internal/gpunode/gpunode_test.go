// SPDX-License-Identifier: Apache-2.0

package gpunode

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/device"
)

// devices are one of which everything is said, and one of which next to nothing is.
func devices() []device.Device {
	return []device.Device{
		{
			UUID: "GPU-1", Parent: "GPU-0", Class: device.NVIDIA, Product: "NVIDIA L4", Model: "l4", MemoryMiB: 23034, Fault: device.XID, XID: 79,
			Pod: device.Pod{Namespace: "ns", Name: "pod"}, Processes: new(int32(2)), PCI: device.PCI{BusID: "00000000:03:00.0", Generation: 4, Width: 16},
			Links: new(int32(0)), Fabric: "f.1", PowerLimitPercent: new(int32(90)), ComputeCapability: "8.9",
		},
		{UUID: "CPU-1", Class: device.CPU, Model: "cpu", MemoryMiB: 1024},
	}
}

func signed(t *testing.T) *boursev1.GPUNode {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	node := &boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: "n"}}
	Write(&node.Status, "570.86.15", "boot", devices())
	node.Status.Record = boursev1.NodeRecord{Sequence: 3, PublicKey: base64.StdEncoding.EncodeToString(public)}
	node.Status.Record.Signature = base64.StdEncoding.EncodeToString(ed25519.Sign(key, Record(node).Encode()))
	return node
}

func TestWhatIsWrittenIsReadBack(t *testing.T) {
	node := signed(t)
	text, err := json.Marshal(node)
	if err != nil {
		t.Fatal(err)
	}
	var read boursev1.GPUNode
	if err := json.Unmarshal(text, &read); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(devices(), Devices(&read)); diff != "" {
		t.Errorf("devices (-written +read):\n%s", diff)
	}
	if err := Verify(&read); err != nil {
		t.Errorf("the signature does not hold after a way through JSON: %v", err)
	}
}

func TestVerifyRefuses(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.GPUNode)
		want   error // nil: any
	}{
		"another node's record": {func(n *boursev1.GPUNode) { n.Name = "m" }, device.ErrSignature},
		"a sick device that is called well": {func(n *boursev1.GPUNode) {
			n.Status.Devices[0].Health, n.Status.Devices[0].Fault, n.Status.Devices[0].XID = "Healthy", "", nil
		}, device.ErrSignature},
		"a device more": {func(n *boursev1.GPUNode) {
			n.Status.Devices = append(n.Status.Devices, boursev1.GPUDevice{UUID: "GPU-9"})
		}, device.ErrSignature},
		"a device less":                 {func(n *boursev1.GPUNode) { n.Status.Devices = n.Status.Devices[:1] }, device.ErrSignature},
		"a newer number":                {func(n *boursev1.GPUNode) { n.Status.Record.Sequence++ }, device.ErrSignature},
		"a key that is no base64":       {func(n *boursev1.GPUNode) { n.Status.Record.PublicKey = "?" }, nil},
		"a signature that is no base64": {func(n *boursev1.GPUNode) { n.Status.Record.Signature = "?" }, nil},
		"no record":                     {func(n *boursev1.GPUNode) { n.Status.Record = boursev1.NodeRecord{} }, ErrUnsigned},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			node := signed(t)
			tc.change(node)
			if err := Verify(node); err == nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
}

// TestEveryFieldOfADeviceIsSigned fails when the API gets a field that nobody signs.
func TestEveryFieldOfADeviceIsSigned(t *testing.T) {
	one := reflect.TypeFor[boursev1.GPUDevice]()
	for i := range one.NumField() {
		node := signed(t)
		field := reflect.ValueOf(&node.Status.Devices[0]).Elem().Field(i)
		if field.IsZero() {
			t.Errorf("the test's device does not have %s", one.Field(i).Name)
		}
		field.SetZero()
		if one.Field(i).Name == "Health" {
			node.Status.Devices[0].Health = boursev1.DeviceHealthy
			node.Status.Devices[0].Fault = "" // a device that is well has none
		}
		if err := Verify(node); !errors.Is(err, device.ErrSignature) {
			t.Errorf("without %s: %v", one.Field(i).Name, err)
		}
	}
}

func TestADeviceThatIsCalledSickIsSick(t *testing.T) {
	node := &boursev1.GPUNode{Status: boursev1.GPUNodeStatus{Devices: []boursev1.GPUDevice{{UUID: "GPU-1", Health: boursev1.DeviceUnhealthy}}}}
	if got := Devices(node)[0].Fault; got != device.Lost {
		t.Errorf("fault %q", got)
	}
}

func TestWhatDriversSayStaysWithinTheBoundsOfTheAPI(t *testing.T) {
	long := strings.Repeat("x", 500)
	var status boursev1.GPUNodeStatus
	Write(&status, long, long, []device.Device{{
		UUID: "GPU-1", Product: long, Fabric: long, Links: new(int32(900)), PowerLimitPercent: new(int32(4000)), XID: 5000, Fault: device.XID,
		PCI: device.PCI{BusID: "0000:01:00.0", Generation: 99, Width: 99},
	}})
	got := status.Devices[0]
	if len(status.DriverVersion) != 32 || len(status.BootID) != 64 || len(got.Product) != 96 || len(got.Fabric) != 64 || *got.Links != 64 || *got.PowerLimitPercent != 1000 ||
		*got.XID != 1024 || *got.PCI.Generation != 16 || *got.PCI.Width != 32 || got.MemoryMiB != 1 {
		t.Errorf("status %+v", status)
	}
}
