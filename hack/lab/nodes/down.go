// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// downWithin is how long killed processes may take to be gone.
const downWithin = time.Minute

// marker names the file that tells a folder of nodes from any other.
const marker = "nodes.made"

func (s site) mark() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	if err := os.WriteFile(s.path(marker), nil, 0o600); err != nil {
		return fmt.Errorf("mark folder: %w", err)
	}
	return nil
}

// Down ends and removes everything of the nodes in dir. It may be called at any
// time: also when Network or Up failed half-way, was killed, or never ran.
func Down(ctx context.Context, dir string) error {
	if !filepath.IsAbs(dir) {
		return fmt.Errorf("folder %q is not absolute", dir)
	}
	s := site{dir}
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return nil // There can be none.
	}
	ctx, cancel := context.WithTimeout(ctx, downWithin)
	defer cancel()
	// All of a lab's processes are in its cgroup. Its mounts end with the last process that sees them.
	if err := removeCgroup(ctx, s.id()); err != nil {
		return err
	}
	namespaces, err := filepath.Glob(s.namespacePath("*"))
	if err != nil {
		return fmt.Errorf("list namespaces: %w", err)
	}
	for _, namespace := range namespaces {
		if err := run(ctx, "ip", "netns", "del", filepath.Base(namespace)); err != nil {
			return err
		}
	}
	if err := leaveHost(ctx); err != nil {
		return err
	}
	if _, err := os.Stat(s.path(marker)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	return nil
}
