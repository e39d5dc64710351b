// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bourse-dev/bourse/controllers"
)

func TestSwapKey(t *testing.T) {
	cases := map[string]struct {
		content string
		want    string
		fails   bool
	}{
		"a key":                  {"abc-123", "abc-123", false},
		"a key and a line's end": {"abc-123\n", "abc-123", false},
		"nothing":                {"\n", "", true},
		"two lines":              {"abc\n123\n", "", true},
		"too much":               {strings.Repeat("a", maxKeyText+1), "", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "key")
			if err := os.WriteFile(path, []byte(tc.content), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := (&treasuryOptions{swapKey: path}).readSwapKey()
			if got != tc.want || (err != nil) != tc.fails {
				t.Errorf("got %q, %v", got, err)
			}
			if err != nil && strings.Contains(err.Error(), "abc") {
				t.Errorf("the error quotes the file: %v", err)
			}
		})
	}
}

func TestTreasuryWithoutFlagsSignsNothing(t *testing.T) {
	var setup controllers.Options
	if err := (&treasuryOptions{}).open(&setup, options{}, nil); err != nil || setup.TreasurySigner != nil || setup.Swaps == nil {
		t.Errorf("got %v, signer %v", err, setup.TreasurySigner)
	}
	if err := (&treasuryOptions{wallet: walletOptions{keypair: filepath.Join(t.TempDir(), "none")}}).open(&setup, options{}, nil); err == nil {
		t.Error("a missing key file was no error")
	}
}

func TestTreasuryFlagsAreForTheMarket(t *testing.T) {
	cases := map[string]struct {
		options treasuryOptions
		role    controllers.Role
		fails   bool
	}{
		"none":                       {treasuryOptions{}, controllers.Supplier, false},
		"a key for the market":       {treasuryOptions{wallet: walletOptions{keypair: "key"}}, controllers.Market, false},
		"a key for a supplier":       {treasuryOptions{wallet: walletOptions{keypair: "key"}}, controllers.Supplier, true},
		"an API key for a supplier":  {treasuryOptions{swapKey: "key"}, controllers.Supplier, true},
		"two places for one key":     {treasuryOptions{wallet: walletOptions{keypair: "key", url: "url", address: "a"}}, controllers.Market, true},
		"a remote signer of nobody":  {treasuryOptions{wallet: walletOptions{url: "url"}}, controllers.Market, true},
		"a wallet without its place": {treasuryOptions{wallet: walletOptions{address: "a"}}, controllers.Market, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			roles, err := controllers.ParseRoles(string(tc.role))
			if err != nil {
				t.Fatal(err)
			}
			if err := tc.options.check(roles); (err != nil) != tc.fails {
				t.Errorf("err = %v, want failure %v", err, tc.fails)
			}
		})
	}
}
