// SPDX-License-Identifier: Apache-2.0

package chaintest

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// SourceEnv names the variable with the folder of the chain's sources, for
// programs that do not run inside a checkout.
const SourceEnv = "BOURSE_CHAIN_DIR"

// sourceDir is where the sources are in a checkout.
const sourceDir = "hack/lab/chain"

// oldestNode is the oldest major version of Node that the chain runs on.
const oldestNode = 20

// manifest is what decides which dependencies are installed.
var manifest = []string{"package.json", "package-lock.json", ".npmrc"}

// Source finds the folder of the chain's sources: what SourceEnv says, or
// hack/lab/chain of the checkout around the working directory.
func Source() (string, error) {
	if dir := os.Getenv(SourceEnv); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find working directory: %w", err)
	}
	for {
		source := filepath.Join(dir, filepath.FromSlash(sourceDir))
		if _, err := os.Stat(filepath.Join(source, "server.mjs")); err == nil {
			return source, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("find %s above the working directory: set %s to its path: %w", sourceDir, SourceEnv, os.ErrNotExist)
		}
		dir = parent
	}
}

// Install makes sure that the dependencies of the sources are on this machine
// and returns their node_modules folder. They are installed once for each
// version of the lock file, into the user's cache; progress says so.
func Install(ctx context.Context, source string, progress io.Writer) (string, error) {
	if err := checkNode(ctx); err != nil {
		return "", err
	}
	version, err := manifestHash(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find cache folder: %w", err)
	}
	target := filepath.Join(cache, "bourse", "chain", version)
	modules := filepath.Join(target, "node_modules")
	if _, err := os.Stat(modules); err == nil {
		return modules, nil
	}
	if _, err := fmt.Fprintf(progress, "installing the local chain's dependencies into %s\n", target); err != nil {
		return "", fmt.Errorf("write progress: %w", err)
	}
	if err := installInto(ctx, source, target, progress); err != nil {
		return "", err
	}
	return modules, nil
}

// installInto installs beside the target and renames, so that a target is
// complete or absent, whoever else installs at the same time.
func installInto(ctx context.Context, source, target string, progress io.Writer) (err error) {
	if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
		return fmt.Errorf("make cache folder: %w", err)
	}
	work, err := os.MkdirTemp(filepath.Dir(target), "installing-")
	if err != nil {
		return fmt.Errorf("make folder to install in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	for _, name := range manifest {
		data, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return fmt.Errorf("read manifest: %w", err)
		}
		if err := os.WriteFile(filepath.Join(work, name), data, 0o644); err != nil {
			return fmt.Errorf("copy manifest: %w", err)
		}
	}
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
	npm.Dir, npm.Stdout, npm.Stderr = work, progress, progress
	if err := npm.Run(); err != nil {
		return fmt.Errorf("run npm ci: %w", err)
	}
	if err := os.Rename(work, target); err != nil {
		if _, exists := os.Stat(target); exists == nil {
			return nil // another process was faster
		}
		return fmt.Errorf("put dependencies in place: %w", err)
	}
	return nil
}

// manifestHash names a set of dependencies.
func manifestHash(source string) (string, error) {
	hash := sha256.New()
	for _, name := range manifest {
		data, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", fmt.Errorf("read manifest: %w", err)
		}
		fmt.Fprintf(hash, "%s %d\n", name, len(data))
		hash.Write(data)
	}
	return hex.EncodeToString(hash.Sum(nil))[:16], nil
}

// checkNode refuses a machine without Node, or with one that is too old.
func checkNode(ctx context.Context) error {
	out, err := exec.CommandContext(ctx, "node", "--version").Output()
	if err != nil {
		return fmt.Errorf("run node (the local chain needs Node %d or later): %w", oldestNode, err)
	}
	version := strings.TrimSpace(string(out))
	major, err := strconv.Atoi(strings.SplitN(strings.TrimPrefix(version, "v"), ".", 2)[0])
	if err != nil {
		return fmt.Errorf("read version of node %q: %w", version, err)
	}
	if major < oldestNode {
		return fmt.Errorf("node %s is too old: the local chain needs Node %d or later", version, oldestNode)
	}
	return nil
}
