// SPDX-License-Identifier: Apache-2.0

package book

import (
	"container/heap"
	"errors"
	"fmt"
	"slices"
	"time"
)

// ErrGone says that an offer is not in the book, or has no room any more.
var ErrGone = errors.New("the offer has no room")

// ErrTaken says that a key holds something already.
var ErrTaken = errors.New("the key holds something already")

// ErrUnknown says that nothing is reserved under a key.
var ErrUnknown = errors.New("nothing is reserved")

// Fill is the part of a gang that one offer gets.
type Fill struct {
	Offer   *Offer
	Workers int
	Score   uint64
}

// Promise is a number of workers that an offer is to hold, whether the book knows that offer yet or not.
type Promise struct {
	Offer string
	Gang  Gang
}

// hold is what is reserved under one key.
type hold struct {
	key      string
	promises []Promise
	until    time.Time // zero: until it is released
	place    int       // in holds.queue; -1 when it has no end
}

// holds are all reservations. Those with an end are in a queue too, soonest first.
type holds struct {
	byKey   map[string]*hold
	byOffer map[string][]*hold // of offers that are not in the book
	queue   queue
	spare   []*hold // for use again
}

func newHolds() holds { return holds{byKey: map[string]*hold{}, byOffer: map[string][]*hold{}} }

// of returns what is held of an offer that comes into the book, and forgets that it was away.
func (h *holds) of(offer string) (keys []string, gangs []Gang) {
	for _, one := range h.byOffer[offer] {
		for _, promise := range one.promises {
			if promise.Offer == offer {
				keys = append(keys, one.key)
				gangs = append(gangs, promise.Gang)
			}
		}
	}
	delete(h.byOffer, offer)
	return keys, gangs
}

// due returns the key of a reservation that has ended.
func (h *holds) due(now time.Time) (string, bool) {
	if len(h.queue) == 0 || h.queue[0].until.After(now) {
		return "", false
	}
	return h.queue[0].key, true
}

// Reserve holds what a match filled, under a key, until it is committed, released, or the time has come. It holds all fills or none: when
// one offer has no room any more, the error is ErrGone and nothing has changed. A zero time is never.
func (b *Book) Reserve(key string, perWorker int, fills []Fill, until time.Time) error {
	if b.holds.byKey[key] != nil {
		return fmt.Errorf("reserve for %s: %w", key, ErrTaken)
	}
	for i := range fills {
		name, workers := fills[i].Offer.Name, 0
		for j := range fills[:i+1] {
			if fills[j].Offer.Name == name {
				workers += fills[j].Workers
			}
		}
		if s := b.offers[name]; s == nil || s.Slots(perWorker) < workers {
			return fmt.Errorf("reserve on %s: %w", name, ErrGone)
		}
	}
	one := b.holds.take(key, until)
	for i := range fills {
		one.promises = append(one.promises, Promise{Offer: fills[i].Offer.Name, Gang: Gang{Workers: fills[i].Workers, PerWorker: perWorker}})
	}
	b.hold(one)
	return nil
}

// Promise holds what is promised already, whether there is room or not, and replaces what the key held before.
func (b *Book) Promise(key string, promises []Promise, until time.Time) {
	if one := b.holds.byKey[key]; one != nil && slices.Equal(one.promises, promises) {
		b.holds.reschedule(one, until)
		return
	}
	b.Release(key)
	one := b.holds.take(key, until)
	one.promises = append(one.promises, promises...)
	b.hold(one)
}

// Commit makes a reservation last until it is released.
func (b *Book) Commit(key string) error {
	one := b.holds.byKey[key]
	if one == nil {
		return fmt.Errorf("commit %s: %w", key, ErrUnknown)
	}
	b.holds.reschedule(one, time.Time{})
	return nil
}

// Release gives back what is held under a key; without any, it does nothing.
func (b *Book) Release(key string) {
	one := b.holds.byKey[key]
	if one == nil {
		return
	}
	for i := range one.promises {
		offer := one.promises[i].Offer
		if s := b.offers[offer]; s != nil {
			b.drop(s, key)
		} else {
			b.holds.away(offer, one)
		}
	}
	b.holds.give(one)
}

// hold takes the promises out of their offers.
func (b *Book) hold(one *hold) {
	for i := range one.promises {
		promise := &one.promises[i]
		s := b.offers[promise.Offer]
		if s == nil {
			b.holds.absent(promise.Offer, one)
			continue
		}
		s.Held = append(s.Held, promise.Gang)
		s.keys = append(s.keys, one.key)
		b.changed(s)
	}
}

// drop gives back what a key holds of an offer.
func (b *Book) drop(s *standing, key string) {
	for i := len(s.keys) - 1; i >= 0; i-- {
		if s.keys[i] != key {
			continue
		}
		last := len(s.keys) - 1
		s.keys[i], s.Held[i] = s.keys[last], s.Held[last]
		s.keys[last] = ""
		s.keys, s.Held = s.keys[:last], s.Held[:last]
	}
	b.changed(s)
}

// absent remembers a hold of an offer that is not in the book.
func (h *holds) absent(offer string, one *hold) {
	if !slices.Contains(h.byOffer[offer], one) {
		h.byOffer[offer] = append(h.byOffer[offer], one)
	}
}

// away drops a hold of an offer that is not in the book.
func (h *holds) away(offer string, one *hold) {
	rest := slices.DeleteFunc(h.byOffer[offer], func(other *hold) bool { return other == one })
	if len(rest) == 0 {
		delete(h.byOffer, offer)
		return
	}
	h.byOffer[offer] = rest
}

// take returns an empty hold under a key that holds nothing.
func (h *holds) take(key string, until time.Time) *hold {
	var one *hold
	if n := len(h.spare); n > 0 {
		one, h.spare = h.spare[n-1], h.spare[:n-1]
	} else {
		one = &hold{}
	}
	one.key, one.place = key, -1
	h.byKey[key] = one
	h.reschedule(one, until)
	return one
}

func (h *holds) give(one *hold) {
	h.reschedule(one, time.Time{})
	delete(h.byKey, one.key)
	one.key, one.promises = "", one.promises[:0]
	h.spare = append(h.spare, one)
}

// reschedule sets when a hold ends.
func (h *holds) reschedule(one *hold, until time.Time) {
	one.until = until
	switch {
	case until.IsZero() && one.place >= 0:
		heap.Remove(&h.queue, one.place)
	case until.IsZero():
	case one.place >= 0:
		heap.Fix(&h.queue, one.place)
	default:
		heap.Push(&h.queue, one)
	}
}

// queue is a heap of holds by their end.
type queue []*hold

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].until.Before(q[j].until) }

func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = i, j
}

// Push is container/heap's.
func (q *queue) Push(x any) {
	if one, ok := x.(*hold); ok {
		one.place = len(*q)
		*q = append(*q, one)
	}
}

// Pop is container/heap's.
func (q *queue) Pop() any {
	last := len(*q) - 1
	one := (*q)[last]
	(*q)[last] = nil
	*q = (*q)[:last]
	one.place = -1
	return one
}
