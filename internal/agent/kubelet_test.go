// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/device"
)

func TestForeignProcesses(t *testing.T) {
	const none = -1
	cases := map[string]struct {
		pids   []int
		held   bool
		claims bool
		away   bool
		want   int32
	}{
		"nobody is on it":                                  {pids: []int{}, want: 0},
		"nobody can tell":                                  {pids: nil, want: none},
		"the pod that has it":                              {pids: []int{100}, held: true, want: 0},
		"a miner at the host":                              {pids: []int{200}, want: 1},
		"a miner beside the pod that has it":               {pids: []int{100, 200}, held: true, want: 1},
		"a process that has ended meanwhile":               {pids: []int{300}, want: 0},
		"a pod that did not ask for it":                    {pids: []int{100, 200}, want: 2},
		"a pod with a claim, which does not say of what":   {pids: []int{100, 200}, claims: true, want: 1},
		"a pod, while the kubelet does not say who has it": {pids: []int{100, 200}, away: true, want: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.machine.pods = map[int]string{100: "7f3e1f6c-2b0a-4c55-9a2e-3f0d9c7b1a11", 200: ""}
			b.driver.devices[0].PIDs = tc.pids
			if tc.held {
				b.kubelet.allocation.Pods["GPU-0"] = device.Pod{Namespace: "ml", Name: "train"}
			}
			b.kubelet.allocation.Claims = tc.claims
			if tc.away {
				b.kubelet.err = errors.New("no such file")
			}
			got := int32(none)
			if processes := b.pass().Devices[0].Processes; processes != nil {
				got = *processes
			}
			if got != tc.want {
				t.Errorf("%d processes, want %d", got, tc.want)
			}
		})
	}
}

func TestAKubeletThatIsAwayTakesNobodysDevice(t *testing.T) {
	b := newBench(t)
	b.kubelet.allocation.Pods["GPU-0"] = device.Pod{Namespace: "ml", Name: "train"}
	b.pass()
	b.kubelet.err = errors.New("no such file")
	if status := b.pass(); status.Devices[0].Pod.Name != "train" {
		t.Errorf("device %+v", status.Devices[0])
	}
	b.wantReady(metav1.ConditionUnknown, boursev1.ReasonKubeletUnreachable)
	b.kubelet.err = nil
	delete(b.kubelet.allocation.Pods, "GPU-0")
	if status := b.pass(); status.Devices[0].Pod.Name != "" {
		t.Errorf("device %+v", status.Devices[0])
	}
	b.wantReady(metav1.ConditionTrue, boursev1.ReasonReading)
}

func TestAMachineThatIsNoNode(t *testing.T) {
	b := newBench(t)
	b.agent.Kubelet = nil
	b.pass()
	b.wantReady(metav1.ConditionTrue, boursev1.ReasonReading)
}

func TestSharedGPUsAreRefused(t *testing.T) {
	b := newBench(t)
	b.kubelet.allocation.Slots[device.NVIDIA] = 12
	b.pass()
	b.wantReady(metav1.ConditionFalse, boursev1.ReasonGPUsShared)
	b.kubelet.allocation.Slots[device.NVIDIA] = 2 // one is held back
	b.pass()
	b.wantReady(metav1.ConditionTrue, boursev1.ReasonReading)
}
