// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime/debug"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/agent"
	"github.com/bourse-dev/bourse/internal/amd"
	"github.com/bourse-dev/bourse/internal/apple"
	"github.com/bourse-dev/bourse/internal/host"
	"github.com/bourse-dev/bourse/internal/kubelet"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/nodeapi"
	"github.com/bourse-dev/bourse/internal/nvml"
	"github.com/bourse-dev/bourse/internal/signer/nodekey"
)

// stopWait is how long a stop waits for requests that are under way.
const stopWait = 2 * time.Second

// run builds the agent and runs it until the context ends. It fails only for what a person has to mend.
func run(ctx context.Context, o options, logger logr.Logger, now func() time.Time) error {
	key, err := nodekey.Open(o.key)
	if err != nil {
		return fmt.Errorf("--key: %w", err)
	}
	access, err := accessOf(o.kubeconfig)
	if err != nil {
		return err
	}
	var labels map[string]string
	if o.kubeletSocket == "" {
		labels = map[string]string{boursev1.LabelOutside: "true"}
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	a := &agent.Agent{
		Machine: machine(o), Board: nodeapi.New(access, o.node, o.namespace, labels), Key: key, Metrics: metrics.NewAgent(registry), Now: now, Interval: o.interval, Beat: o.heartbeat,
		Idle: debug.FreeOSMemory, // half a minute is long enough for others to use it
	}
	if o.kubeletSocket != "" {
		a.Kubelet = kubelet.New(o.kubeletSocket)
	}
	for _, class := range o.devices {
		switch class {
		case classNVIDIA:
			driver := nvml.New(o.library)
			defer driver.Close()
			a.Readers = append(a.Readers, driver)
		case classAMD:
			a.Readers = append(a.Readers, amd.New(o.root, key.PublicKey()))
		case classApple:
			a.Readers = append(a.Readers, apple.New())
		case classCPU:
			a.Readers = append(a.Readers, host.NewCPUs(host.New(o.root), key.PublicKey()))
		}
	}
	stop, err := serve(ctx, o.address, registry, logger)
	if err != nil {
		return err
	}
	a.Run(logr.NewContext(ctx, logger))
	return stop()
}

func accessOf(kubeconfig string) (nodeapi.Access, error) {
	if kubeconfig == "" {
		return nodeapi.InPod()
	}
	access, err := nodeapi.FromFile(kubeconfig)
	if err != nil {
		return access, fmt.Errorf("--kubeconfig: %w", err)
	}
	return access, nil
}

// serve answers /healthz, which says that the process does, and /metrics. The function it returns ends that.
func serve(ctx context.Context, address string, registry *prometheus.Registry, logger logr.Logger) (func() error, error) {
	if address == "0" {
		return func() error { return nil }, nil
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--address: %w", err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{DisableCompression: true, MaxRequestsInFlight: 2}))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: stopWait}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logger.Error(err, "Stopped serving health and metrics")
		}
	}()
	return func() error {
		deadline, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopWait)
		defer cancel()
		err := server.Shutdown(deadline)
		<-ended
		if err != nil {
			return fmt.Errorf("stop serving: %w", err)
		}
		return nil
	}, nil
}
