// SPDX-License-Identifier: Apache-2.0

// Package oracle reads a token's price from an account that Pyth's receiver program wrote, and says what an exchange at that price must
// yield. It believes a price only if it is of the right feed, fully verified, fresh and certain enough; it fetches nothing itself.
package oracle

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/bourse-dev/bourse/internal/chain"
)

// Pyth is the address of Pyth's receiver program on Solana's public networks, which writes only what the guardians signed.
const Pyth = "rec5EKMGg6MxZYaMdyBfgwp4d5rB9T1VQH5pJv5LtFJ"

// Reason says in one word why a price was refused. It is an error itself, so that errors.Is finds it in a Refusal.
//
//nolint:errname // reasons are named as users see them
type Reason string

// The reasons.
//
//nolint:errname // reasons are named as users see them
const (
	Absent     Reason = "Absent"     // nothing is at the address
	WrongOwner Reason = "WrongOwner" // the account belongs to another program
	WrongShape Reason = "WrongShape" // the account is no price update
	WrongFeed  Reason = "WrongFeed"  // the price is of something else
	Unverified Reason = "Unverified" // not enough guardians vouched for it
	Stale      Reason = "Stale"      // it is too old, or from the future
	Uncertain  Reason = "Uncertain"  // its publishers disagree too much
	NoPrice    Reason = "NoPrice"    // it is zero, negative or absurd
)

// Error returns the reason's name.
func (r Reason) Error() string { return string(r) }

// Refusal is a refused price: the reason, and what was found for people.
//
//nolint:errname // a verdict on a price, and an error only to whoever expected approval
type Refusal struct {
	Reason Reason
	Detail string
}

// Error describes the refusal on one line.
func (r *Refusal) Error() string { return string(r.Reason) + ": " + r.Detail }

// Unwrap returns the reason.
func (r *Refusal) Unwrap() error { return r.Reason }

func refuse(reason Reason, format string, values ...any) error {
	return &Refusal{Reason: reason, Detail: fmt.Sprintf(format, values...)}
}

// FeedID names what is priced in what, such as IO in US dollars.
type FeedID [32]byte

// ErrFeedID says that a text is no feed id.
var ErrFeedID = errors.New("feed id is not 32 bytes in hexadecimal")

// ParseFeedID reads 64 hexadecimal digits.
func ParseFeedID(text string) (FeedID, error) {
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(FeedID{}) {
		return FeedID{}, fmt.Errorf("read %.70q: %w", text, ErrFeedID)
	}
	return FeedID(raw), nil
}

// String returns the id in hexadecimal.
func (f FeedID) String() string { return hex.EncodeToString(f[:]) }

// Feed is which price is believed, and how good it must be.
type Feed struct {
	Program          chain.Address // that may have written the account
	ID               FeedID
	MaxAge           time.Duration
	MaxConfidenceBps uint16 // how wide the confidence interval may be, in basis points of the price
}

// Price is what one whole token is worth in US dollars: Value × 10^Exponent.
type Price struct {
	Value     uint64
	Exponent  int32
	Published time.Time
}

// The layout of a PriceUpdateV2 account. The verification level is an enum of variable size, so everything behind it shifts with it.
const (
	accountSize   = 134
	levelAt       = 40 // behind the marker and the write authority
	levelPartial  = 0  // followed by the number of signatures
	levelFull     = 1
	messageSize   = 84
	maxExponent   = 18
	clockSkew     = 10 * time.Second
	basisPoints   = 10_000
	confidenceMax = basisPoints
)

// marker begins every PriceUpdateV2 account.
var marker = [8]byte{0x22, 0xf1, 0x23, 0x63, 0x9d, 0x7e, 0xf4, 0xcd} //nolint:gochecknoglobals // the first bytes of a hash: never written

// Read returns the price in the account, or a *Refusal.
func (f Feed) Read(account chain.Account, now time.Time) (Price, error) {
	switch {
	case !account.Exists:
		return Price{}, refuse(Absent, "no account at %s", account.Address)
	case account.Owner != f.Program:
		return Price{}, refuse(WrongOwner, "%s belongs to %s instead of %s", account.Address, account.Owner, f.Program)
	case len(account.Data) != accountSize || [8]byte(account.Data) != marker:
		return Price{}, refuse(WrongShape, "%s is no price update", account.Address)
	}
	switch level := account.Data[levelAt]; level {
	case levelFull:
		return f.check(account.Data[levelAt+1:][:messageSize], now)
	case levelPartial:
		return Price{}, refuse(Unverified, "only %d guardians vouched for the price in %s", account.Data[levelAt+1], account.Address)
	default:
		return Price{}, refuse(WrongShape, "%s has verification level %d", account.Address, level)
	}
}

// check reads the price message: feed, price, confidence, exponent, time, and what is not used here.
func (f Feed) check(message []byte, now time.Time) (Price, error) {
	if found := FeedID(message); found != f.ID {
		return Price{}, refuse(WrongFeed, "the price is of feed %s instead of %s", found, f.ID)
	}
	value := int64(binary.LittleEndian.Uint64(message[32:])) //nolint:gosec // the layout's signed number
	confidence := binary.LittleEndian.Uint64(message[40:])
	exponent := int32(binary.LittleEndian.Uint32(message[48:]))                //nolint:gosec // the layout's signed number
	published := time.Unix(int64(binary.LittleEndian.Uint64(message[52:])), 0) //nolint:gosec // the layout's signed seconds
	if value <= 0 || exponent < -maxExponent || exponent > maxExponent {
		return Price{}, refuse(NoPrice, "the price is %d × 10^%d", value, exponent)
	}
	if published.Before(now.Add(-f.MaxAge)) || published.After(now.Add(clockSkew)) {
		return Price{}, refuse(Stale, "the price is of %s", published.UTC().Format(time.RFC3339))
	}
	price := Price{Value: uint64(value), Exponent: exponent, Published: published.UTC()}
	if !f.certain(price.Value, confidence) {
		return Price{}, refuse(Uncertain, "the price is %d ± %d", value, confidence)
	}
	return price, nil
}

// certain says whether confidence × 10 000 ≤ value × the limit.
func (f Feed) certain(value, confidence uint64) bool {
	wideHigh, wideLow := bits.Mul64(confidence, basisPoints)
	mostHigh, mostLow := bits.Mul64(value, uint64(min(f.MaxConfidenceBps, confidenceMax)))
	return wideHigh < mostHigh || wideHigh == mostHigh && wideLow <= mostLow
}
