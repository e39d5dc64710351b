// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"runtime"

	"github.com/bourse-dev/bourse/internal/chain"
)

// maxKeyFile is far above what 64 numbers take.
const maxKeyFile = 4096

// forbidden are the file permissions that let strangers read the key or let anybody else replace it. Group-readable is allowed:
// that is how Kubernetes mounts a Secret for a container that does not run as root.
const forbidden fs.FileMode = 0o027

// ErrKeyFile says that a key file cannot be used; its text says why and never what is in the file.
var ErrKeyFile = errors.New("unusable key file")

// Keypair is a wallet key in memory. The key is reachable only through a function value, so no way of printing, formatting or
// encoding a Keypair, or anything that holds one, can show it.
type Keypair struct {
	public chain.Address
	sign   func(message []byte) []byte
}

// FromFile reads a key file as solana-keygen writes it: a JSON array of 64 numbers, the seed and then the public key.
func FromFile(path string) (*Keypair, error) {
	file, err := os.Open(path) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer func() { _ = file.Close() }() // it was only read
	info, err := file.Stat()
	if err != nil {
		return nil, fmt.Errorf("check key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrKeyFile, path)
	}
	if mode := info.Mode().Perm(); exposed(mode, runtime.GOOS) {
		return nil, fmt.Errorf("%w: %s has mode %04o, so others can use the key; run chmod 600, or mount the Secret with defaultMode 0440",
			ErrKeyFile, path, mode)
	}
	content, err := io.ReadAll(io.LimitReader(file, maxKeyFile+1))
	if err != nil {
		return nil, fmt.Errorf("read key file: %w", err)
	}
	pair, err := parse(content)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %w", ErrKeyFile, path, err)
	}
	return pair, nil
}

// exposed says whether a file's mode lets others use it. Windows has no modes, and Go makes up 0666 there.
func exposed(mode fs.FileMode, system string) bool { return mode&forbidden != 0 && system != "windows" }

// FromSeed makes a keypair from the 32 bytes of an Ed25519 seed.
func FromSeed(seed [ed25519.SeedSize]byte) *Keypair {
	return newKeypair(ed25519.NewKeyFromSeed(seed[:]))
}

// parse reads the numbers. Its errors never quote the content.
func parse(content []byte) (*Keypair, error) {
	if len(content) > maxKeyFile {
		return nil, errors.New("is too large")
	}
	var numbers []uint8
	var wide []uint16 // a []uint8 would be read as base64 text
	if json.Unmarshal(content, &wide) != nil || len(wide) != ed25519.PrivateKeySize {
		return nil, errors.New("is not a JSON array of 64 numbers")
	}
	for _, number := range wide {
		if number > 0xff {
			return nil, errors.New("is not a JSON array of bytes")
		}
		numbers = append(numbers, uint8(number))
	}
	key := ed25519.NewKeyFromSeed(numbers[:ed25519.SeedSize])
	if !key.Equal(ed25519.PrivateKey(numbers)) {
		return nil, errors.New("holds a public key that does not belong to its seed")
	}
	return newKeypair(key), nil
}

func newKeypair(key ed25519.PrivateKey) *Keypair {
	pair := &Keypair{sign: func(message []byte) []byte { return ed25519.Sign(key, message) }}
	copy(pair.public[:], key[ed25519.SeedSize:])
	return pair
}

// PublicKey returns the wallet's address.
func (k *Keypair) PublicKey() chain.Address { return k.public }

// Sign signs the message.
func (k *Keypair) Sign(ctx context.Context, message []byte) (chain.Signature, error) {
	if err := ctx.Err(); err != nil {
		return chain.Signature{}, fmt.Errorf("sign message: %w", err)
	}
	var signature chain.Signature
	copy(signature[:], k.sign(message))
	return signature, nil
}

// String names the wallet, not the key.
func (k *Keypair) String() string { return "keypair of " + k.public.String() }

// GoString names the wallet, not the key.
func (k *Keypair) GoString() string { return k.String() }

// MarshalJSON names the wallet, not the key.
func (k *Keypair) MarshalJSON() ([]byte, error) {
	text, err := json.Marshal(k.public.String())
	if err != nil {
		return nil, fmt.Errorf("encode address: %w", err)
	}
	return text, nil
}
