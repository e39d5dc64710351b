// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"os"
)

// gatewayValues are what the chart of a hub needs for its gateway.
var gatewayValues = []string{"gateway.enabled=true", "gateway.certificateSecretName=" + gatewaySecret}

// gatewayFlags are the hub's manager's flags for its gateway, at an address, with a certificate for the host by which members reach it.
func (l *Lab) gatewayFlags(listen, public string) (map[string]string, error) {
	host, _, err := net.SplitHostPort(public)
	if err != nil {
		return nil, fmt.Errorf("split the gateway's address: %w", err)
	}
	folder := l.path("gateway")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	return map[string]string{"gateway-address": listen, "gateway-cert-dir": folder, "gateway-self-signed": host}, nil
}

// openGateway tells the market's members where its gateway is, whose certificate the manager has made by now.
func (l *Lab) openGateway(ctx context.Context, public string) error {
	certificate, err := os.ReadFile(l.path("gateway", "tls.crt"))
	if err != nil {
		return fmt.Errorf("read the gateway's certificate: %w", err)
	}
	patch, err := json.Marshal(map[string]any{"spec": map[string]any{
		"gateway": map[string]string{"url": "https://" + public, "caBundle": string(certificate)},
	}})
	if err != nil {
		return fmt.Errorf("encode gateway: %w", err)
	}
	_, err = l.kubectl(ctx, Hub, "", "patch", "market", "market", "--type=merge", "-p", string(patch))
	return err
}

// startMarket runs the hub's manager, with flags of its own and a gateway.
func (l *Lab) startMarket(ctx context.Context, from deployment, own map[string]string) error {
	listen, public, err := l.gateway(ctx)
	if err != nil {
		return err
	}
	flags, err := l.gatewayFlags(listen, public)
	if err != nil {
		return err
	}
	maps.Copy(flags, own)
	if err := l.startManager(ctx, from, flags); err != nil {
		return err
	}
	return l.openGateway(ctx, public)
}
