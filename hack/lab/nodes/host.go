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
)

const (
	// hostState holds which folders the labs of this machine have made.
	hostState = "/run/bourse-nodes"
	// hostLock is the folder whose lock makes changes to those folders one at a time.
	hostLock = "/run"
)

// hostFolders must exist for a node to have its own in their place.
var hostFolders = []string{"/var/lib/kubelet", "/var/lib/cni", "/var/log/containers", "/run/containerd", "/run/netns"}

// enterHost makes the folders that are missing, and the lab's cgroup by which other labs know that it uses them.
func (s site) enterHost() error {
	unlock, err := lock(hostLock, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer unlock()
	made, err := readHostState()
	if err != nil {
		return err
	}
	for _, folder := range hostFolders {
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			made = append(made, folder)
		}
	}
	if err := os.WriteFile(hostState, []byte(strings.Join(made, "\n")), 0o600); err != nil {
		return fmt.Errorf("note folders: %w", err)
	}
	for _, folder := range made {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return fmt.Errorf("make folder for mounts: %w", err)
		}
	}
	return makeCgroup(s.cgroup(hub))
}

// leaveHost removes the folders that labs have made when no lab is left. Sooner
// would not do: removing a folder ends the mounts that other labs have on it.
func leaveHost(ctx context.Context) error {
	unlock, err := lock(hostLock, os.O_RDONLY)
	if err != nil {
		return err
	}
	defer unlock()
	others, err := filepath.Glob(filepath.Join(cgroupRoot, "*", idPrefix+"*"))
	if err != nil {
		return fmt.Errorf("list labs: %w", err)
	}
	unified, err := filepath.Glob(filepath.Join(cgroupRoot, idPrefix+"*"))
	if err != nil {
		return fmt.Errorf("list labs: %w", err)
	}
	if len(others)+len(unified) > 0 {
		return nil
	}
	made, err := readHostState()
	if err != nil {
		return err
	}
	for _, folder := range made {
		if err := removeEmpty(ctx, folder); err != nil {
			return err
		}
	}
	if err := os.Remove(hostState); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget folders: %w", err)
	}
	return nil
}

func readHostState() ([]string, error) {
	data, err := os.ReadFile(hostState)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read folders: %w", err)
	}
	return strings.Fields(string(data)), nil
}

// removeEmpty removes a folder unless somebody has put something into it.
// It first undoes the mount that `ip netns add` makes of its own folder.
func removeEmpty(ctx context.Context, folder string) error {
	entries, err := os.ReadDir(folder)
	if errors.Is(err, fs.ErrNotExist) || len(entries) > 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read folder for mounts: %w", err)
	}
	if exec.CommandContext(ctx, "mountpoint", "-q", folder).Run() == nil {
		if err := run(ctx, "umount", folder); err != nil {
			return err
		}
	}
	if err := os.Remove(folder); err != nil && !errors.Is(err, syscall.ENOTEMPTY) {
		return fmt.Errorf("remove folder for mounts: %w", err)
	}
	return nil
}

// lock waits until nobody else holds path's lock, which ends with the process at the latest.
func lock(path string, flags int) (unlock func(), err error) {
	file, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("take lock: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}
