// SPDX-License-Identifier: Apache-2.0

package gpuplugin

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// kubelet plays the kubelet's side of the registration.
type kubelet struct {
	pluginapi.UnimplementedRegistrationServer
	requests chan *pluginapi.RegisterRequest
}

func (k kubelet) Register(_ context.Context, r *pluginapi.RegisterRequest) (*pluginapi.Empty, error) {
	k.requests <- r
	return &pluginapi.Empty{}, nil
}

func TestServeRegistersAndReportsHealth(t *testing.T) {
	dir, err := os.MkdirTemp("", "gpu") // Socket paths must be short, shorter than t.TempDir's.
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	listener, err := net.Listen("unix", filepath.Join(dir, "kubelet.sock"))
	if err != nil {
		t.Fatal(err)
	}
	fake := kubelet{requests: make(chan *pluginapi.RegisterRequest, 1)}
	server := grpc.NewServer()
	pluginapi.RegisterRegistrationServer(server, fake)
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(server.Stop)

	plugin := New("real-1", 2)
	ctx, cancel := context.WithCancel(t.Context())
	registered, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- Serve(ctx, plugin, dir, func() { close(registered) }) }()
	<-registered
	if r := <-fake.requests; r.ResourceName != ResourceName || r.Version != pluginapi.Version {
		t.Errorf("registered %v", r)
	}

	conn, err := grpc.NewClient("unix://"+filepath.Join(dir, endpoint), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := pluginapi.NewDevicePluginClient(conn)
	watch, err := client.ListAndWatch(ctx, &pluginapi.Empty{})
	if err != nil {
		t.Fatal(err)
	}
	wantHealth(t, watch, map[string]string{"GPU-real-1-0": "Healthy", "GPU-real-1-1": "Healthy"})
	if err := plugin.SetHealth(0, false); err != nil {
		t.Fatal(err)
	}
	wantHealth(t, watch, map[string]string{"GPU-real-1-0": "Unhealthy", "GPU-real-1-1": "Healthy"})
	if err := plugin.SetHealth(2, false); err == nil {
		t.Error("a device that does not exist changed its health")
	}

	allocated, err := client.Allocate(ctx, &pluginapi.AllocateRequest{
		ContainerRequests: []*pluginapi.ContainerAllocateRequest{{DevicesIds: []string{"GPU-real-1-0", "GPU-real-1-1"}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := allocated.ContainerResponses[0].Envs["NVIDIA_VISIBLE_DEVICES"]; got != "GPU-real-1-0,GPU-real-1-1" {
		t.Errorf("container sees %q", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Serve ended with %v, want nil", err)
	}
}

func wantHealth(t *testing.T, watch pluginapi.DevicePlugin_ListAndWatchClient, want map[string]string) {
	t.Helper()
	list, err := watch.Recv()
	if err != nil {
		t.Fatal(err)
	}
	if len(list.Devices) != len(want) {
		t.Fatalf("got %d devices, want %d", len(list.Devices), len(want))
	}
	for _, d := range list.Devices {
		if d.Health != want[d.ID] {
			t.Errorf("%s is %q, want %q", d.ID, d.Health, want[d.ID])
		}
	}
}
