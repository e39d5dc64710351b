// SPDX-License-Identifier: Apache-2.0

// Package rayimage owns the lab's image of real Ray: Ray's published wheel with
// pinned dependencies on a small Debian. It does not know where the image runs.
package rayimage

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/bourse-dev/bourse/hack/lab/nodes/image"
)

const (
	// Version is Ray's version.
	Version = "2.54.1"
	// Name is the image's name.
	Name = "localhost/ray:" + Version

	// suite is the Debian release whose Python the wheels are for.
	suite  = "bookworm"
	python = "3.11"
	user   = 1000
	home   = "/home/ray"

	site = "/usr/local/lib/python" + python + "/dist-packages"
)

//go:embed requirements.txt
var requirements string

//go:embed ray.py
var launcher string

// spec is what containers start with. Ray gets patience, since on a small machine
// its dashboard needs longer than the default half a minute; and it does not phone home.
func spec(root string) image.Image {
	return image.Image{
		Name:         Name,
		Architecture: "amd64",
		User:         strconv.Itoa(user),
		WorkingDir:   home,
		Env: []string{
			"PATH=/usr/local/bin:/usr/bin:/bin",
			"HOME=" + home,
			"LANG=C.UTF-8",
			"RAY_DASHBOARD_STARTUP_TIMEOUT_S=300",
			"RAY_DASHBOARD_SUBPROCESS_MODULE_WAIT_READY_TIMEOUT=300",
			"RAY_USAGE_STATS_ENABLED=0",
		},
		Content: []image.Content{{From: root, To: "/", Skip: []string{
			"proc", "sys", "dev", "debootstrap",
			"usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/info",
			"var/cache", "var/lib/apt/lists", "var/log",
		}}},
	}
}

// Key changes whenever what Build would make changes, Debian's own updates aside.
func Key() string {
	sum := sha256.New()
	// A description of an image that is never built holds all that Build decides.
	fmt.Fprintf(sum, "%v\n%s\n%s\n%s %s %d\n%s", spec(""), requirements, launcher, suite, python, user, strings.Join(packages, " "))
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// packages are Debian's packages in the image, beside the essential ones.
var packages = []string{"python3", "ca-certificates"}

// Build makes the image's archive at path. It works in dir, which must be empty and on a disk with 2 GB free.
func Build(ctx context.Context, dir, path string, out io.Writer) error {
	root := filepath.Join(dir, "root")
	steps := []struct {
		what string
		do   func() error
	}{
		{"unpacking Debian " + suite, func() error { return bootstrap(ctx, root) }},
		{"installing Ray " + Version + " from its wheel", func() error { return install(ctx, dir, root) }},
		{"compiling Ray's modules", func() error { return compile(ctx, root) }},
		{"writing the image", func() error { return write(path, root) }},
	}
	for _, step := range steps {
		fmt.Fprintf(out, "Ray image: %s\n", step.what)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.what, err)
		}
	}
	return nil
}

// bootstrap runs in a mount namespace of its own, with which the mounts of an interrupted run end.
func bootstrap(ctx context.Context, root string) error {
	return run(ctx, "unshare", "--mount", "--propagation", "private",
		"debootstrap", "--variant=minbase", "--include="+strings.Join(packages, ","), suite, root)
}

// install checks every wheel against its hash. Nothing of a wheel is run.
func install(ctx context.Context, dir, root string) error {
	list := filepath.Join(dir, "requirements.txt")
	if err := os.WriteFile(list, []byte(requirements), 0o600); err != nil {
		return err
	}
	args := []string{
		"python3", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--root-user-action=ignore",
		"--target", filepath.Join(root, site), "--requirement", list,
		"--require-hashes", "--no-deps", "--only-binary=:all:", "--no-compile",
		"--implementation", "cp", "--python-version", python,
	}
	for _, platform := range []string{"manylinux2014_x86_64", "manylinux_2_17_x86_64", "manylinux_2_28_x86_64"} {
		args = append(args, "--platform", platform)
	}
	if err := run(ctx, args...); err != nil {
		return err
	}
	// The installer's own launchers name this machine's Python.
	if err := os.RemoveAll(filepath.Join(root, site, "bin")); err != nil {
		return err
	}
	return settle(root)
}

// settle adds the commands and the user that containers need.
func settle(root string) error {
	if err := os.WriteFile(filepath.Join(root, "usr/local/bin/ray"), []byte(launcher), 0o755); err != nil {
		return err
	}
	if err := os.Symlink("/usr/bin/python3", filepath.Join(root, "usr/local/bin/python")); err != nil {
		return err
	}
	for file, line := range map[string]string{
		"etc/passwd": fmt.Sprintf("ray:x:%d:%d:Ray:%s:/bin/bash\n", user, user, home),
		"etc/group":  fmt.Sprintf("ray:x:%d:\n", user),
	} {
		if err := add(filepath.Join(root, file), line); err != nil {
			return err
		}
	}
	own := filepath.Join(root, home)
	if err := os.Mkdir(own, 0o755); err != nil {
		return err
	}
	return os.Chown(own, user, user)
}

func add(path, line string) error {
	content, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(content, line...), 0o644)
}

// compile saves every container the compiling, which its user may not keep. The
// modules' compiled forms hold no times, so that the image's digest stays the same.
func compile(ctx context.Context, root string) error {
	return run(ctx, "chroot", root, "/usr/bin/python3", "-m", "compileall", "-q", "-j", "0",
		"--invalidation-mode", "unchecked-hash", site, "/usr/lib/python"+python)
}

func write(path, root string) error {
	_, err := image.Write(path, spec(root))
	return err
}

func run(ctx context.Context, args ...string) error {
	output, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", args[0], err, output)
	}
	return nil
}
