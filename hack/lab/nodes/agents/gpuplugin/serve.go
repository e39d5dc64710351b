// SPDX-License-Identifier: Apache-2.0

package gpuplugin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const endpoint = "gpuplugin.sock"

// Serve offers the devices to the kubelet whose device plugin folder is dir, until ctx ends.
// It calls registered once the kubelet has accepted them.
func Serve(ctx context.Context, p *Plugin, dir string, registered func()) error {
	path := filepath.Join(dir, endpoint)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove old socket: %w", err)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "unix", path)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	server := grpc.NewServer()
	pluginapi.RegisterDevicePluginServer(server, p)
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(listener) }()
	defer server.Stop()
	if err := register(ctx, filepath.Join(dir, filepath.Base(pluginapi.KubeletSocket))); err != nil {
		return err
	}
	registered()
	select {
	case err := <-ended:
		return fmt.Errorf("serve devices: %w", err)
	case <-ctx.Done():
		return nil
	}
}

func register(ctx context.Context, socket string) (err error) {
	conn, err := grpc.NewClient("unix://"+socket, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return fmt.Errorf("dial kubelet: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	request := &pluginapi.RegisterRequest{Version: pluginapi.Version, Endpoint: endpoint, ResourceName: ResourceName}
	if _, err := pluginapi.NewRegistrationClient(conn).Register(ctx, request, grpc.WaitForReady(true)); err != nil {
		return fmt.Errorf("register with kubelet: %w", err)
	}
	return nil
}
