// SPDX-License-Identifier: Apache-2.0

package tunnel

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
)

// What a member's tunnel may be asked in vain.
var (
	// ErrNotConnected says that the member has no tunnel to this hub now.
	ErrNotConnected = errors.New("no tunnel")
	// ErrBusy says that as many requests as may be are under way already.
	ErrBusy = errors.New("too many requests at once")
	// ErrFull says that the hub has as many tunnels as it may have.
	ErrFull = errors.New("too many tunnels")
	// ErrNoUpgrade says that a request does not ask for a tunnel.
	ErrNoUpgrade = errors.New("not a request for a tunnel: upgrade to " + Protocol)
)

// Hub is the end of tunnels at which requests begin.
type Hub struct {
	most  int
	pulse Pulse

	mu   sync.Mutex
	open map[string]*link
}

// NewHub returns a hub with room for so many tunnels.
func NewHub(most int, pulse Pulse) *Hub {
	return &Hub{most: most, pulse: pulse, open: map[string]*link{}}
}

// link is one tunnel.
type link struct {
	conn   *watched
	client *http.ClientConn

	mu    sync.Mutex
	about map[string]int // how many requests are under way about each thing
}

// Open is how many tunnels there are.
func (h *Hub) Open() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.open)
}

// Accept makes the request's connection the member's tunnel, in place of one that it had, calls the function when it is open, and returns when
// the tunnel ends or the context does. What is refused before the upgrade is returned as ErrFull or ErrNoUpgrade, and can still be answered;
// everything later is nil.
func (h *Hub) Accept(ctx context.Context, writer http.ResponseWriter, request *http.Request, member string, opened func()) error {
	if !strings.EqualFold(request.Header.Get("Upgrade"), Protocol) || !strings.EqualFold(request.Header.Get("Connection"), "Upgrade") {
		return ErrNoUpgrade
	}
	if !h.room(member) {
		return ErrFull
	}
	raw, buffered, err := http.NewResponseController(writer).Hijack()
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoUpgrade, err)
	}
	conn := watch(&ahead{Conn: raw, reader: buffered.Reader})
	defer func() { _ = conn.Close() }() // it may have been closed before
	if err := greet(raw); err != nil {
		return nil // the member is gone before it began
	}
	client, err := h.client(ctx, conn)
	if err != nil {
		return nil // as before
	}
	l := &link{conn: conn, client: client, about: map[string]int{}}
	h.enter(member, l)
	defer h.leave(member, l)
	opened()
	select {
	case <-ctx.Done():
	case <-conn.closed:
	}
	return nil
}

// greet says that the parts are changed from now on. The deadlines were the HTTP/1.1 server's.
func greet(conn net.Conn) error {
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return fmt.Errorf("clear deadlines: %w", err)
	}
	_, err := io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: "+Protocol+"\r\n\r\n")
	return err
}

func (h *Hub) client(ctx context.Context, conn net.Conn) (*http.ClientConn, error) {
	transport := &http.Transport{
		DialContext:            func(context.Context, string, string) (net.Conn, error) { return conn, nil },
		Protocols:              onlyHTTP2(),
		HTTP2:                  h.pulse.config(),
		MaxResponseHeaderBytes: maxHeaders,
		ResponseHeaderTimeout:  headersWithin,
		DisableCompression:     true,
	}
	return transport.NewClientConn(ctx, "http", addressInsideTunnel+":80")
}

// room says whether the member may have a tunnel: a second one takes the place of the first.
func (h *Hub) room(member string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.open[member] != nil || len(h.open) < h.most
}

func (h *Hub) enter(member string, l *link) {
	h.mu.Lock()
	older := h.open[member]
	h.open[member] = l
	h.mu.Unlock()
	if older != nil {
		_ = older.conn.Close() // whoever has opened a newer one gave it up
	}
}

func (h *Hub) leave(member string, l *link) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.open[member] == l {
		delete(h.open, member)
	}
}

// To is the way to a member, for requests about one thing. Its errors are ErrNotConnected, ErrBusy, and those of the link.
func (h *Hub) To(member, about string) http.RoundTripper {
	return way{hub: h, member: member, about: about}
}

type way struct {
	hub           *Hub
	member, about string
}

// RoundTrip sends the request through the member's tunnel.
func (w way) RoundTrip(request *http.Request) (*http.Response, error) {
	w.hub.mu.Lock()
	l := w.hub.open[w.member]
	w.hub.mu.Unlock()
	if l == nil {
		return nil, ErrNotConnected
	}
	if !l.begin(w.about) {
		return nil, ErrBusy
	}
	response, err := l.send(request)
	if err != nil {
		l.end(w.about)
		return nil, err
	}
	response.Body = counted(response.Body, sync.OnceFunc(func() { l.end(w.about) }))
	return response, nil
}

func (l *link) begin(about string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.about[about] >= maxStreamsAbout {
		return false
	}
	l.about[about]++
	return true
}

func (l *link) end(about string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.about[about]--; l.about[about] == 0 {
		delete(l.about, about)
	}
}

func (l *link) send(request *http.Request) (*http.Response, error) {
	if err := l.client.Reserve(); err != nil {
		if l.client.Err() != nil {
			return nil, ErrNotConnected
		}
		return nil, ErrBusy
	}
	request = request.Clone(request.Context())
	request.URL.Scheme, request.URL.Host, request.Host = "http", addressInsideTunnel, ""
	if request.Header.Get("Upgrade") != "" {
		return upgrade(l.client, request)
	}
	return l.client.RoundTrip(request)
}

// counted calls a function when the body is closed.
func counted(body io.ReadCloser, closed func()) io.ReadCloser {
	if both, ok := body.(io.ReadWriteCloser); ok {
		return &countedBoth{ReadWriteCloser: both, closed: closed}
	}
	return &countedBody{ReadCloser: body, closed: closed}
}

type countedBody struct {
	io.ReadCloser

	closed func()
}

// Close closes the body, and counts it.
func (c *countedBody) Close() error {
	defer c.closed()
	return c.ReadCloser.Close()
}

type countedBoth struct {
	io.ReadWriteCloser

	closed func()
}

// Close closes both directions, and counts it.
func (c *countedBoth) Close() error {
	defer c.closed()
	return c.ReadWriteCloser.Close()
}

// ahead is a connection of which some was read already.
type ahead struct {
	net.Conn

	reader *bufio.Reader
}

// Read reads what was read already, and then from the connection.
func (a *ahead) Read(into []byte) (int, error) { return a.reader.Read(into) }
