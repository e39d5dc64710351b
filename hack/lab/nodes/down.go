// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// downWithin is how long killed processes may take to be gone.
const downWithin = time.Minute

// marker names the file that tells a folder of nodes from any other. It lists the host's folders that Network made.
const marker = "nodes.made"

// hostFolders must exist for a node to have its own in their place.
var hostFolders = []string{"/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/run/containerd", "/run/netns"}

// mark makes the folder and the host's folders, and notes which of these were not there before.
func (s site) mark() error {
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	var made []string
	for _, folder := range hostFolders {
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			made = append(made, folder)
		}
	}
	if err := os.WriteFile(s.path(marker), []byte(strings.Join(made, "\n")), 0o600); err != nil {
		return fmt.Errorf("mark folder: %w", err)
	}
	for _, folder := range made {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make folder for mounts: %w", err)
		}
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
	if _, err := os.Stat(cgroupRoot); errors.Is(err, fs.ErrNotExist) {
		return nil // Not Linux: there can be none.
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
	return s.unmark(ctx)
}

func (s site) unmark(ctx context.Context) error {
	data, err := os.ReadFile(s.path(marker))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read marker: %w", err)
	}
	for _, folder := range strings.Fields(string(data)) {
		if err := unmountEmpty(ctx, folder); err != nil {
			return err
		}
		if err := os.Remove(folder); err != nil && !inUse(err) {
			return fmt.Errorf("remove folder for mounts: %w", err)
		}
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return fmt.Errorf("remove folder: %w", err)
	}
	return nil
}

// inUse tells that somebody else took a folder into use meanwhile, or removed it.
func inUse(err error) bool {
	return errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EBUSY) || errors.Is(err, fs.ErrNotExist)
}

// unmountEmpty undoes the mount that `ip netns add` makes of its own folder.
func unmountEmpty(ctx context.Context, folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("read folder for mounts: %w", err)
	}
	if len(entries) > 0 || exec.CommandContext(ctx, "mountpoint", "-q", folder).Run() != nil {
		return nil
	}
	return run(ctx, "umount", folder)
}
