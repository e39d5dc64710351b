// SPDX-License-Identifier: Apache-2.0

package signertest

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/gagliardetto/solana-go/base58"
)

// Leaks looks in an output for a seed, and for the key that is made of it, in every form that a key is written in, and names the forms.
func Leaks(output string, seed [ed25519.SeedSize]byte) []string {
	const part = 8 // bytes that no output holds by chance
	var found []string
	lower := strings.ToLower(output)
	for _, secret := range [][]byte{seed[:], ed25519.NewKeyFromSeed(seed[:])} {
		var goSyntax, decimal []string
		for _, b := range secret[:part] {
			goSyntax = append(goSyntax, fmt.Sprintf("0x%x", b))
			decimal = append(decimal, strconv.Itoa(int(b)))
		}
		for form, text := range map[string]string{
			"hexadecimal": hex.EncodeToString(secret[:part]),
			"base64":      strings.ToLower(base64.StdEncoding.EncodeToString(secret[:part+1])),
			"base58":      strings.ToLower(base58.Encode(secret)),
			"JSON":        strings.Join(decimal, ","),
			"spaced JSON": strings.Join(decimal, ", "),
			"decimal":     strings.Join(decimal, " "),
			"Go syntax":   strings.Join(goSyntax, ", "),
			"raw bytes":   strings.ToLower(string(secret[:part])),
		} {
			if strings.Contains(lower, text) {
				found = append(found, form)
			}
		}
	}
	return found
}
