// SPDX-License-Identifier: Apache-2.0

package signer

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"os"
)

// ownerOnly are the permissions of a key file.
const ownerOnly = 0o600

// NewFile makes a key and writes it to a file as solana-keygen does. A file that exists is left as it is, and is an error for which
// errors.Is finds fs.ErrExist.
func NewFile(path string) (*Keypair, error) {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	numbers := make([]int, len(key)) // bytes would be written as base64 text
	for i, b := range key {
		numbers[i] = int(b)
	}
	content, err := json.Marshal(numbers)
	if err != nil {
		return nil, errors.New("encode key") // what the encoder says may be about the content
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, ownerOnly) //nolint:gosec // the administrator names the file
	if err != nil {
		return nil, fmt.Errorf("make key file: %w", err)
	}
	_, err = file.Write(content)
	if err := errors.Join(err, file.Sync(), file.Close()); err != nil {
		return nil, fmt.Errorf("write key file: %w", errors.Join(err, os.Remove(path)))
	}
	return newKeypair(key), nil
}
