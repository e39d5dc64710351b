// SPDX-License-Identifier: Apache-2.0

package money

import (
	"math/rand/v2"
	"time"
)

// fault is something that goes wrong. Each is counted when it really does, so that one that never fires is noticed.
type fault string

// What goes wrong with the processes, the API server, the nodes of the chain, the chain itself and by other people's hands.
const (
	crashBefore  fault = "crash before a step"
	crashAfter   fault = "crash after a step"
	lostWrite    fault = "lost write"
	lostAnswer   fault = "lost answer"
	conflict     fault = "conflict"
	staleCache   fault = "stale cache"
	interleaved  fault = "two leaders in one step"
	restored     fault = "etcd restored"
	deleted      fault = "voucher deleted"
	refused      fault = "node refuses (429)"
	hangs        fault = "node hangs"
	lostReply    fault = "node's reply is lost"
	behind       fault = "node is behind"
	heightHigh   fault = "node's height too high"
	heightLow    fault = "node's height too low"
	hidden       fault = "node denies what landed"
	forgetful    fault = "node forgot its history"
	dropped      fault = "sent bytes are dropped"
	delayed      fault = "sent bytes are delayed"
	duplicated   fault = "sent bytes are duplicated"
	neverArrives fault = "sent bytes never arrive"
	arrivesLate  fault = "sent bytes arrive late"
	forkedAcross fault = "fork across expiry"
	forked       fault = "fork"
	forkedRelay  fault = "fork that lands again"
	frozen       fault = "frozen account"
	outOfGas     fault = "out of gas"
	dust         fault = "dust in the vault"
	prefunded    fault = "pre-funded address"
	stranger     fault = "stranger sends old bytes"
	wrongMint    fault = "lease with a wrong mint"
	expiredThere fault = "signed anew after expiry"
)

// faults lists them in the order in which they are printed.
func faults() []fault {
	return []fault{
		crashBefore, crashAfter, lostWrite, lostAnswer, conflict, staleCache, interleaved, restored, deleted, refused, hangs, lostReply, behind,
		heightHigh, heightLow, hidden, forgetful, dropped, delayed, duplicated, neverArrives, arrivesLate, forkedAcross, forked, forkedRelay, frozen, outOfGas, dust, prefunded, stranger,
		wrongMint, expiredThere,
	}
}

// profile is what one schedule does: how large the world is, and one in how many steps each fault strikes; 0 is never.
type profile struct {
	leases, leaders int
	term, until     time.Duration
	rate            map[fault]int
	gasOf, frozenOf int // whose
}

// rates are how often a fault that a schedule has strikes.
func rates() map[fault]int {
	return map[fault]int{
		crashBefore: 60, crashAfter: 60, lostWrite: 30, lostAnswer: 30, conflict: 25, staleCache: 3, interleaved: 20, restored: 1, deleted: 1,
		refused: 12, hangs: 60, lostReply: 15, behind: 15, heightHigh: 10, heightLow: 10, hidden: 8, forgetful: 15,
		dropped: 4, delayed: 6, duplicated: 4, neverArrives: 6, arrivesLate: 4, forkedAcross: 5, forked: 150, forkedRelay: 150, frozen: 1, outOfGas: 1, dust: 20, prefunded: 1, stranger: 15, wrongMint: 1,
	}
}

// lies are the faults of nodes that say what is not so, instead of nothing or what was so.
func lies() []fault { return []fault{heightHigh, hidden} }

// losses are the faults that take a journal away.
func losses() []fault { return []fault{restored, deleted} }

// newProfile draws a profile. Honest ones have no lies and lose no journal: then nothing may ever be signed twice.
func newProfile(random *rand.Rand, honest bool) profile {
	p := profile{
		leases: 1 + random.IntN(3)/2, leaders: 1 + random.IntN(3)/2, rate: map[fault]int{}, gasOf: random.IntN(2), frozenOf: random.IntN(3),
		term: time.Duration(45*(1+random.IntN(4))) * time.Second, until: time.Duration(45+random.IntN(200)) * time.Second,
	}
	all := rates()
	for _, f := range faults() {
		often := 2
		if all[f] == 1 {
			often = 8 // these change the whole schedule
		}
		if rate, ok := all[f]; ok && random.IntN(often) == 0 {
			p.rate[f] = rate
		}
	}
	if honest {
		for _, f := range append(lies(), losses()...) {
			delete(p.rate, f)
		}
	}
	return p
}

func (p profile) has(some []fault) bool {
	for _, f := range some {
		if p.rate[f] > 0 {
			return true
		}
	}
	return false
}
