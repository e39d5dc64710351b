// SPDX-License-Identifier: Apache-2.0

package build

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// Hash returns a short name for the content of sources (files and folders under root), the extra strings and the compiler.
// Tests, hidden folders and node_modules do not count.
func Hash(root string, sources []string, extra ...string) (string, error) {
	var files []string
	for _, source := range sources {
		found, err := list(filepath.Join(root, source))
		if err != nil {
			return "", err
		}
		files = append(files, found...)
	}
	slices.Sort(files)
	sum := sha256.New()
	fmt.Fprintf(sum, "%s %s %s %q\n", runtime.Version(), runtime.GOOS, runtime.GOARCH, extra)
	for _, file := range slices.Compact(files) {
		if err := add(sum, root, file); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

func list(root string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case path != root && entry.IsDir() && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "node_modules" || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.Type().IsRegular() && !strings.HasSuffix(path, "_test.go"):
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("walk %s: %w", root, err)
	}
	return files, nil
}

func add(sum hash.Hash, root, file string) error {
	name, err := filepath.Rel(root, file)
	if err != nil {
		return fmt.Errorf("name %s: %w", file, err)
	}
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("open source: %w", err)
	}
	defer f.Close() //nolint:errcheck // Only read.
	info, err := f.Stat()
	if err != nil {
		return fmt.Errorf("stat source: %w", err)
	}
	fmt.Fprintf(sum, "%q %d\n", name, info.Size())
	if _, err := io.Copy(sum, f); err != nil {
		return fmt.Errorf("read source: %w", err)
	}
	return nil
}
