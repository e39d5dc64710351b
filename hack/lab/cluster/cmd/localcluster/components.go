// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // Metrics of the API client, as the components' own mains have.
	_ "k8s.io/component-base/metrics/prometheus/version"  // The same for the version metric.
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"github.com/bourse-dev/bourse/hack/lab/cluster/plane"
)

// components are the programs inside this one. Each reads os.Args and ends the process.
var components = map[string]func(){
	plane.Etcd:              func() { etcdmain.Main(os.Args) },
	plane.APIServer:         func() { run(apiserver.NewAPIServerCommand()) },
	plane.ControllerManager: func() { run(controllermanager.NewControllerManagerCommand()) },
	plane.Scheduler:         func() { run(scheduler.NewSchedulerCommand()) },
	"kubelet":               func() { run(kubelet.NewKubeletCommand(context.Background())) },
	"kube-proxy":            func() { run(proxy.NewProxyCommand()) },
	"kubectl":               func() { run(kubectl.NewDefaultKubectlCommand()) },
}

func run(command *cobra.Command) { os.Exit(cli.Run(command)) }

func names() string {
	return strings.Join(slices.Sorted(maps.Keys(components)), " ")
}
