// SPDX-License-Identifier: Apache-2.0

package nodes

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	cgroupRoot = "/sys/fs/cgroup"
	// own is the cgroup of a node's own processes, beside the one that its kubelet makes for pods.
	own       = "own"
	pollEvery = 50 * time.Millisecond
)

// hierarchies returns where cgroups can be made: the one hierarchy of version 2, or each of version 1.
func hierarchies() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{cgroupRoot}, nil
	}
	entries, err := os.ReadDir(cgroupRoot)
	if err != nil {
		return nil, fmt.Errorf("list cgroups: %w", err)
	}
	var found []string
	for _, entry := range entries {
		// Beside version 1, the unified hierarchy has no controllers.
		if entry.IsDir() && entry.Name() != "unified" {
			found = append(found, filepath.Join(cgroupRoot, entry.Name()))
		}
	}
	return found, nil
}

// makeCgroup makes a cgroup with room for the node's own processes in every hierarchy.
func makeCgroup(name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	for _, root := range roots {
		if err := os.MkdirAll(filepath.Join(root, name, own), 0o755); err != nil {
			return fmt.Errorf("make cgroup: %w", err)
		}
		if err := delegate(root, name); err != nil {
			return fmt.Errorf("delegate controllers: %w", err)
		}
	}
	return nil
}

// delegate gives the cgroup all controllers (version 2), or the processor weight of as many processors as there are (version 1).
func delegate(root, name string) error {
	controllers, err := os.ReadFile(filepath.Join(root, "cgroup.controllers"))
	if errors.Is(err, fs.ErrNotExist) {
		return weigh(filepath.Join(root, name))
	}
	if err != nil {
		return err
	}
	enable := "+" + strings.Join(strings.Fields(string(controllers)), " +")
	for path := range ancestors(root, name) {
		if err := os.WriteFile(filepath.Join(path, "cgroup.subtree_control"), []byte(enable), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// ancestors yields the root, each cgroup on the way to the named one, and that one.
func ancestors(root, name string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		path := root
		for _, part := range append([]string{"."}, strings.Split(name, "/")...) {
			path = filepath.Join(path, part)
			if !yield(path) {
				return
			}
		}
	}
}

// weigh keeps a node from counting as one process among all those of a busy machine.
func weigh(path string) error {
	for _, each := range []string{path, filepath.Dir(path)} {
		shares := filepath.Join(each, "cpu.shares")
		if _, err := os.Stat(shares); err != nil {
			continue
		}
		if err := os.WriteFile(shares, []byte(strconv.Itoa(nodeShares)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// nodeShares is the weight of four processors.
const nodeShares = 4096

// removeCgroup ends every process in the cgroup and below it, and removes it in every hierarchy.
func removeCgroup(ctx context.Context, name string) error {
	roots, err := hierarchies()
	if err != nil {
		return err
	}
	// Container runtimes use the unified hierarchy beside version 1, too.
	roots = append(roots, filepath.Join(cgroupRoot, "unified"))
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		left, err := sweep(roots, name)
		if err != nil || !left {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await end of processes in cgroup %s: %w", name, ctx.Err())
		case <-ticker.C:
		}
	}
}

// sweep kills what is in the cgroup and removes what is empty. It tells whether anything is left.
func sweep(roots []string, name string) (bool, error) {
	left := false
	for _, root := range roots {
		cgroups, err := below(filepath.Join(root, name))
		if err != nil {
			return false, err
		}
		for _, cgroup := range cgroups {
			if err := killAll(cgroup); err != nil {
				return false, err
			}
			err := os.Remove(cgroup)
			switch {
			case errors.Is(err, syscall.EBUSY) || errors.Is(err, syscall.ENOTEMPTY):
				left = true
			case err != nil && !errors.Is(err, fs.ErrNotExist):
				return false, fmt.Errorf("remove cgroup: %w", err)
			}
		}
	}
	return left, nil
}

// below lists the cgroup and all in it, the deepest first.
func below(cgroup string) ([]string, error) {
	var found []string
	err := filepath.WalkDir(cgroup, func(path string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && entry.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list cgroup: %w", err)
	}
	slices.Reverse(found)
	return found, nil
}

func killAll(cgroup string) error {
	data, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list processes: %w", err)
	}
	for _, field := range strings.Fields(string(data)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return fmt.Errorf("parse process id: %w", err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("end process %d: %w", pid, err)
		}
	}
	return nil
}
