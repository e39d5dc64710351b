// SPDX-License-Identifier: Apache-2.0

package joinhttp

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// What strangers may ask. A join is two requests, and so is a renewal, which a member needs every half an hour: the whole hub's rate is
// enough for 18 000 members.
const (
	perSecond, burst         = 20, 200 // of all together
	perSecondEach, burstEach = 1, 20   // of one address
	// mostVisitors is how many addresses are counted by themselves; more are counted together only.
	mostVisitors = 10_000
	// homeBits is how much of an IPv6 address is one visitor's, who has all the rest to choose from.
	homeBits = 64
)

// limits count requests, of each address and of all together.
type limits struct {
	all *rate.Limiter

	mu    sync.Mutex
	each  map[netip.Addr]*rate.Limiter
	swept time.Time
}

func newLimits() *limits {
	return &limits{all: rate.NewLimiter(perSecond, burst), each: map[netip.Addr]*rate.Limiter{}}
}

// allow says whether one more request of the address is answered. One that asks too much takes nothing from the others.
func (l *limits) allow(address netip.Addr, now time.Time) bool {
	if own := l.visitor(home(address), now); own != nil && !own.AllowN(now, 1) {
		return false
	}
	return l.all.AllowN(now, 1)
}

// visitor is the address's own count, or nil when there are too many addresses.
func (l *limits) visitor(address netip.Addr, now time.Time) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	if own := l.each[address]; own != nil {
		return own
	}
	if len(l.each) >= mostVisitors && now.Sub(l.swept) >= time.Second {
		l.swept = now
		for other, count := range l.each {
			if count.TokensAt(now) >= burstEach { // one that is forgotten begins with as much
				delete(l.each, other)
			}
		}
	}
	if len(l.each) >= mostVisitors {
		return nil
	}
	own := rate.NewLimiter(perSecondEach, burstEach)
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
