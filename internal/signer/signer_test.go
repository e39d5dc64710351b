// SPDX-License-Identifier: Apache-2.0

package signer_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/gagliardetto/solana-go/base58"

	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/signer/signertest"
)

// canary is a seed that no test needs: wherever it shows up, a key leaked.
var canary = [32]byte{0xc0, 0xff, 0xee, 1, 2, 3, 250, 251, 252, 253, 254, 255, 77, 88, 99, 111, 0xc0, 0xff, 0xee, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16}

func keyFile(t *testing.T, content []byte, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key.json")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// keygen writes a key as solana-keygen does.
func keygen(key []byte) []byte {
	numbers := make([]string, len(key))
	for i, b := range key {
		numbers[i] = strconv.Itoa(int(b))
	}
	return []byte("[" + strings.Join(numbers, ",") + "]")
}

func TestFromFileSigns(t *testing.T) {
	key := ed25519.NewKeyFromSeed(canary[:])
	for _, mode := range []fs.FileMode{0o600, 0o400, 0o440, 0o640} {
		pair, err := signer.FromFile(keyFile(t, keygen(key), mode))
		if err != nil {
			t.Fatalf("mode %04o: %v", mode, err)
		}
		message := []byte("a message")
		signature, err := pair.Sign(t.Context(), message)
		if err != nil {
			t.Fatal(err)
		}
		public := pair.PublicKey()
		if !bytes.Equal(public[:], key[32:]) || !ed25519.Verify(public[:], message, signature[:]) {
			t.Errorf("mode %04o: the signature is not the wallet's", mode)
		}
	}
}

func TestFromFileRefuses(t *testing.T) {
	key := ed25519.NewKeyFromSeed(canary[:])
	mismatched := append([]byte(nil), key...)
	mismatched[63] ^= 1
	cases := map[string]struct {
		content []byte
		mode    fs.FileMode
	}{
		"a file that the world can read":  {keygen(key), 0o644},
		"a file that the world can use":   {keygen(key), 0o601},
		"a file that the group can write": {keygen(key), 0o660},
		"another public key":              {keygen(mismatched), 0o600},
		"a seed alone":                    {keygen(key[:32]), 0o600},
		"a number too many":               {keygen(append(append([]byte(nil), key...), 1)), 0o600},
		"a number that is no byte":        {bytes.Replace(keygen(key), []byte("[192"), []byte("[448"), 1), 0o600},
		"a negative number":               {bytes.Replace(keygen(key), []byte("[192"), []byte("[-64"), 1), 0o600},
		"base64 text":                     {[]byte(`"` + base64.StdEncoding.EncodeToString(key) + `"`), 0o600},
		"text after the key":              {append(keygen(key), []byte(" x")...), 0o600},
		"nothing":                         {nil, 0o600},
		"too much":                        {append(keygen(key), bytes.Repeat([]byte(" "), 5000)...), 0o600},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := signer.FromFile(keyFile(t, tc.content, tc.mode))
			if !errors.Is(err, signer.ErrKeyFile) {
				t.Errorf("got %v, want %v", err, signer.ErrKeyFile)
			}
			checkNoCanary(t, fmt.Sprint(err))
		})
	}
	if _, err := signer.FromFile(filepath.Join(t.TempDir(), "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v, want %v", err, fs.ErrNotExist)
	}
	if _, err := signer.FromFile(t.TempDir()); !errors.Is(err, signer.ErrKeyFile) {
		t.Errorf("a folder: got %v, want %v", err, signer.ErrKeyFile)
	}
}

func TestWorldReadableKeySaysHowToFixIt(t *testing.T) {
	_, err := signer.FromFile(keyFile(t, keygen(ed25519.NewKeyFromSeed(canary[:])), 0o644))
	for _, want := range []string{"0644", "chmod 600", "defaultMode"} {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestSignHonoursItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := signer.FromSeed(canary).Sign(ctx, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// However a keypair, or what holds one, is printed, the key is not in it.
func TestKeyNeverShows(t *testing.T) {
	pair := signer.FromSeed(canary)
	type holder struct {
		Exported *signer.Keypair
		hidden   *signer.Keypair
		value    signer.Keypair
		Signer   signer.Signer
		any      any
	}
	held := holder{pair, pair, *pair, pair, pair}
	var logged bytes.Buffer
	log := slog.New(slog.NewJSONHandler(&logged, nil))
	log.Info("canary", "pair", pair, "value", *pair, "held", held)
	slog.New(slog.NewTextHandler(&logged, nil)).Info("canary", "pair", pair, "value", *pair, "held", held)
	checkNoCanary(t, logged.String())
	checkNoCanary(t, fmt.Sprint(fmt.Errorf("sign with %v: %w", pair, errors.New("x"))))
	for _, value := range []any{pair, *pair, held, &held, []any{pair, *pair}, map[string]any{"k": *pair}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%p"} {
			checkNoCanary(t, fmt.Sprintf(verb, value))
		}
		text, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		checkNoCanary(t, string(text))
	}
	if !strings.Contains(fmt.Sprint(pair), pair.PublicKey().String()) {
		t.Errorf("%v does not name the wallet", pair)
	}
}

// The search for the canary must find it, or the tests above show nothing.
func TestCanaryIsFound(t *testing.T) {
	key := ed25519.NewKeyFromSeed(canary[:])
	for _, output := range []string{
		fmt.Sprint([]byte(key)), //nolint:staticcheck // the list of numbers is what a careless log prints
		fmt.Sprintf("%#v", []byte(key)), fmt.Sprintf("%x", key), fmt.Sprintf("%X", canary), string(keygen(key)),
		base64.StdEncoding.EncodeToString(key), base58.Encode(key), base58.Encode(canary[:]), "text " + string([]byte(key)) + " text",
		fmt.Sprintf("%+v", struct{ key ed25519.PrivateKey }{key}),
	} {
		if len(signertest.Leaks(output, canary)) == 0 {
			t.Errorf("no key was found in %q", output)
		}
	}
}

func checkNoCanary(t *testing.T, output string) {
	t.Helper()
	for _, form := range signertest.Leaks(output, canary) {
		t.Errorf("the key shows as %s in %q", form, output)
	}
}
