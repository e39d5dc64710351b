// SPDX-License-Identifier: Apache-2.0

package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// packer writes files into a layer.
type packer struct {
	to *tar.Writer
	// first holds the name of each file that has several, by device and inode.
	first map[[2]uint64]string
}

func pack(to io.Writer, content []Content) error {
	p := &packer{to: tar.NewWriter(to), first: map[[2]uint64]string{}}
	for _, c := range content {
		if err := p.add(c); err != nil {
			return err
		}
	}
	if err := p.to.Close(); err != nil {
		return fmt.Errorf("end layer: %w", err)
	}
	return nil
}

// add walks in lexical order, so that equal folders give equal layers.
func (p *packer) add(c Content) error {
	return filepath.WalkDir(c.From, func(path string, found fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("walk: %w", err)
		}
		within, err := filepath.Rel(c.From, path)
		if err != nil {
			return fmt.Errorf("name %s: %w", path, err)
		}
		name := strings.TrimPrefix(filepath.Join(c.To, within), "/")
		switch {
		case slices.Contains(c.Skip, name) && found.IsDir():
			return fs.SkipDir
		case name == "" || slices.Contains(c.Skip, name):
			return nil
		}
		if err := p.file(path, name); err != nil {
			return fmt.Errorf("pack %s: %w", path, err)
		}
		return nil
	})
}

func (p *packer) file(path, name string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if info.Mode()&(fs.ModeSocket|fs.ModeNamedPipe|fs.ModeDevice|fs.ModeCharDevice) != 0 {
		// The container runtime makes its own.
		return nil
	}
	header, err := p.header(path, name, info)
	if err != nil {
		return err
	}
	if err := p.to.WriteHeader(header); err != nil {
		return err
	}
	if header.Typeflag != tar.TypeReg {
		return nil
	}
	return p.body(path)
}

func (p *packer) header(path, name string, info fs.FileInfo) (*tar.Header, error) {
	var target string
	if info.Mode()&fs.ModeSymlink != 0 {
		var err error
		if target, err = os.Readlink(path); err != nil {
			return nil, err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return nil, err
	}
	header.Name, header.Uname, header.Gname = name, "", ""
	header.ModTime, header.AccessTime, header.ChangeTime = time.Unix(0, 0), time.Time{}, time.Time{}
	if info.IsDir() {
		header.Name += "/"
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return nil, errors.New("the system tells no inode")
	}
	if info.Mode().IsRegular() && stat.Nlink > 1 {
		p.link(header, [2]uint64{uint64(stat.Dev), stat.Ino})
	}
	return header, nil
}

// link makes the second and further names of a file hard links to its first.
func (p *packer) link(header *tar.Header, inode [2]uint64) {
	first, seen := p.first[inode]
	if !seen {
		p.first[inode] = header.Name
		return
	}
	header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
}

func (p *packer) body(path string) (err error) {
	file, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	_, err = io.Copy(p.to, file)
	return err
}
