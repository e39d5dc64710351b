// SPDX-License-Identifier: Apache-2.0

package join

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The head of a message that Solana wallets sign off the chain, as `solana sign-offchain-message` builds it: the domain, the version of the
// head, the format, the length. A newer proposal has an application and signers in it too, which the text of a claim names anyway. No
// transaction begins with 0xff, neither a legacy nor a versioned one, so a signature over a claim can move nothing on the chain.
const (
	domain      = "\xffsolana offchain"
	headVersion = 0
	plainASCII  = 0 // 0x20 to 0x7e only, which hardware wallets show
	headLength  = len(domain) + 4
	// maxText is the longest text that hardware wallets show.
	maxText = 1147
	// MaxMessage is the longest message.
	MaxMessage = headLength + maxText
)

// product begins the text of every claim.
const product = "bourse.dev"

// fields are the names in a claim's text, in their order. A renewal has those before cluster.
//
//nolint:gochecknoglobals // a table of the protocol: it is read, never written
var fields = []string{"hub", "network", "wallet", "agent", "challenge", "expires", "cluster", "roles", "name", "until"}

// renewalFields is how many of them a renewal has.
const renewalFields = 6

// Encode returns the bytes that are signed. It returns a Refusal for what could not be decoded again.
func (c *Claim) Encode() ([]byte, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	message := wrap(c.text())
	if len(message) > MaxMessage {
		return nil, Refuse(Malformed, "The claim is longer than %d bytes", MaxMessage)
	}
	return message, nil
}

func wrap(text string) []byte {
	message := make([]byte, 0, headLength+len(text))
	message = append(message, domain...)
	message = append(message, headVersion, plainASCII)
	message = binary.LittleEndian.AppendUint16(message, uint16(min(len(text), maxText+1)))
	return append(message, text...)
}

// unwrap returns the text of a message.
func unwrap(message []byte) (string, error) {
	if len(message) < headLength || len(message) > MaxMessage || string(message[:len(domain)]) != domain {
		return "", Refuse(Malformed, "The message is not one that wallets sign off the chain")
	}
	head, text := message[len(domain):headLength], message[headLength:]
	if head[0] != headVersion || head[1] != plainASCII || int(binary.LittleEndian.Uint16(head[2:])) != len(text) {
		return "", Refuse(Malformed, "The message's head does not fit its text")
	}
	if slices.ContainsFunc(text, func(b byte) bool { return b < ' ' || b > '~' }) {
		return "", Refuse(Malformed, "The message's text is not plain ASCII")
	}
	return string(text), nil
}

// text is what a wallet shows: one line, which says what is signed, for whom, and until when.
func (c *Claim) text() string {
	values := []string{
		c.Hub, hex.EncodeToString(c.Network[:]), hex.EncodeToString(c.Wallet[:]), hex.EncodeToString(c.Agent[:]),
		c.Challenge.String(), stamp(c.Challenge.Expires),
	}
	if c.Kind == Join {
		values = append(values, c.Cluster, joined(c.Roles), url.QueryEscape(c.Name), stamp(c.Until))
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s v%d", product, c.Kind, c.Version)
	for i, value := range values {
		text.WriteString(" " + fields[i] + "=" + value)
	}
	return text.String()
}

func stamp(at time.Time) string { return at.UTC().Format(time.RFC3339) }

func joined(roles []Role) string {
	names := make([]string, len(roles))
	for i, role := range roles {
		names[i] = string(role)
	}
	return strings.Join(names, ",")
}

// Decode reads a message to the last byte. It returns a Refusal for what is not exactly what Encode writes, and says nothing about who
// signed it.
func Decode(message []byte) (Claim, error) { return decode(message, Version) }

func decode(message []byte, newest int) (Claim, error) {
	text, err := unwrap(message)
	if err != nil {
		return Claim{}, err
	}
	words := strings.Split(text, " ")
	if len(words) < 3 || words[0] != product {
		return Claim{}, Refuse(Malformed, "The text is not a claim of %s", product)
	}
	claim := Claim{Kind: Kind(words[1])}
	if claim.Version, err = readVersion(words[2], newest); err != nil {
		return Claim{}, err
	}
	want := len(fields)
	switch claim.Kind {
	case Join:
	case Renew:
		want = renewalFields
	default:
		return Claim{}, Refuse(Malformed, "The text asks for nothing that is known")
	}
	values, err := readFields(words[3:], want)
	if err != nil {
		return Claim{}, err
	}
	if err := claim.read(values); err != nil {
		return Claim{}, err
	}
	if err := claim.check(); err != nil {
		return Claim{}, err
	}
	if claim.text() != text { // two texts for one claim would be two messages to sign
		return Claim{}, Refuse(Malformed, "The text is not written as it must be")
	}
	return claim, nil
}

// readVersion reads the version, and refuses what is older than the last but one, or newer than the newest.
func readVersion(word string, newest int) (int, error) {
	digits, found := strings.CutPrefix(word, "v")
	version, err := strconv.Atoi(digits)
	if !found || err != nil || strconv.Itoa(version) != digits {
		return 0, Refuse(Malformed, "The text names no version")
	}
	oldest := max(newest-1, 1)
	if version < oldest || version > newest {
		return 0, Refuse(UnsupportedVersion, "The claim is of version %d, and this hub speaks %d to %d", version, oldest, newest)
	}
	return version, nil
}

func readFields(words []string, want int) ([]string, error) {
	if len(words) != want {
		return nil, Refuse(Malformed, "The claim has %d fields, not %d", len(words), want)
	}
	values := make([]string, want)
	for i, word := range words {
		value, found := strings.CutPrefix(word, fields[i]+"=")
		if !found {
			return nil, Refuse(Malformed, "The claim lacks the field %s", fields[i])
		}
		values[i] = value
	}
	return values, nil
}

// read fills in the values.
func (c *Claim) read(values []string) error {
	c.Hub = values[0]
	for i, into := range [][]byte{c.Network[:], c.Wallet[:], c.Agent[:]} {
		if err := readHex(into, values[1+i]); err != nil {
			return Refuse(Malformed, "The field %s is not %d bytes in hexadecimal", fields[1+i], len(into))
		}
	}
	var err error
	if c.Challenge, err = ParseChallenge(values[4]); err != nil {
		return err
	}
	if stamp(c.Challenge.Expires) != values[5] {
		return Refuse(Malformed, "The field expires is not when the challenge ends")
	}
	if c.Kind == Renew {
		return nil
	}
	c.Cluster = values[6]
	if values[7] != "" {
		for name := range strings.SplitSeq(values[7], ",") {
			c.Roles = append(c.Roles, Role(name))
		}
	}
	if c.Name, err = url.QueryUnescape(values[8]); err != nil {
		return Refuse(Malformed, "The field name is not escaped as in a URL")
	}
	if c.Until, err = time.Parse(time.RFC3339, values[9]); err != nil {
		return Refuse(Malformed, "The field until is not a time")
	}
	c.Until = c.Until.UTC()
	return nil
}

func readHex(into []byte, text string) error {
	if hex.DecodedLen(len(text)) != len(into) {
		return hex.ErrLength
	}
	_, err := hex.Decode(into, []byte(text))
	return err
}
