// SPDX-License-Identifier: Apache-2.0

package tunnel

import (
	"bufio"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"os"
	"sync"
	"time"
)

// HTTP/2 has no upgrades. A request for one, such as that of a WebSocket, becomes a stream whose two bodies are the bytes of the HTTP/1.1
// connection from the answer's first line on.

// sender sends one request over one connection.
type sender interface {
	RoundTrip(request *http.Request) (*http.Response, error)
}

// upgrade sends a request for an upgrade, and returns the answer as an HTTP/1.1 client gets it: with a body to read and write if the member
// changes the protocol.
func upgrade(to sender, request *http.Request) (*http.Response, error) {
	header := request.Header
	header.Set(upgradeHeader, header.Get("Upgrade"))
	header.Del("Upgrade")
	header.Del("Connection")
	upward, up := io.Pipe()
	request.Body, request.ContentLength = upward, -1
	outer, err := to.RoundTrip(request)
	if err != nil || outer.Header.Get(upgradeHeader) == "" {
		_ = up.Close() // there is nothing to send
		return outer, err
	}
	bounded := &io.LimitedReader{R: outer.Body, N: maxHeaders} // a member may say whatever it likes
	reader := bufio.NewReader(bounded)
	inner, err := http.ReadResponse(reader, request)
	bounded.N = math.MaxInt64
	if err != nil {
		return nil, errors.Join(err, up.Close(), outer.Body.Close())
	}
	inner.Body = &both{Reader: reader, down: outer.Body, WriteCloser: up}
	return inner, nil
}

// both are the two directions of an upgraded stream.
type both struct {
	io.Reader
	io.WriteCloser

	down io.Closer
}

// Close ends both directions.
func (b *both) Close() error { return errors.Join(b.WriteCloser.Close(), b.down.Close()) }

// upgradable gives a handler HTTP/1.1 connections to hijack for the streams that ask for it.
func upgradable(next http.Handler) http.Handler {
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		protocol := request.Header.Get(upgradeHeader)
		if protocol == "" {
			next.ServeHTTP(writer, request)
			return
		}
		request.Header.Del(upgradeHeader)
		request.Header.Set("Upgrade", protocol)
		request.Header.Set("Connection", "Upgrade")
		conn := &stream{down: request.Body, writer: writer}
		defer func() { _ = conn.Close() }() // nothing may be written when the handler has returned
		upward := request.WithContext(request.Context())
		upward.Body, upward.ContentLength = http.NoBody, 0
		next.ServeHTTP(&hijackable{ResponseWriter: writer, conn: conn}, upward)
	})
}

// hijackable is a stream's answer until it becomes a connection.
type hijackable struct {
	http.ResponseWriter

	conn *stream
}

// Unwrap is for http.ResponseController.
func (h *hijackable) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Hijack makes the stream a connection.
func (h *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h.Header().Set(upgradeHeader, "yes")
	h.WriteHeader(http.StatusOK)
	if err := http.NewResponseController(h.ResponseWriter).Flush(); err != nil {
		return nil, nil, err
	}
	return h.conn, bufio.NewReadWriter(bufio.NewReader(h.conn), bufio.NewWriter(h.conn)), nil
}

// stream is a connection that is one stream of a tunnel. It has no deadlines: the tunnel's own end it.
type stream struct {
	down io.ReadCloser

	mu     sync.Mutex
	writer http.ResponseWriter
	closed bool
}

// Read reads what the other side sends.
func (s *stream) Read(into []byte) (int, error) { return s.down.Read(into) }

// Write sends at once.
func (s *stream) Write(from []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, net.ErrClosed
	}
	n, err := s.writer.Write(from)
	if err != nil {
		return n, err
	}
	return n, http.NewResponseController(s.writer).Flush()
}

// Close waits for a write that is under way.
func (s *stream) Close() error {
	err := s.down.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	return err
}

// LocalAddr is nowhere.
func (s *stream) LocalAddr() net.Addr { return nowhere{} }

// RemoteAddr is nowhere.
func (s *stream) RemoteAddr() net.Addr { return nowhere{} }

// SetDeadline is not supported.
func (s *stream) SetDeadline(time.Time) error { return os.ErrNoDeadline }

// SetReadDeadline is not supported.
func (s *stream) SetReadDeadline(time.Time) error { return os.ErrNoDeadline }

// SetWriteDeadline is not supported.
func (s *stream) SetWriteDeadline(time.Time) error { return os.ErrNoDeadline }

type nowhere struct{}

// Network is that of tunnels.
func (nowhere) Network() string { return "tunnel" }

// String is the same everywhere.
func (nowhere) String() string { return addressInsideTunnel }
