// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/build"
	"github.com/bourse-dev/bourse/hack/lab/process"
)

const (
	kuberayModule = "github.com/ray-project/kuberay/ray-operator"
	kuberayWithin = 2 * time.Minute
)

// startKubeRay installs KubeRay's kinds in a cluster and runs its operator beside it.
func (l *Lab) startKubeRay(ctx context.Context, cluster string) error {
	source, err := build.ModuleDir(ctx, filepath.Join(l.Repo, "hack/lab/kuberay"), kuberayModule)
	if err != nil {
		return err
	}
	if err := l.applyKubeRayKinds(ctx, cluster, filepath.Join(source, "config", "crd", "bases")); err != nil {
		return err
	}
	probe, err := l.address(ctx, cluster)
	if err != nil {
		return err
	}
	record, err := l.table().Start(process.Spec{
		Name: "kuberay-" + cluster,
		Args: l.place(cluster).enter(
			l.state.Bin["kuberay"],
			"--enable-leader-election=false",
			// Dashboards are reached through the API server, so that neither cluster DNS nor pod addresses are needed.
			"--use-kubernetes-proxy",
			"--log-stdout-encoder=console",
			"--enable-metrics=false",
			"--metrics-addr=0",
			"--health-probe-bind-address="+probe,
		),
		Env: []string{"KUBECONFIG=" + l.path("clusters", cluster, "admin.kubeconfig")},
	})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, kuberayWithin)
	defer cancel()
	if err := record.Await(ctx, func() (bool, error) { return answers(ctx, "http://"+probe+"/readyz"), nil }); err != nil {
		return err
	}
	l.step("cluster %s has KubeRay", cluster)
	return nil
}

// applyKubeRayKinds installs the kinds that the operator works on, from the folder of its module.
func (l *Lab) applyKubeRayKinds(ctx context.Context, cluster, folder string) error {
	// Server-side, since the kinds are too large for the annotation of a client-side apply.
	apply := []string{"apply", "--server-side", "--validate=false"}
	var kinds []string
	for _, kind := range []string{"rayclusters", "rayjobs", "rayservices"} {
		apply = append(apply, "-f", filepath.Join(folder, "ray.io_"+kind+".yaml"))
		kinds = append(kinds, kind+".ray.io")
	}
	if _, err := l.kubectl(ctx, cluster, "", apply...); err != nil {
		return err
	}
	return l.awaitKinds(ctx, cluster, kinds...)
}

// freeAddress returns an address on one of this machine's hosts, with a port that was free just now.
func freeAddress(ctx context.Context, host string) (string, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", net.JoinHostPort(host, "0"))
	if err != nil {
		return "", fmt.Errorf("find free port: %w", err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		return "", fmt.Errorf("free port: %w", err)
	}
	return address, nil
}

// answers tells whether a GET of url succeeds now.
func answers(ctx context.Context, url string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return false
	}
	return response.Body.Close() == nil && response.StatusCode == http.StatusOK
}
