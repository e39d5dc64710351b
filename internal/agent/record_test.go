// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/device"
	"github.com/bourse-dev/bourse/internal/gpunode"
)

func TestTheRecord(t *testing.T) {
	b := newBench(t)
	first := b.pass().Record
	b.restart(newKey(1))
	if b.pass().Record != first {
		t.Error("a restart made another record of the same devices")
	}
	b.board.node.Status.Devices[0].MemoryMiB = 99999 // somebody else's hand
	if mended := b.pass(); mended.Record != first || mended.Devices[0].MemoryMiB != 23034 {
		t.Errorf("record %d of %d MiB", mended.Record.Sequence, mended.Devices[0].MemoryMiB)
	}
	b.board.node.Status = boursev1.GPUNodeStatus{} // it was deleted and made again
	if second := b.pass().Record; second.Sequence <= first.Sequence || gpunode.Verify(&b.board.node) != nil {
		t.Errorf("record %d after %d", second.Sequence, first.Sequence)
	}
	b.restart(newKey(2)) // the API server refuses the key, not the agent
	if third := b.pass().Record; third.PublicKey == first.PublicKey || gpunode.Verify(&b.board.node) != nil {
		t.Errorf("record of key %s", third.PublicKey)
	}
}

func TestMoreDevicesThanAGPUNodeHolds(t *testing.T) {
	b := newBench(t)
	b.pass()
	for i := range 70 {
		b.driver.devices = append(b.driver.devices, device.Device{UUID: fmt.Sprintf("GPU-x%d", i), Class: device.NVIDIA, Model: "l4", MemoryMiB: 1})
	}
	if status := b.pass(); len(status.Devices) != 3 {
		t.Errorf("%d devices", len(status.Devices))
	}
	b.wantReady(metav1.ConditionFalse, boursev1.ReasonDriverFailed)
}
