// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpunode"
	"github.com/bourse-dev/bourse/internal/nvml/nvmltest"
)

// soon is far more than anything here takes on an idle machine.
const soon = 20 * time.Second

// device returns the device with the UUID.
func device(node *boursev1.GPUNode, uuid string) boursev1.GPUDevice {
	if node != nil {
		for i := range node.Status.Devices {
			if node.Status.Devices[i].UUID == uuid {
				return node.Status.Devices[i]
			}
		}
	}
	return boursev1.GPUDevice{}
}

// condition returns the status and the reason of Ready.
func condition(node *boursev1.GPUNode) (metav1.ConditionStatus, string) {
	if node != nil {
		for _, c := range node.Status.Conditions {
			if c.Type == boursev1.Ready {
				return c.Status, c.Reason
			}
		}
	}
	return "", ""
}

// waitFor waits until Ready has the reason, and returns the node.
func waitFor(t *testing.T, api *fakeAPI, reason string) *boursev1.GPUNode {
	t.Helper()
	eventually(t, soon, "Ready has the reason "+reason, func() bool {
		_, got := condition(api.node(t, nodeName))
		return got == reason
	})
	return api.node(t, nodeName)
}

func TestANodeOfEightGPUs(t *testing.T) {
	const pod = "0::/kubepods.slice/kubepods-pod7f3e1f6c_2b0a_4c55_9a2e_3f0d9c7b1a11.slice/cri-containerd-9f8e.scope"
	gpus, kubelet := nvmltest.H100s(), &fakeKubelet{}
	gpus.GPUs[0].Processes = []nvmltest.Process{{PID: 100}}
	gpus.GPUs[5].Processes = []nvmltest.Process{{PID: 200}}
	ids := make([]string, 0, len(gpus.GPUs))
	for _, gpu := range gpus.GPUs {
		ids = append(ids, gpu.UUID)
	}
	kubelet.give("train", ids[:2], ids...)
	api, here := newFakeAPI(t), newMachine(t, kubelet)
	here.process(t, 100, pod)
	here.process(t, 200, "0::/system.slice/miner.service")
	lib := nvmltest.Build(t, gpus)
	agent := here.start(t, api, lib.Path)
	node := waitFor(t, api, boursev1.ReasonReading)
	if *node.Status.GPUs != 8 || *node.Status.Healthy != 8 || node.Status.DriverVersion != "570.86.15" {
		t.Errorf("status %+v", node.Status)
	}
	if err := gpunode.Verify(node); err != nil {
		t.Error(err)
	}
	if first := device(node, ids[0]); first.Pod.Name != "train" || *first.Processes != 0 || first.Model != "h100-sxm-80gb" || *first.Links != 18 {
		t.Errorf("device %+v", first)
	}
	if miner := device(node, ids[5]); miner.Pod.Name != "" || *miner.Processes != 1 {
		t.Errorf("device %+v", miner)
	}
	text := scrape(t, here.address)
	for _, line := range []string{`bourse_gpu_power_watts{gpu="0",model="h100-sxm-80gb"} 69.5`, `bourse_gpu_foreign_processes{gpu="5",model="h100-sxm-80gb"} 1`, "process_resident_memory_bytes"} {
		if !strings.Contains(text, line) {
			t.Errorf("the metrics lack %s", line)
		}
	}

	// Readings that find nothing new write nothing.
	reads := api.count("GET gpunodes")
	gpus.GPUs[3].Celsius = new(77)
	lib.Set(t, gpus)
	eventually(t, soon, "it reads three times", func() bool { return api.count("GET gpunodes") >= reads+3 })
	if writes := api.count("PATCH gpunodes"); writes != 1 {
		t.Errorf("%d writes", writes)
	}

	// No output shows the key.
	agent.stop(t)
	key, err := os.ReadFile(here.key)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(key), "\n")[1]
	if log := agent.log.String(); strings.Contains(log, secret[20:]) || strings.Contains(text, secret[20:]) || !strings.Contains(log, "Stopped agent") {
		t.Errorf("the log shows the key, or no end:\n%s", log)
	}
}

func TestAGPUThatFallsIsReportedWithinFiveSeconds(t *testing.T) {
	pair, kubelet := nvmltest.Pair(), &fakeKubelet{}
	kubelet.give("train", []string{pair.GPUs[0].UUID}, pair.GPUs[0].UUID, pair.GPUs[1].UUID)
	api, here := newFakeAPI(t), newMachine(t, kubelet)
	lib := nvmltest.Build(t, pair)
	agent := here.start(t, api, lib.Path, "--interval=10m")
	waitFor(t, api, boursev1.ReasonReading)

	well := pair
	pair.GPUs = append([]nvmltest.GPU{}, pair.GPUs...)
	pair.GPUs[1].Lost = true
	pair.Events = []nvmltest.Event{{GPU: 0, XID: 31}, {GPU: 1, XID: 79}}
	lib.Set(t, pair)
	fallen := func() bool {
		got := device(api.node(t, nodeName), pair.GPUs[1].UUID)
		return got.Health == boursev1.DeviceUnhealthy && got.Fault == boursev1.FaultXID && *got.XID == 79
	}
	took := eventually(t, 5*time.Second, "the GPU with XID 79 is called sick", fallen)
	t.Logf("XID 79 to the API server: %s", took.Round(time.Millisecond))
	node := api.node(t, nodeName)
	if other := device(node, pair.GPUs[0].UUID); other.Health != boursev1.DeviceHealthy || other.Pod.Name != "train" {
		t.Errorf("the other GPU: %+v", other)
	}
	if status, _ := condition(node); status != metav1.ConditionTrue || *node.Status.Healthy != 1 {
		t.Errorf("ready %s, %d well", status, *node.Status.Healthy)
	}

	// It stays sick when it is back and the agent starts anew, until somebody says that it was mended.
	agent.stop(t)
	lib.Set(t, well)
	agent = here.start(t, api, lib.Path)
	reads := api.count("GET gpunodes")
	eventually(t, soon, "it reads twice", func() bool { return api.count("GET gpunodes") >= reads+2 })
	if !fallen() {
		t.Errorf("after a restart: %+v", device(api.node(t, nodeName), pair.GPUs[1].UUID))
	}
	api.node(t, nodeName, func(metadata map[string]any) {
		metadata["annotations"] = map[string]any{boursev1.AnnotationRecycle: "1"}
	})
	eventually(t, soon, "the mended GPU is well", func() bool { return !fallen() && *api.node(t, nodeName).Status.Healthy == 2 })
	if got := api.node(t, nodeName); got.Status.Recycled != "1" || gpunode.Verify(got) != nil {
		t.Errorf("status %+v", got.Status)
	}
	agent.stop(t)
}

func TestAFaultIsForgottenWithTheNextBoot(t *testing.T) {
	pair := nvmltest.Pair()
	api, here := newFakeAPI(t), newMachine(t, &fakeKubelet{})
	lib := nvmltest.Build(t, pair)
	agent := here.start(t, api, lib.Path)
	waitFor(t, api, boursev1.ReasonReading)
	pair.Events = []nvmltest.Event{{GPU: 0, XID: 48}}
	lib.Set(t, pair)
	eventually(t, soon, "one is sick", func() bool { return *api.node(t, nodeName).Status.Healthy == 1 })
	agent.stop(t)
	here.boot(t, "another")
	here.start(t, api, lib.Path)
	eventually(t, soon, "both are well", func() bool { return *api.node(t, nodeName).Status.Healthy == 2 })
}

func TestNoDriverEndsNothing(t *testing.T) {
	api, here := newFakeAPI(t), newMachine(t, &fakeKubelet{})
	agent := here.start(t, api, filepath.Join(t.TempDir(), "libnvidia-ml.so.1"))
	node := waitFor(t, api, boursev1.ReasonDriverMissing)
	if status, _ := condition(node); status != metav1.ConditionFalse || len(node.Status.Devices) > 0 {
		t.Errorf("status %+v", node.Status)
	}
	reads := api.count("GET gpunodes")
	eventually(t, soon, "it goes on", func() bool {
		return api.count("GET gpunodes") >= reads+2 && strings.Contains(scrape(t, here.address), "process_")
	})
	agent.stop(t)
}

func TestADriverThatComesLater(t *testing.T) {
	pair := nvmltest.Pair()
	pair.Begin = 9
	api, here := newFakeAPI(t), newMachine(t, &fakeKubelet{})
	lib := nvmltest.Build(t, pair)
	here.start(t, api, lib.Path)
	waitFor(t, api, boursev1.ReasonDriverMissing)
	lib.Set(t, nvmltest.Pair())
	waitFor(t, api, boursev1.ReasonReading)
	broken := nvmltest.Pair()
	broken.Broken = 999
	lib.Set(t, broken)
	if node := waitFor(t, api, boursev1.ReasonDriverFailed); *node.Status.Healthy != 2 {
		t.Errorf("a driver that does not answer made devices sick: %+v", node.Status)
	}
}

func TestAnAPIServerThatIsAway(t *testing.T) {
	pair := nvmltest.Pair()
	api, here := newFakeAPI(t), newMachine(t, &fakeKubelet{})
	lib := nvmltest.Build(t, pair)
	agent := here.start(t, api, lib.Path, "--interval=10m")
	waitFor(t, api, boursev1.ReasonReading)
	api.setDown(true)
	pair.Events = []nvmltest.Event{{GPU: 1, XID: 95}}
	lib.Set(t, pair)
	eventually(t, soon, "it tries", func() bool { return strings.Contains(agent.log.String(), "Could not publish devices") })
	api.setDown(false)
	eventually(t, soon, "the sick GPU is reported", func() bool { return *api.node(t, nodeName).Status.Healthy == 1 })
}

func TestGPUsInTimeSlicesAreRefused(t *testing.T) {
	pair, kubelet := nvmltest.Pair(), &fakeKubelet{}
	kubelet.give("notebook", []string{pair.GPUs[0].UUID + "::1"}, pair.GPUs[0].UUID+"::0", pair.GPUs[0].UUID+"::1", pair.GPUs[1].UUID+"::0", pair.GPUs[1].UUID+"::1")
	api, here := newFakeAPI(t), newMachine(t, kubelet)
	here.start(t, api, nvmltest.Build(t, pair).Path)
	node := waitFor(t, api, boursev1.ReasonGPUsShared)
	if status, _ := condition(node); status != metav1.ConditionFalse || device(node, pair.GPUs[0].UUID).Pod.Name != "notebook" {
		t.Errorf("status %+v", node.Status)
	}
}

func TestAMachineWithoutGPUsAndWithoutAKubelet(t *testing.T) {
	api, here := newFakeAPI(t), newMachine(t, &fakeKubelet{})
	here.write(t, "proc/cpuinfo", "model name\t: AMD EPYC 7763 64-Core Processor\n")
	here.write(t, "proc/meminfo", "MemTotal:       528280560 kB\n")
	here.start(t, api, "none", "--devices=cpu", "--kubelet-socket=")
	node := waitFor(t, api, boursev1.ReasonReading)
	if got := node.Status.Devices; len(got) != 1 || got[0].Class != boursev1.ClassCPU || node.Labels[boursev1.LabelOutside] != "true" {
		t.Errorf("labels %v, devices %+v", node.Labels, got)
	}
}
