// SPDX-License-Identifier: Apache-2.0

// Command nodeagent holds the small servers around the lab's real nodes.
//
//	nodeagent dns      answers the names of the cluster's services
//	nodeagent gpu      offers made-up GPUs to a kubelet
//	nodeagent forward  carries connections into another network namespace
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"

	"github.com/bourse-dev/bourse/hack/lab/nodes/agents/dns"
	"github.com/bourse-dev/bourse/hack/lab/nodes/agents/forward"
	"github.com/bourse-dev/bourse/hack/lab/nodes/agents/gpuplugin"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "nodeagent:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	agents := map[string]func(context.Context, []string) error{"dns": runDNS, "gpu": runGPU, "forward": runForward}
	if len(args) == 0 || agents[args[0]] == nil {
		return errors.New("name one of dns, gpu, forward")
	}
	return agents[args[0]](ctx, args[1:])
}

func runDNS(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("dns", flag.ContinueOnError)
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig of the cluster")
	listen := flags.String("listen", "127.0.0.1:53", "address to answer on, over UDP and TCP")
	domain := flags.String("domain", "cluster.local", "cluster domain")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return fmt.Errorf("load kubeconfig: %w", err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("make client: %w", err)
	}
	services, err := dns.NewServices(ctx, client)
	if err != nil {
		return err
	}
	fmt.Println("answers on", *listen)
	return dns.Zone{Domain: *domain, Lookup: services.Lookup}.Serve(ctx, *listen)
}

func runGPU(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("gpu", flag.ContinueOnError)
	node := flags.String("node", "", "name of this node")
	count := flags.Int("count", 4, "devices to offer")
	dir := flags.String("dir", pluginapi.DevicePluginPath, "device plugin folder of the kubelet")
	if err := flags.Parse(args); err != nil {
		return err
	}
	plugin := gpuplugin.New(*node, *count)
	go followHealth(ctx, plugin)
	return gpuplugin.Serve(ctx, plugin, *dir, func() { fmt.Printf("registered %d devices\n", *count) })
}

// followHealth makes the first device unhealthy on SIGUSR1 and healthy again on SIGUSR2.
func followHealth(ctx context.Context, plugin *gpuplugin.Plugin) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGUSR1, syscall.SIGUSR2)
	for {
		select {
		case s := <-signals:
			if err := plugin.SetHealth(0, s == syscall.SIGUSR2); err != nil {
				fmt.Fprintln(os.Stderr, "nodeagent:", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

func runForward(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("forward", flag.ContinueOnError)
	descriptor := flags.Uint("fd", 3, "file descriptor of the listening socket")
	to := flags.String("to", "", "TCP address to connect to")
	if err := flags.Parse(args); err != nil {
		return err
	}
	listener, err := net.FileListener(os.NewFile(uintptr(*descriptor), "listener"))
	if err != nil {
		return fmt.Errorf("take listener: %w", err)
	}
	return forward.Serve(ctx, listener, *to)
}
