// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	corev1 "k8s.io/api/core/v1"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/nvml/nvmltest"
)

// fallenWithin is how long a GPU that fell off its bus may be on offer.
const fallenWithin = 5 * time.Second

// faultOnOneGPU runs the real agent, over a driver library that stands for NVIDIA's, on a node where a lease has half of the GPUs. One of
// the others fails: exactly that one leaves the market, and the lease runs on.
func (s *supply) faultOnOneGPU() {
	s.t.Helper()
	ctx := s.t.Context()
	// Without local pods the lease's node has GPUs that nobody holds, and the last is one of them.
	s.must(s.lab.Client.DeleteAllOf(ctx, &corev1.Pod{}, client.InNamespace("team-b"), client.GracePeriodSeconds(0)))
	s.agrees("when no local work is left")
	job := s.lease("half-node", 1, gpusPerNode/2)
	node, want := job.Lease.Status.Nodes[0], identities(ctx, s.t, s.lab, job)
	machine := nvmltest.H100s()
	library := nvmltest.Build(s.t, machine)
	s.agent(node, library.Path)
	s.await("the agent's GPUNode", func(ctx context.Context) (bool, error) {
		var found boursev1.GPUNode
		err := s.lab.Client.Get(ctx, keyOf(node), &found)
		return err == nil && len(found.Status.Devices) == gpusPerNode, err
	})
	s.agrees("beside an agent")
	before, err := s.free(ctx)
	s.must(err)
	machine.Events = append(machine.Events, nvmltest.Event{GPU: gpusPerNode - 1, XID: 79})
	library.Set(s.t, machine)
	began := time.Now()
	s.await("the GPU that failed to leave the market", func(ctx context.Context) (bool, error) {
		free, err := s.free(ctx)
		return free < before, err
	})
	took := time.Since(began)
	s.teller.Say("XID 79 on one GPU of %s: it left the market after %s", node, took.Round(10*time.Millisecond))
	after, err := s.free(ctx)
	s.must(err)
	if lost := before - after; lost != 1 || took > fallenWithin {
		s.t.Errorf("%d GPUs left the market within %s, want one within %s", lost, took, fallenWithin)
	}
	s.must(s.teller.Table(ctx, s.lab, "get", "gpunodes,gpupools"))
	s.must(s.teller.Look(ctx, s.lab, job))
	if got := identities(ctx, s.t, s.lab, job); job.Lease.Status.End != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("the lease did not run on: %+v, pods %v, want %v", job.Lease.Status.End, got, want)
	}
	_, err = s.lab.Kubectl(ctx, "delete", "computejob", "-n", job.Namespace, job.Name, "--wait=false")
	s.must(err)
}

// free is how many GPUs are on offer.
func (s *supply) free(ctx context.Context) (int32, error) {
	shapes, err := s.offered(ctx)
	var free int32
	for gpus, nodes := range shapes {
		free += gpus * nodes
	}
	return free, err
}

// agent builds the agent as its image has it, and runs it for one of the fake nodes until the test ends.
func (s *supply) agent(node, library string) {
	s.t.Helper()
	dir := s.t.TempDir()
	program := filepath.Join(dir, "bourse-agent")
	build := exec.CommandContext(s.t.Context(), "go", "build", "-ldflags=-s -w", "-o", program, "./cmd/agent")
	build.Dir, build.Env = filepath.Join("..", ".."), append(os.Environ(), "CGO_ENABLED=0")
	if output, err := build.CombinedOutput(); err != nil {
		s.t.Fatalf("build the agent: %v: %s", err, output)
	}
	socket := filepath.Join(dir, "kubelet.sock")
	serveKubelet(s.t, socket)
	log, err := os.Create(filepath.Join(dir, "agent.log"))
	s.must(err)
	cmd := exec.CommandContext(context.WithoutCancel(s.t.Context()), program, "--node="+node, "--kubeconfig="+s.lab.Kubeconfig(),
		"--nvml-library="+library, "--devices=nvidia", "--kubelet-socket="+socket, "--key="+filepath.Join(dir, "agent.key"), "--address=0")
	cmd.Stdout, cmd.Stderr = log, log
	s.must(cmd.Start())
	s.t.Cleanup(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			s.t.Errorf("stop the agent: %v", err)
		}
		if err := cmd.Wait(); err != nil {
			text, _ := os.ReadFile(log.Name()) // the error says enough without it
			s.t.Errorf("the agent ended with %v:\n%s", err, text)
		}
	})
}

// noPods is a kubelet that has given its devices to nobody: fake nodes have none that could say more.
type noPods struct {
	podresources.UnimplementedPodResourcesListerServer
}

// List says that no pod has a device.
func (noPods) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	return &podresources.ListPodResourcesResponse{}, nil
}

// GetAllocatableResources says nothing of devices, as a kubelet without a device plugin.
func (noPods) GetAllocatableResources(context.Context, *podresources.AllocatableResourcesRequest) (*podresources.AllocatableResourcesResponse, error) {
	return &podresources.AllocatableResourcesResponse{}, nil
}

func serveKubelet(t *testing.T, socket string) {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, noPods{})
	go func() { _ = server.Serve(listener) }() // it ends when it is stopped
	t.Cleanup(server.Stop)
}
