// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	// notes holds one file for each lab with namespaces, in which is the lab's folder.
	notes = "/run/bourse-federation"
	// stateFile is in the folder of every lab.
	stateFile = "lab.json"
	endWithin = time.Minute
	pollEvery = 50 * time.Millisecond
)

// tools are the programs that the namespaces need.
var tools = []string{"ip", "nft", "nsenter", "sysctl"}

func possible() bool { return runtime.GOOS == "linux" && os.Geteuid() == 0 }

// Check tells why clusters cannot have network namespaces here, if they cannot. It makes one, with the rules, and removes it.
func Check(ctx context.Context) (err error) {
	if !possible() {
		return errors.New("network namespaces need root on Linux")
	}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("network namespaces need the program %s: install iproute2, nftables, util-linux and procps", tool)
		}
	}
	trial := idPrefix + "trial-" + strconv.Itoa(os.Getpid())
	defer func() {
		if err != nil {
			err = fmt.Errorf("try a network namespace: %w", err)
		}
	}()
	if err := run(ctx, "", "ip", "netns", "add", trial); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, run(ctx, "", "ip", "netns", "del", trial)) }()
	if err := run(ctx, "", "ip", "-n", trial, "link", "add", uplink, "type", "veth", "peer", "name", "other"); err != nil {
		return err
	}
	return run(ctx, memberRules(), inside(trial, "nft", "-f", "-")...)
}

// lock waits until no other lab of this machine makes or removes namespaces. It ends with the process at the latest.
func lock() (unlock func(), err error) {
	if err := os.MkdirAll(notes, 0o755); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	file, err := os.Open(notes)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("take lock: %w", err), file.Close())
	}
	return func() { _ = file.Close() }, nil
}

// remember notes that the lab in a folder has namespaces.
func remember(dir string) error {
	if err := os.WriteFile(filepath.Join(notes, id(dir)), []byte(dir), 0o600); err != nil {
		return fmt.Errorf("note lab: %w", err)
	}
	return nil
}

func forget(of string) error {
	if err := os.Remove(filepath.Join(notes, of)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("forget lab: %w", err)
	}
	return nil
}

// sweep removes the namespaces of labs that were killed: those whose folder is gone, and those in which nothing runs.
func sweep(ctx context.Context) error {
	labs, err := os.ReadDir(notes)
	if err != nil {
		return fmt.Errorf("list labs: %w", err)
	}
	for _, lab := range labs {
		dir, err := os.ReadFile(filepath.Join(notes, lab.Name()))
		if err != nil {
			return fmt.Errorf("read note of lab: %w", err)
		}
		alive, err := lives(ctx, lab.Name(), string(dir))
		if err != nil {
			return err
		}
		if alive {
			continue
		}
		if err := errors.Join(remove(ctx, lab.Name()), forget(lab.Name())); err != nil {
			return err
		}
	}
	return nil
}

// lives says whether a lab has its folder, and processes in its namespaces.
func lives(ctx context.Context, of, dir string) (bool, error) {
	_, err := os.Stat(filepath.Join(dir, stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for lab: %w", err)
	}
	namespaces, err := namespacesOf(of)
	if err != nil {
		return false, err
	}
	for _, namespace := range namespaces {
		pids, err := processes(ctx, namespace)
		if err != nil {
			return false, err
		}
		if len(pids) > 0 {
			return true, nil
		}
	}
	return false, nil
}

// namespacesOf lists the names of a lab's namespaces.
func namespacesOf(of string) ([]string, error) {
	paths, err := filepath.Glob(filepath.Join(folder, of+"-*"))
	if err != nil {
		return nil, fmt.Errorf("list namespaces: %w", err)
	}
	for i, path := range paths {
		paths[i] = filepath.Base(path)
	}
	return paths, nil
}

// processes lists what runs in a namespace.
func processes(ctx context.Context, namespace string) ([]int, error) {
	out, err := exec.CommandContext(ctx, "ip", "netns", "pids", namespace).Output()
	if err != nil {
		return nil, fmt.Errorf("list processes of namespace %s: %w", namespace, err)
	}
	var pids []int
	for _, field := range strings.Fields(string(out)) {
		pid, err := strconv.Atoi(field)
		if err != nil {
			return nil, fmt.Errorf("parse process id: %w", err)
		}
		pids = append(pids, pid)
	}
	return pids, nil
}

// remove ends what runs in a lab's namespaces and removes them. Links and rules go with them.
func remove(ctx context.Context, of string) error {
	namespaces, err := namespacesOf(of)
	if err != nil {
		return err
	}
	for _, namespace := range namespaces {
		if err := empty(ctx, namespace); err != nil {
			return err
		}
		if err := run(ctx, "", "ip", "netns", "del", namespace); err != nil {
			return err
		}
	}
	return nil
}

// empty ends what runs in a namespace.
func empty(ctx context.Context, namespace string) error {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for {
		pids, err := processes(ctx, namespace)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("end process %d: %w", pid, err)
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("await end of processes in namespace %s: %w", namespace, ctx.Err())
		case <-ticker.C:
		}
	}
}

// run runs a command to its end, with a text as its input. Its output is in the error.
func run(ctx context.Context, input string, args ...string) error {
	command := exec.CommandContext(ctx, args[0], args[1:]...)
	command.Stdin = strings.NewReader(input)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(output)))
	}
	return nil
}
