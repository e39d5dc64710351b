// SPDX-License-Identifier: Apache-2.0

package plane_test

import (
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/cluster/plane"
)

func config(t *testing.T) plane.Config {
	t.Helper()
	return plane.Config{
		Name: "hub", Dir: filepath.Join(t.TempDir(), "hub"), Bind: net.IPv4(127, 0, 0, 1),
		Port: 1001, EtcdPort: 1002, PeerPort: 1003, NodeGrace: time.Minute,
	}
}

func TestValidate(t *testing.T) {
	cases := map[string]struct {
		change func(*plane.Config)
		want   string
	}{
		"a whole config":           {func(*plane.Config) {}, ""},
		"no name":                  {func(c *plane.Config) { c.Name = "" }, "name"},
		"no folder":                {func(c *plane.Config) { c.Dir = "" }, "folder"},
		"no address":               {func(c *plane.Config) { c.Bind = nil }, "address"},
		"every address":            {func(c *plane.Config) { c.Bind = net.IPv4zero }, "address"},
		"no port":                  {func(c *plane.Config) { c.PeerPort = 0 }, "port"},
		"one port for two":         {func(c *plane.Config) { c.PeerPort = c.Port }, "differ"},
		"nodes that die instantly": {func(c *plane.Config) { c.NodeGrace = 0 }, "grace"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			tc.change(&c)
			err := c.Validate()
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("Validate: error %v, want one with %q", err, tc.want)
			}
		})
	}
}

func TestPrepare(t *testing.T) {
	c := config(t)
	c.Server, c.Nodes = "https://127.0.0.1:9", []string{"real-1"}
	p, err := plane.Prepare(c, time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	servers := map[string]string{"admin": c.Server, "scheduler": p.URL(), "controller-manager": p.URL(), "real-1": p.URL()}
	for name, want := range servers {
		data, err := os.ReadFile(p.Kubeconfig(name))
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(data), want) {
			t.Errorf("kubeconfig of %s does not name %s", name, want)
		}
	}
	if _, err := plane.Prepare(c, time.Unix(1_800_000_000, 0)); !errors.Is(err, os.ErrExist) {
		t.Errorf("Prepare in a folder that exists: error %v, want %v", err, os.ErrExist)
	}
}

func TestNoComponentListensBeyondItsAddress(t *testing.T) {
	cases := map[string]struct {
		bind     net.IP
		want     string
		wantNone string
	}{
		"on loopback":               {net.IPv4(127, 0, 0, 1), "--endpoint-reconciler-type=none", "--advertise-address=127"},
		"in a namespace of its own": {net.IPv4(10, 9, 8, 7), "--advertise-address=10.9.8.7", "--endpoint-reconciler-type"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := config(t)
			c.Bind = tc.bind
			p, err := plane.Prepare(c, time.Unix(1_800_000_000, 0))
			if err != nil {
				t.Fatal(err)
			}
			flags := p.Flags(plane.APIServer)
			if !slices.Contains(flags, "--bind-address="+tc.bind.String()) || !slices.Contains(flags, tc.want) {
				t.Errorf("API server's flags %q lack the address or %s", flags, tc.want)
			}
			for _, component := range []string{plane.Etcd, plane.APIServer, plane.ControllerManager, plane.Scheduler} {
				all := strings.Join(p.Flags(component), " ")
				if all == "" || strings.Contains(all, "0.0.0.0") || strings.Contains(all, tc.wantNone) {
					t.Errorf("%s has flags %q", component, all)
				}
			}
		})
	}
}

func TestAwaitEndsWithTheComponentOrTheContext(t *testing.T) {
	p, err := plane.Prepare(config(t), time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	stopped := make(chan error, 1)
	gone := errors.New("etcd is gone")
	stopped <- gone
	if err := p.Await(t.Context(), plane.ServingPath, stopped); !errors.Is(err, gone) {
		t.Errorf("Await: error %v, want %v", err, gone)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Await(ctx, plane.ServingPath, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("Await: error %v, want %v", err, context.Canceled)
	}
}

func TestSupervisorStartsAnewWhatEnds(t *testing.T) {
	p, err := plane.Prepare(config(t), time.Unix(1_800_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ends := make(chan string, 8)
	supervisor := p.Supervise(
		func(ctx context.Context, _ string, _ []string) *exec.Cmd { return exec.CommandContext(ctx, "true") },
		func(component string, _ error) { ends <- component },
	)
	if err := supervisor.Start(ctx, plane.Etcd); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := <-ends; got != plane.Etcd {
			t.Errorf("%s ended, want %s", got, plane.Etcd)
		}
	}
	cancel()
	supervisor.Wait()
	if _, err := os.Stat(filepath.Join(p.Dir, "etcd.pid")); err != nil {
		t.Errorf("pid file: %v", err)
	}
}
