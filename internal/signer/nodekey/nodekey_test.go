// SPDX-License-Identifier: Apache-2.0

package nodekey

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

func TestAKeyIsMadeOnceAndKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.key")
	first, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %s, %v; want 0600", info.Mode(), err)
	}
	second, err := Open(path)
	if err != nil || second.PublicKey() != first.PublicKey() {
		t.Errorf("the second time %s, %v; want %s", second, err, first)
	}
	public, err := base64.StdEncoding.DecodeString(first.PublicKey())
	if err != nil {
		t.Fatal(err)
	}
	signature, err := base64.StdEncoding.DecodeString(second.Sign([]byte("message")))
	if err != nil || !ed25519.Verify(public, []byte("message"), signature) {
		t.Errorf("the signature does not hold: %v", err)
	}
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(entries) != 1 {
		t.Errorf("%d files are left, %v; want the key alone", len(entries), err)
	}
}

func TestAgentsThatStartTogetherHaveOneKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.key")
	keys := make([]string, 8)
	var group sync.WaitGroup
	for i := range keys {
		group.Go(func() {
			if key, err := Open(path); err == nil {
				keys[i] = key.PublicKey()
			}
		})
	}
	group.Wait()
	for _, key := range keys {
		if key == "" || key != keys[0] {
			t.Fatalf("keys %v", keys)
		}
	}
}

func TestAKeyFileThatCannotBeUsed(t *testing.T) {
	const rsa = "-----BEGIN PRIVATE KEY-----\nMFMCAQEwBQYDK2VwBCIEIAAA\n-----END PRIVATE KEY-----\n"
	cases := map[string]struct {
		content string
		mode    os.FileMode
		says    string
	}{
		"others can read it": {"", 0o644, "chmod 600"},
		"a group can":        {"", 0o640, "chmod 600"},
		"it is empty":        {"", 0o600, "no private key"},
		"it is something":    {"secret text", 0o600, "no private key"},
		"it is cut":          {rsa, 0o600, "no private key that can be read"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "agent.key")
			if err := os.WriteFile(path, []byte(tc.content), tc.mode); err != nil {
				t.Fatal(err)
			}
			_, err := Open(path)
			if !errors.Is(err, ErrKeyFile) || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "secret") {
				t.Errorf("err = %v", err)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != tc.content {
				t.Errorf("the file was replaced: %v", err)
			}
		})
	}
}

func TestNoWayOfPrintingShowsTheKey(t *testing.T) {
	path := filepath.Join(t.TempDir(), "agent.key")
	key, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	secret := strings.Split(string(file), "\n")[1]
	encoded, err := json.Marshal(struct{ Key any }{key})
	if err != nil {
		t.Fatal(err)
	}
	for _, shown := range []string{fmt.Sprint(key), fmt.Sprintf("%+v", key), fmt.Sprintf("%#v", key), fmt.Sprintf("%#v", *key), string(encoded)} {
		if strings.Contains(shown, secret[20:]) {
			t.Errorf("shown: %s", shown)
		}
	}
}
