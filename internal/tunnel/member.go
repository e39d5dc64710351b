// SPDX-License-Identifier: Apache-2.0

package tunnel

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/bourse-dev/bourse/internal/access"
)

// Waits between two tries, before jitter.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
	// jitter is the part of every wait that differs between members, so that they do not all come at once after an outage.
	jitter = 0.3
	// steady is how long a tunnel must have been open for its end to be no reason to wait: two managers of one member would take it from each
	// other without end.
	steady = time.Minute
)

// errGateway says that a gateway answers as none does.
var errGateway = errors.New("unusable gateway")

// MemberOptions are whose tunnel is kept open, and what it serves.
type MemberOptions struct {
	// Namespace is the member's in the hub.
	Namespace string
	// Authorize puts the member's access to the hub on requests.
	Authorize func(next http.RoundTripper) (http.RoundTripper, error)
	Handler   http.Handler
	Pulse     Pulse
	Retry     time.Duration // the first wait; 0: a second
	Log       logr.Logger
	Now       func() time.Time
}

// Member is the end of a tunnel at which requests are answered. It opens the tunnel, and opens it again whenever it ends.
type Member struct {
	o MemberOptions

	mu        sync.Mutex
	to        access.Gateway
	moved     chan struct{} // closed when to changes
	connected bool
}

// NewMember returns a member that has no gateway yet: call Point.
func NewMember(o MemberOptions) *Member {
	if o.Retry == 0 {
		o.Retry = firstRetry
	}
	return &Member{o: o, moved: make(chan struct{})}
}

// Point says which gateway the tunnel leads to from now on; one without a URL is none. To say the same again changes nothing.
func (m *Member) Point(to access.Gateway) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if to == m.to {
		return
	}
	m.to = to
	close(m.moved)
	m.moved = make(chan struct{})
}

// Connected says whether the tunnel is open.
func (m *Member) Connected() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.connected
}

func (m *Member) setConnected(connected bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.connected = connected
}

func (m *Member) target() (access.Gateway, <-chan struct{}) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.to, m.moved
}

// NeedLeaderElection says yes: a member has one tunnel, from where its caches are worked on.
func (*Member) NeedLeaderElection() bool { return true }

// Start keeps the tunnel open until the context ends.
func (m *Member) Start(ctx context.Context) error {
	wait := m.o.Retry
	for ctx.Err() == nil {
		to, moved := m.target()
		if to.URL == "" {
			select {
			case <-ctx.Done():
			case <-moved:
			}
			continue
		}
		began := m.o.Now()
		err := m.serve(ctx, to, moved)
		switch lasted := m.o.Now().Sub(began); {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // it was told to stop
		case errors.Is(err, access.Standby) || err == nil && lasted >= steady:
			wait = m.o.Retry
		case err != nil:
			m.o.Log.Error(err, "Did not open a tunnel to the gateway", "gateway", to.URL)
		}
		if pause(ctx, wait, moved) {
			wait = min(2*wait, lastRetry)
		} else {
			wait = m.o.Retry
		}
	}
	return nil
}

// pause waits for about so long. It says no when the gateway is another one before that, or the context ends.
func pause(ctx context.Context, wait time.Duration, moved <-chan struct{}) bool {
	timer := time.NewTimer(time.Duration(float64(wait) * (1 - jitter*rand.Float64()))) //nolint:gosec // jitter is no secret
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-moved:
		return false
	case <-timer.C:
		return true
	}
}

// serve opens the tunnel and answers requests until it ends, the gateway is another one, or the context ends. It returns an error if the
// tunnel did not come about.
func (m *Member) serve(ctx context.Context, to access.Gateway, moved <-chan struct{}) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	conn, err := m.dial(ctx, to)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }() // it may have been closed before
	m.setConnected(true)
	defer m.setConnected(false)
	m.o.Log.Info("Opened a tunnel to the gateway", "gateway", to.URL)
	var answering sync.WaitGroup
	server := &http.Server{
		Handler: upgradable(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
			answering.Add(1)
			defer answering.Done()
			m.o.Handler.ServeHTTP(writer, request)
		})),
		Protocols: onlyHTTP2(), HTTP2: m.o.Pulse.config(), MaxHeaderBytes: maxHeaders, ReadHeaderTimeout: handshakeWithin,
		// Answers end when the connection does, and not before: what was cut off must not look complete.
		BaseContext: func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
		ErrorLog:    log.New(io.Discard, "", 0), // what the gateway does wrong, it does to itself
	}
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ctx.Done():
		case <-moved:
		case <-conn.closed:
		}
		_ = server.Close() // nobody can be told
		_ = conn.Close()   // it may have been closed before
	}()
	err = server.Serve(&single{conn: conn, first: make(chan struct{}, 1)})
	cancel()
	<-stopped
	answering.Wait()
	m.o.Log.Info("Lost the tunnel to the gateway", "gateway", to.URL, "cause", err.Error())
	return nil
}

// dial asks the gateway for a tunnel.
func (m *Member) dial(ctx context.Context, to access.Gateway) (*watched, error) {
	base, err := to.Base()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errGateway, err)
	}
	config, err := tlsOf(to)
	if err != nil {
		return nil, err
	}
	var raw net.Conn
	dialer := &net.Dialer{Timeout: handshakeWithin}
	transport := &http.Transport{
		TLSClientConfig: config, Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: handshakeWithin, MaxResponseHeaderBytes: maxHeaders,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			var err error
			raw, err = dialer.DialContext(ctx, network, address)
			return raw, err
		},
		DisableKeepAlives: true,
	}
	authorized, err := m.o.Authorize(transport)
	if err != nil {
		return nil, fmt.Errorf("use the access to the hub: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx) // it ends with the connection
	timer := time.AfterFunc(handshakeWithin, cancel)
	defer timer.Stop()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, base+access.OfTunnel(m.o.Namespace), nil)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", Protocol)
	response, err := authorized.RoundTrip(request)
	if err != nil {
		cancel()
		return nil, fmt.Errorf("ask the gateway: %w", err)
	}
	both, upgraded := response.Body.(io.ReadWriteCloser)
	if response.StatusCode != http.StatusSwitchingProtocols || !upgraded {
		defer cancel()
		return nil, errors.Join(declined(response), response.Body.Close())
	}
	return watch(&tunnelled{Conn: raw, both: both, cancel: cancel}), nil
}

// declined is why a gateway opened no tunnel.
func declined(response *http.Response) error {
	if err := access.RefusalOf(response); err != nil {
		return err
	}
	return fmt.Errorf("%w: it answers %s", errGateway, response.Status)
}

func tlsOf(to access.Gateway) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if to.Authorities != "" {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM([]byte(to.Authorities)) {
			return nil, fmt.Errorf("%w: there is no certificate in the Market's spec.gateway.caBundle", errGateway)
		}
	}
	return config, nil
}

// tunnelled is a connection after the upgrade: its deadlines are those of the connection below TLS.
type tunnelled struct {
	net.Conn

	both   io.ReadWriteCloser
	cancel context.CancelFunc
}

// Read reads what the gateway sends.
func (t *tunnelled) Read(into []byte) (int, error) { return t.both.Read(into) }

// Write sends to the gateway.
func (t *tunnelled) Write(from []byte) (int, error) { return t.both.Write(from) }

// Close closes the connection.
func (t *tunnelled) Close() error {
	defer t.cancel()
	return errors.Join(t.both.Close(), t.Conn.Close())
}

// single is a listener with one connection, which ends with it.
type single struct {
	conn  *watched
	first chan struct{}
}

// Accept returns the connection, and then waits for its end.
func (s *single) Accept() (net.Conn, error) {
	select {
	case s.first <- struct{}{}:
		return s.conn, nil
	default:
		<-s.conn.closed
		return nil, net.ErrClosed
	}
}

// Close closes the connection.
func (s *single) Close() error { return s.conn.Close() }

// Addr is nowhere.
func (s *single) Addr() net.Addr { return nowhere{} }
