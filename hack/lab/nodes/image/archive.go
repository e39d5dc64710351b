// SPDX-License-Identifier: Apache-2.0

// Package image writes OCI image archives from files, without a registry or a
// container engine. Equal files give equal digests: times and names of owners
// do not count, numeric owners and modes do.
package image

import (
	"archive/tar"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	configType   = "application/vnd.oci.image.config.v1+json"
	layerType    = "application/vnd.oci.image.layer.v1.tar"

	blockBytes = 512
)

// Image says what is in an image.
type Image struct {
	// Name is the full name with its tag, as in "localhost/pause:1".
	Name string
	// Architecture is a Go architecture, as in "amd64".
	Architecture string
	// Entrypoint, Env, User and WorkingDir are what containers start with.
	Entrypoint []string
	Env        []string
	User       string
	WorkingDir string
	// Content is what its one layer holds.
	Content []Content
}

// Content is a file or folder and where it lies in the image.
type Content struct {
	From, To string
	// Skip leaves out files and folders, by their path in the image without the first slash.
	Skip []string
}

// Write makes the archive at path and returns the image's digest. The layer is streamed: an image may be larger than memory.
func Write(path string, image Image) (digest string, err error) {
	file, err := os.Create(path)
	if err != nil {
		return "", fmt.Errorf("create archive: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	layer, err := writeLayer(file, image.Content)
	if err != nil {
		return "", fmt.Errorf("write layer: %w", err)
	}
	config, err := json.Marshal(image.config(layer))
	if err != nil {
		return "", fmt.Errorf("encode config: %w", err)
	}
	manifest, err := json.Marshal(map[string]any{
		"schemaVersion": 2,
		"mediaType":     manifestType,
		"config":        describe(config).as(configType),
		"layers":        []any{layer.as(layerType)},
	})
	if err != nil {
		return "", fmt.Errorf("encode manifest: %w", err)
	}
	index, err := json.Marshal(image.index(describe(manifest)))
	if err != nil {
		return "", fmt.Errorf("encode index: %w", err)
	}
	entries := []entry{
		{describe(config).path(), config},
		{describe(manifest).path(), manifest},
		{"index.json", index},
		{"oci-layout", []byte(`{"imageLayoutVersion":"1.0.0"}`)},
	}
	return describe(manifest).digest, writeEntries(file, entries)
}

// blob is a piece of content that is known by its digest.
type blob struct {
	digest string
	size   int64
}

func describe(content []byte) blob {
	return blob{fmt.Sprintf("sha256:%x", sha256.Sum256(content)), int64(len(content))}
}

func (b blob) path() string { return "blobs/sha256/" + strings.TrimPrefix(b.digest, "sha256:") }

func (b blob) as(mediaType string) map[string]any {
	return map[string]any{"mediaType": mediaType, "digest": b.digest, "size": b.size}
}

func (i Image) config(layer blob) map[string]any {
	return map[string]any{
		"architecture": i.Architecture,
		"os":           "linux",
		"config":       map[string]any{"Entrypoint": i.Entrypoint, "Env": i.Env, "User": i.User, "WorkingDir": i.WorkingDir},
		"rootfs":       map[string]any{"type": "layers", "diff_ids": []string{layer.digest}},
	}
}

func (i Image) index(manifest blob) map[string]any {
	descriptor := manifest.as(manifestType)
	descriptor["annotations"] = map[string]string{
		"io.containerd.image.name":          i.Name,
		"org.opencontainers.image.ref.name": i.Name[strings.LastIndex(i.Name, ":")+1:],
	}
	return map[string]any{"schemaVersion": 2, "manifests": []any{descriptor}}
}

// writeLayer streams the layer as the archive's first entry. The entry's header
// holds the layer's digest and size, so room is left for it and it is filled in last.
func writeLayer(file io.WriteSeeker, content []Content) (blob, error) {
	if _, err := file.Seek(blockBytes, io.SeekStart); err != nil {
		return blob{}, fmt.Errorf("leave room for header: %w", err)
	}
	sum := sha256.New()
	count := &counter{to: io.MultiWriter(file, sum)}
	if err := pack(count, content); err != nil {
		return blob{}, err
	}
	layer := blob{fmt.Sprintf("sha256:%x", sum.Sum(nil)), count.bytes}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return blob{}, fmt.Errorf("return to header: %w", err)
	}
	// A tar is a whole number of blocks long, so no padding follows the entry.
	if err := tar.NewWriter(file).WriteHeader(header(layer.path(), layer.size)); err != nil {
		return blob{}, fmt.Errorf("write header: %w", err)
	}
	if _, err := file.Seek(0, io.SeekEnd); err != nil {
		return blob{}, fmt.Errorf("return to end: %w", err)
	}
	return layer, nil
}

type entry struct {
	name    string
	content []byte
}

func writeEntries(to io.Writer, entries []entry) error {
	archive := tar.NewWriter(to)
	for _, e := range entries {
		if err := archive.WriteHeader(header(e.name, int64(len(e.content)))); err != nil {
			return fmt.Errorf("write header of %s: %w", e.name, err)
		}
		if _, err := archive.Write(e.content); err != nil {
			return fmt.Errorf("write %s: %w", e.name, err)
		}
	}
	if err := archive.Close(); err != nil {
		return fmt.Errorf("end archive: %w", err)
	}
	return nil
}

func header(name string, size int64) *tar.Header {
	return &tar.Header{Name: name, Mode: 0o644, Size: size, ModTime: time.Unix(0, 0), Format: tar.FormatUSTAR}
}

type counter struct {
	to    io.Writer
	bytes int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.to.Write(p)
	c.bytes += int64(n)
	return n, err
}
