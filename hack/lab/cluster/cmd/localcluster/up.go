// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/cluster/plane"
)

// startWithin is how long a control plane may take to become ready on a busy machine.
const startWithin = 3 * time.Minute

// progress tells a person what has been reached.
type progress func(format string, args ...any)

func up(ctx context.Context, args []string, out io.Writer, now func() time.Time) error {
	var config plane.Config
	var mode, bind, nodes string
	flags := flag.NewFlagSet("localcluster up", flag.ContinueOnError)
	flags.StringVar(&config.Name, "name", "local", "the cluster's name in kubeconfigs")
	flags.StringVar(&config.Dir, "dir", "", "folder for every file of the cluster; must not exist")
	flags.StringVar(&bind, "bind", "127.0.0.1", "address to serve on")
	flags.IntVar(&config.Port, "port", 0, "port of the API server; 0 takes a free one")
	flags.StringVar(&config.Server, "server", "", "URL for admin.kubeconfig, when it differs from bind and port")
	flags.StringVar(&mode, "mode", "single", "single: all components in this process; procs: one process each, restarted when it ends")
	flags.StringVar(&nodes, "nodes", "", "comma-separated names of real nodes to write kubeconfigs for")
	flags.DurationVar(&config.NodeGrace, "node-grace", 2*time.Minute, "how long a node may be silent before it counts as lost")
	if err := flags.Parse(args); err != nil {
		return err
	}
	start, ok := map[string]func(context.Context, *plane.Plane, progress) error{"single": single, "procs": procs}[mode]
	if !ok {
		return fmt.Errorf("mode %q is neither single nor procs", mode)
	}
	config.Bind = net.ParseIP(bind)
	config.Nodes = strings.FieldsFunc(nodes, func(r rune) bool { return r == ',' })
	if err := choosePorts(ctx, &config); err != nil {
		return err
	}
	began := now()
	p, err := plane.Prepare(config, began)
	if err != nil {
		return fmt.Errorf("prepare control plane: %w", err)
	}
	return start(ctx, p, func(format string, args ...any) {
		fmt.Fprintf(out, "%6.2fs %s\n", now().Sub(began).Seconds(), fmt.Sprintf(format, args...))
	})
}

// choosePorts takes free ports where none were asked for. All are held until the last is chosen, so they differ.
func choosePorts(ctx context.Context, c *plane.Config) error {
	var listen net.ListenConfig
	for port, ip := range map[*int]string{&c.Port: c.Bind.String(), &c.EtcdPort: c.EtcdHost().String(), &c.PeerPort: c.EtcdHost().String()} {
		if *port != 0 {
			continue
		}
		listener, err := listen.Listen(ctx, "tcp", net.JoinHostPort(ip, "0"))
		if err != nil {
			return fmt.Errorf("find free port: %w", err)
		}
		defer listener.Close() //nolint:errcheck // Nothing was accepted.
		*port = listener.Addr().(*net.TCPAddr).Port
	}
	return nil
}

// procs runs each component in a process of its own until ctx ends.
func procs(ctx context.Context, p *plane.Plane, step progress) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find own program: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	supervisor := p.Supervise(
		func(ctx context.Context, component string, flags []string) *exec.Cmd {
			return exec.CommandContext(ctx, self, append([]string{component}, flags...)...)
		},
		func(component string, err error) { step("%s ended: %v", component, err) },
	)
	defer supervisor.Wait()
	defer cancel()
	for _, component := range []string{plane.Etcd, plane.APIServer} {
		if err := supervisor.Start(ctx, component); err != nil {
			return err
		}
	}
	if err := await(ctx, p, plane.ServingPath, nil); err != nil {
		return err
	}
	step("API server ready")
	for _, component := range []string{plane.ControllerManager, plane.Scheduler} {
		if err := supervisor.Start(ctx, component); err != nil {
			return err
		}
	}
	return serve(ctx, p, nil, step)
}

// serve waits until the cluster is usable, says so, and stays until ctx or a component ends.
func serve(ctx context.Context, p *plane.Plane, ended <-chan error, step progress) error {
	if err := await(ctx, p, plane.UsablePath, ended); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(p.Dir, "ready"), []byte(p.PublicURL()+"\n"), 0o600); err != nil {
		return fmt.Errorf("mark ready: %w", err)
	}
	step("ready: export KUBECONFIG=%s", p.Kubeconfig("admin"))
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return nil
	}
}

func await(ctx context.Context, p *plane.Plane, path string, ended <-chan error) error {
	ctx, cancel := context.WithTimeout(ctx, startWithin)
	defer cancel()
	return p.Await(ctx, path, ended)
}
