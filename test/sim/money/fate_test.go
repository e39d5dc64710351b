// SPDX-License-Identifier: Apache-2.0

package money

import (
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
)

// edge is a fork that is to come when the chain has reached a height.
type edge struct {
	height uint64
	depth  int
}

// fateOf is what becomes of one copy of signed bytes on their way. Some bytes have one fate from the first copy on: every later copy is
// lost, and the first never arrives, or late, or just when they cannot land any more and a fork makes them land again.
func (w *world) fateOf(raw []byte, known bool) chaintest.Fault {
	signature := signatureOf(raw)
	switch {
	case w.calm:
		return chaintest.Fault{}
	case known && w.doomed[signature]:
		w.count(dropped)
		return chaintest.Fault{Drop: true}
	case !known && w.strikes(forkedAcross):
		w.doomed[signature] = true
		return chaintest.Fault{Delay: w.across(raw)}
	case !known && w.strikes(neverArrives):
		w.doomed[signature] = true
		return chaintest.Fault{Drop: true}
	case !known && w.strikes(arrivesLate):
		w.doomed[signature] = true
		return chaintest.Fault{Delay: w.late(raw)}
	case w.strikes(dropped):
		return chaintest.Fault{Drop: true}
	case w.strikes(delayed):
		return chaintest.Fault{Delay: w.random.Uint64N(180)}
	default:
		return chaintest.Fault{}
	}
}

// late is by how many blocks bytes are late that come once: at any time, too late, or as late as they can.
func (w *world) late(raw []byte) uint64 {
	left := w.watch.left(raw)
	if w.one(2) {
		return w.random.Uint64N(left + finalLag)
	}
	return left - min(left, w.random.Uint64N(finalLag))
}

// across delays bytes until a few blocks after their last valid one, and plans a fork that takes the chain back before it at that very
// moment.
func (w *world) across(raw []byte) uint64 {
	left := w.watch.left(raw)
	beyond := uint64(finalLag/2 + w.random.IntN(finalLag/2-2))
	tip := w.fake.TipHeight().Block
	w.edges = append(w.edges, edge{height: tip + left + beyond, depth: int(beyond) + 2})
	return left + beyond + 1
}

// forks does the forks that are planned for this height.
func (w *world) forks() {
	tip := w.fake.TipHeight().Block
	rest := w.edges[:0]
	for _, e := range w.edges {
		switch {
		case tip < e.height:
			rest = append(rest, e)
		case !w.calm:
			w.fake.Rollback(e.depth, true)
			w.note("fork %d across an expiry", e.depth)
		}
	}
	w.edges = rest
}

func signatureOf(raw []byte) chain.Signature {
	return chain.Signature(raw[1:65]) // behind the count of signatures
}
