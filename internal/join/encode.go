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

// fieldsOf are the names in the text of a claim of that kind, in their order; none if there is no such kind.
func fieldsOf(kind Kind) []string {
	switch kind {
	case Join:
		return []string{"hub", "network", "wallet", "agent", "challenge", "expires", "cluster", "roles", "name", "until"}
	case Renew:
		return []string{"hub", "network", "wallet", "agent", "challenge", "expires"}
	case Leave:
		return []string{"hub", "network", "wallet", "challenge", "expires", "mode"}
	default:
		return nil
	}
}

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
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s v%d", product, c.Kind, c.Version)
	for _, field := range fieldsOf(c.Kind) {
		text.WriteString(" " + field + "=" + c.value(field))
	}
	return text.String()
}

// value is what the text says in a field.
func (c *Claim) value(field string) string {
	switch field {
	case "hub":
		return c.Hub
	case "network":
		return hex.EncodeToString(c.Network[:])
	case "wallet":
		return hex.EncodeToString(c.Wallet[:])
	case "agent":
		return hex.EncodeToString(c.Agent[:])
	case "challenge":
		return c.Challenge.String()
	case "expires":
		return stamp(c.Challenge.Expires)
	case "cluster":
		return c.Cluster
	case "roles":
		return joined(c.Roles)
	case "name":
		return url.QueryEscape(c.Name)
	case "until":
		return stamp(c.Until)
	default:
		return string(c.Mode)
	}
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
	fields := fieldsOf(claim.Kind)
	if len(fields) == 0 {
		return Claim{}, Refuse(Malformed, "The text asks for nothing that is known")
	}
	if err := claim.readAll(fields, words[3:]); err != nil {
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

// readAll fills in the values.
func (c *Claim) readAll(fields, words []string) error {
	if len(words) != len(fields) {
		return Refuse(Malformed, "The claim has %d fields, not %d", len(words), len(fields))
	}
	for i, word := range words {
		value, found := strings.CutPrefix(word, fields[i]+"=")
		if !found {
			return Refuse(Malformed, "The claim lacks the field %s", fields[i])
		}
		if err := c.read(fields[i], value); err != nil {
			return err
		}
	}
	return nil
}

// read fills in one value.
func (c *Claim) read(field, value string) error {
	var err error
	switch field {
	case "hub":
		c.Hub = value
	case "network":
		return readHex(c.Network[:], field, value)
	case "wallet":
		return readHex(c.Wallet[:], field, value)
	case "agent":
		return readHex(c.Agent[:], field, value)
	case "challenge":
		c.Challenge, err = ParseChallenge(value)
		return err
	case "expires":
		if stamp(c.Challenge.Expires) != value {
			return Refuse(Malformed, "The field expires is not when the challenge ends")
		}
	default:
		return c.readOwn(field, value)
	}
	return nil
}

// readOwn fills in one value that claims of one kind alone have.
func (c *Claim) readOwn(field, value string) error {
	var err error
	switch field {
	case "cluster":
		c.Cluster = value
	case "roles":
		if value != "" {
			for name := range strings.SplitSeq(value, ",") {
				c.Roles = append(c.Roles, Role(name))
			}
		}
	case "name":
		if c.Name, err = url.QueryUnescape(value); err != nil {
			return Refuse(Malformed, "The field name is not escaped as in a URL")
		}
	case "until":
		until, err := time.Parse(time.RFC3339, value)
		if err != nil {
			return Refuse(Malformed, "The field until is not a time")
		}
		c.Until = until.UTC()
	case "mode":
		c.Mode = Mode(value)
	}
	return nil
}

func readHex(into []byte, field, text string) error {
	if hex.DecodedLen(len(text)) != len(into) {
		return Refuse(Malformed, "The field %s is not %d bytes in hexadecimal", field, len(into))
	}
	if _, err := hex.Decode(into, []byte(text)); err != nil {
		return Refuse(Malformed, "The field %s is not %d bytes in hexadecimal", field, len(into))
	}
	return nil
}
