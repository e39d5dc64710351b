// SPDX-License-Identifier: Apache-2.0

package visitor

import (
	"net"
	"net/netip"
	"sync"
)

// shared is a listener of whose connections no address has more than its share.
type shared struct {
	net.Listener

	most int

	mu   sync.Mutex
	open map[netip.Addr]int
}

func share(listener net.Listener, most int) *shared {
	return &shared{Listener: listener, most: most, open: map[netip.Addr]int{}}
}

// Accept returns the next connection of somebody who has not got his share. Others are closed.
func (s *shared) Accept() (net.Conn, error) {
	for {
		conn, err := s.Listener.Accept()
		if err != nil {
			return nil, err
		}
		from, err := netip.ParseAddrPort(conn.RemoteAddr().String())
		if err == nil && s.enter(home(from.Addr())) {
			return &visit{Conn: conn, leave: sync.OnceFunc(func() { s.leave(home(from.Addr())) })}, nil
		}
		_ = conn.Close() // nothing was said yet
	}
}

func (s *shared) enter(address netip.Addr) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[address] >= s.most {
		return false
	}
	s.open[address]++
	return true
}

func (s *shared) leave(address netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open[address]--; s.open[address] == 0 {
		delete(s.open, address)
	}
}

// visit is a connection that is counted until it is closed.
type visit struct {
	net.Conn

	leave func()
}

// Close closes the connection, and makes room for another.
func (v *visit) Close() error {
	defer v.leave()
	return v.Conn.Close()
}
