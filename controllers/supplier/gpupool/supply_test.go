// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/test/builders"
)

const h100, l4 = "h100-sxm-80gb", "l4"

// watched are the nodes of the bench, and how many GPUs they have.
var watched = map[string]int{"h1": 8, "h2": 8, "l1": 4}

// report is what the agent of a node says.
func report(node string) *boursev1.GPUNode {
	of := &boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: node, UID: types.UID("uid of " + node)}}
	model := boursev1.GPUModel(h100)
	if node == "l1" {
		model = l4
	}
	for i := range watched[node] {
		of.Status.Devices = append(of.Status.Devices, boursev1.GPUDevice{
			UUID: fmt.Sprintf("GPU-%s-%d", node, i), Class: boursev1.ClassNVIDIA, Model: model, MemoryMiB: 81559, Health: boursev1.DeviceHealthy,
		})
	}
	of.Status.Record.Sequence = 1
	return of
}

// newWatched is the bench with an agent on each node, all GPUs of which are offered.
func newWatched(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	for node := range watched {
		objects = append(objects, report(node), &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: agentLease + node},
			Spec:       coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(40)), RenewTime: &metav1.MicroTime{Time: builders.Start}},
		})
	}
	b := newBench(t, objects...)
	b.rest("pool")
	b.hub.Step(idleFor)
	b.beat("h1", "h2", "l1")
	b.rest("pool")
	return b
}

// beat lets agents say that they are there.
func (b *bench) beat(nodes ...string) {
	b.t.Helper()
	for _, node := range nodes {
		lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: agentLease + node}}
		b.hub.Read(lease)
		lease.Spec.RenewTime = &metav1.MicroTime{Time: b.hub.Now()}
		b.hub.Edit(lease)
	}
}

// reports changes what a node's agent says.
func (b *bench) reports(node string, change func([]boursev1.GPUDevice)) {
	b.t.Helper()
	of := report(node)
	b.hub.Read(of)
	change(of.Status.Devices)
	of.Status.Record.Sequence++
	b.hub.EditStatus(of)
}

func (b *bench) editNode(name string, change func(*corev1.Node)) {
	b.t.Helper()
	n := node(name, "", 0)
	b.hub.Read(n)
	status := n.DeepCopy()
	change(n)
	change(status)
	b.hub.Edit(n)
	status.ResourceVersion = n.ResourceVersion
	b.hub.EditStatus(status)
}

// heldBack is the pool's count of what is kept back, by reason.
func heldBack(of *boursev1.GPUPool) map[boursev1.HoldReason]int32 {
	held := map[boursev1.HoldReason]int32{}
	for _, h := range of.Status.HeldBack {
		held[h.Reason] = h.GPUs
	}
	return held
}

// told returns the events that were told since the last time.
func (b *bench) told(reason string) []string {
	var found []string
	for len(b.hub.Recorder.Events) > 0 {
		if text := <-b.hub.Recorder.Events; strings.Contains(text, " "+reason+" ") {
			found = append(found, text)
		}
	}
	return found
}

type held = map[boursev1.HoldReason]int32

// sights are what agents may see in a cluster with 16 idle H100 and 4 idle L4.
var sights = map[string]struct {
	happens func(*bench)
	h100    int32
	held    held
}{
	"a fault withdraws exactly that device": {func(b *bench) {
		b.reports("h1", func(d []boursev1.GPUDevice) {
			d[3].Health, d[3].Fault, d[3].XID = boursev1.DeviceUnhealthy, boursev1.FaultXID, new(int32(79))
		})
	}, 15, held{boursev1.HoldUnhealthy: 1}},
	"a process of the host": {func(b *bench) {
		b.reports("h2", func(d []boursev1.GPUDevice) { d[3].Processes = new(int32(2)) })
	}, 15, held{boursev1.HoldHostProcess: 1}},
	"a card with half of its power": {func(b *bench) {
		b.reports("h1", func(d []boursev1.GPUDevice) {
			d[3].PowerLimitPercent, d[4].PowerLimitPercent = new(int32(79)), new(int32(80))
		})
	}, 15, held{boursev1.HoldPowerLimited: 1}},
	"an identity on two nodes": {func(b *bench) {
		b.reports("h1", func(d []boursev1.GPUDevice) { d[3].UUID = "GPU-h2-0" })
	}, 14, held{boursev1.HoldIdentityConflict: 2}},
	"an identity on a node that has left": {func(b *bench) {
		gone := report("h2")
		gone.Name, gone.UID = "gone", "gone"
		b.create(gone)
	}, 16, held{}},
	"a record that nobody signed": {func(b *bench) {
		b.r.Verified = func(of *boursev1.GPUNode) error {
			if of.Name == "h2" {
				return errors.New("the signature does not hold")
			}
			return nil
		}
	}, 8, held{boursev1.HoldRecordRefused: 8}},
	"an impostor takes nobody else's GPUs away": {func(b *bench) {
		b.r.Verified = func(of *boursev1.GPUNode) error {
			if of.Name == "h2" {
				return errors.New("the signature does not hold")
			}
			return nil
		}
		of := report("h2")
		b.hub.Read(of)
		of.Status.Devices[0].UUID = "GPU-h1-0"
		of.Status.Devices = append(of.Status.Devices, boursev1.GPUDevice{UUID: "GPU-more", Model: h100, MemoryMiB: 1, Health: boursev1.DeviceHealthy})
		b.hub.EditStatus(of)
	}, 8, held{boursev1.HoldRecordRefused: 8}},
	"an agent that was never heard of": {func(b *bench) {
		if err := b.hub.Delete(b.t.Context(), &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: agentLease + "h1"}}); err != nil {
			b.t.Fatal(err)
		}
	}, 8, held{boursev1.HoldAgentSilent: 8}},
	"an agent without a driver leaves it to the labels": {func(b *bench) {
		of := report("h1")
		b.hub.Read(of)
		of.Status.Devices = nil
		b.hub.EditStatus(of)
	}, 16, held{}},
	"pods of one name in two namespaces": {func(b *bench) {
		b.create(pod("team-a", "p", "h1", 1, nil))
		b.create(pod("team-b", "p", "h1", 2, nil))
		b.reports("h1", func(d []boursev1.GPUDevice) {
			d[5].Pod = boursev1.DevicePod{Namespace: "team-a", Name: "p"}
			d[6].Pod = boursev1.DevicePod{Namespace: "team-b", Name: "p"}
		})
	}, 13, held{boursev1.HoldLocalPods: 3}},
	"a pod that failed holds nothing": {func(b *bench) {
		b.create(pod("team", "p", "h1", 1, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }))
	}, 16, held{}},
	"a pod that failed and still has its device": {func(b *bench) {
		b.create(pod("team", "p", "h1", 1, func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }))
		b.reports("h1", func(d []boursev1.GPUDevice) { d[5].Pod = boursev1.DevicePod{Namespace: "team", Name: "p"} })
	}, 15, held{boursev1.HoldLocalPods: 1}},
	"fewer devices than the scheduler hands out": {func(b *bench) {
		of := report("h1")
		b.hub.Read(of)
		of.Status.Devices = of.Status.Devices[:4]
		b.hub.EditStatus(of)
	}, 8, held{}},
	"a device of another model": {func(b *bench) {
		b.reports("h1", func(d []boursev1.GPUDevice) { d[3].Model = "a100-sxm-80gb" })
	}, 8, held{boursev1.HoldUnplaceable: 8}},
	"partitions beside whole GPUs": {func(b *bench) {
		b.reports("h1", func(d []boursev1.GPUDevice) { d[3].Model, d[3].Parent = "h100-sxm-80gb-mig-1g-10gb", "GPU-h1-0" })
		b.editNode("h1", func(n *corev1.Node) {
			n.Status.Capacity["nvidia.com/gpu"], n.Status.Allocatable["nvidia.com/gpu"] = resource.MustParse("7"), resource.MustParse("7")
		})
	}, 15, held{boursev1.HoldUnplaceable: 1}},
	"a node without labels": {func(b *bench) {
		b.editNode("h1", func(n *corev1.Node) { delete(n.Labels, "nvidia.com/gpu.product") })
	}, 8, held{boursev1.HoldUnplaceable: 8}},
	"the first reason counts": {func(b *bench) {
		b.reports("h1", func(d []boursev1.GPUDevice) { d[3].Health, d[4].Processes = boursev1.DeviceUnhealthy, new(int32(1)) })
		b.editNode("h1", func(n *corev1.Node) { n.Spec.Unschedulable = true })
		b.change(func(p *boursev1.GPUPool) { p.Spec.Idle.Reserve = new(int32(1)) })
	}, 7, held{boursev1.HoldUnhealthy: 1, boursev1.HoldCordoned: 7, boursev1.HoldReserved: 2}},
}

func TestWhatAgentsSeeIsKeptBack(t *testing.T) {
	for name, tc := range sights {
		t.Run(name, func(t *testing.T) {
			b := newWatched(t)
			b.wantFree(map[string]int32{h100: 16, l4: 4})
			tc.happens(b)
			of, _ := b.rest("pool")
			if got := b.free()[h100]; got != tc.h100 {
				t.Errorf("%d H100 are free, want %d", got, tc.h100)
			}
			if diff := cmp.Diff(tc.held, heldBack(of)); diff != "" {
				t.Errorf("held back (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAFaultIsToldOnceAndLeavesLeasesAlone(t *testing.T) {
	b := newWatched(t)
	b.create(leased("train", "h1", 7))
	b.rest("pool")
	b.told("")
	sick := func(d []boursev1.GPUDevice) {
		d[7].Health, d[7].Fault, d[7].XID = boursev1.DeviceUnhealthy, boursev1.FaultXID, new(int32(79))
	}
	b.reports("h1", sick)
	of, _ := b.rest("pool")
	if diff := cmp.Diff([]string{"Warning DeviceFault GPU GPU-h1-7 of node h1 is unhealthy: XID 79"}, b.told(boursev1.ReasonDeviceFault)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if *of.Status.GPUs.Leased != 7 || *of.Status.GPUs.Healthy != 19 || *of.Status.GPUs.Offered != 19 {
		t.Errorf("leased %d, healthy %d, offered %d", *of.Status.GPUs.Leased, *of.Status.GPUs.Healthy, *of.Status.GPUs.Offered)
	}
	b.restart()
	if b.rest("pool"); len(b.told(boursev1.ReasonDeviceFault)) != 0 {
		t.Error("a restart tells old news")
	}
}

// TestAFaultIsToldAfterAPassThatFailed shows that an event is not lost when the hub is away.
func TestAFaultIsToldAfterAPassThatFailed(t *testing.T) {
	b := newWatched(t)
	b.told("")
	b.reports("h1", func(d []boursev1.GPUDevice) { d[0].Health = boursev1.DeviceUnhealthy })
	b.hub.Fail(func(verb string, _ client.Object) error {
		if verb == "patch" {
			return errors.New("the hub is away")
		}
		return nil
	})
	of := pool("pool", 0)
	b.hub.Read(of)
	if _, err := b.r.Reconcile(t.Context(), of); err == nil {
		t.Fatal("a pass that could not write is told as done")
	}
	b.hub.Fail(nil)
	b.rest("pool")
	if events := b.told(boursev1.ReasonDeviceFault); len(events) != 1 {
		t.Errorf("events %q, want one", events)
	}
}

func TestAnIdentityOnTwoNodesIsTold(t *testing.T) {
	other := pool("other", -time.Hour)
	other.Spec.NodeSelector = map[string]string{"pool": "b"}
	far := node("far", "NVIDIA-H100-80GB-HBM3", 8)
	far.Labels["pool"] = "b"
	b := newWatched(t, other, far)
	of, _ := b.rest("pool")
	wantCondition(t, of, boursev1.PoolIdentified, metav1.ConditionTrue, boursev1.ReasonDistinct)
	of, _ = b.rest("other")
	wantCondition(t, of, boursev1.PoolIdentified, metav1.ConditionUnknown, boursev1.ReasonNoAgent)
	b.told("")
	copied := report("h1")
	copied.Name, copied.UID = "far", "far"
	b.create(copied)
	for _, name := range []string{"pool", "other"} {
		of, _ = b.rest(name)
		wantCondition(t, of, boursev1.PoolIdentified, metav1.ConditionFalse, boursev1.ReasonIdentityConflict)
		if heldBack(of)[boursev1.HoldIdentityConflict] != 8 {
			t.Errorf("pool %s keeps back %v", name, of.Status.HeldBack)
		}
	}
	want := "More than one node reports GPU-h1-0, GPU-h1-1, GPU-h1-2 and more"
	if found := meta.FindStatusCondition(of.Status.Conditions, boursev1.PoolIdentified); found.Message != want {
		t.Errorf("message %q", found.Message)
	}
	if events := b.told(boursev1.ReasonIdentityConflict); len(events) != 2 {
		t.Errorf("events %q, want one for each pool", events)
	}
}

func TestASilentAgentHoldsFreeGPUsAndNoLease(t *testing.T) {
	b := newWatched(t)
	b.create(leased("train", "h1", 3))
	_, result := b.rest("pool")
	if want := 55 * time.Second; result.RequeueAfter != want {
		t.Errorf("it looks again in %s, want when agents might be silent, in %s", result.RequeueAfter, want)
	}
	b.hub.Step(54 * time.Second)
	b.beat("h2", "l1")
	b.rest("pool")
	b.wantFree(map[string]int32{h100: 13, l4: 4})
	b.hub.Step(time.Second)
	of, _ := b.rest("pool")
	b.wantFree(map[string]int32{h100: 8, l4: 4})
	if *of.Status.GPUs.Leased != 3 || heldBack(of)[boursev1.HoldAgentSilent] != 5 {
		t.Errorf("leased %d, held back %v", *of.Status.GPUs.Leased, of.Status.HeldBack)
	}
	b.beat("h1")
	of, _ = b.rest("pool")
	if heldBack(of)[boursev1.HoldCooling] != 5 {
		t.Errorf("after its return: %v, want five GPUs to cool", of.Status.HeldBack)
	}
}

// TestAnAgentsWrongClockIsNotSilence has an agent whose clock is an hour behind.
func TestAnAgentsWrongClockIsNotSilence(t *testing.T) {
	b := newWatched(t)
	for range 5 {
		b.hub.Step(30 * time.Second)
		b.beat("h2", "l1")
		b.hub.Step(-time.Hour)
		b.beat("h1")
		b.hub.Step(time.Hour)
		b.rest("pool")
		b.wantFree(map[string]int32{h100: 16, l4: 4})
	}
}

func TestALeaseIsCleanWhenTheAgentHasLookedAgain(t *testing.T) {
	b := newWatched(t)
	work := leased("train", "h1", 2)
	b.create(work)
	b.reports("h1", func(d []boursev1.GPUDevice) {
		d[0].Pod = boursev1.DevicePod{Namespace: work.Namespace, Name: work.Name}
		d[1].Pod = d[0].Pod
	})
	b.rest("pool")
	if err := b.hub.Delete(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	of, result := b.rest("pool")
	b.wantFree(map[string]int32{h100: 14, l4: 4})
	if heldBack(of)[boursev1.HoldCleaning] != 2 || result.RequeueAfter != cleaningLook {
		t.Errorf("held back %v, looks again in %s", of.Status.HeldBack, result.RequeueAfter)
	}
	b.hub.Step(time.Second)
	b.reports("h1", func(d []boursev1.GPUDevice) {
		d[0].Pod, d[1].Pod = boursev1.DevicePod{}, boursev1.DevicePod{}
		d[1].Processes = new(int32(1))
	})
	of, _ = b.rest("pool")
	b.wantFree(map[string]int32{h100: 15, l4: 4})
	if diff := cmp.Diff(held{boursev1.HoldCleaning: 1}, heldBack(of)); diff != "" {
		t.Errorf("held back (-want +got):\n%s", diff)
	}
	b.reports("h1", func(d []boursev1.GPUDevice) { d[1].Processes = nil })
	b.rest("pool")
	b.wantFree(map[string]int32{h100: 16, l4: 4})
}

func TestARestartWithAgentsWithdrawsNothing(t *testing.T) {
	b := newWatched(t)
	b.create(pod("team", "p", "h2", 2, nil))
	b.create(leased("train", "h1", 4))
	b.rest("pool")
	b.restart()
	if wrote := b.hub.Writes(func() { b.pass("pool") }); len(wrote) != 0 {
		t.Errorf("the first pass after a restart wrote %v", wrote)
	}
	b.wantFree(map[string]int32{h100: 10, l4: 4})
}

func TestRecordsAreCheckedOncePerVersion(t *testing.T) {
	b := newWatched(t)
	checks := 0
	b.r.Verified = func(*boursev1.GPUNode) error {
		checks++
		return nil
	}
	b.rest("pool")
	b.rest("pool")
	if checks != len(watched) {
		t.Errorf("%d checks of %d records", checks, len(watched))
	}
	b.reports("h1", func([]boursev1.GPUDevice) {})
	if b.rest("pool"); checks != len(watched)+1 {
		t.Errorf("%d checks after one record has changed", checks)
	}
}

// TestReasonsAreThoseOfTheAPI reads the generated schema.
func TestReasonsAreThoseOfTheAPI(t *testing.T) {
	schema, err := os.ReadFile("../../../config/crd/bases/bourse.dev_gpupools.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var listed []gpu.Reason
	for line := range strings.Lines(string(schema)) {
		if reason := gpu.Reason(strings.TrimPrefix(strings.TrimSpace(line), "- ")); slices.Contains(gpu.Reasons(), reason) {
			listed = append(listed, reason)
		}
	}
	want := gpu.Reasons()
	if at := slices.Index(listed, want[0]); at < 0 || !slices.Equal(listed[at:min(at+len(want), len(listed))], want) {
		t.Errorf("the API lists %v, want %v", listed, want)
	}
}

func TestOnlyNewsOfAgentsWakesThePools(t *testing.T) {
	lease := func(renewed time.Duration) *coordinationv1.Lease {
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: agentLease + "h1"},
			Spec: coordinationv1.LeaseSpec{
				LeaseDurationSeconds: new(int32(40)), RenewTime: &metav1.MicroTime{Time: builders.Start.Add(renewed)},
			},
		}
	}
	other := lease(0)
	other.Name = "bourse-manager-supplier"
	changed := report("h1")
	changed.Status.Devices[0].Health = boursev1.DeviceUnhealthy
	labelled := report("h1")
	labelled.Labels = map[string]string{"a": "b"}
	update := func(before, after client.Object) event.UpdateEvent {
		return event.UpdateEvent{ObjectOld: before, ObjectNew: after}
	}
	cases := map[string]struct{ got, want bool }{
		"a heartbeat in time":         {heartbeat().Update(update(lease(0), lease(10*time.Second))), false},
		"a heartbeat after a silence": {heartbeat().Update(update(lease(0), lease(time.Minute))), true},
		"an agent that begins":        {heartbeat().Create(event.CreateEvent{Object: lease(0)}), true},
		"a lease of something else":   {heartbeat().Create(event.CreateEvent{Object: other}), false},
		"a device that fell sick":     {changedReport().Update(update(report("h1"), changed)), true},
		"a label of a report":         {changedReport().Update(update(report("h1"), labelled)), false},
		"a slice of another driver":   {gpuSlice().Create(event.CreateEvent{Object: &resourcev1.ResourceSlice{}}), false},
	}
	for name, tc := range cases {
		if tc.got != tc.want {
			t.Errorf("%s wakes the pools: %t", name, tc.got)
		}
	}
}
