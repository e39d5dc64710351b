// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"cmp"
	"slices"
)

// release takes the cards from pods that are gone. What a lease held is dirty until it is found empty.
func (s *shelf) release(stock *Stock) {
	for c := range s.cards {
		entry := &s.cards[c]
		if entry.holder == "" {
			continue
		}
		if _, there := s.holders[entry.holder]; !there {
			entry.leave(stock.Report)
		}
	}
	for c := range s.cards {
		entry := &s.cards[c]
		if holder, there := s.holders[entry.Holder]; there && holder.Gone && holder.Lease != "" {
			entry.lease = holder.Lease
			entry.leave(stock.Report)
		}
	}
}

// leave ends what holds the card.
func (c *card) leave(report string) {
	c.holder, c.ending = "", false
	if c.lease != "" {
		c.dirty, c.mark = true, report
	}
}

// give hands the card to a pod.
func (c *card) give(holder Holder) {
	c.holder, c.lease, c.dirty = holder.UID, holder.Lease, false
}

// confirm gives each pod the cards that its node's agent says it has. A card that the pod had for want of better knowledge goes back, and
// the two exchange their clocks: it was the other one that nobody used.
func (s *shelf) confirm() {
	for c := range s.cards {
		entry := &s.cards[c]
		holder, there := s.holders[entry.Holder]
		if !there || entry.holder == holder.UID || holder.Gone && holder.Lease != "" {
			continue
		}
		if guess := s.guess(holder.UID); guess != nil {
			guess.holder, guess.lease, guess.ending = "", "", false
			guess.since, entry.since = entry.since, guess.since
			guess.open, entry.open = entry.open, guess.open
		}
		entry.give(holder)
	}
}

// guess returns a card that the pod has without its agent saying so, or nil.
func (s *shelf) guess(uid string) *card {
	for c := range s.cards {
		if s.cards[c].holder == uid && s.cards[c].Holder != uid {
			return &s.cards[c]
		}
	}
	return nil
}

// hand gives the pods what they lack, and takes what they have too much of. Pods of leases get what was free for longest, since that is
// what the market was offered; local pods get the rest.
func (s *shelf) hand(holders []Holder) {
	for _, holder := range holders {
		if holder.Gone && holder.Lease != "" {
			continue
		}
		for left := s.lacks(holder); left > 0; left-- {
			best := s.best(holder)
			if best == nil {
				break
			}
			best.give(holder)
		}
	}
}

// lacks is how many more cards the pod is to get. What it has too much of, for want of better knowledge, it loses.
func (s *shelf) lacks(holder Holder) int {
	left := int(max(0, holder.GPUs))
	for c := range s.cards {
		if s.cards[c].holder == holder.UID && s.cards[c].Holder == holder.UID {
			left--
		}
	}
	for c := range s.cards {
		entry := &s.cards[c]
		if entry.holder != holder.UID || entry.Holder == holder.UID {
			continue
		}
		if left--; left < 0 {
			entry.holder, entry.lease, entry.ending = "", "", false
		}
	}
	return left
}

// best returns the free card that the pod most likely has, or nil if none is free.
func (s *shelf) best(holder Holder) *card {
	var best *card
	for c := range s.cards {
		entry := &s.cards[c]
		if entry.holder == "" && (best == nil || likelier(holder, entry, best) < 0) {
			best = entry
		}
	}
	return best
}

// likelier compares two free cards: GPUs that are well before others, then those that the pod's own lease has just left, then by their
// clocks.
func likelier(holder Holder, a, b *card) int {
	sick := func(c *card) int32 { return number(c.Fault != "" || c.withdrawn) }
	left := func(c *card) int32 { return number(!c.dirty || c.lease != holder.Lease) }
	if holder.Lease == "" {
		return cmp.Or(cmp.Compare(sick(a), sick(b)), freshest(*a, *b))
	}
	return cmp.Or(cmp.Compare(sick(a), sick(b)), cmp.Compare(left(a), left(b)), freshest(*b, *a))
}

func number(yes bool) int32 {
	if yes {
		return 1
	}
	return 0
}

// sorted returns the holders in an order that does not depend on how they were listed.
func sorted(holders []Holder) []Holder {
	byUID := func(a, b Holder) int { return cmp.Compare(a.UID, b.UID) }
	if !slices.IsSortedFunc(holders, byUID) {
		slices.SortFunc(holders, byUID)
	}
	return holders
}
