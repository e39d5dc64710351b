// SPDX-License-Identifier: Apache-2.0

package mockrental

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
	"github.com/bourse-dev/bourse/test/fakehub"
)

const space = "bourse-recycle-oslo"

// bench is a supplier with a pool of two nodes with eight GPUs each, of which local work holds two of the second's, and an agent on the
// first. Every pass is made by a controller that remembers nothing.
type bench struct {
	t   *testing.T
	hub *fakehub.Hub
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, hub: fakehub.New(t, nil,
		&boursev1.GPUPool{
			ObjectMeta: metav1.ObjectMeta{Name: "oslo", Generation: 1},
			Spec:       boursev1.GPUPoolSpec{NodeSelector: map[string]string{"pool": "a"}},
		},
		node("n1"), node("n2"),
		&boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Status: boursev1.GPUNodeStatus{Devices: []boursev1.GPUDevice{
			{UUID: "GPU-0", Model: "h100", MemoryMiB: 81920, Health: boursev1.DeviceHealthy},
		}}},
		holding("default", "local", "n2", 2),
	)}
	return b
}

func node(name string) *corev1.Node {
	eight := corev1.ResourceList{ray.ResourceGPU: resource.MustParse("8")}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{"pool": "a"}},
		Status: corev1.NodeStatus{
			Capacity: eight, Allocatable: eight.DeepCopy(),
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

// holding is a pod that holds GPUs of a node.
func holding(namespace, name, on string, gpus int64) *corev1.Pod {
	list := corev1.ResourceList{ray.ResourceGPU: *resource.NewQuantity(gpus, resource.DecimalSI)}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec:       corev1.PodSpec{NodeName: on, Containers: []corev1.Container{{Name: "work", Resources: corev1.ResourceRequirements{Requests: list}}}},
		Status:     corev1.PodStatus{Phase: corev1.PodRunning},
	}
}

// change changes a node.
func (b *bench) change(name string, change func(*corev1.Node)) {
	b.t.Helper()
	found := node(name)
	b.hub.Read(found)
	change(found)
	status := found.DeepCopy()
	b.hub.Edit(found)
	status.ResourceVersion = found.ResourceVersion
	b.hub.EditStatus(status)
}

// annotate asks for mock rentals; an empty value asks for none.
func (b *bench) annotate(value string) {
	b.t.Helper()
	pool := b.pool()
	if delete(pool.Annotations, boursev1.AnnotationRecycle); value != "" {
		metav1.SetMetaDataAnnotation(&pool.ObjectMeta, boursev1.AnnotationRecycle, value)
	}
	b.hub.Edit(pool)
}

func (b *bench) pool() *boursev1.GPUPool {
	b.t.Helper()
	pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: "oslo"}}
	b.hub.Read(pool)
	return pool
}

func (b *bench) try() (reconcile.Result, error) {
	b.t.Helper()
	r := &Reconciler{Local: b.hub, Recorder: b.hub.Recorder, HoldImage: "pause:1", Now: b.hub.Now}
	return r.Reconcile(b.t.Context(), b.pool())
}

// rest runs passes until one writes nothing, and returns what that one waits for.
func (b *bench) rest() reconcile.Result {
	b.t.Helper()
	for range 10 {
		var result reconcile.Result
		var err error
		if wrote := b.hub.Writes(func() { result, err = b.try() }); err != nil {
			b.t.Fatal(err)
		} else if len(wrote) == 0 {
			return result
		}
	}
	b.t.Fatal("ten passes did not come to rest: something is written again and again")
	return reconcile.Result{}
}

// rented returns the GPUs of each mock rental.
func (b *bench) rented() map[string]int32 {
	b.t.Helper()
	var pods corev1.PodList
	if err := b.hub.List(b.t.Context(), &pods, client.InNamespace(space)); err != nil {
		b.t.Fatal(err)
	}
	rented := map[string]int32{}
	for i := range pods.Items {
		rented[pods.Items[i].Name] = ray.Requested(&pods.Items[i])
	}
	return rented
}

// edit changes the status of a mock rental's pod.
func (b *bench) edit(name string, change func(*corev1.Pod)) {
	b.t.Helper()
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: space, Name: name}}
	b.hub.Read(pod)
	change(pod)
	b.hub.EditStatus(pod)
}

func (b *bench) ready(names ...string) {
	b.t.Helper()
	for _, name := range names {
		b.edit(name, func(pod *corev1.Pod) { raytest.SetReady(pod, true, b.hub.Now()) })
	}
}

// told returns the events since the last call, each as "severity reason message".
func (b *bench) told() []string {
	var events []string
	for b.hub.Events() > 0 {
		events = append(events, <-b.hub.Recorder.Events)
	}
	return events
}

// wantTold fails unless exactly these events were told, by how they begin.
func (b *bench) wantTold(want ...string) {
	b.t.Helper()
	got := b.told()
	if len(got) != len(want) {
		b.t.Fatalf("events %q, want %q", got, want)
	}
	for i := range got {
		if !strings.HasPrefix(got[i], want[i]) {
			b.t.Errorf("event %q, want %q", got[i], want[i])
		}
	}
}

func (b *bench) spaceGone() bool {
	b.t.Helper()
	err := b.hub.Get(b.t.Context(), client.ObjectKey{Name: space}, &corev1.Namespace{})
	if client.IgnoreNotFound(err) != nil {
		b.t.Fatal(err)
	}
	return apierrors.IsNotFound(err)
}

func TestAPoolThatNobodyAsksAboutIsLeftAlone(t *testing.T) {
	b := newBench(t)
	if wrote := b.hub.Writes(func() { b.rest() }); len(wrote) != 0 || len(b.rented()) != 0 {
		t.Errorf("it wrote %v", wrote)
	}
}

func TestAPoolIsForSaleAgainOnceEveryMockRentalHasPassed(t *testing.T) {
	b := newBench(t)
	b.annotate("true")
	wait := b.rest()
	if diff := cmp.Diff(map[string]int32{"n1": 8, "n2": 6}, b.rented()); diff != "" {
		t.Fatalf("mock rentals (-want +got):\n%s", diff)
	}
	b.wantTold("Normal MockRentalStarted")
	if wait.RequeueAfter != attemptLimit || !b.pool().Recycling() {
		t.Errorf("it waits %s, recycling %t; want the attempt's limit and true", wait.RequeueAfter, b.pool().Recycling())
	}
	agent := &boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
	if b.hub.Read(agent); agent.Annotations[boursev1.AnnotationRecycle] != "true" {
		t.Errorf("the agent is not told: %v", agent.Annotations)
	}
	b.ready("n1")
	b.rest()
	if !b.pool().Recycling() {
		t.Fatal("it is for sale again after one of two mock rentals")
	}
	b.ready("n2")
	b.rest()
	if b.pool().Recycling() || !b.spaceGone() {
		t.Errorf("annotations %v, namespace gone %t", b.pool().Annotations, b.spaceGone())
	}
	b.wantTold("Normal Recycled Every mock rental passed: 14 free GPUs on 2 nodes")

	// With its namespace every pod goes, which the fake API server does not know.
	if err := b.hub.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(space)); err != nil {
		t.Fatal(err)
	}
	b.annotate("again")
	b.rest()
	if !b.pool().Recycling() {
		t.Error("another value does not ask again")
	}
	b.annotate("")
	b.rest()
	if _, left := b.pool().Annotations[boursev1.AnnotationRecycled]; left || b.pool().Recycling() || !b.spaceGone() {
		t.Errorf("nobody asks any more, and there is left: %v, namespace gone %t", b.pool().Annotations, b.spaceGone())
	}
}

func TestWhatKeepsAPoolFromBeingSold(t *testing.T) {
	gpuNode := func(change func(*boursev1.GPUNode)) func(*bench) {
		return func(b *bench) {
			agent := &boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: "n1"}}
			b.hub.Read(agent)
			change(agent)
			b.hub.EditStatus(agent)
		}
	}
	cluster := func(change func(*corev1.Node)) func(*bench) {
		return func(b *bench) {
			b.change("n2", change)
		}
	}
	pods := func(change func(*corev1.Pod)) func(*bench) {
		return func(b *bench) {
			b.rest()
			b.ready("n1")
			b.edit("n2", change)
		}
	}
	cases := map[string]struct {
		happens func(*bench)
		says    string
		atOnce  bool
	}{
		"a device that is still sick": {gpuNode(func(n *boursev1.GPUNode) {
			n.Status.Devices[0].Health, n.Status.Devices[0].Fault, n.Status.Devices[0].XID = boursev1.DeviceUnhealthy, boursev1.FaultXID, new(int32(79))
		}), "Node n1: GPU-0 is unhealthy: XID 79;", false},
		"a device that is lost": {gpuNode(func(n *boursev1.GPUNode) {
			n.Status.Devices[0].Health, n.Status.Devices[0].Fault = boursev1.DeviceUnhealthy, boursev1.FaultLost
		}), "Node n1: GPU-0 is unhealthy: Lost;", false},
		"an agent that reads nothing": {gpuNode(func(n *boursev1.GPUNode) {
			n.Status.Conditions = []metav1.Condition{{Type: boursev1.Ready, Status: metav1.ConditionFalse, Message: "No driver"}}
		}), "Node n1: its agent does not read the GPUs: No driver;", false},
		"a device that its plugin withdrew": {cluster(func(n *corev1.Node) {
			n.Status.Allocatable[ray.ResourceGPU] = resource.MustParse("7")
		}), "Node n2: its device plugin has withdrawn 1 of 8 GPUs;", false},
		"a node that is silent": {cluster(func(n *corev1.Node) {
			n.Status.Conditions[0].Status = corev1.ConditionUnknown
			n.Spec.Taints = []corev1.Taint{{Key: corev1.TaintNodeUnreachable, Effect: corev1.TaintEffectNoExecute}}
		}), "Node n2: it does not report;", false},
		"a node that is not ready": {
			cluster(func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse }), "Node n2: it is not ready;", false,
		},
		"a pod without a place": {pods(func(pod *corev1.Pod) {
			raytest.Set(pod, corev1.PodCondition{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Message: "Insufficient nvidia.com/gpu"})
		}), "Node n2: Insufficient nvidia.com/gpu;", false},
		"a pod that its kubelet refuses": {pods(func(pod *corev1.Pod) {
			pod.Status = corev1.PodStatus{Phase: corev1.PodFailed, Reason: "UnexpectedAdmissionError", Message: "Allocate failed"}
		}), "Node n2: UnexpectedAdmissionError: Allocate failed;", true},
		"a pool without nodes": {func(b *bench) {
			for _, name := range []string{"n1", "n2"} {
				if err := b.hub.Delete(b.t.Context(), node(name)); err != nil {
					b.t.Fatal(err)
				}
			}
		}, "The pool has no node with GPUs", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.annotate("1")
			tc.happens(b)
			b.rest()
			if b.rented()["n1"] > 0 && !tc.atOnce {
				b.ready("n1")
			}
			if !tc.atOnce {
				b.wantTold("Normal MockRentalStarted")
				b.hub.Step(attemptLimit)
				b.rest()
				b.wantTold("Warning MockRentalFailed " + tc.says)
			} else {
				b.wantTold("Normal MockRentalStarted", "Warning MockRentalFailed "+tc.says)
			}
			if !b.pool().Recycling() || len(b.rented()) != 0 {
				t.Errorf("recycling %t, and %v are left of the attempt", b.pool().Recycling(), b.rented())
			}
		})
	}
}

// TestAttemptsAreMadeLessAndLessOften lets every attempt fail, and then mends the node.
func TestAttemptsAreMadeLessAndLessOften(t *testing.T) {
	b := newBench(t)
	b.change("n1", func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionFalse })
	b.annotate("1")
	b.rest()
	b.told()
	for _, want := range []time.Duration{30 * time.Second, time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 16 * time.Minute, lastRetry, lastRetry} {
		b.hub.Step(attemptLimit)
		if wait := b.rest(); wait.RequeueAfter != want {
			t.Errorf("the next attempt is in %s, want %s", wait.RequeueAfter, want)
		}
		b.wantTold("Warning MockRentalFailed Node n1: it is not ready; the next mock rental is in " + want.String())
		b.hub.Step(want)
		b.rest()
	}
	b.change("n1", func(n *corev1.Node) { n.Status.Conditions[0].Status = corev1.ConditionTrue })
	b.rest()
	b.ready("n1", "n2")
	b.rest()
	b.wantTold("Normal Recycled")
}

// TestNodesThatAreKeptOutAreNotTried cordons one and taints another: they are not sold, and whoever keeps them out knows why.
func TestNodesThatAreKeptOutAreNotTried(t *testing.T) {
	for name, change := range map[string]func(*corev1.Node){
		"cordoned": func(n *corev1.Node) { n.Spec.Unschedulable = true },
		"tainted": func(n *corev1.Node) {
			n.Spec.Taints = []corev1.Taint{{Key: "example.org/repair", Effect: corev1.TaintEffectNoSchedule}}
		},
		"without GPUs": func(n *corev1.Node) { n.Status.Capacity, n.Status.Allocatable = nil, nil },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.change("n1", change)
			b.annotate("1")
			b.rest()
			if diff := cmp.Diff(map[string]int32{"n2": 6}, b.rented()); diff != "" {
				t.Errorf("mock rentals (-want +got):\n%s", diff)
			}
			b.ready("n2")
			b.rest()
			if b.pool().Recycling() {
				t.Error("the other node is not for sale again")
			}
		})
	}
}

// TestLocalWorkComesFirst starts local work while a mock rental runs: the scheduler pushes that out, and what is left is tried.
func TestLocalWorkComesFirst(t *testing.T) {
	b := newBench(t)
	b.annotate("1")
	b.rest()
	if err := b.hub.Create(t.Context(), holding("default", "more", "n1", 8)); err != nil {
		t.Fatal(err)
	}
	if err := b.hub.Create(t.Context(), holding("default", "some", "n2", 1)); err != nil {
		t.Fatal(err)
	}
	b.rest()
	if diff := cmp.Diff(map[string]int32{"n2": 5}, b.rented()); diff != "" {
		t.Fatalf("mock rentals (-want +got):\n%s", diff)
	}
	b.ready("n2")
	b.rest()
	b.wantTold("Normal MockRentalStarted", "Normal Recycled Every mock rental passed: 5 free GPUs")
}

func TestANamespaceOfSomebodyElseIsNotTouched(t *testing.T) {
	b := newBench(t)
	foreign := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: space}}
	if err := b.hub.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	b.rest()
	if b.spaceGone() {
		t.Fatal("it is deleted")
	}
	b.annotate("1")
	if _, err := b.try(); !errors.Is(err, reconcile.TerminalError(nil)) || len(b.rented()) != 0 {
		t.Errorf("err %v, %v rented", err, b.rented())
	}
}

// TestAWriteThatIsRefusedTellsNothing loses the race for the pool at the very end.
func TestAWriteThatIsRefusedTellsNothing(t *testing.T) {
	b := newBench(t)
	b.annotate("1")
	b.rest()
	b.ready("n1", "n2")
	b.told()
	b.hub.Fail(func(_ string, obj client.Object) error {
		if _, pool := obj.(*boursev1.GPUPool); pool {
			return apierrors.NewConflict(boursev1.GroupVersion.WithResource("gpupools").GroupResource(), obj.GetName(), errors.New("it changed"))
		}
		return nil
	})
	if result, err := b.try(); err != nil || result.RequeueAfter == 0 {
		t.Errorf("a pass whose write was refused is not run again: %+v, %v", result, err)
	}
	b.wantTold()
	b.hub.Fail(nil)
	b.rest()
	b.wantTold("Normal Recycled")
}

var errKilled = errors.New("killed")

// TestEveryWriteMayBeTheLast kills the operator at each write of a whole recycling, in turn, before the write is made, and starts it again.
func TestEveryWriteMayBeTheLast(t *testing.T) {
	for kill := 0; ; kill++ {
		b := newBench(t)
		b.annotate("1")
		left := kill
		b.hub.Fail(func(_ string, _ client.Object) error {
			left--
			if left == -1 {
				return errKilled
			}
			return nil
		})
		for range 20 {
			if _, err := b.try(); err != nil && !errors.Is(err, errKilled) {
				t.Fatal(err)
			}
			for name := range b.rented() {
				b.ready(name)
			}
		}
		if b.pool().Recycling() || !b.spaceGone() {
			t.Fatalf("killed at write %d, it is stuck: %v", kill, b.pool().Annotations)
		}
		if left >= 0 {
			t.Logf("%d writes, each of which was the last one once", kill)
			return
		}
	}
}
