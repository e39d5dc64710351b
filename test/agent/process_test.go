// SPDX-License-Identifier: Apache-2.0

package agent

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc"
	podresources "k8s.io/kubelet/pkg/apis/podresources/v1"
)

const nodeName = "oslo-h100-0"

// binary builds the agent as its image has it: without cgo.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "bourse-agent-")
	if err != nil {
		return "", err
	}
	path := filepath.Join(dir, "bourse-agent")
	cmd := exec.Command("go", "build", "-tags=grpcnotrace", "-ldflags=-s -w", "-o", path, "./cmd/agent")
	cmd.Dir = filepath.Join("..", "..")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the agent: %w\n%s", err, output)
	}
	return path, nil
})

func TestMain(m *testing.M) {
	code := m.Run()
	if path, err := binary(); err == nil {
		_ = os.RemoveAll(filepath.Dir(path)) // a temporary folder
	}
	os.Exit(code)
}

// machine is what an agent finds where it runs.
type machine struct {
	root, key, socket, address string
}

// newMachine makes files of a kernel that was started, and a kubelet.
func newMachine(t *testing.T, kubelet *fakeKubelet) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{root: dir, key: filepath.Join(dir, "agent.key"), socket: filepath.Join(dir, "kubelet.sock")}
	m.boot(t, "0d4b1f9e-3f5c-4c43-b0bb-6a7d1f0c2b55")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", m.socket)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	podresources.RegisterPodResourcesListerServer(server, kubelet)
	go func() { _ = server.Serve(listener) }() // it ends when it is stopped
	t.Cleanup(server.Stop)
	free, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.address = free.Addr().String()
	if err := free.Close(); err != nil {
		t.Fatal(err)
	}
	return m
}

// boot sets which boot of the kernel it is.
func (m *machine) boot(t *testing.T, id string) {
	m.write(t, "proc/sys/kernel/random/boot_id", id+"\n")
}

// process adds a process with its control groups.
func (m *machine) process(t *testing.T, pid int, cgroup string) {
	t.Helper()
	m.write(t, fmt.Sprintf("proc/%d/cgroup", pid), cgroup+"\n")
}

func (m *machine) write(t *testing.T, path, text string) {
	t.Helper()
	path = filepath.Join(m.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// running is an agent that runs.
type running struct {
	cmd    *exec.Cmd
	log    *buffer
	stopOf sync.Once
}

// start runs the agent on the machine.
func (m *machine) start(t *testing.T, api *fakeAPI, library string, flags ...string) *running {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	args := append([]string{
		"--node=" + nodeName, "--kubeconfig=" + api.kubeconfig(t), "--nvml-library=" + library, "--kubelet-socket=" + m.socket, "--root=" + m.root,
		"--key=" + m.key, "--address=" + m.address, "--log-level=debug", "--interval=1s",
	}, flags...)
	r := &running{cmd: exec.CommandContext(context.WithoutCancel(t.Context()), path, args...), log: &buffer{}}
	r.cmd.Stderr = r.log
	if err := r.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.stop(t)
		if t.Failed() {
			t.Logf("the agent's log:\n%s", r.log.String())
		}
	})
	return r
}

// stop asks the agent to end, as the kubelet does, and wants it to end well.
func (r *running) stop(t *testing.T) {
	t.Helper()
	r.stopOf.Do(func() {
		if err := r.cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Errorf("stop the agent: %v", err)
		}
		if err := r.cmd.Wait(); err != nil {
			t.Errorf("the agent: %v", err)
		}
	})
}

// eventually waits until a condition holds, and returns how long that took.
func eventually(t *testing.T, most time.Duration, what string, holds func() bool) time.Duration {
	t.Helper()
	began := time.Now()
	for !holds() {
		if time.Since(began) > most {
			t.Fatalf("not within %s: %s", most, what)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return time.Since(began)
}

type buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// fakeKubelet stands for a kubelet's PodResources API.
type fakeKubelet struct {
	podresources.UnimplementedPodResourcesListerServer

	mu          sync.Mutex
	pods        []*podresources.PodResources
	allocatable []*podresources.ContainerDevices
}

func (f *fakeKubelet) List(context.Context, *podresources.ListPodResourcesRequest) (*podresources.ListPodResourcesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &podresources.ListPodResourcesResponse{PodResources: f.pods}, nil
}

func (f *fakeKubelet) GetAllocatableResources(context.Context, *podresources.AllocatableResourcesRequest) (*podresources.AllocatableResourcesResponse, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return &podresources.AllocatableResourcesResponse{Devices: f.allocatable}, nil
}

// give sets which devices a pod of the namespace ml has, and which there are to be had.
func (f *fakeKubelet) give(name string, ids []string, allocatable ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pods = []*podresources.PodResources{{Namespace: "ml", Name: name, Containers: []*podresources.ContainerResources{
		{Devices: []*podresources.ContainerDevices{{ResourceName: "nvidia.com/gpu", DeviceIds: ids}}},
	}}}
	f.allocatable = []*podresources.ContainerDevices{{ResourceName: "nvidia.com/gpu", DeviceIds: allocatable}}
}
