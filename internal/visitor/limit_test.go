// SPDX-License-Identifier: Apache-2.0

package visitor

import (
	"net/netip"
	"testing"
	"time"
)

var rates = Rates{PerSecond: 20, Burst: 200, PerSecondEach: 1, BurstEach: 20}

func TestOneAddressTakesNothingFromTheOthers(t *testing.T) {
	l, now := NewLimits(rates), time.Unix(1_800_000_000, 0)
	for range 10 * rates.Burst {
		l.Allow(netip.MustParseAddr("2001:db8::1"), now)
	}
	for address, want := range map[string]bool{"2001:db8::2": false, "2001:db8:0:1::1": true, "192.0.2.1": true, "::ffff:192.0.2.2": true} {
		if got := l.Allow(netip.MustParseAddr(address), now); got != want {
			t.Errorf("%s: %v, want %v", address, got, want)
		}
	}
}

func TestAllAddressesTogetherAreBounded(t *testing.T) {
	l, now, allowed := NewLimits(rates), time.Unix(1_800_000_000, 0), 0
	for i := range 2 * MostCounted {
		if l.Allow(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), now) {
			allowed++
		}
	}
	if allowed != rates.Burst || len(l.each) != MostCounted {
		t.Errorf("%d were answered and %d are counted, want %d and %d", allowed, len(l.each), rates.Burst, MostCounted)
	}
	now = now.Add(time.Hour)
	if !l.Allow(netip.MustParseAddr("192.0.2.1"), now) || len(l.each) != 1 {
		t.Errorf("%d are counted after an hour, want the new one", len(l.each))
	}
}
