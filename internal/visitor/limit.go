// SPDX-License-Identifier: Apache-2.0

// Package visitor is for servers that strangers may call: it serves them by HTTPS, counts what they ask, each address by itself and all
// together, and says when it is too much. What is answered, and how much that may be, is its callers' to decide.
package visitor

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// MostCounted is how many addresses are counted by themselves; more are counted together only.
	MostCounted = 10_000
	// homeBits is how much of an IPv6 address is one visitor's, who has all the rest to choose from.
	homeBits = 64
)

// Rates are how much may be asked: so much in a second, after so much at once.
type Rates struct {
	PerSecond, Burst         int // of all together
	PerSecondEach, BurstEach int // of one address
}

// Limits count requests, of each address and of all together.
type Limits struct {
	rates Rates
	all   *rate.Limiter

	mu    sync.Mutex
	each  map[netip.Addr]*rate.Limiter
	swept time.Time
}

// NewLimits returns limits that have counted nothing yet.
func NewLimits(rates Rates) *Limits {
	return &Limits{
		rates: rates, all: rate.NewLimiter(rate.Limit(rates.PerSecond), rates.Burst), each: map[netip.Addr]*rate.Limiter{},
	}
}

// Allow says whether one more request of the address is answered. One that asks too much takes nothing from the others.
func (l *Limits) Allow(address netip.Addr, now time.Time) bool {
	if own := l.visitor(home(address), now); own != nil && !own.AllowN(now, 1) {
		return false
	}
	return l.all.AllowN(now, 1)
}

// visitor is the address's own count, or nil when there are too many addresses.
func (l *Limits) visitor(address netip.Addr, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if own := l.each[address]; own != nil {
		return own
	}
	if len(l.each) >= MostCounted && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for other, count := range l.each {
			if count.TokensAt(now) >= float64(l.rates.BurstEach) { // one that is forgotten begins with as much
				delete(l.each, other)
			}
		}
	}
	if len(l.each) >= MostCounted {
		return nil
	}
	own := rate.NewLimiter(rate.Limit(l.rates.PerSecondEach), l.rates.BurstEach)
	l.each[address] = own
	return own
}

// home is the part of the address that belongs to one visitor.
func home(address netip.Addr) netip.Addr {
	address = address.Unmap().WithZone("")
	if address.Is6() {
		if prefix, err := address.Prefix(homeBits); err == nil {
			return prefix.Addr()
		}
	}
	return address
}
