// SPDX-License-Identifier: Apache-2.0

package signer_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/bourse-dev/bourse/internal/signer"
)

func TestAKeyThatIsMadeIsReadAgainAndNeverReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.json")
	made, err := signer.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	read, err := signer.FromFile(path)
	if err != nil || read.PublicKey() != made.PublicKey() {
		t.Errorf("read %v, %v, want %v", read, err, made)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info, err)
	}
	if _, err := signer.NewFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("the second time: %v, want %v", err, fs.ErrExist)
	}
	if again, err := signer.FromFile(path); err != nil || again.PublicKey() != made.PublicKey() {
		t.Errorf("the file was changed: %v, %v", again, err)
	}
}
