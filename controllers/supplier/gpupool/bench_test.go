// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// bulk answers lists of what there is much of as an informer's cache does: with copies of the structures, which share all that they
// point to. Everything else is the fake hub's.
type bulk struct {
	client.Client

	nodes   []corev1.Node
	pods    []corev1.Pod
	reports []boursev1.GPUNode
	beats   []coordinationv1.Lease
}

func (b *bulk) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	switch of := list.(type) {
	case *corev1.NodeList:
		of.Items = slices.Clone(b.nodes)
	case *corev1.PodList:
		of.Items = slices.Clone(b.pods)
	case *boursev1.GPUNodeList:
		of.Items = slices.Clone(b.reports)
	case *coordinationv1.LeaseList:
		of.Items = slices.Clone(b.beats)
	default:
		return b.Client.List(ctx, list, opts...)
	}
	return nil
}

// manyNodes has nodes with eight GPUs, an agent, two local pods and a lease's pod each.
func manyNodes(nodes int) *bulk {
	b := &bulk{}
	for n := range nodes {
		name := fmt.Sprintf("node-%04d", n)
		b.nodes = append(b.nodes, *node(name, "NVIDIA-H100-80GB-HBM3", 8))
		pods := []*corev1.Pod{pod("team-a", name, name, 1, nil), pod("team-b", name, name, 1, nil), leased("train-"+name, name, 2)}
		of := report("h1")
		of.Name, of.UID = name, types.UID(name)
		for d := range of.Status.Devices {
			of.Status.Devices[d].UUID = fmt.Sprintf("GPU-%s-%d", name, d)
		}
		for p, held := range pods {
			of.Status.Devices[p].Pod = boursev1.DevicePod{Namespace: held.Namespace, Name: held.Name}
			b.pods = append(b.pods, *held)
		}
		b.reports = append(b.reports, *of)
		b.beats = append(b.beats, coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: system, Name: agentLease + name},
			Spec:       coordinationv1.LeaseSpec{LeaseDurationSeconds: new(int32(3600)), RenewTime: &metav1.MicroTime{Time: builders.Start}},
		})
	}
	return b
}

// BenchmarkPass is one pass over a pool of 1000 nodes with eight GPUs each, in which nothing has changed.
func BenchmarkPass(b *testing.B) {
	hub := fakehub.New(b, nil, builders.Member(builders.Supplier), pool("pool", 0))
	local := manyNodes(1000)
	local.Client = hub
	r := &Reconciler{Teller: hub.Teller(), Recorder: hub.Recorder, Local: local, Hub: hub, Namespace: builders.Supplier, System: system, Now: hub.Now}
	of := pool("pool", 0)
	for _, step := range []time.Duration{idleFor, 0, 0} {
		hub.Read(of)
		if _, err := r.Reconcile(b.Context(), of); err != nil {
			b.Fatal(err)
		}
		hub.Step(step)
	}
	hub.Read(of)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := r.Reconcile(b.Context(), of.DeepCopy()); err != nil {
			b.Fatal(err)
		}
	}
	if *of.Status.GPUs.Offered != 6000 || *of.Status.GPUs.Leased != 2000 {
		b.Errorf("offered %d, leased %d", *of.Status.GPUs.Offered, *of.Status.GPUs.Leased)
	}
}
