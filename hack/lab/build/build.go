// SPDX-License-Identifier: Apache-2.0

// Package build owns the lab's programs: it builds each once from source into
// the user's cache, under a name that holds the hash of those sources. It does
// not know what the programs do.
package build

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// reportEvery is how often a long build says how far it is.
const reportEvery = 10 * time.Second

// keepFor is how long a program that nobody used stays in the cache.
const keepFor = 3 * 24 * time.Hour

// Tool is one program that can be built.
type Tool struct {
	// Name is the program's name.
	Name string
	// Module is the folder of the Go module to build in.
	Module string
	// Package is the main package.
	Package string
	// Sources are the files and folders, relative to Module, that the program is made from.
	Sources []string
	// LDFlags go to the linker.
	LDFlags string
}

// Cache holds built programs.
type Cache struct {
	// Dir is the cache's folder.
	Dir string
	// Out gets progress lines.
	Out io.Writer
	// Now tells the time.
	Now func() time.Time
}

// Path returns the path of the tool's program, which it builds if the cache does not have it.
func (c Cache) Path(ctx context.Context, t Tool) (string, error) {
	sum, err := Hash(t.Module, t.Sources, t.LDFlags)
	if err != nil {
		return "", fmt.Errorf("hash sources of %s: %w", t.Name, err)
	}
	bin := filepath.Join(c.Dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		return "", fmt.Errorf("make cache: %w", err)
	}
	unlock, err := lock(filepath.Join(bin, t.Name+".lock"))
	if err != nil {
		return "", fmt.Errorf("lock cache: %w", err)
	}
	defer unlock()
	path := filepath.Join(bin, t.Name+"-"+sum)
	if _, err := os.Stat(path); err == nil {
		now := c.Now()
		return path, os.Chtimes(path, now, now)
	}
	if err := c.build(ctx, t, path); err != nil {
		return "", fmt.Errorf("build %s: %w", t.Name, err)
	}
	return path, c.prune(bin, t.Name, path)
}

// Environment is what every go command of the lab runs with. The flags are part
// of the compiler's cache key: with others all of Kubernetes compiles again.
// The compiler collects its garbage less often, unless GOGC says otherwise: a quarter less processor time.
func Environment() []string {
	env := append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=-buildvcs=false -trimpath -gcflags=all=-dwarf=false", "GOWORK=off")
	if os.Getenv("GOGC") == "" {
		env = append(env, "GOGC=400")
	}
	return env
}

func (c Cache) build(ctx context.Context, t Tool, path string) error {
	began := c.Now()
	temporary := path + ".new"
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-ldflags", strings.TrimSpace("-s -w "+t.LDFlags), "-o", temporary, t.Package)
	cmd.Dir, cmd.Env = t.Module, Environment()
	output, err := cmd.StderrPipe()
	if err != nil {
		return fmt.Errorf("make pipe: %w", err)
	}
	fmt.Fprintf(c.Out, "building %s (once; kept in %s)\n", t.Name, filepath.Dir(path))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start go: %w", err)
	}
	tail := c.follow(t.Name, output, began)
	if err := cmd.Wait(); err != nil {
		return fmt.Errorf("%w\n%s", err, tail)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("keep program: %w", err)
	}
	fmt.Fprintf(c.Out, "built %s in %s\n", t.Name, c.Now().Sub(began).Round(time.Second))
	return nil
}

// follow reads the compiler's output to its end, reports progress, and returns what was not a package's name.
func (c Cache) follow(name string, output io.Reader, began time.Time) string {
	var other bytes.Buffer
	packages, reported := 0, began
	for lines := bufio.NewScanner(output); lines.Scan(); {
		line := lines.Text()
		if strings.ContainsAny(line, " :#") {
			other.WriteString(line + "\n")
			continue
		}
		packages++
		if now := c.Now(); now.Sub(reported) >= reportEvery {
			reported = now
			fmt.Fprintf(c.Out, "building %s: %d packages compiled, %s\n", name, packages, now.Sub(began).Round(time.Second))
		}
	}
	return other.String()
}

// prune removes programs of the same name that nobody used for long.
func (c Cache) prune(bin, name, keep string) error {
	old, err := filepath.Glob(filepath.Join(bin, name+"-*"))
	if err != nil {
		return fmt.Errorf("list cache: %w", err)
	}
	for _, path := range old {
		info, err := os.Stat(path)
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("read cache: %w", err)
		}
		if path != keep && c.Now().Sub(info.ModTime()) > keepFor {
			if err := os.RemoveAll(path); err != nil {
				return fmt.Errorf("prune cache: %w", err)
			}
		}
	}
	return nil
}

// lock waits until nobody else holds path's lock. The lock ends with the process at the latest.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("take lock: %w", err)
	}
	return func() { _ = file.Close() }, nil
}
