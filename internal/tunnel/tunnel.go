// SPDX-License-Identifier: Apache-2.0

// Package tunnel carries requests from a hub to its members over connections that the members open: after an HTTP/1.1 upgrade the parts are
// changed, and the member serves HTTP/2 on the connection. It knows neither who may open one nor what is asked for.
package tunnel

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// Protocol is what the connection is upgraded to.
const Protocol = "bourse-tunnel/1"

// Bounds of one tunnel.
const (
	maxHeaders = 32 << 10
	maxFrame   = 16 << 10
	// maxStreams is how many requests go through a tunnel at once, and maxStreamsAbout how many of them may be about one thing.
	maxStreams      = 64
	maxStreamsAbout = 16
	// maxUnread is how much is kept of a stream that its reader does not read: then its writer waits.
	maxUnread           = 256 << 10
	maxUnreadOfTunnel   = 2 << 20
	headersWithin       = 2 * time.Minute // a program that is submitted may be looked at first
	writeWithin         = 30 * time.Second
	handshakeWithin     = 20 * time.Second
	upgradeHeader       = "Bourse-Upgrade" // marks a stream that carries another protocol after its headers
	addressInsideTunnel = "member"         // requests need a host, and there is but one
)

// Pulse is how soon a link that died in silence is noticed: after so long without a word the other side is asked, and after so long without
// an answer the link is closed.
type Pulse struct {
	After, Within time.Duration
}

// DefaultPulse notices a dead link within half a minute.
func DefaultPulse() Pulse { return Pulse{After: 15 * time.Second, Within: 15 * time.Second} }

func (p Pulse) config() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, StrictMaxConcurrentRequests: true, MaxReadFrameSize: maxFrame,
		MaxReceiveBufferPerConnection: maxUnreadOfTunnel, MaxReceiveBufferPerStream: maxUnread,
		SendPingTimeout: p.After, PingTimeout: p.Within, WriteByteTimeout: writeWithin,
	}
}

// onlyHTTP2 is HTTP/2 without TLS of its own: the connection below has it.
func onlyHTTP2() *http.Protocols {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	return protocols
}

// watched is a connection that tells when it is closed.
type watched struct {
	net.Conn

	once   sync.Once
	closed chan struct{}
}

func watch(conn net.Conn) *watched { return &watched{Conn: conn, closed: make(chan struct{})} }

// Close closes the connection, and says so.
func (w *watched) Close() error {
	err := w.Conn.Close()
	w.once.Do(func() { close(w.closed) })
	return err
}
