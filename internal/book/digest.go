// SPDX-License-Identifier: Apache-2.0

package book

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Digest is a SHA-256 digest of everything that a decision may depend on.
type Digest [sha256.Size]byte

// String writes the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String writes.
func ParseDigest(text string) (Digest, error) {
	var d Digest
	raw, err := hex.DecodeString(text)
	if err != nil || len(raw) != len(d) {
		return d, fmt.Errorf("parse digest: %q is not %d bytes in hexadecimal", text, len(d))
	}
	copy(d[:], raw)
	return d, nil
}

// branches is how many branches the digest of a book has. An offer's branch is given by its name, so a change costs one branch and the
// root, however many offers there are.
const (
	branches   = 1024
	branchBits = 10
)

// digests are the book's own digest, computed as late as possible.
type digests struct {
	branch  [branches]branch
	roots   roots
	version uint64 // counts the changes
	scratch hasher
}

type branch struct {
	offers []*standing
	stale  bool
}

// roots are the digests of all branches, one after the other: what the digest of the book is made of.
type roots [branches * sha256.Size]byte

func (r *roots) set(at int, digest Digest) { copy(r[at*sha256.Size:], digest[:]) }

func branchOf(hash uint64) uint64 { return hash >> (64 - branchBits) }

// touch says that an offer is new or has changed.
func (d *digests) touch(s *standing) {
	at := &d.branch[branchOf(s.hash)]
	at.stale = true
	d.version++
	s.stale = true
	if !s.digested {
		s.digested = true
		at.offers = append(at.offers, s)
	}
}

func (d *digests) forget(s *standing) {
	at := &d.branch[branchOf(s.hash)]
	at.stale = true
	d.version++
	s.digested = false
	at.offers = slices.DeleteFunc(at.offers, func(other *standing) bool { return other == s })
}

// Digest returns the digest of all offers with what is held of them. Equal sets of offers have equal digests.
func (b *Book) Digest() Digest {
	d := &b.digests
	for i := range d.branch {
		if at := &d.branch[i]; at.stale {
			d.roots.set(i, d.scratch.branch(at.offers))
			at.stale = false
		}
	}
	return sha256.Sum256(d.roots[:])
}

// branch returns the digest of the offers of one branch.
func (h *hasher) branch(offers []*standing) Digest {
	if len(offers) == 0 {
		return Digest{}
	}
	slices.SortFunc(offers, func(a, b *standing) int { return strings.Compare(a.Name, b.Name) })
	for _, s := range offers {
		if s.stale {
			s.digest = h.offer(&s.Offer)
			s.stale = false
		}
	}
	h.reset()
	for _, s := range offers {
		h.raw(s.digest[:])
	}
	return h.sum()
}

// DigestOf returns what a book of these offers has as its digest.
func DigestOf(offers []Offer) Digest {
	all := make([]standing, len(offers))
	var d [branches][]*standing
	for i := range offers {
		all[i] = standing{Offer: offers[i], hash: hashOf(offers[i].Name), stale: true}
		at := branchOf(all[i].hash)
		d[at] = append(d[at], &all[i])
	}
	var root roots
	var h hasher
	for i := range d {
		root.set(i, h.branch(d[i]))
	}
	return sha256.Sum256(root[:])
}

// offer returns the digest of an offer with what is held of it.
func (h *hasher) offer(o *Offer) Digest {
	h.reset()
	h.texts(o.Name, o.Model, o.Region)
	h.numbers(uint64(o.MemoryMiB), uint64(o.Price), uint64(o.Isolation), uint64(o.Egress), uint64(o.Shortest), uint64(o.Longest), //nolint:gosec // bits count here, not values
		uint64(o.Reputation), flag(o.Unstaked))
	h.times(o.ValidUntil, o.Until)
	h.list(o.Tokens)
	h.list(o.Tiers)
	h.list(o.Images)
	h.list(o.Allowed)
	h.list(o.Buyers)
	h.shapes = append(h.shapes[:0], o.Shapes...)
	slices.SortFunc(h.shapes, func(a, b Shape) int { return cmp.Or(cmp.Compare(a.Free, b.Free), cmp.Compare(a.Nodes, b.Nodes)) })
	h.numbers(uint64(len(h.shapes)))
	for _, s := range h.shapes {
		h.numbers(uint64(s.Free), uint64(s.Nodes)) //nolint:gosec // bits count here, not values
	}
	h.held = append(h.held[:0], o.Held...)
	slices.SortFunc(h.held, func(a, b Gang) int {
		return cmp.Or(cmp.Compare(a.PerWorker, b.PerWorker), cmp.Compare(a.Workers, b.Workers))
	})
	for _, g := range h.held {
		h.numbers(uint64(g.PerWorker), uint64(g.Workers)) //nolint:gosec // bits count here, not values
	}
	return h.sum()
}

// Digest returns the digest of everything that the demand asks.
func (d *Demand) Digest() Digest {
	var h hasher
	h.texts(d.UID, d.Token, d.Tier, d.Image, d.Buyer)
	//nolint:gosec // bits count here, not values
	h.numbers(uint64(d.MinMemoryMiB), uint64(d.Workers), uint64(d.PerWorker), uint64(d.Parts), uint64(d.MaxPrice), uint64(d.Affordable),
		uint64(d.Isolation), uint64(d.Egress), uint64(d.Duration), uint64(d.Start), uint64(d.MinReputation),
		uint64(d.Weights.Reputation), uint64(d.Weights.Packing), uint64(d.Weights.Cache))
	h.times(d.At)
	h.list(d.Regions)
	h.list(d.Refused)
	h.numbers(uint64(len(d.Models)))
	for _, m := range d.Models {
		h.texts(m.Name)
		h.numbers(uint64(m.Speed))
	}
	h.numbers(uint64(len(d.Penalties)))
	for _, p := range d.Penalties {
		h.texts(p.Region)
		h.numbers(uint64(p.PPM))
	}
	return h.sum()
}

func flag(set bool) uint64 {
	if set {
		return 1
	}
	return 0
}

// hasher collects values so that different lists of them are different bytes: texts carry their length.
// What it has allocated it uses again.
type hasher struct {
	bytes  []byte
	shapes []Shape // in order, while they are collected
	held   []Gang
}

func (h *hasher) reset()           { h.bytes = h.bytes[:0] }
func (h *hasher) raw(bytes []byte) { h.bytes = append(h.bytes, bytes...) }
func (h *hasher) sum() Digest      { return sha256.Sum256(h.bytes) }

func (h *hasher) numbers(of ...uint64) {
	for _, n := range of {
		h.bytes = binary.LittleEndian.AppendUint64(h.bytes, n)
	}
}

func (h *hasher) texts(of ...string) {
	for _, text := range of {
		h.numbers(uint64(len(text)))
		h.bytes = append(h.bytes, text...)
	}
}

func (h *hasher) list(of []string) {
	h.numbers(uint64(len(of)))
	h.texts(of...)
}

// times writes moments to the nanosecond, wherever they were read; the zero time is apart from all others.
func (h *hasher) times(of ...time.Time) {
	for _, t := range of {
		h.numbers(uint64(t.Unix()), uint64(t.Nanosecond())) //nolint:gosec // bits count here, not values
	}
}
