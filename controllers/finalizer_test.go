// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What holds an object back must say for how long: each finalizer has a row in the table of docs/operations.md, and no row is of none.
func TestEachFinalizerHasADeadline(t *testing.T) {
	found := map[string]bool{}
	names := regexp.MustCompile(`\b[Ff]inalizer[A-Za-z]*\s*=\s*"([^"]+)"`)
	for _, root := range []string{".", filepath.Join("..", "api"), filepath.Join("..", "internal")} {
		err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			for _, match := range names.FindAllStringSubmatch(string(text), -1) {
				found[match[1]] = true
			}
			for _, call := range regexp.MustCompile(`kube\.Hold\([^)]*, ([^)]+)\)`).FindAllStringSubmatch(string(text), -1) {
				if !strings.EqualFold(call[1], "finalizer") {
					t.Errorf("%s holds an object by %s: name the constant finalizer, so that it is found", path, call[1])
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) < 3 {
		t.Fatalf("found %v: the test looks in the wrong place", found)
	}
	docs, err := os.ReadFile(filepath.Join("..", "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	rows := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `(bourse\\.dev/[a-z-]+)` \\|([^|]*)\\|([^|]*)\\|([^|]*)\\|$").FindAllStringSubmatch(string(docs), -1) {
		rows[row[1]] = strings.TrimSpace(row[4])
	}
	for name := range found {
		if rows[name] == "" {
			t.Errorf("docs/operations.md has no row with a deadline for the finalizer %s", name)
		}
	}
	for name := range rows {
		if !found[name] {
			t.Errorf("docs/operations.md has a row for %s, which is no finalizer", name)
		}
	}
}
