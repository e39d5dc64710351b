// SPDX-License-Identifier: Apache-2.0

// Package kubelet asks the node's kubelet which pod it gave which device to, by the socket of its PodResources API. It decides nothing.
package kubelet

import (
	"context"
	"fmt"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/bourse-dev/bourse/internal/device"
)

// Socket is where kubelets serve the API.
const Socket = "/var/lib/kubelet/pod-resources/kubelet.sock"

const (
	timeout   = 5 * time.Second
	mostBytes = 16 << 20 // a node with many pods and replicas
	buffer    = 4 << 10
)

// replica parts the device's identity from the number of its replica, where devices are handed out several times.
const replica = "::"

// Allocation is what the kubelet knows of a node's devices.
type Allocation struct {
	Pods   map[string]device.Pod // by the device's identity
	Slots  map[device.Class]int  // how many it can hand out, of all resources of the class
	Claims bool                  // pods hold devices by claims, which do not say which
}

// Client asks one kubelet.
type Client struct {
	socket string
}

// New returns a client of the kubelet behind the socket.
func New(socket string) *Client { return &Client{socket} }

// Devices returns who has which device.
func (c *Client) Devices(ctx context.Context) (Allocation, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	// Each time anew: it is asked seldom, and a kubelet that was away is found at once.
	connection, err := grpc.NewClient("unix://"+c.socket,
		grpc.WithTransportCredentials(insecure.NewCredentials()), // a socket of the node, behind file permissions
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(mostBytes)),
		grpc.WithReadBufferSize(buffer), grpc.WithWriteBufferSize(buffer)) // two short calls
	if err != nil {
		return Allocation{}, fmt.Errorf("reach kubelet: %w", err)
	}
	defer func() { _ = connection.Close() }() // it has served
	api := podresources.NewPodResourcesListerClient(connection)
	listed, err := api.List(ctx, &podresources.ListPodResourcesRequest{})
	if err != nil {
		return Allocation{}, fmt.Errorf("list pods' devices: %w", err)
	}
	allocatable, err := api.GetAllocatableResources(ctx, &podresources.AllocatableResourcesRequest{})
	if err != nil {
		return Allocation{}, fmt.Errorf("list allocatable devices: %w", err)
	}
	found := Allocation{Pods: map[string]device.Pod{}, Slots: map[device.Class]int{}}
	for _, pod := range listed.GetPodResources() {
		for _, container := range pod.GetContainers() {
			found.add(pod, container)
		}
	}
	for _, devices := range allocatable.GetDevices() {
		if class, ok := classOf(devices.GetResourceName()); ok {
			found.Slots[class] += len(devices.GetDeviceIds())
		}
	}
	return found, nil
}

func (a *Allocation) add(pod *podresources.PodResources, container *podresources.ContainerResources) {
	for _, devices := range container.GetDevices() {
		if _, ok := classOf(devices.GetResourceName()); !ok {
			continue
		}
		for _, id := range devices.GetDeviceIds() {
			id, _, _ = strings.Cut(id, replica)
			a.Pods[id] = device.Pod{Namespace: pod.GetNamespace(), Name: pod.GetName()}
		}
	}
	for _, claim := range container.GetDynamicResources() {
		for _, resource := range claim.GetClaimResources() {
			if strings.Contains(resource.GetDriverName(), "gpu") {
				a.Claims = true
			}
		}
	}
}

// classOf says which devices a resource hands out. The vendors' other resources, such as network cards, are none.
func classOf(resource string) (device.Class, bool) {
	vendor, name, _ := strings.Cut(resource, "/")
	gpu := strings.HasPrefix(name, "gpu") || strings.HasPrefix(name, "mig-")
	switch {
	case vendor == "nvidia.com" && gpu:
		return device.NVIDIA, true
	case vendor == "amd.com" && gpu:
		return device.AMD, true
	default:
		return "", false
	}
}
