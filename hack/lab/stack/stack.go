// SPDX-License-Identifier: Apache-2.0

package stack

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/build"
	"github.com/bourse-dev/bourse/hack/lab/network"
	"github.com/bourse-dev/bourse/hack/lab/nodes"
	"github.com/bourse-dev/bourse/hack/lab/process"
)

const (
	kindsWithin = 3 * time.Minute
	kindsEvery  = 200 * time.Millisecond
)

// Lab is one lab in one folder.
type Lab struct {
	// Dir is the lab's folder, absolute.
	Dir string
	// Repo is the root of the source tree.
	Repo string
	// Cache holds what is built once.
	Cache build.Cache
	// Out gets progress lines.
	Out io.Writer
	// Now tells the time.
	Now func() time.Time

	began time.Time
	lock  sync.Mutex
	state State
	// network is where the hub's control plane runs when there are real nodes.
	network *nodes.Net
	// ports are those of the clusters in namespaces.
	ports map[string]*ports
}

// step prints what was reached and when.
func (l *Lab) step(format string, args ...any) {
	l.lock.Lock()
	defer l.lock.Unlock()
	fmt.Fprintf(l.Out, "%6.1fs  %s\n", l.Now().Sub(l.began).Seconds(), fmt.Sprintf(format, args...))
}

// note changes the state and writes it.
func (l *Lab) note(change func(*State)) error {
	l.lock.Lock()
	defer l.lock.Unlock()
	change(&l.state)
	return l.state.Write(l.Dir)
}

func (l *Lab) table() process.Table { return process.Table{Dir: l.Dir} }

func (l *Lab) path(elements ...string) string {
	return filepath.Join(append([]string{l.Dir}, elements...)...)
}

// kubectl runs kubectl against a cluster with input as its standard input, and returns its output.
func (l *Lab) kubectl(ctx context.Context, cluster, input string, args ...string) (string, error) {
	args = append([]string{"kubectl", "--kubeconfig", l.path("clusters", cluster, "admin.kubeconfig")}, args...)
	cmd := exec.CommandContext(ctx, l.state.Bin["localcluster"], args...)
	var out, failure bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &failure
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args[3:], " "), err, strings.TrimSpace(failure.String()))
	}
	return out.String(), nil
}

// awaitKinds waits until the cluster serves kinds: names of CustomResourceDefinitions, or -l and a selector of them.
func (l *Lab) awaitKinds(ctx context.Context, cluster string, kinds ...string) error {
	ctx, cancel := context.WithTimeout(ctx, kindsWithin)
	defer cancel()
	ticker := time.NewTicker(kindsEvery)
	defer ticker.Stop()
	for {
		// kubectl takes a kind that has no conditions yet for an error.
		_, err := l.kubectl(ctx, cluster, "", append([]string{"wait", "--for=condition=Established", "--timeout=1m", "crd"}, kinds...)...)
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await kinds: %w", err)
		case <-ticker.C:
		}
	}
}

// Down ends every process of the lab and removes its folder.
func (l *Lab) Down(ctx context.Context) error {
	l.began = l.Now()
	// Whatever became of the folder: the namespaces are known by its name.
	if err := network.Down(ctx, l.Dir); err != nil {
		return fmt.Errorf("remove network namespaces: %w", err)
	}
	state, err := Read(l.Dir)
	if err != nil {
		return err
	}
	if err := l.downNodes(ctx, state); err != nil {
		return fmt.Errorf("remove real nodes: %w", err)
	}
	records, err := l.table().List()
	if err != nil {
		return err
	}
	// The data is thrown away with the folder, so nothing needs time to stop well.
	if err := l.table().Stop(ctx, records, syscall.SIGKILL); err != nil {
		return fmt.Errorf("stop processes: %w", err)
	}
	if err := os.RemoveAll(l.Dir); err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	l.step("ended %d processes and removed %s", len(records), l.Dir)
	return nil
}

// create makes the lab's folder. It refuses one that holds anything, since Down removes it whole.
func (l *Lab) create() error {
	if _, err := Read(l.Dir); err == nil {
		return fmt.Errorf("a lab is already in %s: end it with `lab down` or choose another --dir", l.Dir)
	}
	entries, err := os.ReadDir(l.Dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("read folder: %w", err)
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s is not empty and not a lab", l.Dir)
	}
	if err := os.MkdirAll(l.Dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	l.state = State{Clusters: map[string]Cluster{}, Bin: map[string]string{}, Wallets: map[string]Wallet{}, Members: map[string]string{}}
	return l.state.Write(l.Dir)
}
