// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	_ "embed"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/build"
	"github.com/bourse-dev/bourse/hack/lab/process"
)

//go:embed testdata/rayjob.yaml
var rayJob string

// lab is a hub with real nodes and KubeRay.
type lab struct {
	Config
	t     *testing.T
	table process.Table
}

// TestRayJobOnRealNodes runs a real Ray program on two kubelets. It needs root, takes a minute or two when
// everything is built, and installs Debian packages: so it runs only when asked for.
func TestRayJobOnRealNodes(t *testing.T) {
	if os.Getenv("BOURSE_REAL_NODES") == "" {
		t.Skip("SKIPPED: real nodes need root and Linux; set BOURSE_REAL_NODES=1 to run this test")
	}
	l := newLab(t)
	t.Cleanup(l.down)
	l.up()
	l.kubectl(rayJob, "apply", "-f", "-")
	l.kubectl("", "-n", "lease-1", "wait", "rayjob/real", "--for=jsonpath={.status.jobStatus}=SUCCEEDED", "--timeout=5m")
	output := l.output()
	t.Log(output)
	for _, want := range []string{"nodes 3", "'GPU': 8.0", "pi is about 3.1"} {
		if !strings.Contains(output, want) {
			t.Errorf("the program's output lacks %q", want)
		}
	}
	l.down()
	l.wantNothingLeft()
}

func newLab(t *testing.T) *lab {
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	repo, err := filepath.Abs("../../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	c := Config{
		Dir:   filepath.Join(dir, "nodes"),
		Names: []string{"real-1", "real-2"},
		Repo:  repo,
		Cache: build.Cache{Dir: filepath.Join(cache, "bourse"), Out: t.Output(), Now: time.Now},
		Out:   t.Output(),
	}
	return &lab{Config: c, t: t, table: process.Table{Dir: dir}}
}

func (l *lab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) up() {
	ctx := l.t.Context()
	var err error
	l.Localcluster, err = l.Cache.Path(ctx, build.Localcluster(l.Repo))
	l.must(err)
	kuberay, err := l.Cache.Path(ctx, build.KubeRay(l.Repo))
	l.must(err)
	began := time.Now()
	at := func(what string) { l.t.Logf("%6.1fs %s", time.Since(began).Seconds(), what) }
	network, err := Network(ctx, l.Config)
	l.must(err)
	at("network")
	plane := filepath.Join(l.table.Dir, "hub")
	record, err := l.table.Start(process.Spec{Name: "hub", Args: []string{
		"nsenter", "--net=" + network.Namespace, l.Localcluster, "up", "--dir", plane,
		"--bind", network.Bind.String(), "--port", "6443", "--nodes", strings.Join(l.Names, ","), "--server", network.Server,
	}})
	l.must(err)
	l.must(record.Await(ctx, func() (bool, error) {
		_, err := os.Stat(filepath.Join(plane, "ready"))
		return err == nil, nil
	}))
	at("control plane")
	l.Admin = filepath.Join(plane, "admin.kubeconfig")
	l.Kubeconfigs = map[string]string{}
	for _, name := range l.Names {
		l.Kubeconfigs[name] = filepath.Join(plane, name+".kubeconfig")
	}
	l.must(Up(ctx, l.Config))
	at("nodes are Ready")
	source, err := build.ModuleDir(ctx, filepath.Join(l.Repo, "hack/lab/kuberay"), "github.com/ray-project/kuberay/ray-operator")
	l.must(err)
	l.kubectl("", "apply", "--server-side", "-f", filepath.Join(source, "config/crd/bases"))
	l.kubectl("", "wait", "--for=condition=Established", "crd", "--all", "--timeout=1m")
	_, err = l.table.Start(process.Spec{
		Name: "kuberay",
		Args: []string{
			kuberay, "--enable-leader-election=false", "--use-kubernetes-proxy",
			"--metrics-addr", "127.0.0.1:0", "--health-probe-bind-address", "127.0.0.1:0",
		},
		Env: []string{"KUBECONFIG=" + l.Admin},
	})
	l.must(err)
	at("KubeRay")
}

// output reads what the program printed, as the operator would: through the API server's proxy.
func (l *lab) output() string {
	field := func(object, path string) string {
		return l.kubectl("", "-n", "lease-1", "get", object, "-o", "jsonpath={"+path+"}")
	}
	head := l.kubectl("", "-n", "lease-1", "get", "pods", "-l", "ray.io/node-type=head", "-o", "name")
	return l.kubectl("", "-n", "lease-1", "exec", strings.TrimSpace(head), "--",
		"cat", "/tmp/ray/session_latest/logs/job-driver-"+field("rayjob/real", ".status.jobId")+".log")
}

func (l *lab) kubectl(input string, args ...string) string {
	l.t.Helper()
	cmd := exec.CommandContext(l.t.Context(), l.Localcluster, append([]string{"kubectl", "--kubeconfig", l.Admin}, args...)...)
	cmd.Stdin = strings.NewReader(input)
	output, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("kubectl %v: %v\n%s", args, err, output)
	}
	return string(output)
}

func (l *lab) down() {
	// The test's own context has ended when this runs as a clean-up.
	ctx := context.WithoutCancel(l.t.Context())
	began := time.Now()
	records, err := l.table.List()
	if err != nil {
		l.t.Error(err)
	}
	if err := l.table.Stop(ctx, records, 9); err != nil {
		l.t.Error(err)
	}
	if err := Down(ctx, l.Dir); err != nil {
		l.t.Error(err)
	}
	l.t.Logf("down in %.1fs", time.Since(began).Seconds())
}

func (l *lab) wantNothingLeft() {
	id := site{l.Dir}.id()
	for what, command := range map[string]string{
		"processes":  "for p in /proc/[0-9]*; do { tr '\\0' ' ' <$p/cmdline; } 2>/dev/null | grep " + l.Dir + " | grep -v -e '^sh ' -e '^grep '; done || true",
		"mounts":     "grep -h " + l.Dir + " /proc/[0-9]*/mounts 2>/dev/null || true",
		"namespaces": "ls /run/netns 2>/dev/null | grep " + id + " || true",
		"cgroups":    "find /sys/fs/cgroup -maxdepth 2 -name '" + id + "*'",
		"folders":    "ls -d " + l.Dir + " 2>/dev/null || true",
	} {
		output, err := exec.CommandContext(l.t.Context(), "sh", "-c", command).CombinedOutput()
		if err != nil || len(output) > 0 {
			l.t.Errorf("%s are left: %v\n%s", what, err, output)
		}
	}
}
