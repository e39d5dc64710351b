// SPDX-License-Identifier: Apache-2.0

package solana

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"

	"github.com/bourse-dev/bourse/internal/signer"
)

// NewWallet makes a keypair in a file that must not exist, as solana-keygen writes it.
func NewWallet(path string) (*signer.Keypair, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("generate key: %w", err)
	}
	numbers := make([]int, len(key))
	for i, b := range key {
		numbers[i] = int(b)
	}
	data, err := json.Marshal(numbers)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("make key file: %w", err)
	}
	if _, err := file.Write(data); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("write key file: %w", err)
	}
	if err := file.Close(); err != nil {
		return nil, fmt.Errorf("close key file: %w", err)
	}
	return signer.FromFile(path)
}

// newKey makes a keypair for an account that needs to sign only once.
func newKey() (*signer.Keypair, error) {
	var seed [ed25519.SeedSize]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("draw seed: %w", err)
	}
	return signer.FromSeed(seed), nil
}
