// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// tree makes a folder with the given age.
func tree(t *testing.T, age time.Duration) string {
	t.Helper()
	root := t.TempDir()
	old := time.Unix(1700000000, 0).Add(-age)
	for name, content := range map[string]string{"bin/tool": "#!/bin/sh\n", "etc/conf": "a=1\n", "cache/junk": "x", "etc/big": strings.Repeat("b", 5000)} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("tool", filepath.Join(root, "bin/alias")); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(filepath.Join(root, "etc/conf"), filepath.Join(root, "etc/same")); err != nil {
		t.Fatal(err)
	}
	return root
}

func sample(root string) Image {
	return Image{Name: "localhost/sample:1", Architecture: "amd64", Entrypoint: []string{"/bin/tool"}, Content: []Content{{From: root, To: "/", Skip: []string{"cache"}}}}
}

func read(t *testing.T, from io.Reader) (map[string]*tar.Header, map[string][]byte) {
	t.Helper()
	headers, contents := map[string]*tar.Header{}, map[string][]byte{}
	archive := tar.NewReader(from)
	for {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return headers, contents
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(archive)
		if err != nil {
			t.Fatal(err)
		}
		headers[header.Name], contents[header.Name] = header, content
	}
}

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "image.tar")
	digest, err := Write(path, sample(tree(t, 0)))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, contents := read(t, bytes.NewReader(data))
	for name, content := range contents {
		if hex, ok := strings.CutPrefix(name, "blobs/sha256/"); ok && fmt.Sprintf("%x", sha256.Sum256(content)) != hex {
			t.Errorf("content of %s has another digest", name)
		}
	}
	var manifest struct {
		Layers []struct {
			Digest string
			Size   int
		}
	}
	if err := json.Unmarshal(contents["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")], &manifest); err != nil {
		t.Fatal(err)
	}
	layer := contents["blobs/sha256/"+strings.TrimPrefix(manifest.Layers[0].Digest, "sha256:")]
	if len(layer) != manifest.Layers[0].Size {
		t.Errorf("layer has %d bytes, the manifest says %d", len(layer), manifest.Layers[0].Size)
	}
	headers, files := read(t, bytes.NewReader(layer))
	want := []string{"bin/", "bin/alias", "bin/tool", "etc/", "etc/big", "etc/conf", "etc/same"}
	if diff := cmp.Diff(want, slices.Sorted(maps.Keys(headers))); diff != "" {
		t.Errorf("names in the layer (-want +got):\n%s", diff)
	}
	if got := string(files["etc/conf"]); got != "a=1\n" {
		t.Errorf("etc/conf holds %q", got)
	}
	if h := headers["etc/same"]; h.Typeflag != tar.TypeLink || h.Linkname != "etc/conf" {
		t.Errorf("etc/same is of type %q to %q, want a hard link to etc/conf", h.Typeflag, h.Linkname)
	}
	if h := headers["bin/alias"]; h.Typeflag != tar.TypeSymlink || h.Linkname != "tool" {
		t.Errorf("bin/alias is of type %q to %q, want a symbolic link to tool", h.Typeflag, h.Linkname)
	}
}

func TestWriteIsStable(t *testing.T) {
	digests := map[string]bool{}
	for _, age := range []time.Duration{0, time.Hour} {
		digest, err := Write(filepath.Join(t.TempDir(), "image.tar"), sample(tree(t, age)))
		if err != nil {
			t.Fatal(err)
		}
		digests[digest] = true
	}
	if len(digests) != 1 {
		t.Errorf("equal files of different ages gave %d digests, want 1", len(digests))
	}
}

func TestWriteFailsOnMissingContent(t *testing.T) {
	image := sample(filepath.Join(t.TempDir(), "absent"))
	if _, err := Write(filepath.Join(t.TempDir(), "image.tar"), image); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v, want that the file does not exist", err)
	}
}
