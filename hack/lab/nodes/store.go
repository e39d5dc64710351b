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
	"runtime"
	"syscall"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/nodes/image"
	"github.com/bourse-dev/bourse/hack/lab/nodes/rayimage"
)

// unpackWithin is how long importing the images may take on a busy machine.
const unpackWithin = 5 * time.Minute

// store returns a containerd root that holds all images, unpacked. It is made
// once and kept in the cache: importing a large image anew takes longer than all the rest of a node's start.
func (c Config) store(ctx context.Context, pause string) (string, error) {
	dir := filepath.Join(c.Cache.Dir, "images")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("make cache: %w", err)
	}
	unlock, err := lock(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR)
	if err != nil {
		return "", err
	}
	defer unlock()
	path := filepath.Join(dir, filepath.Base(pause)+"-ray-"+rayimage.Key())
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	work := path + ".new"
	if err := errors.Join(os.RemoveAll(work), os.MkdirAll(work, 0o700)); err != nil {
		return "", fmt.Errorf("make folder: %w", err)
	}
	fmt.Fprintf(c.Out, "building the Ray image (once; kept in %s)\n", dir)
	archives, err := c.archives(ctx, work, pause)
	if err != nil {
		return "", err
	}
	root := filepath.Join(work, "containerd")
	if err := unpack(ctx, work, root, archives); err != nil {
		return "", fmt.Errorf("unpack images: %w", err)
	}
	if err := os.Rename(root, path); err != nil {
		return "", fmt.Errorf("keep images: %w", err)
	}
	return path, os.RemoveAll(work)
}

// archives writes all images' archives into the folder.
func (c Config) archives(ctx context.Context, work, pause string) ([]string, error) {
	small, large := filepath.Join(work, "pause.tar"), filepath.Join(work, "ray.tar")
	_, err := image.Write(small, image.Image{
		Name:         PauseImage,
		Architecture: runtime.GOARCH,
		Entrypoint:   []string{"/pause"},
		User:         "65535",
		Content:      []image.Content{{From: pause, To: "/pause"}},
	})
	if err != nil {
		return nil, fmt.Errorf("write pause image: %w", err)
	}
	build := filepath.Join(work, "ray")
	if err := os.Mkdir(build, 0o700); err != nil {
		return nil, fmt.Errorf("make folder: %w", err)
	}
	if err := rayimage.Build(ctx, build, large, c.Out); err != nil {
		return nil, fmt.Errorf("build Ray image: %w", err)
	}
	return []string{small, large}, nil
}

// unpack imports archives with a containerd that runs for nothing else.
func unpack(ctx context.Context, work, root string, archives []string) error {
	state, err := os.MkdirTemp("", "bourse-images")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(state) //nolint:errcheck // Holds a socket only.
	socket, config := filepath.Join(state, "socket"), filepath.Join(work, "containerd.toml")
	text := values{"root": root, "state": state, "socket": socket}.fill(`version = 2
root = "$root"
state = "$state"
disabled_plugins = ["io.containerd.grpc.v1.cri"]
[grpc]
  address = "$socket"
`)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return fmt.Errorf("write config: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, unpackWithin)
	defer cancel()
	server := exec.CommandContext(ctx, "containerd", "--config", config, "--log-level", "warn")
	server.Cancel = func() error { return server.Process.Signal(syscall.SIGTERM) }
	if err := server.Start(); err != nil {
		return fmt.Errorf("start containerd: %w", err)
	}
	err = imports(ctx, socket, archives)
	cancel()
	// It ends by the signal that we sent; that is no failure.
	_ = server.Wait()
	return err
}

func imports(ctx context.Context, socket string, archives []string) error {
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for !answers(ctx, socket) {
		select {
		case <-ctx.Done():
			return fmt.Errorf("await containerd: %w", ctx.Err())
		case <-ticker.C:
		}
	}
	for _, archive := range archives {
		if err := run(ctx, "ctr", "--address", socket, "--namespace", "k8s.io", "images", "import", archive); err != nil {
			return err
		}
	}
	return nil
}

// cloneStore gives a node its own copy of the images. Files are shared where the
// file system can, since containerd never changes what it has unpacked; its databases are copied.
func cloneStore(ctx context.Context, store, to string) error {
	if err := run(ctx, "cp", "--archive", "--link", store, to); err != nil {
		if err := errors.Join(os.RemoveAll(to), run(ctx, "cp", "--archive", "--reflink=auto", store, to)); err != nil {
			return err
		}
		return nil
	}
	return filepath.WalkDir(to, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (entry.Name() == "blobs" || entry.Name() == "snapshots"):
			return fs.SkipDir
		case !entry.Type().IsRegular():
			return nil
		}
		return unshare(path)
	})
}

// unshare replaces a file that has several names by a copy.
func unshare(path string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o600)
}
