// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"strings"

	"github.com/bourse-dev/bourse/internal/money"
)

// whole is how many GPUs a whole node has: gangs of large workers need such nodes, so breaking one has a price.
const whole = 8

// times returns floor(a × ppm / PPM), or the greatest number when that does not fit.
func times(a, ppm uint64) uint64 {
	high, low := bits.Mul64(a, ppm)
	if high == 0 {
		return low / PPM
	}
	if high >= PPM {
		return math.MaxUint64
	}
	quotient, _ := bits.Div64(high, low, PPM)
	return quotient
}

// rankOf is the price with the default weight of reputation: price × (2 − reputation). Shelves are sorted by it.
func rankOf(price money.USD, reputation uint32) uint64 {
	return times(uint64(price), 2*PPM-uint64(min(reputation, PPM)))
}

// scorer computes scores for one demand. The lower score is the better offer:
//
//	score = price × (1 + wr × (1 − reputation)) × (1 + penalty) / speed × (1 + wp × broken − wc × cached)
//
// with the demand's weights wr, wp and wc. Every step rounds down to a nano-dollar, so that a bound on a factor bounds the score.
type scorer struct {
	demand *Demand
	key    [2]uint64 // of the draw
	least  uint64    // the least last factor, in ppm
}

func newScorer(d *Demand) scorer {
	var text [64]byte
	sum := sha256.Sum256(append(text[:0], d.UID...))
	return scorer{
		demand: d,
		key:    [2]uint64{binary.LittleEndian.Uint64(sum[:8]), binary.LittleEndian.Uint64(sum[8:16])},
		least:  PPM - uint64(min(d.Weights.Cache, PPM-1)),
	}
}

// reputed is the price with the demand's weight of reputation.
func (s *scorer) reputed(o *Offer) uint64 {
	lack := PPM - uint64(min(o.Reputation, PPM))
	return times(uint64(o.Price), PPM+uint64(s.demand.Weights.Reputation)*lack/PPM)
}

// reputedFrom returns the least that reputed can be for any offer of the given rank. With a weight of 1 or more, reputed is never less
// than the rank; with less, (1 + w·x) / (1 + x) is least at x = 1. Rounding w·x loses less than a ppm of the price, which is not more than
// the rank, and rounding the price a unit.
func (s *scorer) reputedFrom(rank uint64) uint64 {
	w := uint64(s.demand.Weights.Reputation)
	if w >= PPM {
		return rank
	}
	bound := times(rank, (PPM+w)/2-1)
	return bound - min(bound, 1)
}

// place returns the factor, in ppm, of a model in a region.
func place(penalty, speed uint32) uint64 {
	if speed == 0 {
		speed = PPM
	}
	return (PPM + uint64(penalty)) * PPM / uint64(speed)
}

// factorOf returns the factor of the offer's model in its region.
func (s *scorer) factorOf(o *Offer) uint64 {
	return place(s.demand.penalty(o.Region), s.demand.speed(o.Model))
}

// score returns the offer's score, given the factor of its model and region.
func (s *scorer) score(o *Offer, factor uint64) uint64 {
	w := &s.demand.Weights
	last := uint64(PPM)
	if w.Packing > 0 {
		last += uint64(w.Packing) * brokenShare(o, s.demand.PerWorker, o.room(s.demand)) / PPM
	}
	if s.cached(o) {
		last -= PPM - s.least
	}
	return times(times(s.reputed(o), factor), last)
}

func (s *scorer) cached(o *Offer) bool {
	return s.demand.Image != "" && len(o.Images) > 0 && slices.Contains(o.Images, s.demand.Image)
}

// scoreFrom returns the least score of any offer of the given rank under a factor.
func (s *scorer) scoreFrom(rank, factor uint64) uint64 {
	return times(times(s.reputedFrom(rank), factor), s.least)
}

// brokenShare returns how much, in ppm, of the whole nodes that a gang breaks it leaves behind, useless to anybody who needs whole nodes:
// nothing when it fills them. The gang is thought to stand on the nodes with the fewest free GPUs that can hold it, as a supplier that
// packs would place it.
func brokenShare(o *Offer, perWorker, workers int) uint64 {
	if perWorker < 1 {
		return 0
	}
	broken, left := 0, 0
	for _, shape := range o.Shapes { // fewest free GPUs first
		each := shape.Free / perWorker
		if each == 0 {
			continue
		}
		if workers <= 0 {
			break
		}
		full := min(shape.Nodes, workers/each)
		b, l := brokenBy(shape.Free, each*perWorker)
		broken, left = broken+full*b, left+full*l
		workers -= full * each
		if workers > 0 && full < shape.Nodes {
			b, l = brokenBy(shape.Free, min(workers, each)*perWorker)
			broken, left = broken+b, left+l
			workers = 0
		}
	}
	if broken == 0 {
		return 0
	}
	return uint64(left) * PPM / uint64(broken)
}

// brokenBy returns how many GPUs of whole nodes are gone when some of a node's free GPUs are taken, and how many of those are not used.
func brokenBy(free, taken int) (broken, left int) {
	broken = (free/whole - (free-taken)/whole) * whole
	return broken, max(0, broken-taken)
}

// ranked is an offer with its place among others.
type ranked struct {
	offer *Offer
	score uint64
	draw  uint64
}

func (s *scorer) rank(o *Offer, factor, hash uint64) ranked {
	return ranked{offer: o, score: s.score(o, factor), draw: s.draw(hash, o.Free())}
}

// before says whether r ranks before other: by score, then by draw.
func (r *ranked) before(other *ranked) bool { return r.order(other) < 0 }

func (r *ranked) order(other *ranked) int {
	if c := cmp.Compare(r.score, other.score); c != 0 {
		return c
	}
	if c := cmp.Compare(r.draw, other.draw); c != 0 {
		return c
	}
	return strings.Compare(r.offer.Name, other.offer.Name)
}

// hashOf is an offer's lot in every draw; what a job makes of it depends on the job.
func hashOf(name string) uint64 {
	sum := sha256.Sum256([]byte(name))
	return binary.LittleEndian.Uint64(sum[:8])
}

// draw decides between equal scores; the lowest wins. It is -log2 of a number in (0, 1] that the job's key makes of the offer's hash,
// divided by the offer's free GPUs: each GPU is one lot, so that neither splitting an offer nor merging several changes a supplier's
// chances. Nobody knows the key before the job exists.
func (s *scorer) draw(hash uint64, free int) uint64 {
	return negLog2(sipHash(s.key, hash)) / uint64(max(free, 1))
}

// logBits is how many fractional bits negLog2 has.
const logBits = 50

// negLog2 returns -log2((u+1) / 2^64) with logBits fractional bits, rounded up. The bits come one by one by squaring a mantissa in [1, 2).
func negLog2(u uint64) uint64 {
	if u == math.MaxUint64 {
		return 0
	}
	u++
	exponent := bits.Len64(u) - 1
	mantissa := u << (63 - exponent) // 1.63 fixed point
	var fraction uint64
	for range logBits {
		high, low := bits.Mul64(mantissa, mantissa) // 2.126
		fraction <<= 1
		if high >= 1<<63 {
			fraction |= 1
			mantissa = high
		} else {
			mantissa = high<<1 | low>>63
		}
	}
	return uint64(64-exponent)<<logBits - fraction //nolint:gosec // exponent is at most 63
}

// sipHash is SipHash-2-4 of one eight-byte message.
func sipHash(key [2]uint64, message uint64) uint64 {
	v := [4]uint64{key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d, key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573}
	for _, block := range [2]uint64{message, 8 << 56} {
		v[3] ^= block
		sipRound(&v)
		sipRound(&v)
		v[0] ^= block
	}
	v[2] ^= 0xff
	for range 4 {
		sipRound(&v)
	}
	return v[0] ^ v[1] ^ v[2] ^ v[3]
}

func sipRound(v *[4]uint64) {
	v[0] += v[1]
	v[1] = bits.RotateLeft64(v[1], 13) ^ v[0]
	v[0] = bits.RotateLeft64(v[0], 32)
	v[2] += v[3]
	v[3] = bits.RotateLeft64(v[3], 16) ^ v[2]
	v[0] += v[3]
	v[3] = bits.RotateLeft64(v[3], 21) ^ v[0]
	v[2] += v[1]
	v[1] = bits.RotateLeft64(v[1], 17) ^ v[2]
	v[2] = bits.RotateLeft64(v[2], 32)
}

// speed returns the demand's speed of a model; 0 says that none is known.
func (d *Demand) speed(model string) uint32 {
	for i := range d.Models {
		if d.Models[i].Name == model {
			return d.Models[i].Speed
		}
	}
	return 0
}

// penalty returns the demand's penalty for a region.
func (d *Demand) penalty(region string) uint32 {
	for i := range d.Penalties {
		if d.Penalties[i].Region == region {
			return d.Penalties[i].PPM
		}
	}
	return 0
}
