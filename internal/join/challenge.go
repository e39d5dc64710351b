// SPDX-License-Identifier: Apache-2.0

package join

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"time"
)

const (
	nonceLength     = 16
	stampLength     = 8
	challengeLength = stampLength + nonceLength + sha256.Size
)

// challengeDomain keeps what challenges are made with from meaning anything else.
const challengeDomain = "bourse.dev/join-challenge/v1"

// Challenge is what a hub wants to see signed. It says by itself whose it is and until when it is good, so that the hub keeps nothing.
type Challenge struct {
	Expires time.Time // in whole seconds
	Nonce   [nonceLength]byte
	MAC     [sha256.Size]byte
}

// String returns the challenge in hexadecimal.
func (c Challenge) String() string {
	text := binary.BigEndian.AppendUint64(make([]byte, 0, challengeLength), uint64(c.Expires.Unix())) //nolint:gosec // the same bits
	text = append(text, c.Nonce[:]...)
	return hex.EncodeToString(append(text, c.MAC[:]...))
}

// ParseChallenge reads a challenge. It returns a Refusal for anything else.
func ParseChallenge(text string) (Challenge, error) {
	var raw [challengeLength]byte
	if err := readHex(raw[:], "challenge", text); err != nil {
		return Challenge{}, err
	}
	var c Challenge
	c.Expires = time.Unix(int64(binary.BigEndian.Uint64(raw[:])), 0).UTC() //nolint:gosec // the same bits
	if !whole(c.Expires) {
		return Challenge{}, Refuse(Malformed, "The challenge ends in no year of this era")
	}
	copy(c.Nonce[:], raw[stampLength:])
	copy(c.MAC[:], raw[stampLength+nonceLength:])
	return c, nil
}

// authenticate returns the code that only the holder of the key can make: it binds the challenge to the hub, the wallet and its end.
func (c Challenge) authenticate(key []byte, hub string, wallet Key) [sha256.Size]byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(challengeDomain))
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(len(hub))))
	mac.Write([]byte(hub))
	mac.Write(wallet[:])
	mac.Write(binary.BigEndian.AppendUint64(nil, uint64(c.Expires.Unix()))) //nolint:gosec // the same bits
	mac.Write(c.Nonce[:])
	return [sha256.Size]byte(mac.Sum(nil))
}
