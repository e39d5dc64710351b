// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers/supplier/gpupool"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/test/builders"
)

// home is the namespace of the member whose pool it is: another test removes the usual one.
const home = "pool-dc"

// system is where the operator and the agents' heartbeats are.
const system = "bourse-system"

// supplyLab is a supplier with one pool of one node with eight L40S, whose controller runs on the real API server.
type supplyLab struct {
	t    *testing.T
	c    client.Client
	told *events.FakeRecorder
	now  atomic.Int64 // how often the controller asked for the time
}

func newSupplyLab(t *testing.T) *supplyLab {
	t.Helper()
	s := scheme(t)
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(apiServer, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	l := &supplyLab{t: t, c: c, told: events.NewFakeRecorder(1000)}
	l.create(workloads(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: home}})
	l.until("Kueue's kind is served", func() bool {
		list := &unstructured.UnstructuredList{}
		list.SetAPIVersion("kueue.x-k8s.io/v1beta1")
		list.SetKind("WorkloadList")
		return l.c.List(t.Context(), list) == nil
	})
	member := builders.Member(home)
	l.create(member, poolNode())
	member.Status = builders.Member(home).Status
	l.status(member)
	node := poolNode()
	l.read(node)
	node.Spec.Taints = nil // the API server taints new nodes as not ready, and nobody is here to take that back
	if err := l.c.Update(t.Context(), node); err != nil {
		t.Fatal(err)
	}
	node.Status = poolNode().Status
	l.status(node)
	l.run()
	return l
}

// workloads is as much of Kueue as the controller knows.
func workloads() *unstructured.Unstructured {
	anything := map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}
	version := map[string]any{"name": "v1beta1", "served": true, "storage": true, "schema": map[string]any{"openAPIV3Schema": anything}}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": "workloads.kueue.x-k8s.io"},
		"spec": map[string]any{
			"group": "kueue.x-k8s.io", "scope": "Namespaced", "versions": []any{version},
			"names": map[string]any{"plural": "workloads", "singular": "workload", "kind": "Workload", "listKind": "WorkloadList"},
		},
	}}
}

func poolNode() *corev1.Node {
	gpus := corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("8")}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "supply-0", Labels: map[string]string{
			"supply": "yes", "nvidia.com/gpu.product": "NVIDIA-L40S", "nvidia.com/gpu.memory": "46068",
		}},
		Status: corev1.NodeStatus{Capacity: gpus, Allocatable: gpus, Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
}

// run starts the controller, until the test ends.
func (l *supplyLab) run() {
	l.t.Helper()
	mgr, err := ctrl.NewManager(apiServer, ctrl.Options{
		Scheme: l.c.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
		Cache: cache.Options{ByObject: map[client.Object]cache.ByObject{&coordinationv1.Lease{}: {Namespaces: map[string]cache.Config{system: {}}}}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	r := &gpupool.Reconciler{
		Teller:   &kube.Teller{Client: mgr.GetClient(), Recorder: l.told, Metrics: metrics.New(prometheus.NewRegistry())},
		Recorder: l.told, Local: mgr.GetClient(), Hub: mgr.GetClient(), HubCache: mgr.GetCache(),
		Namespace: home, System: system, Now: func() time.Time { l.now.Add(1); return time.Now() },
	}
	if err := r.SetupWithManager(l.t.Context(), mgr); err != nil {
		l.t.Fatal(err)
	}
	ctx, stop := context.WithCancel(cleanupContext())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	l.t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			l.t.Errorf("run manager: %v", err)
		}
	})
}

// create makes objects that the test's end removes.
func (l *supplyLab) create(objects ...client.Object) {
	l.t.Helper()
	for _, object := range objects {
		if err := l.c.Create(l.t.Context(), object); client.IgnoreAlreadyExists(err) != nil {
			l.t.Fatal(err)
		}
		l.t.Cleanup(func() {
			if err := l.c.Delete(cleanupContext(), object); client.IgnoreNotFound(err) != nil {
				l.t.Errorf("delete %s: %v", object.GetName(), err)
			}
		})
	}
}

func (l *supplyLab) read(object client.Object) {
	l.t.Helper()
	if err := l.c.Get(l.t.Context(), client.ObjectKeyFromObject(object), object); err != nil {
		l.t.Fatal(err)
	}
}

func (l *supplyLab) status(object client.Object) {
	l.t.Helper()
	if err := l.c.Status().Update(l.t.Context(), object); err != nil {
		l.t.Fatal(err)
	}
}

// until waits, and returns for how long.
func (l *supplyLab) until(what string, holds func() bool) time.Duration {
	l.t.Helper()
	began := time.Now()
	err := wait.PollUntilContextTimeout(l.t.Context(), 5*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) { return holds(), nil })
	if err != nil {
		pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: "supply"}}
		l.read(pool)
		l.t.Fatalf("%s: %v; the pool's status is %+v", what, err, pool.Status)
	}
	return time.Since(began)
}

// offered waits until so many GPUs are free in the hub.
func (l *supplyLab) offered(gpus int32) {
	l.t.Helper()
	took := l.until(fmt.Sprintf("%d GPUs are offered", gpus), func() bool {
		var offer boursev1.GPUOffer
		err := l.c.Get(l.t.Context(), client.ObjectKey{Namespace: home, Name: "supply-l40s"}, &offer)
		return err == nil && *offer.Spec.FreeGPUs == gpus
	})
	l.t.Logf("%d GPUs are offered after %s", gpus, took.Round(time.Millisecond))
}

// agent is what the node's agent reports, and its sign of life.
func agent() (*boursev1.GPUNode, *coordinationv1.Lease) {
	report := &boursev1.GPUNode{ObjectMeta: metav1.ObjectMeta{Name: "supply-0"}}
	for i := range 8 {
		report.Status.Devices = append(report.Status.Devices, boursev1.GPUDevice{
			UUID: fmt.Sprintf("GPU-supply-%d", i), Class: boursev1.ClassNVIDIA, Model: "l40s", MemoryMiB: 46068, Health: boursev1.DeviceHealthy,
		})
	}
	return report, &coordinationv1.Lease{
		ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: "bourse-agent-supply-0"},
		Spec:       coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(40)), RenewTime: &metav1.MicroTime{Time: time.Now()}},
	}
}

func TestAPoolFollowsItsCluster(t *testing.T) {
	l := newSupplyLab(t)
	pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: "supply"}, Spec: boursev1.GPUPoolSpec{
		NodeSelector: map[string]string{"supply": "yes"}, PriceUSD: "0.8", Tokens: []boursev1.TokenSymbol{"IO"}, Region: "eu-north",
		Idle: boursev1.IdlePolicy{ForSeconds: new(int32(0))},
	}}
	if err := l.c.Create(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	l.offered(8)

	report, lease := agent()
	l.create(lease)
	reported := report.DeepCopy()
	l.create(report)
	report.Status = reported.Status
	l.status(report)
	l.until("GPUs are known by their identities", func() bool {
		l.read(pool)
		for _, condition := range pool.Status.Conditions {
			if condition.Type == boursev1.PoolIdentified {
				return condition.Status == metav1.ConditionTrue
			}
		}
		return false
	})
	l.offered(8)

	report.Status.Devices[3].Health, report.Status.Devices[3].Fault, report.Status.Devices[3].XID = boursev1.DeviceUnhealthy, boursev1.FaultXID, new(int32(79))
	l.status(report)
	l.offered(7)

	work := waitingWork()
	l.create(work)
	l.offered(5)
	if err := l.c.Delete(t.Context(), work); err != nil {
		t.Fatal(err)
	}
	l.offered(7)

	local := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "local"}, Spec: corev1.PodSpec{
		NodeName: "supply-0", Containers: []corev1.Container{{Name: "c", Image: "pause:1", Resources: corev1.ResourceRequirements{
			Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")},
		}}},
	}}
	l.create(local)
	l.offered(5)
	l.heartbeatsWakeNobody(lease)

	l.create(&resourcev1.ResourceSlice{ObjectMeta: metav1.ObjectMeta{Name: "supply-0"}, Spec: resourcev1.ResourceSliceSpec{
		Driver: "gpu.nvidia.com", NodeName: new("supply-0"), Pool: resourcev1.ResourcePool{Name: "supply-0", ResourceSliceCount: 1},
	}})
	if err := l.c.Delete(t.Context(), pool); err != nil {
		t.Fatal(err)
	}
	l.until("the pool is gone", func() bool { return apierrors.IsNotFound(l.c.Get(t.Context(), client.ObjectKeyFromObject(pool), pool)) })
	l.until("its offers are gone", func() bool {
		var offers boursev1.GPUOfferList
		return l.c.List(t.Context(), &offers, client.InNamespace(home)) == nil && len(offers.Items) == 0
	})
}

// waitingWork is a Workload of Kueue that waits for two GPUs.
func waitingWork() *unstructured.Unstructured {
	container := map[string]any{"name": "c", "resources": map[string]any{"requests": map[string]any{"nvidia.com/gpu": "2"}}}
	set := map[string]any{"count": int64(1), "template": map[string]any{"spec": map[string]any{"containers": []any{container}}}}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "kueue.x-k8s.io/v1beta1", "kind": "Workload", "metadata": map[string]any{"namespace": "default", "name": "waits"},
		"spec": map[string]any{"podSets": []any{set}},
	}}
}

// heartbeatsWakeNobody renews an agent's Lease ten times, then changes something that does wake the controller, so that there is an end
// to wait for.
func (l *supplyLab) heartbeatsWakeNobody(lease *coordinationv1.Lease) {
	l.t.Helper()
	passes := func(do func()) int64 {
		before := l.now.Load()
		do()
		l.touch()
		return l.now.Load() - before
	}
	l.touch()
	quiet := passes(func() {})
	beating := passes(func() {
		for range 10 {
			l.read(lease)
			lease.Spec.RenewTime = &metav1.MicroTime{Time: time.Now()}
			if err := l.c.Update(l.t.Context(), lease); err != nil {
				l.t.Fatal(err)
			}
		}
	})
	if beating > quiet+quiet/2 {
		l.t.Errorf("the controller asked %d times for the time while nothing beat, and %d times while an agent did", quiet, beating)
	}
}

// touch changes the price, and waits until the hub has it.
func (l *supplyLab) touch() {
	l.t.Helper()
	pool := &boursev1.GPUPool{ObjectMeta: metav1.ObjectMeta{Name: "supply"}}
	l.read(pool)
	before, next := pool.DeepCopy(), boursev1.USDPrice("0.8")
	if pool.Spec.PriceUSD == next {
		next = "0.9"
	}
	pool.Spec.PriceUSD = next
	if err := l.c.Patch(l.t.Context(), pool, client.MergeFrom(before)); err != nil {
		l.t.Fatal(err)
	}
	l.until("the price is offered", func() bool {
		var offer boursev1.GPUOffer
		err := l.c.Get(l.t.Context(), client.ObjectKey{Namespace: home, Name: "supply-l40s"}, &offer)
		return err == nil && offer.Spec.PriceUSD == next
	})
}
