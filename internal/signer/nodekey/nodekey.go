// SPDX-License-Identifier: Apache-2.0

// Package nodekey keeps the key by which a node's agent is known: it makes one when there is none, signs bytes, and shows the key itself to
// nobody. It is apart from the wallets' keys, whose package an agent does not need.
package nodekey

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

const (
	blockType = "PRIVATE KEY"
	private   = 0o600
	// strangers are the file permissions of anybody but the owner.
	strangers fs.FileMode = 0o077
	// maxFile is far above what a key takes.
	maxFile = 4096
)

// ErrKeyFile says that a key file cannot be used; its text says why and never what is in the file.
var ErrKeyFile = errors.New("unusable key file")

// Key is a key in memory. It is reachable only through a function value, so no way of printing, formatting or encoding a Key shows it.
type Key struct {
	public string
	sign   func(message []byte) []byte
}

// Open reads the key of the file, or makes one and writes the file if there is none. The file is there whole or not at all, and only its
// owner can read it.
func Open(path string) (*Key, error) {
	key, err := read(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := create(path); err != nil {
		return nil, err
	}
	return read(path)
}

func read(path string) (*Key, error) {
	file, err := os.Open(path) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("check key file: %w", err)
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&strangers != 0 {
		return nil, fmt.Errorf("%w: %s has mode %s, so others can use the key; run chmod 600", ErrKeyFile, path, info.Mode())
	}
	content, err := io.ReadAll(io.LimitReader(file, maxFile))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil || block.Type != blockType {
		return nil, fmt.Errorf("%w: %s holds no private key", ErrKeyFile, path)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("%w: %s holds no private key that can be read", ErrKeyFile, path)
	}
	key, ok := parsed.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%w: %s holds a key of another kind than Ed25519", ErrKeyFile, path)
	}
	return &Key{
		public: base64.StdEncoding.EncodeToString(key[ed25519.SeedSize:]),
		sign:   func(message []byte) []byte { return ed25519.Sign(key, message) },
	}, nil
}

// create makes a key. Of two agents that do so at the same time, the first to finish wins.
func create(path string) error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return fmt.Errorf("make key: %w", err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return fmt.Errorf("encode key: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".key-*") // made with mode 0600
	if err != nil {
		return fmt.Errorf("make key file: %w", err)
	}
	defer func() { _ = os.Remove(file.Name()) }() // its other name stays
	err = errors.Join(file.Chmod(private), pem.Encode(file, &pem.Block{Type: blockType, Bytes: encoded}), file.Sync(), file.Close())
	if err != nil {
		return fmt.Errorf("write key file: %w", err)
	}
	if err := os.Link(file.Name(), path); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("name key file: %w", err)
	}
	folder, err := os.Open(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("keep key file: %w", err)
	}
	if err := errors.Join(folder.Sync(), folder.Close()); err != nil {
		return fmt.Errorf("keep key file: %w", err)
	}
	return nil
}

// PublicKey returns the public key in base64.
func (k *Key) PublicKey() string { return k.public }

// Sign returns the signature over the message in base64.
func (k *Key) Sign(message []byte) string { return base64.StdEncoding.EncodeToString(k.sign(message)) }

// String names the public key.
func (k *Key) String() string { return "node key " + k.public }

// GoString names the public key.
func (k *Key) GoString() string { return k.String() }
