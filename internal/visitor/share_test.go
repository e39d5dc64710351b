// SPDX-License-Identifier: Apache-2.0

package visitor

import (
	"net"
	"net/netip"
	"testing"
)

// callers is a listener at which these addresses call, one after the other.
type callers struct {
	net.Listener

	addresses []string
	refused   []string
}

type caller struct {
	net.Conn

	of *callers
	at string
}

func (c caller) RemoteAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(c.at), 4321))
}

func (c caller) Close() error {
	c.of.refused = append(c.of.refused, c.at)
	return nil
}

func (c *callers) Accept() (net.Conn, error) {
	if len(c.addresses) == 0 {
		return nil, net.ErrClosed
	}
	next := caller{of: c, at: c.addresses[0]}
	c.addresses = c.addresses[1:]
	return next, nil
}

func TestNoAddressHasMoreConnectionsThanItsShare(t *testing.T) {
	calls := &callers{addresses: []string{
		"192.0.2.1", "::ffff:192.0.2.1", "192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8::3", "2001:db8:0:1::1", "192.0.2.2",
	}}
	listener := share(calls, 2)
	var served []string
	var conns []net.Conn
	for {
		conn, err := listener.Accept()
		if err != nil {
			break
		}
		served, conns = append(served, conn.RemoteAddr().String()), append(conns, conn)
	}
	if len(served) != 6 || len(calls.refused) != 2 || calls.refused[0] != "192.0.2.1" || calls.refused[1] != "2001:db8::3" {
		t.Errorf("served %v, refused %v", served, calls.refused)
	}
	for range 2 { // to close twice makes room once
		_ = conns[0].Close()
	}
	calls.addresses = []string{"192.0.2.1", "192.0.2.1"}
	if _, err := listener.Accept(); err != nil {
		t.Error("who has hung up may not call again")
	}
	if _, err := listener.Accept(); err == nil {
		t.Error("one connection that was closed made room for two")
	}
	for _, conn := range conns[1:] {
		_ = conn.Close()
	}
	if len(listener.open) != 1 {
		t.Errorf("%v are counted, of which one is open", listener.open)
	}
}
