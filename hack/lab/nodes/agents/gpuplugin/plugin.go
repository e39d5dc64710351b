// SPDX-License-Identifier: Apache-2.0

// Package gpuplugin offers made-up GPUs to a kubelet through its device plugin interface.
// It owns the devices' names and health; it does not know which pods hold them.
package gpuplugin

import (
	"context"
	"fmt"
	"strings"
	"sync"

	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

// ResourceName is what pods ask for.
const ResourceName = "nvidia.com/gpu"

// Plugin is the device plugin's server. The zero value offers nothing.
type Plugin struct {
	pluginapi.UnimplementedDevicePluginServer

	mu      sync.Mutex
	devices []*pluginapi.Device
	changed chan struct{}
}

// New makes a plugin with count healthy devices, named after the node so that no two nodes share a name.
func New(node string, count int) *Plugin {
	p := &Plugin{changed: make(chan struct{})}
	for i := range count {
		p.devices = append(p.devices, &pluginapi.Device{ID: fmt.Sprintf("GPU-%s-%d", node, i), Health: pluginapi.Healthy})
	}
	return p
}

// SetHealth marks the device at index as healthy or not and tells the kubelet.
func (p *Plugin) SetHealth(index int, healthy bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if index < 0 || index >= len(p.devices) {
		return fmt.Errorf("set health of device %d of %d: out of range", index, len(p.devices))
	}
	health := pluginapi.Unhealthy
	if healthy {
		health = pluginapi.Healthy
	}
	p.devices[index] = &pluginapi.Device{ID: p.devices[index].ID, Health: health}
	close(p.changed)
	p.changed = make(chan struct{})
	return nil
}

func (p *Plugin) state() ([]*pluginapi.Device, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*pluginapi.Device(nil), p.devices...), p.changed
}

// GetDevicePluginOptions says that the kubelet need not call back before it starts a container.
func (p *Plugin) GetDevicePluginOptions(context.Context, *pluginapi.Empty) (*pluginapi.DevicePluginOptions, error) {
	return &pluginapi.DevicePluginOptions{}, nil
}

// ListAndWatch sends the devices now and after each change.
func (p *Plugin) ListAndWatch(_ *pluginapi.Empty, stream pluginapi.DevicePlugin_ListAndWatchServer) error {
	for {
		devices, changed := p.state()
		if err := stream.Send(&pluginapi.ListAndWatchResponse{Devices: devices}); err != nil {
			return fmt.Errorf("send devices: %w", err)
		}
		select {
		case <-changed:
		case <-stream.Context().Done():
			return nil
		}
	}
}

// Allocate tells each container which devices it holds, in the variable that NVIDIA's plugin uses.
func (p *Plugin) Allocate(_ context.Context, request *pluginapi.AllocateRequest) (*pluginapi.AllocateResponse, error) {
	response := &pluginapi.AllocateResponse{}
	for _, container := range request.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, &pluginapi.ContainerAllocateResponse{
			Envs: map[string]string{"NVIDIA_VISIBLE_DEVICES": strings.Join(container.DevicesIds, ",")},
		})
	}
	return response, nil
}
