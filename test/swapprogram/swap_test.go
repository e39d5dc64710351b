// SPDX-License-Identifier: Apache-2.0

// Package swapprogram holds an exchange at a fixed rate for tests on the local chain: its source, and what build.sh made of it.
package swapprogram

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"strings"
	"testing"
)

func TestTheProgramIsTheRecordedOne(t *testing.T) {
	elf, err := os.ReadFile("swap.so")
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := os.ReadFile("swap.so.sha256")
	if err != nil {
		t.Fatal(err)
	}
	hash := sha256.Sum256(elf)
	if got, want := hex.EncodeToString(hash[:]), strings.Fields(string(recorded))[0]; got != want {
		t.Errorf("swap.so is %s, recorded is %s", got, want)
	}
}
