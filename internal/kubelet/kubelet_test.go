// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"context"
	"net"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/bourse-dev/bourse/internal/device"
)

// fakeKubelet serves the API with what a test says.
type fakeKubelet struct {
	podresources.UnimplementedPodResourcesListerServer

	pods        []*podresources.PodResources
	allocatable []*podresources.ContainerDevices
}

func (f *fakeKubelet) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	return &podresources.ListPodResourcesResponse{PodResources: f.pods}, nil
}

func (f *fakeKubelet) GetAllocatableResources(context.Context, *podresources.AllocatableResourcesRequest) (*podresources.AllocatableResourcesResponse, error) {
	return &podresources.AllocatableResourcesResponse{Devices: f.allocatable}, nil
}

func serve(t *testing.T, socket string, kubelet *fakeKubelet) *grpc.Server {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, kubelet)
	go func() { _ = server.Serve(listener) }() // it ends when it is stopped
	t.Cleanup(server.Stop)
	return server
}

func devices(resource string, ids ...string) *podresources.ContainerDevices {
	return &podresources.ContainerDevices{ResourceName: resource, DeviceIds: ids}
}

func pod(namespace, name string, held ...*podresources.ContainerDevices) *podresources.PodResources {
	return &podresources.PodResources{Namespace: namespace, Name: name, Containers: []*podresources.ContainerResources{{Name: "a"}, {Name: "b", Devices: held}}}
}

func TestWhoHasWhichDevice(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	serve(t, socket, &fakeKubelet{
		pods: []*podresources.PodResources{
			pod("ml", "train", devices("nvidia.com/gpu", "GPU-1", "GPU-2"), devices("nvidia.com/hostdev", "0000:01:00.0")),
			pod("ml", "infer", devices("nvidia.com/mig-1g.10gb", "MIG-1")),
			pod("dev", "notebook", devices("nvidia.com/gpu.shared", "GPU-3::4")),
			pod("rocm", "train", devices("amd.com/gpu", "0000:03:00.0")),
			pod("kube-system", "dns"),
		},
		allocatable: []*podresources.ContainerDevices{
			devices("nvidia.com/gpu", "GPU-1"), devices("nvidia.com/gpu", "GPU-2"), devices("nvidia.com/gpu.shared", "GPU-3::0", "GPU-3::1"),
			devices("nvidia.com/mig-1g.10gb", "MIG-1"), devices("nvidia.com/hostdev", "0000:01:00.0"), devices("amd.com/gpu", "0000:03:00.0"), devices("example.com/gpu", "x"),
		},
	})
	got, err := New(socket).Devices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	want := Allocation{
		Pods: map[string]device.Pod{
			"GPU-1": {Namespace: "ml", Name: "train"}, "GPU-2": {Namespace: "ml", Name: "train"}, "MIG-1": {Namespace: "ml", Name: "infer"},
			"GPU-3": {Namespace: "dev", Name: "notebook"}, "0000:03:00.0": {Namespace: "rocm", Name: "train"},
		},
		Slots: map[device.Class]int{device.NVIDIA: 5, device.AMD: 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("allocation (-want +got):\n%s", diff)
	}
}

func TestClaimsAreSeen(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	serve(t, socket, &fakeKubelet{pods: []*podresources.PodResources{{Namespace: "ml", Name: "train", Containers: []*podresources.ContainerResources{{
		DynamicResources: []*podresources.DynamicResource{{ClaimResources: []*podresources.ClaimResource{{DriverName: "gpu.nvidia.com", DeviceName: "gpu-0"}}}},
	}}}}})
	if got, err := New(socket).Devices(t.Context()); err != nil || !got.Claims {
		t.Errorf("allocation %+v, %v", got, err)
	}
}

func TestAKubeletThatRestarts(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "k.sock")
	c := New(socket)
	if _, err := c.Devices(t.Context()); err == nil {
		t.Fatal("a kubelet that is not there answered")
	}
	first := serve(t, socket, &fakeKubelet{})
	if _, err := c.Devices(t.Context()); err != nil {
		t.Fatal(err)
	}
	first.Stop()
	serve(t, socket, &fakeKubelet{pods: []*podresources.PodResources{pod("ml", "train", devices("nvidia.com/gpu", "GPU-1"))}})
	got, err := c.Devices(t.Context())
	if err != nil || len(got.Pods) != 1 {
		t.Errorf("allocation %+v, %v", got, err)
	}
}
