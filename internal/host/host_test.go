// SPDX-License-Identifier: Apache-2.0

package host

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/device"
)

func TestPodOfAProcess(t *testing.T) {
	const uid = "7f3e1f6c-2b0a-4c55-9a2e-3f0d9c7b1a11"
	cases := map[string]struct{ cgroup, want string }{
		"containerd with systemd, version 2": {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7f3e1f6c_2b0a_4c55_9a2e_3f0d9c7b1a11.slice/cri-containerd-9f8e.scope\n", uid},
		"guaranteed pods have no class":      {"0::/kubepods.slice/kubepods-pod7f3e1f6c_2b0a_4c55_9a2e_3f0d9c7b1a11.slice/cri-containerd-9f8e.scope\n", uid},
		"cgroupfs, version 2":                {"0::/kubepods/besteffort/pod7f3e1f6c-2b0a-4c55-9a2e-3f0d9c7b1a11/9f8e\n", uid},
		"cgroupfs, version 1":                {"12:pids:/kubepods/burstable/pod7f3e1f6c-2b0a-4c55-9a2e-3f0d9c7b1a11/9f8e\n1:name=systemd:/kubepods/burstable/pod7f3e1f6c-2b0a-4c55-9a2e-3f0d9c7b1a11/9f8e\n", uid},
		"containerd with systemd, version 1": {"11:devices:/system.slice/containerd.service/kubepods-burstable-pod7f3e1f6c_2b0a_4c55_9a2e_3f0d9c7b1a11.slice:cri-containerd:9f8e\n" +
			"10:memory:/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7f3e1f6c_2b0a_4c55_9a2e_3f0d9c7b1a11.slice/cri-containerd-9f8e.scope\n", uid},
		"CRI-O":                                 {"0::/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod7f3e1f6c_2b0a_4c55_9a2e_3f0d9c7b1a11.slice/crio-9f8e.scope/container\n", uid},
		"a kubelet inside a container":          {"0::/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod7f3e1f6c_2b0a_4c55_9a2e_3f0d9c7b1a11.slice/cri-containerd-9f8e.scope\n", uid},
		"a static pod, whose UID is a hash":     {"0::/kubepods/besteffort/pod0123456789abcdef0123456789abcdef/9f8e\n", "0123456789abcdef0123456789abcdef"},
		"a service of the host":                 {"0::/system.slice/miner.service\n", ""},
		"a person at the host":                  {"0::/user.slice/user-1000.slice/session-3.scope\n", ""},
		"a container outside Kubernetes":        {"0::/system.slice/docker-9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a0.scope\n", ""},
		"the kernel":                            {"0::/\n", ""},
		"a host's service that calls itself so": {"0::/system.slice/miner-pod7f3e1f6c_2b0a_4c55_9a2e_3f0d9c7b1a11.slice\n", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "proc/77/cgroup", tc.cgroup)
			got, err := New(root).PodOf(77)
			if err != nil || got != tc.want {
				t.Errorf("pod %q, %v; want %q", got, err, tc.want)
			}
		})
	}
}

func TestAProcessThatIsNoMore(t *testing.T) {
	if _, err := New(t.TempDir()).PodOf(77); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("err = %v, want that it does not exist", err)
	}
}

func TestBootID(t *testing.T) {
	root := t.TempDir()
	write(t, root, "proc/sys/kernel/random/boot_id", "0d4b1f9e-3f5c-4c43-b0bb-6a7d1f0c2b55\n")
	if got, err := New(root).BootID(t.Context()); err != nil || got != "0d4b1f9e-3f5c-4c43-b0bb-6a7d1f0c2b55" {
		t.Errorf("boot %q, %v", got, err)
	}
	if _, err := New(t.TempDir()).BootID(t.Context()); err == nil {
		t.Error("a machine without a boot has one")
	}
}

func TestProcessors(t *testing.T) {
	cases := map[string]struct {
		info, memory   string
		product, model string
		memoryMiB      int32
	}{
		"AMD":               {"processor\t: 0\nvendor_id\t: AuthenticAMD\nmodel\t\t: 1\nmodel name\t: AMD EPYC 7763 64-Core Processor\n", "MemTotal:       528280560 kB\nMemFree: 1 kB\n", "AMD EPYC 7763", "", 515898},
		"Intel":             {"model name\t: Intel(R) Xeon(R) Platinum 8480+\n", "MemTotal: 1048576 kB\n", "Intel Xeon Platinum 8480+", "intel-xeon-platinum-8480", 1024},
		"an older Intel":    {"model name\t: Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz\n", "MemTotal: 1048576 kB\n", "Intel Xeon E5-2680 v4", "intel-xeon-e5-2680-v4", 1024},
		"a board with ARM":  {"processor : 0\nModel\t\t: Raspberry Pi 5 Model B Rev 1.0\n", "MemTotal: 8388608 kB\n", "Raspberry Pi 5 Model B Rev 1.0", "raspberry-pi-5-model-b-rev-1-0", 8192},
		"a server with ARM": {"processor\t: 0\nBogoMIPS\t: 50.00\n", "MemTotal: 8388608 kB\n", "CPU", "cpu", 8192},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "proc/cpuinfo", tc.info)
			write(t, root, "proc/meminfo", tc.memory)
			got, err := NewCPUs(New(root), "key").Read(t.Context())
			if err != nil || len(got.Devices) != 1 || len(got.Present) != 1 {
				t.Fatalf("reading %+v, %v", got, err)
			}
			want := device.Device{UUID: Identity("CPU", "key"), Class: device.CPU, Product: tc.product, Model: tc.model, MemoryMiB: tc.memoryMiB}
			if tc.model == "" { // the catalog may say its name
				want.Model = got.Devices[0].Model
			}
			if diff := cmp.Diff(want, got.Devices[0]); diff != "" {
				t.Errorf("device (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAMachineThatDoesNotSayItsProcessors(t *testing.T) {
	if _, err := NewCPUs(New(t.TempDir()), "key").Read(t.Context()); !errors.Is(err, device.ErrAbsent) {
		t.Errorf("err = %v, want that they are absent", err)
	}
}

func TestIdentitiesAreApart(t *testing.T) {
	seen := map[string]bool{}
	for _, parts := range [][]string{{"CPU", "a"}, {"CPU", "b"}, {"AMD", "a"}, {"AMD", "a", "b"}, {"AMD", "ab"}, {"AMD", "ab", ""}} {
		id := Identity(parts[0], parts[1:]...)
		if seen[id] || id != Identity(parts[0], parts[1:]...) {
			t.Errorf("identity %s of %v", id, parts)
		}
		seen[id] = true
	}
}

func write(t *testing.T, root, path, text string) {
	t.Helper()
	path = filepath.Join(root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
