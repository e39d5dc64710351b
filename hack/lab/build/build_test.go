// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/hack/lab/build"
)

func write(t *testing.T, root, name, text string) {
	t.Helper()
	path := filepath.Join(root, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHash(t *testing.T) {
	cases := map[string]struct {
		name, text string
		extra      []string
		wantSame   bool
	}{
		"a changed source counts":          {"a/x.go", "package y", nil, false},
		"a new source counts":              {"a/z.go", "package x", nil, false},
		"linker flags count":               {"a/x.go", "package x", []string{"-X v=1"}, false},
		"the same source again":            {"a/x.go", "package x", nil, true},
		"a test does not count":            {"a/x_test.go", "package x", nil, true},
		"a hidden folder does not count":   {"a/.git/x.go", "package x", nil, true},
		"a file elsewhere does not count":  {"b/x.go", "package x", nil, true},
		"node_modules are not our sources": {"a/node_modules/x.js", "x", nil, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			write(t, root, "a/x.go", "package x")
			before, err := build.Hash(root, []string{"a"})
			if err != nil {
				t.Fatal(err)
			}
			write(t, root, tc.name, tc.text)
			after, err := build.Hash(root, []string{"a"}, tc.extra...)
			if err != nil {
				t.Fatal(err)
			}
			if (before == after) != tc.wantSame {
				t.Errorf("hash before %s, after %s; want same %t", before, after, tc.wantSame)
			}
		})
	}
	if _, err := build.Hash(t.TempDir(), []string{"missing"}); err == nil {
		t.Error("Hash of missing sources: no error")
	}
}

func TestCacheBuildsOnceAndPrunes(t *testing.T) {
	module, dir := t.TempDir(), t.TempDir()
	write(t, module, "go.mod", "module example.test/hello\n\ngo 1.26.0\n")
	write(t, module, "main.go", "package main\n\nvar word string\n\nfunc main() { print(word) }\n")
	tool := build.Tool{Name: "hello", Module: module, Package: ".", Sources: []string{"."}, LDFlags: "-X main.word=hi"}
	var out bytes.Buffer
	now := time.Now()
	cache := build.Cache{Dir: dir, Out: &out, Now: func() time.Time { return now }}
	write(t, dir, "bin/hello-old", "")
	if err := os.Chtimes(filepath.Join(dir, "bin/hello-old"), now, now.Add(-60*24*time.Hour)); err != nil {
		t.Fatal(err)
	}

	first, err := cache.Path(t.Context(), tool)
	if err != nil {
		t.Fatal(err)
	}
	if word, err := exec.CommandContext(t.Context(), first).CombinedOutput(); err != nil || string(word) != "hi" {
		t.Errorf("built program printed %q, %v; want hi", word, err)
	}
	if _, err := os.Stat(filepath.Join(dir, "bin/hello-old")); !os.IsNotExist(err) {
		t.Errorf("old program: %v, want it gone", err)
	}
	progress := out.String()
	if second, err := cache.Path(t.Context(), tool); err != nil || second != first || out.String() != progress {
		t.Errorf("second Path = %s, %v, with progress %q; want %s from the cache", second, err, out.String()[len(progress):], first)
	}

	write(t, module, "main.go", "package main\n\nfunc main() { undefined() }\n")
	if _, err := cache.Path(t.Context(), tool); err == nil || !strings.Contains(err.Error(), "undefined") {
		t.Errorf("Path of a broken program: error %v, want the compiler's", err)
	}
}
