// SPDX-License-Identifier: Apache-2.0

// Package auction decides the modes of a market besides the posted price: a sealed reverse auction that pays the second price, a spot
// market of interruptible GPUs, and caps that rise with a job's urgency. Every function depends on its arguments alone.
// It does not know how bids are collected, nor who places what is won.
package auction

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"

	"github.com/bourse-dev/bourse/internal/money"
)

// PPM is one whole in parts per million.
const PPM = 1_000_000

// ErrNotCommitted says that an ask is not the one that was committed to.
var ErrNotCommitted = errors.New("the ask is not what was committed to")

// Ask is what a supplier would take for a job.
type Ask struct {
	Offer    string
	Supplier string // the wallet: a supplier's own asks do not compete with each other
	Price    money.USD
	Factor   uint32   // what the price counts as more for the supplier's reputation, region and so on, in ppm; at least 1
	Salt     [32]byte // makes the commitment to a price impossible to guess
}

// Commitment is the digest of a sealed ask. It is published while asks are collected; the ask itself, when no more are taken.
type Commitment [sha256.Size]byte

// Commit seals an ask for a job.
func Commit(job string, ask *Ask) Commitment {
	var bytes []byte
	for _, text := range []string{"bourse sealed ask 1", job, ask.Offer, ask.Supplier} {
		bytes = binary.LittleEndian.AppendUint64(bytes, uint64(len(text)))
		bytes = append(bytes, text...)
	}
	bytes = binary.LittleEndian.AppendUint64(bytes, uint64(ask.Price))
	return sha256.Sum256(append(bytes, ask.Salt[:]...))
}

// Open says whether an ask is the one that was committed to; an ask that is not counts for nothing.
func Open(job string, ask *Ask, commitment Commitment) error {
	if Commit(job, ask) != commitment {
		return fmt.Errorf("open the ask of %s: %w", ask.Offer, ErrNotCommitted)
	}
	return nil
}

// Award is what an auction comes to.
type Award struct {
	Offer string
	Price money.USD // what is paid: never less than the ask, never more than the job's highest price
}

// Second awards a job to the ask with the lowest score, price × factor, among those that are not above the highest price. It pays the
// price at which that ask would score like the best ask of any other supplier: what a supplier is paid does not depend on what it asked,
// so asking one's true cost is best. Without another supplier it pays the highest price. Equal scores are drawn by the job's key.
func Second(job string, highest money.USD, asks []Ask) (Award, bool) {
	valid := make([]Ask, 0, len(asks))
	for _, ask := range asks {
		if ask.Price <= highest && ask.Factor > 0 {
			valid = append(valid, ask)
		}
	}
	if len(valid) == 0 {
		return Award{}, false
	}
	slices.SortFunc(valid, func(a, b Ask) int {
		return cmp.Or(a.compare(&b), cmp.Compare(lot(job, a.Offer), lot(job, b.Offer)), strings.Compare(a.Offer, b.Offer))
	})
	best := &valid[0]
	award := Award{Offer: best.Offer, Price: highest}
	for i := range valid {
		if valid[i].Supplier != best.Supplier {
			award.Price = min(highest, max(best.Price, valid[i].priceAt(best.Factor)))
			break
		}
	}
	return award, true
}

// compare orders asks by price × factor, exactly.
func (a *Ask) compare(b *Ask) int {
	ah, al := bits.Mul64(uint64(a.Price), uint64(a.Factor))
	bh, bl := bits.Mul64(uint64(b.Price), uint64(b.Factor))
	return cmp.Or(cmp.Compare(ah, bh), cmp.Compare(al, bl))
}

// priceAt returns the highest price that scores no more than the ask does, under another factor.
func (a *Ask) priceAt(factor uint32) money.USD {
	high, low := bits.Mul64(uint64(a.Price), uint64(a.Factor))
	if high >= uint64(factor) {
		return ^money.USD(0)
	}
	quotient, _ := bits.Div64(high, low, uint64(factor))
	return money.USD(quotient)
}

// lot is what a key makes of a name: nobody knows it before the key.
func lot(key, name string) uint64 {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d/%s/%s", len(key), key, name))
	return binary.LittleEndian.Uint64(sum[:8])
}
