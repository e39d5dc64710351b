// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

const (
	idleFor = 10 * time.Minute
	system  = "bourse-system"
)

var workloads = schema.GroupVersionKind{Group: "kueue.x-k8s.io", Version: "v1beta1", Kind: "WorkloadList"}

// bench is a supplier with one pool of two nodes with eight H100 and one with four L4.
type bench struct {
	t   *testing.T
	hub *fakehub.Hub
	r   *Reconciler
}

func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	objects = append(objects,
		builders.Member(builders.Supplier), pool("pool", 0),
		node("h1", "NVIDIA-H100-80GB-HBM3", 8), node("h2", "NVIDIA-H100-80GB-HBM3", 8), node("l1", "NVIDIA-L4", 4),
	)
	b := &bench{t: t, hub: fakehub.New(t, nil, objects...)}
	b.restart()
	return b
}

// restart replaces the controller by one that remembers nothing.
func (b *bench) restart() {
	b.r = &Reconciler{
		Teller: b.hub.Teller(), Recorder: b.hub.Recorder, Local: b.hub, Hub: b.hub, Namespace: builders.Supplier, System: system, Now: b.hub.Now,
		slices: true, queue: b.hub, queueKind: workloads,
	}
}

func pool(name string, age time.Duration) *boursev1.GPUPool {
	return &boursev1.GPUPool{
		ObjectMeta: metav1.ObjectMeta{Name: name, Generation: 1, CreationTimestamp: metav1.NewTime(builders.Start.Add(-age))},
		Spec: boursev1.GPUPoolSpec{
			NodeSelector: map[string]string{"pool": "a"}, Mode: boursev1.PoolSell, PriceUSD: "1.85",
			ModelPrices: []boursev1.ModelPrice{{Model: "l4", PriceUSD: "0.4"}}, Tokens: []boursev1.TokenSymbol{"IO"}, Region: "eu-north",
			Idle:  boursev1.IdlePolicy{ForSeconds: new(int32(idleFor / time.Second)), Reserve: new(int32(0))},
			Terms: builders.Offer(builders.Supplier, "x").Spec.Terms,
		},
	}
}

func node(name, product string, gpus int64) *corev1.Node {
	count := corev1.ResourceList{"nvidia.com/gpu": *resource.NewQuantity(gpus, resource.DecimalSI)}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
			"pool": "a", "nvidia.com/gpu.product": product, "nvidia.com/gpu.memory": "81559",
		}},
		Status: corev1.NodeStatus{
			Capacity: count, Allocatable: count.DeepCopy(),
			Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
		},
	}
}

// pod holds GPUs of a node.
func pod(namespace, name, on string, gpus int64, change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid of " + namespace + "/" + name)},
		Spec: corev1.PodSpec{NodeName: on, Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{"nvidia.com/gpu": *resource.NewQuantity(gpus, resource.DecimalSI)},
		}}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning},
	}
	if change != nil {
		change(p)
	}
	return p
}

// leased holds GPUs for a lease.
func leased(lease, on string, gpus int64) *corev1.Pod {
	return pod("bourse-lease-"+lease, lease+"-"+on, on, gpus, func(p *corev1.Pod) { p.Labels = map[string]string{boursev1.LabelLease: lease} })
}

// pass runs one pass over a pool, and returns it as it is then.
func (b *bench) pass(name string) (*boursev1.GPUPool, reconcile.Result) {
	b.t.Helper()
	of := pool(name, 0)
	b.hub.Read(of)
	result, err := b.r.Reconcile(b.t.Context(), of)
	if err != nil {
		b.t.Fatalf("pass: %v", err)
	}
	b.hub.Read(of)
	return of, result
}

// rest runs passes until one writes nothing.
func (b *bench) rest(name string) (*boursev1.GPUPool, reconcile.Result) {
	b.t.Helper()
	for range 5 {
		var of *boursev1.GPUPool
		var result reconcile.Result
		if wrote := b.hub.Writes(func() { of, result = b.pass(name) }); len(wrote) == 0 {
			return of, result
		}
	}
	b.t.Fatal("five passes did not come to rest")
	return nil, reconcile.Result{}
}

// cooled lets everything that is free become idle.
func (b *bench) cooled() *boursev1.GPUPool {
	b.t.Helper()
	b.rest("pool")
	b.hub.Step(idleFor)
	of, _ := b.rest("pool")
	return of
}

func (b *bench) create(object client.Object) {
	b.t.Helper()
	if err := b.hub.Create(b.t.Context(), object); err != nil {
		b.t.Fatal(err)
	}
}

// free returns what the offers say is free, by model.
func (b *bench) free() map[string]int32 {
	b.t.Helper()
	var offers boursev1.GPUOfferList
	if err := b.hub.List(b.t.Context(), &offers); err != nil {
		b.t.Fatal(err)
	}
	free := map[string]int32{}
	for _, offer := range offers.Items {
		free[string(offer.Spec.Model)] = *offer.Spec.FreeGPUs
	}
	return free
}

func (b *bench) wantFree(want map[string]int32) {
	b.t.Helper()
	if diff := cmp.Diff(want, b.free()); diff != "" {
		b.t.Errorf("free (-want +got):\n%s", diff)
	}
}

func wantCondition(t *testing.T, of *boursev1.GPUPool, condition string, status metav1.ConditionStatus, reason string) {
	t.Helper()
	found := meta.FindStatusCondition(of.Status.Conditions, condition)
	if found == nil || found.Status != status || found.Reason != reason {
		t.Errorf("%s is %+v, want %s %s", condition, found, status, reason)
	}
}

func TestIdleGPUsAreOffered(t *testing.T) {
	b := newBench(t)
	of, wake := b.rest("pool")
	wantCondition(t, of, boursev1.PoolDiscovered, metav1.ConditionTrue, boursev1.ReasonGPUsFound)
	wantCondition(t, of, boursev1.PoolAdvertised, metav1.ConditionUnknown, boursev1.ReasonCooling)
	b.wantFree(map[string]int32{"h100-sxm-80gb": 0, "l4": 0})
	if wake.RequeueAfter != validity/2 {
		t.Errorf("it looks again in %s, want at half an offer's life", wake.RequeueAfter)
	}
	of = b.cooled()
	wantCondition(t, of, boursev1.PoolAdvertised, metav1.ConditionTrue, boursev1.ReasonOffered)
	wantCondition(t, of, boursev1.Ready, metav1.ConditionTrue, boursev1.ReasonSelling)
	b.wantFree(map[string]int32{"h100-sxm-80gb": 16, "l4": 4})
	var offer boursev1.GPUOffer
	if err := b.hub.Get(t.Context(), client.ObjectKey{Namespace: builders.Supplier, Name: "pool-h100-sxm-80gb"}, &offer); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]boursev1.NodeShape{{FreeGPUs: 8, Nodes: 2}}, offer.Spec.Shapes); diff != "" {
		t.Errorf("shapes (-want +got):\n%s", diff)
	}
	if offer.Spec.PriceUSD != "1.85" || offer.Spec.MemoryMiB != 81559 || offer.Spec.Sharing != boursev1.SharingNone {
		t.Errorf("offer %+v", offer.Spec)
	}
	if diff := cmp.Diff(boursev1.GPUCounts{
		Total: new(int32(20)), Healthy: new(int32(20)), Idle: new(int32(20)), Offered: new(int32(20)), Leased: new(int32(0)),
	}, of.Status.GPUs); diff != "" {
		t.Errorf("counts (-want +got):\n%s", diff)
	}
}

func pending(p *corev1.Pod) {
	p.Spec.NodeName, p.Status.Phase = "", corev1.PodPending
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable}}
}

// withdrawals are what may happen in a cluster with 16 idle H100 and 4 idle L4, and how many of them are offered then.
var withdrawals = map[string]struct {
	happens func(*bench)
	want    map[string]int32
}{
	"a local pod withdraws at once": {
		func(b *bench) { b.create(pod("team", "p", "h1", 3, nil)) }, map[string]int32{"h100-sxm-80gb": 13, "l4": 4},
	},
	"a pod that has ended holds nothing": {
		func(b *bench) {
			b.create(pod("team", "p", "h1", 3, func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }))
		},
		map[string]int32{"h100-sxm-80gb": 16, "l4": 4},
	},
	"an init container may hold more": {
		func(b *bench) {
			b.create(pod("team", "p", "h1", 1, func(p *corev1.Pod) {
				p.Spec.InitContainers = []corev1.Container{{Name: "i", Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("8")},
				}}}
			}))
		}, map[string]int32{"h100-sxm-80gb": 8, "l4": 4},
	},
	"a pod that is about to come holds its place": {
		func(b *bench) {
			b.create(pod("team", "p", "", 3, func(p *corev1.Pod) { p.Status.NominatedNodeName = "h1" }))
		}, map[string]int32{"h100-sxm-80gb": 13, "l4": 4},
	},
	"local work that waits comes first": {
		func(b *bench) {
			b.create(pod("team", "p", "", 6, func(p *corev1.Pod) {
				pending(p)
				p.Spec.NodeSelector = map[string]string{"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
			}))
		}, map[string]int32{"h100-sxm-80gb": 10, "l4": 4},
	},
	"a cordoned node is withdrawn": {
		func(b *bench) {
			n := node("h1", "", 0)
			b.hub.Read(n)
			n.Spec.Unschedulable = true
			b.hub.Edit(n)
		}, map[string]int32{"h100-sxm-80gb": 8, "l4": 4},
	},
	"a foreign taint withdraws its node": {
		func(b *bench) { b.taint("h1", "team/private") }, map[string]int32{"h100-sxm-80gb": 8, "l4": 4},
	},
	"the taint of GPU nodes does not": {
		func(b *bench) { b.taint("h1", "nvidia.com/gpu") }, map[string]int32{"h100-sxm-80gb": 16, "l4": 4},
	},
	"a sick GPU is withdrawn": {
		func(b *bench) {
			n := node("h1", "", 0)
			b.hub.Read(n)
			n.Status.Allocatable["nvidia.com/gpu"] = resource.MustParse("7")
			b.hub.EditStatus(n)
		}, map[string]int32{"h100-sxm-80gb": 15, "l4": 4},
	},
	"a shared GPU is not sold": {
		func(b *bench) {
			n := node("l1", "", 0)
			b.hub.Read(n)
			n.Labels["nvidia.com/gpu.replicas"] = "4"
			b.hub.Edit(n)
		}, map[string]int32{"h100-sxm-80gb": 16},
	},
	"the reserve is kept back, by model": {
		func(b *bench) { b.change(func(p *boursev1.GPUPool) { p.Spec.Idle.Reserve = new(int32(3)) }) },
		map[string]int32{"h100-sxm-80gb": 13, "l4": 1},
	},
	"a pool on hold offers nothing": {
		func(b *bench) { b.change(func(p *boursev1.GPUPool) { p.Spec.Mode = boursev1.PoolHold }) }, map[string]int32{},
	},
	"GPUs of a lease are not free": {
		func(b *bench) { b.create(leased("train", "h1", 8)) }, map[string]int32{"h100-sxm-80gb": 8, "l4": 4},
	},
	"a lease whose pods are being exchanged keeps its place": {
		func(b *bench) {
			_, lease := builders.Leased(b.t, "train")
			lease.Spec.Model = "h100-sxm-80gb"
			b.create(lease)
		}, map[string]int32{"h100-sxm-80gb": 8, "l4": 4},
	},
	"without a member nothing is offered": {
		func(b *bench) {
			if err := b.hub.Delete(b.t.Context(), builders.Member(builders.Supplier)); err != nil {
				b.t.Fatal(err)
			}
		}, map[string]int32{},
	},
}

func TestWhatIsNotFreeIsNotOffered(t *testing.T) {
	for name, tc := range withdrawals {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.cooled()
			tc.happens(b)
			of, _ := b.rest("pool")
			b.wantFree(tc.want)
			for _, row := range append(of.Status.Models, boursev1.PoolModel{GPUs: of.Status.GPUs}) {
				c := row.GPUs
				if *c.Leased > *c.Offered || *c.Offered > *c.Healthy || *c.Healthy > *c.Total {
					t.Errorf("%s: leased %d, offered %d, healthy %d, total %d", row.Model, *c.Leased, *c.Offered, *c.Healthy, *c.Total)
				}
			}
		})
	}
}

func (b *bench) taint(name, key string) {
	b.t.Helper()
	n := node(name, "", 0)
	b.hub.Read(n)
	n.Spec.Taints = []corev1.Taint{{Key: key, Effect: corev1.TaintEffectNoSchedule}}
	b.hub.Edit(n)
}

func (b *bench) change(change func(*boursev1.GPUPool)) {
	b.t.Helper()
	of := pool("pool", 0)
	b.hub.Read(of)
	change(of)
	b.hub.Edit(of)
}

// TestALeaseThatEndsIsOfferedAtOnce shows that GPUs which local work left alone need not cool down after a lease.
func TestALeaseThatEndsIsOfferedAtOnce(t *testing.T) {
	b := newBench(t)
	b.cooled()
	work := leased("train", "h1", 8)
	b.create(work)
	of, _ := b.rest("pool")
	if *of.Status.GPUs.Leased != 8 || *of.Status.GPUs.Offered != 20 {
		t.Errorf("leased %d of %d offered", *of.Status.GPUs.Leased, *of.Status.GPUs.Offered)
	}
	if err := b.hub.Delete(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	b.rest("pool")
	b.wantFree(map[string]int32{"h100-sxm-80gb": 16, "l4": 4})
}

func TestRestartWithdrawsNothing(t *testing.T) {
	b := newBench(t, pod("team", "p", "h2", 2, nil), leased("train", "h1", 4))
	b.cooled()
	want := map[string]int32{"h100-sxm-80gb": 10, "l4": 4}
	b.wantFree(want)
	b.restart()
	if wrote := b.hub.Writes(func() { b.pass("pool") }); len(wrote) != 0 {
		t.Errorf("the first pass after a restart wrote %v", wrote)
	}
	b.wantFree(want)
}

func TestOffersAreRenewedAtHalfOfTheirLife(t *testing.T) {
	b := newBench(t)
	b.cooled()
	b.hub.Step(validity/2 - time.Second)
	if wrote := b.hub.Writes(func() { b.pass("pool") }); len(wrote) != 0 {
		t.Errorf("too early it wrote %v", wrote)
	}
	b.hub.Step(time.Second)
	if wrote := b.hub.Writes(func() { b.pass("pool") }); len(wrote) != 2 {
		t.Errorf("it wrote %v, want both offers", wrote)
	}
	var offers boursev1.GPUOfferList
	if err := b.hub.List(t.Context(), &offers); err != nil {
		t.Fatal(err)
	}
	for _, offer := range offers.Items {
		if left := offer.Spec.ValidUntil.Sub(b.hub.Now()); left != validity {
			t.Errorf("offer %s is valid for %s", offer.Name, left)
		}
	}
}

func TestDiscoveryFails(t *testing.T) {
	cases := map[string]struct {
		pool   *boursev1.GPUPool
		reason string
	}{
		"no node has the labels": {
			func() *boursev1.GPUPool {
				p := pool("other", 0)
				p.Spec.NodeSelector = map[string]string{"pool": "b"}
				return p
			}(), boursev1.ReasonNoNodes,
		},
		"an older pool has the nodes": {pool("other", -time.Hour), boursev1.ReasonOverlap},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.pool)
			b.cooled()
			of, _ := b.rest("other")
			wantCondition(t, of, boursev1.PoolDiscovered, metav1.ConditionFalse, tc.reason)
			wantCondition(t, of, boursev1.Ready, metav1.ConditionFalse, tc.reason)
			b.wantFree(map[string]int32{"h100-sxm-80gb": 16, "l4": 4})
		})
	}
}

func TestADeletedPoolLeavesNoOffers(t *testing.T) {
	b := newBench(t)
	b.cooled()
	of := pool("pool", 0)
	b.hub.Read(of)
	if err := b.hub.Delete(t.Context(), of); err != nil {
		t.Fatal(err)
	}
	b.hub.Read(of)
	if _, err := b.r.Reconcile(t.Context(), of); err != nil {
		t.Fatal(err)
	}
	b.wantFree(map[string]int32{})
	if err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(of), of); !apierrors.IsNotFound(err) {
		t.Errorf("the pool is still there: %v", err)
	}
}

// TestAHubThatCannotBeReachedHoldsADeletedPoolForAWhile shows the finalizer's bound.
func TestAHubThatCannotBeReachedHoldsADeletedPoolForAWhile(t *testing.T) {
	b := newBench(t)
	b.cooled()
	of := pool("pool", 0)
	b.hub.Read(of)
	if err := b.hub.Delete(t.Context(), of); err != nil {
		t.Fatal(err)
	}
	b.hub.Read(of)
	b.hub.Fail(func(_ string, obj client.Object) error {
		if _, ok := obj.(*boursev1.GPUOffer); ok {
			return errors.New("the hub is away")
		}
		return nil
	})
	of.DeletionTimestamp = new(metav1.NewTime(b.hub.Now()))
	if _, err := b.r.Reconcile(t.Context(), of.DeepCopy()); err == nil {
		t.Error("a withdrawal that failed is told as done")
	}
	b.hub.Step(validity)
	if _, err := b.r.Reconcile(t.Context(), of.DeepCopy()); err != nil {
		t.Errorf("offers that have ended by themselves still hold the pool: %v", err)
	}
	if err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(of), of); !apierrors.IsNotFound(err) {
		t.Errorf("the pool is still there: %v", err)
	}
}

func TestWhoMaySellNothing(t *testing.T) {
	cases := map[string]struct {
		happens   func(b *bench, member *boursev1.Member)
		status    metav1.ConditionStatus
		reason    string
		withdrawn bool
	}{
		"a member that leaves": {func(b *bench, member *boursev1.Member) {
			member.Spec.Leave = &boursev1.MemberLeave{Since: metav1.NewTime(b.hub.Now()), Mode: boursev1.LeaveWhenSettled}
			b.hub.Edit(member)
		}, metav1.ConditionFalse, boursev1.ReasonMemberLeaving, true},
		"a member that is not admitted": {func(b *bench, member *boursev1.Member) {
			member.Status.Conditions = nil
			b.hub.EditStatus(member)
		}, metav1.ConditionUnknown, boursev1.ReasonNoMember, true},
		"a member that is gone": {func(b *bench, member *boursev1.Member) {
			if err := b.hub.Delete(b.t.Context(), member); err != nil {
				b.t.Fatal(err)
			}
		}, metav1.ConditionUnknown, boursev1.ReasonNoMember, true},
		"a member that the hub gives no token any more": {func(b *bench, _ *boursev1.Member) {
			b.r.NotMember = func() bool { return true }
		}, metav1.ConditionFalse, boursev1.ReasonNotMember, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.pass("pool")
			b.cooled()
			member := builders.Member(builders.Supplier)
			b.hub.Read(member)
			tc.happens(b, member)
			of, _ := b.pass("pool")
			wantCondition(t, of, boursev1.PoolAdvertised, tc.status, tc.reason)
			wantCondition(t, of, boursev1.Ready, tc.status, tc.reason)
			wantCondition(t, of, boursev1.PoolDiscovered, metav1.ConditionTrue, boursev1.ReasonGPUsFound)
			var offers boursev1.GPUOfferList
			if err := b.hub.List(t.Context(), &offers); err != nil || (len(offers.Items) == 0) != tc.withdrawn {
				t.Errorf("%d offers stand, %v", len(offers.Items), err)
			}
			if wrote := b.hub.Writes(func() { b.pass("pool") }); len(wrote) != 0 {
				t.Errorf("the second pass wrote %v", wrote)
			}
		})
	}
}

func TestConflictTellsNothing(t *testing.T) {
	b := newBench(t)
	b.hub.Fail(func(verb string, obj client.Object) error {
		if verb == "patch status" {
			return apierrors.NewConflict(schema.GroupResource{Resource: "gpupools"}, obj.GetName(), errors.New("it changed"))
		}
		return nil
	})
	told := b.hub.Events()
	if _, result := b.pass("pool"); result.RequeueAfter == 0 {
		t.Error("a pass whose write was refused is not run again")
	}
	if b.hub.Events() != told {
		t.Error("an event was told of a change that was refused")
	}
}

func TestOnlyWhatMattersWakesThePools(t *testing.T) {
	before, after := node("h1", "NVIDIA-L4", 8), node("h1", "NVIDIA-L4", 8)
	after.Status.Conditions[0].LastHeartbeatTime = metav1.NewTime(builders.Start)
	if factsOf(before) != factsOf(after) {
		t.Error("a heartbeat changes a node's facts")
	}
	if gpuPod().Generic(genericEvent(pod("team", "p", "h1", 0, nil))) {
		t.Error("a pod without GPUs wakes the pools")
	}
	if !gpuPod().Generic(genericEvent(pod("team", "p", "h1", 1, nil))) {
		t.Error("a pod with GPUs does not wake the pools")
	}
}

func genericEvent(object client.Object) event.GenericEvent { return event.GenericEvent{Object: object} }
