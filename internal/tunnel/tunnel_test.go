// SPDX-License-Identifier: Apache-2.0

package tunnel_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/tunnel"
)

const (
	soon  = 10 * time.Second
	token = "Bearer of the member"
)

// bench is a hub behind real TLS, a link to it that can be cut, and one member.
type bench struct {
	*testing.T

	hub     *tunnel.Hub
	link    *link
	member  *tunnel.Member
	end     context.CancelFunc
	gateway access.Gateway
	mux     *http.ServeMux // what the member answers
}

type authorized struct{ next http.RoundTripper }

func (a authorized) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Authorization", token)
	return a.next.RoundTrip(request)
}

// newBench starts all of it. The member has not been told of the gateway yet.
func newBench(t *testing.T) *bench {
	t.Helper()
	pulse := tunnel.Pulse{After: 200 * time.Millisecond, Within: 200 * time.Millisecond}
	b := &bench{T: t, hub: tunnel.NewHub(1, pulse), mux: http.NewServeMux()}
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		b.eventually("nothing is left running", func() bool { return runtime.NumGoroutine() <= before })
	})
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.Header.Get("Authorization") != token {
			_ = (&access.Refusal{Reason: access.Unauthenticated, Detail: "No token"}).Write(writer)
			return
		}
		member := strings.Split(request.URL.Path, "/")[3]
		if err := b.hub.Accept(ctx, writer, request, member, func() {}); err != nil {
			_ = (&access.Refusal{Reason: access.Busy, Detail: err.Error()}).Write(writer)
		}
	}))
	server.StartTLS()
	t.Cleanup(server.Close)
	t.Cleanup(stop)
	b.link = newLink(t, server.Listener.Addr().String())
	b.gateway = access.Gateway{
		URL:         "https://" + b.link.address(),
		Authorities: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})),
	}
	b.member, b.end = b.another("porto", b.mux)
	return b
}

// another runs one more member.
func (b *bench) another(namespace string, handler http.Handler) (*tunnel.Member, context.CancelFunc) {
	b.Helper()
	member := tunnel.NewMember(tunnel.MemberOptions{
		Namespace: namespace, Handler: handler, Retry: 20 * time.Millisecond, Log: logr.Discard(), Now: time.Now,
		Authorize: func(next http.RoundTripper) (http.RoundTripper, error) { return authorized{next}, nil },
		Pulse:     tunnel.Pulse{After: 200 * time.Millisecond, Within: 200 * time.Millisecond},
	})
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	ended := make(chan error, 1)
	go func() { ended <- member.Start(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Errorf("member: %v", err)
		}
	})
	return member, cancel
}

func (b *bench) connect() {
	b.Helper()
	b.member.Point(b.gateway)
	b.eventually("the member is connected", func() bool { return b.hub.Open() == 1 && b.member.Connected() })
}

func (b *bench) eventually(what string, holds func() bool) {
	b.Helper()
	for end := time.Now().Add(soon); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			stacks := make([]byte, 1<<16)
			b.Fatalf("not within %s: %s\n%s", soon, what, stacks[:runtime.Stack(stacks, true)])
		}
	}
}

// ask sends a request through the tunnel.
func (b *bench) ask(ctx context.Context, about, method, path string, body io.Reader) (*http.Response, error) {
	b.Helper()
	request, err := http.NewRequestWithContext(ctx, method, "http://anything"+path, body)
	if err != nil {
		b.Fatal(err)
	}
	return b.hub.To("porto", about).RoundTrip(request)
}

// must is an answer of which the body is closed when the test ends.
func (b *bench) must(response *http.Response, err error) *http.Response {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = response.Body.Close() })
	return response
}

func (b *bench) text(response *http.Response) string {
	b.Helper()
	text, err := io.ReadAll(response.Body)
	if err := errors.Join(err, response.Body.Close()); err != nil {
		b.Fatal(err)
	}
	return string(text)
}

// link passes connections on, until it is cut.
type link struct {
	listener net.Listener
	to       string
	passing  sync.WaitGroup

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newLink(t *testing.T, to string) *link {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{listener: listener, to: to}
	l.passing.Go(l.accept)
	t.Cleanup(func() {
		_ = listener.Close()
		l.mu.Lock()
		for _, conn := range l.conns {
			_ = conn.Close()
		}
		l.mu.Unlock()
		l.passing.Wait()
	})
	return l
}

func (l *link) address() string { return l.listener.Addr().String() }

func (l *link) accept() {
	for {
		near, err := l.listener.Accept()
		if err != nil {
			return
		}
		far, err := (&net.Dialer{}).Dial("tcp", l.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		l.mu.Lock()
		l.conns = append(l.conns, near, far)
		l.mu.Unlock()
		l.passing.Go(func() { l.pass(near, far) })
		l.passing.Go(func() { l.pass(far, near) })
	}
}

// pass passes on what comes; what comes while the link is cut is lost, and nobody is told.
func (l *link) pass(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		l.mu.Lock()
		cut := l.cut
		l.mu.Unlock()
		if cut {
			if err != nil {
				return
			}
			continue
		}
		if _, failed := to.Write(buffer[:n]); err != nil || failed != nil {
			return
		}
	}
}

func (l *link) setCut(cut bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = cut
}

func TestRequestsGoToTheMember(t *testing.T) {
	b := newBench(t)
	b.mux.HandleFunc("POST /echo", func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("X-Was", request.Header.Get("X-Is"))
		writer.WriteHeader(http.StatusAccepted)
		_, _ = io.Copy(writer, request.Body)
	})
	if _, err := b.ask(t.Context(), "lease", http.MethodPost, "/echo", nil); !errors.Is(err, tunnel.ErrNotConnected) {
		t.Errorf("before there is a tunnel: %v", err)
	}
	b.connect()
	for range 2 {
		large := bytes.Repeat([]byte("0123456789abcdef"), 1<<17)
		response := b.must(b.ask(t.Context(), "lease", http.MethodPost, "/echo", bytes.NewReader(large)))
		if response.StatusCode != http.StatusAccepted || b.text(response) != string(large) {
			t.Errorf("the answer is another: %s", response.Status)
		}
	}
	if _, err := b.hub.To("oslo", "lease").RoundTrip(httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/echo", nil)); !errors.Is(err, tunnel.ErrNotConnected) {
		t.Errorf("another member: %v", err)
	}
}

// lines writes what it is told, and closes ended when nobody reads on.
func lines(b *bench, more <-chan string) (ended chan struct{}) {
	ended = make(chan struct{})
	b.mux.HandleFunc("GET /lines", func(writer http.ResponseWriter, request *http.Request) {
		defer close(ended)
		flusher := http.NewResponseController(writer)
		if err := flusher.Flush(); err != nil {
			b.Error(err)
		}
		for {
			select {
			case line := <-more:
				fmt.Fprintln(writer, line)
				if err := flusher.Flush(); err != nil {
					return
				}
			case <-request.Context().Done():
				return
			}
		}
	})
	return ended
}

func TestALogIsFollowedUntilItsReaderLeaves(t *testing.T) {
	b := newBench(t)
	more := make(chan string)
	ended := lines(b, more)
	b.connect()
	ctx, leave := context.WithCancel(t.Context())
	response := b.must(b.ask(ctx, "lease", http.MethodGet, "/lines", nil))
	reader := bufio.NewScanner(response.Body)
	for i := range 3 {
		time.Sleep(500 * time.Millisecond) // longer than a pulse: what is silent and alive is not cut
		line := fmt.Sprintf("line %d", i)
		more <- line
		if !reader.Scan() || reader.Text() != line {
			t.Fatalf("got %q, %v, want %q", reader.Text(), reader.Err(), line)
		}
	}
	leave()
	select {
	case <-ended:
	case <-time.After(soon):
		t.Error("the member goes on for a reader that has left")
	}
	if !b.member.Connected() {
		t.Error("the tunnel ended with its reader")
	}
}

func TestALogEndsWithItsMember(t *testing.T) {
	b := newBench(t)
	ended := lines(b, nil)
	b.connect()
	response := b.must(b.ask(t.Context(), "lease", http.MethodGet, "/lines", nil))
	b.end()
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("what was cut off looks complete")
	}
	<-ended
	b.eventually("the hub knows it", func() bool { return b.hub.Open() == 0 })
	if _, err := b.ask(t.Context(), "lease", http.MethodGet, "/lines", nil); !errors.Is(err, tunnel.ErrNotConnected) {
		t.Errorf("afterwards: %v", err)
	}
}

func TestALinkThatDiesInSilenceIsNoticedAndOpenedAgain(t *testing.T) {
	b := newBench(t)
	ended := lines(b, nil)
	b.mux.HandleFunc("GET /well", func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprint(writer, "well") })
	b.connect()
	response := b.must(b.ask(t.Context(), "lease", http.MethodGet, "/lines", nil))
	b.link.setCut(true)
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("what was cut off looks complete")
	}
	<-ended
	b.eventually("both sides have noticed", func() bool { return b.hub.Open() == 0 && !b.member.Connected() })
	b.link.setCut(false)
	b.eventually("the tunnel is open again", func() bool {
		response, err := b.ask(t.Context(), "lease", http.MethodGet, "/well", nil)
		return err == nil && b.text(response) == "well"
	})
}

func TestWhatNobodyReadsIsNotSent(t *testing.T) {
	b := newBench(t)
	var sent atomic.Int64
	b.mux.HandleFunc("GET /flood", func(writer http.ResponseWriter, _ *http.Request) {
		for block := make([]byte, 32<<10); ; {
			n, err := writer.Write(block)
			sent.Add(int64(n))
			if err != nil {
				return
			}
		}
	})
	b.mux.HandleFunc("GET /well", func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprint(writer, "well") })
	b.connect()
	floods := make([]*http.Response, 3)
	for i := range floods {
		floods[i] = b.must(b.ask(t.Context(), "lease", http.MethodGet, "/flood", nil))
	}
	var last int64
	b.eventually("the member waits", func() bool {
		before := last
		time.Sleep(100 * time.Millisecond)
		last = sent.Load()
		return last > 0 && last == before
	})
	if last > 4<<20 {
		t.Errorf("%d bytes were sent to nobody", last)
	}
	if got := b.text(b.must(b.ask(t.Context(), "lease", http.MethodGet, "/well", nil))); got != "well" {
		t.Errorf("beside it: %q", got)
	}
	if _, err := io.CopyN(io.Discard, floods[0].Body, 8<<20); err != nil {
		t.Errorf("read on: %v", err)
	}
}

func TestOnlySoManyAtOnce(t *testing.T) {
	b := newBench(t)
	b.mux.HandleFunc("GET /wait", func(writer http.ResponseWriter, request *http.Request) {
		_ = http.NewResponseController(writer).Flush()
		<-request.Context().Done()
	})
	b.connect()
	open := 0
	for _, about := range []string{"one", "two", "three", "four"} {
		for {
			response, err := b.ask(t.Context(), about, http.MethodGet, "/wait", nil)
			if err != nil {
				if !errors.Is(err, tunnel.ErrBusy) {
					t.Fatal(err)
				}
				break
			}
			b.must(response, nil)
			open++
		}
	}
	if open != 64 {
		t.Errorf("%d at once, want 16 about each of four", open)
	}
	if _, err := b.ask(t.Context(), "five", http.MethodGet, "/wait", nil); !errors.Is(err, tunnel.ErrBusy) {
		t.Errorf("one more about another: %v", err)
	}
}

func TestTheNewestTunnelOfAMemberIsItsTunnel(t *testing.T) {
	b := newBench(t)
	b.mux.HandleFunc("GET /who", func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprint(writer, "first") })
	b.connect()
	b.member.Point(access.Gateway{}) // it would come back
	b.eventually("the first has left", func() bool { return b.hub.Open() == 0 })
	b.connect()
	newer := http.NewServeMux()
	newer.HandleFunc("GET /who", func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprint(writer, "second") })
	second, _ := b.another("porto", newer)
	stranger, _ := b.another("oslo", newer)
	stranger.Point(b.gateway)
	second.Point(b.gateway)
	b.eventually("the second answers", func() bool {
		response, err := b.ask(t.Context(), "lease", http.MethodGet, "/who", nil)
		return err == nil && b.text(response) == "second"
	})
	if b.hub.Open() != 1 || stranger.Connected() {
		t.Errorf("%d tunnels where there is room for one; the other member is connected: %v", b.hub.Open(), stranger.Connected())
	}
}

func TestAMemberGoesWhereItIsPointed(t *testing.T) {
	b := newBench(t)
	b.member.Point(access.Gateway{URL: "http://" + b.link.address()})
	b.member.Point(access.Gateway{URL: b.gateway.URL, Authorities: "no certificate"})
	b.member.Point(access.Gateway{URL: b.gateway.URL}) // it is not known by the system's certificates
	time.Sleep(100 * time.Millisecond)
	if b.hub.Open() != 0 || b.member.Connected() {
		t.Error("there is a tunnel to a gateway that nobody knows")
	}
	b.connect()
	b.member.Point(b.gateway)
	if !b.member.Connected() {
		t.Error("to say the same again ended the tunnel")
	}
}

// A WebSocket is such an upgrade.
func TestAnUpgradeGoesThrough(t *testing.T) {
	b := newBench(t)
	ray := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.URL.Path != "/shout" {
			http.Error(writer, "no such thing", http.StatusNotFound)
			return
		}
		conn, both, err := http.NewResponseController(writer).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		fmt.Fprintf(both, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\nX-Ray: yes\r\n\r\n", request.Header.Get("Upgrade"))
		_ = both.Flush()
		for {
			line, err := both.ReadString('\n')
			if err != nil {
				return
			}
			fmt.Fprint(both, strings.ToUpper(line))
			_ = both.Flush()
		}
	}))
	t.Cleanup(ray.Close)
	behind, err := url.Parse(ray.URL)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	b.mux.Handle("/", &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(behind) }, Transport: transport})
	b.connect()
	front := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.Out.URL.Scheme, r.Out.URL.Host = "http", "tunnel" }, Transport: b.hub.To("porto", "lease"),
	})
	t.Cleanup(front.Close)
	for path, want := range map[string]int{"/shout": http.StatusSwitchingProtocols, "/whisper": http.StatusNotFound} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, front.URL+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Connection", "Upgrade")
		request.Header.Set("Upgrade", "shouting")
		response := b.must(transport.RoundTrip(request))
		if response.StatusCode != want {
			t.Fatalf("%s: %s, want %d", path, response.Status, want)
		}
		if want != http.StatusSwitchingProtocols {
			continue
		}
		both := response.Body.(io.ReadWriteCloser)
		reader := bufio.NewReader(both)
		for _, word := range []string{"hear", "me"} {
			fmt.Fprintln(both, word)
			if got, err := reader.ReadString('\n'); err != nil || got != strings.ToUpper(word)+"\n" {
				t.Fatalf("got %q, %v", got, err)
			}
		}
		if response.Header.Get("X-Ray") != "yes" || both.Close() != nil {
			t.Errorf("header %v", response.Header)
		}
	}
}

// A member is not trusted with how long its answer's first lines are.
func TestAnUpgradeWithoutEndIsRefused(t *testing.T) {
	b := newBench(t)
	b.mux.HandleFunc("/", func(writer http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(writer).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n")
		for line := "X-Line: " + strings.Repeat("x", 1000) + "\r\n"; err == nil; {
			_, err = io.WriteString(conn, line)
		}
	})
	b.connect()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://anything/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "shouting")
	if response, err := b.hub.To("porto", "lease").RoundTrip(request); err == nil {
		t.Errorf("got %s with %d headers", response.Status, len(response.Header))
		_ = response.Body.Close()
	}
}

func TestWithoutATokenThereIsNoTunnel(t *testing.T) {
	b := newBench(t)
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, access.OfTunnel("porto"), nil)
	if err := b.hub.Accept(t.Context(), httptest.NewRecorder(), request, "porto", func() {}); !errors.Is(err, tunnel.ErrNoUpgrade) {
		t.Errorf("a plain request: %v", err)
	}
}
