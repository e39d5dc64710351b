// SPDX-License-Identifier: Apache-2.0

package device

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNamed(t *testing.T) {
	cases := map[string]struct {
		product string
		memory  int32
		want    string
	}{
		"as the driver calls it":       {"NVIDIA H100 80GB HBM3", 81559, "h100-sxm-80gb"},
		"a partition":                  {"NVIDIA A100-SXM4-80GB MIG 1g.10gb", 9728, "a100-sxm-80gb-mig-1g-10gb"},
		"a driver that does not know":  {"", 81559, Unknown},
		"a GPU that shows no memory":   {"NVIDIA H100 80GB HBM3", 0, Unknown},
		"a product that is not listed": {"NVIDIA Experiment 1", 1024, "experiment-1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var d Device
			d.Named(tc.product, tc.memory)
			if d.Model != tc.want || d.Product != tc.product || d.MemoryMiB != tc.memory {
				t.Errorf("device %+v, want the model %s", d, tc.want)
			}
		})
	}
}

func TestCritical(t *testing.T) {
	for _, xid := range []int32{48, 63, 64, 74, 79, 94, 95, 119} {
		if !Critical(xid) {
			t.Errorf("XID %d leaves the device as it is", xid)
		}
	}
	for _, xid := range []int32{0, 13, 31, 43, 45, 68, 999} {
		if Critical(xid) {
			t.Errorf("XID %d is the device's fault", xid)
		}
	}
}

// gpus are well whole devices of these names.
func gpus(names ...string) []Device {
	devices := make([]Device, 0, len(names))
	for _, name := range names {
		devices = append(devices, Device{UUID: name, Class: NVIDIA})
	}
	return devices
}

func with(fault Fault, xid int32, names ...string) []Device {
	devices := gpus(names...)
	for i := range devices {
		devices[i].Fault, devices[i].XID = fault, xid
	}
	return devices
}

func TestMerge(t *testing.T) {
	part := Device{UUID: "p", Parent: "a", Class: NVIDIA}
	lostPart := part
	lostPart.Fault = Lost
	faultyPart := part
	faultyPart.Fault, faultyPart.XID = XID, 48
	cases := map[string]struct {
		before   []Device
		now      []Device
		present  []string
		events   []Event
		rebooted bool
		want     []Device
	}{
		"a first look":                                        {nil, gpus("a", "b"), []string{"a", "b"}, nil, false, gpus("a", "b")},
		"one that fell off the bus is lost":                   {gpus("a", "b"), gpus("a"), []string{"a"}, nil, false, slices.Concat(gpus("a"), with(Lost, 0, "b"))},
		"with its error, it is known why":                     {gpus("a", "b"), gpus("a"), []string{"a"}, []Event{{"b", 79}}, false, slices.Concat(gpus("a"), with(XID, 79, "b"))},
		"an error that comes later is still why":              {with(Lost, 0, "a"), nil, nil, []Event{{"a", 79}}, false, with(XID, 79, "a")},
		"a fault stays when the device says that it is well":  {with(ECC, 0, "a"), gpus("a"), []string{"a"}, nil, false, with(ECC, 0, "a")},
		"one that comes back is not well again":               {with(Lost, 0, "a"), gpus("a"), []string{"a"}, nil, false, with(Lost, 0, "a")},
		"the first error stays":                               {with(XID, 48, "a"), gpus("a"), []string{"a"}, []Event{{"a", 79}}, false, with(XID, 48, "a")},
		"a new boot forgets faults":                           {with(XID, 79, "a"), gpus("a"), []string{"a"}, nil, true, gpus("a")},
		"a new boot does not miss devices":                    {gpus("a", "b"), gpus("a"), []string{"a"}, nil, true, gpus("a")},
		"a new boot does not forget what the device does not": {nil, with(RowRemap, 0, "a"), []string{"a"}, nil, true, with(RowRemap, 0, "a")},
		"an error of a program is none of the device":         {gpus("a"), gpus("a"), []string{"a"}, []Event{{"a", 31}, {"a", 0}}, false, gpus("a")},
		"an error of a device that nobody knows":              {gpus("a"), gpus("a"), []string{"a"}, []Event{{"", 79}, {"x", 79}}, false, gpus("a")},
		"a GPU that was partitioned is not lost":              {gpus("a"), []Device{part}, []string{"a"}, nil, false, []Device{part}},
		"a GPU whose partitions are yet to come is not lost":  {gpus("a"), nil, []string{"a"}, nil, false, nil},
		"a partition that was removed is not lost":            {[]Device{part}, gpus("a"), []string{"a"}, nil, false, gpus("a")},
		"a partition falls with its GPU":                      {[]Device{part}, nil, nil, nil, false, []Device{lostPart}},
		"an error of a GPU is one of its partitions":          {nil, []Device{part}, []string{"a"}, []Event{{"a", 48}}, false, []Device{faultyPart}},
		"devices of another class are none of its business":   {[]Device{{UUID: "m", Class: AMD}}, gpus("a"), []string{"a"}, nil, false, gpus("a")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := slices.Clone(tc.before)
			got := Merge(tc.before, Reading{Class: NVIDIA, Devices: tc.now, Present: tc.present}, !tc.rebooted)
			Strike(got, tc.events)
			if diff := cmp.Diff(tc.want, got); len(got)+len(tc.want) > 0 && diff != "" {
				t.Errorf("devices (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.before); diff != "" {
				t.Errorf("what was given is changed (-before +after):\n%s", diff)
			}
			again := Merge(got, Reading{Class: NVIDIA, Devices: tc.now, Present: tc.present}, true)
			Strike(again, tc.events)
			if diff := cmp.Diff(got, again); diff != "" && !tc.rebooted {
				t.Errorf("a second look differs (-first +second):\n%s", diff)
			}
		})
	}
}

// full is a record in which everything is said.
func full() Record {
	return Record{Node: "n", BootID: "b", Driver: "570", Sequence: 7, Devices: []Device{{
		UUID: "GPU-1", Parent: "GPU-0", Class: NVIDIA, Product: "p", Model: "m", MemoryMiB: 5, Fault: XID, XID: 79, Pod: Pod{"ns", "pod"}, Processes: new(int32(2)),
		PCI: PCI{"00:01.0", 4, 16}, Links: new(int32(3)), Fabric: "f", PowerLimitPercent: new(int32(90)), ComputeCapability: "9.0",
	}}}
}

func TestARecordHoldsForItsOwnKeyOnly(t *testing.T) {
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	record := full()
	signature := ed25519.Sign(key, record.Encode())
	if err := record.Verify(public, signature); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"another key": record.Verify(other, signature), "half a key": record.Verify(public[:16], signature), "no key": record.Verify(nil, signature),
		"half a signature": record.Verify(public, signature[:32]), "no signature": record.Verify(public, nil),
	} {
		if !errors.Is(err, ErrSignature) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestEveryFieldIsSigned changes each field by itself, and leaves out what may be missing.
func TestEveryFieldIsSigned(t *testing.T) {
	seen := map[string]string{string(full().Encode()): "nothing"}
	notSigned := map[string]bool{"PIDs": true, "Load": true}
	check := func(what string, record Record) {
		t.Helper()
		encoded := string(record.Encode())
		if other, known := seen[encoded]; known {
			t.Errorf("%s gives the same bytes as a change of %s", what, other)
		}
		seen[encoded] = what
	}
	var alter func(path string, of reflect.Value, done func(string))
	alter = func(path string, of reflect.Value, done func(string)) {
		old := reflect.New(of.Type()).Elem()
		old.Set(of)
		switch of.Kind() {
		case reflect.String:
			of.SetString(of.String() + "x")
			done(path)
		case reflect.Int32, reflect.Int64:
			of.SetInt(of.Int() + 1)
			done(path)
		case reflect.Pointer:
			of.Set(reflect.ValueOf(new(int32(77))))
			done(path)
			of.SetZero()
			done(path + " missing")
		case reflect.Struct:
			for i := range of.NumField() {
				if name := of.Type().Field(i).Name; !notSigned[name] {
					alter(path+"."+name, of.Field(i), done)
				}
			}
		case reflect.Slice:
			alter(path+"[0]", of.Index(0), done)
		default:
			t.Fatalf("%s is of a kind that this test does not change: %s", path, of.Kind())
		}
		of.Set(old)
	}
	record := full()
	alter("record", reflect.ValueOf(&record).Elem(), func(what string) { check(what, record) })
	if len(seen) < 25 {
		t.Errorf("only %d changes were tried", len(seen))
	}
	check("one device more", Record{Node: "n", BootID: "b", Driver: "570", Sequence: 7, Devices: slices.Concat(full().Devices, gpus("z"))})
	check("no devices", Record{Node: "n", BootID: "b", Driver: "570", Sequence: 7})
}

func TestTextsDoNotRunIntoEachOther(t *testing.T) {
	a, b := full(), full()
	a.Node, a.BootID = "ab", "c"
	b.Node, b.BootID = "a", "bc"
	if string(a.Encode()) == string(b.Encode()) {
		t.Error("two records have the same bytes")
	}
}

func TestTheOrderOfDevicesIsNotSigned(t *testing.T) {
	a, b := Record{Devices: gpus("a", "b", "c")}, Record{Devices: gpus("c", "a", "b")}
	if string(a.Encode()) != string(b.Encode()) {
		t.Error("the order of devices changes the record")
	}
}

func TestWhatChangesAllTheTimeIsNotSigned(t *testing.T) {
	a, b := full(), full()
	b.Devices[0].Load.Celsius, b.Devices[0].PIDs = new(50.0), []int{1}
	if string(a.Encode()) != string(b.Encode()) {
		t.Error("a warmer device is another record")
	}
}

func TestSort(t *testing.T) {
	devices := []Device{{UUID: "3", Class: NVIDIA, PCI: PCI{BusID: "b"}}, {UUID: "2", Class: NVIDIA, PCI: PCI{BusID: "a"}}, {UUID: "1", Class: NVIDIA, PCI: PCI{BusID: "a"}}, {UUID: "4", Class: AMD}}
	Sort(devices)
	if got := fmt.Sprint(devices[0].UUID, devices[1].UUID, devices[2].UUID, devices[3].UUID); got != "4123" {
		t.Errorf("order %s", got)
	}
}
