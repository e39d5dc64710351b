// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	soon = 5 * time.Second        // for what must happen
	calm = 200 * time.Millisecond // for what must not
)

// start runs a relay to a server that sends back whatever it gets, and returns it with its address.
func start(t *testing.T) (*Relay, string) {
	t.Helper()
	echo := listen(t)
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return // the test has ended
			}
			go func() {
				defer conn.Close() //nolint:errcheck // the other end sees it
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	relay, link := New(echo.Addr().String()), listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- relay.Serve(ctx, link) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return relay, link.Addr().String()
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() }) // a relay has closed its own
	return listener
}

func dial(t *testing.T, address string) net.Conn {
	t.Helper()
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // the relay may have closed it
	return conn
}

func set(t *testing.T, relay *Relay, fault Fault) {
	t.Helper()
	if err := relay.Set(fault); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, conn net.Conn, text string) {
	t.Helper()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
}

// receive returns what arrives within a time: all of want, or what came of it.
func receive(t *testing.T, conn net.Conn, want string, within time.Duration) (string, error) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(want))
	n, err := io.ReadFull(conn, got)
	return string(got[:n]), err
}

func arrives(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	if got, err := receive(t, conn, want, soon); err != nil || got != want {
		t.Fatalf("received %q, %v; want %q", got, err, want)
	}
}

func stays(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	if got, err := receive(t, conn, want, calm); err == nil || got != "" {
		t.Fatalf("received %q, %v; want nothing", got, err)
	}
}

func TestALinkThatIsWellPassesEverythingOn(t *testing.T) {
	relay, address := start(t)
	conn := dial(t, address)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	go func() { _, _ = conn.Write(sent) }() // a failure shows in what arrives
	arrives(t, conn, string(sent))
	if _, count := relay.Look(); count.Connections != 1 || count.Out != int64(len(sent)) || count.Back != int64(len(sent)) {
		t.Errorf("counted %+v, want 1 connection with %d bytes each way", count, len(sent))
	}
}

// What was sent while nothing got through arrives afterwards, on the same connection, in order.
func TestWhatIsHeldArrivesLater(t *testing.T) {
	for _, mode := range []Mode{Cut, HoldOut, HoldBack} {
		t.Run(string(mode), func(t *testing.T) {
			relay, address := start(t)
			old := dial(t, address)
			send(t, old, "a")
			arrives(t, old, "a")
			set(t, relay, Fault{Mode: mode})
			send(t, old, "b")
			stays(t, old, "b")
			young := dial(t, address)
			send(t, young, "c")
			stays(t, young, "c")
			_, held := relay.Look()
			if reached := held.Out > 1; reached != (mode == HoldBack) {
				t.Errorf("%d bytes reached the target in mode %s", held.Out, mode)
			}
			set(t, relay, Fault{})
			arrives(t, old, "b")
			arrives(t, young, "c")
		})
	}
}

func TestARefusingLinkEndsWhatIsOpenAndWhatIsNew(t *testing.T) {
	relay, address := start(t)
	old := dial(t, address)
	send(t, old, "a")
	arrives(t, old, "a")
	set(t, relay, Fault{Mode: Refuse})
	ends(t, old)
	if young, err := new(net.Dialer).DialContext(t.Context(), "tcp", address); err == nil {
		ends(t, young)
	}
	set(t, relay, Fault{})
	young := dial(t, address)
	send(t, young, "b")
	arrives(t, young, "b")
}

func ends(t *testing.T, conn net.Conn) {
	t.Helper()
	_, err := receive(t, conn, "x", soon)
	if timeout, ok := err.(net.Error); err == nil || ok && timeout.Timeout() { //nolint:errorlint // net.Conn returns it bare
		t.Fatalf("the connection goes on: %v", err)
	}
}

func TestAShareOfConnectionsIsDropped(t *testing.T) {
	relay, address := start(t)
	set(t, relay, Fault{DropPercent: 30})
	const calls = 200
	for range calls {
		conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", address)
		if err != nil {
			continue // one that is dropped may say so already here
		}
		_, _ = io.WriteString(conn, "a") // or here
		_, _ = receive(t, conn, "a", soon)
		_ = conn.Close()
	}
	if _, count := relay.Look(); count.Connections+count.Dropped != calls || count.Dropped < 40 || count.Dropped > 80 {
		t.Errorf("counted %+v of %d, want about 30 %% dropped", count, calls)
	}
}

func TestAFlappingLinkComesAndGoes(t *testing.T) {
	relay, address := start(t)
	set(t, relay, Fault{Mode: Cut, FlapMS: 20})
	conn := dial(t, address)
	for range 20 {
		send(t, conn, "a")
		arrives(t, conn, "a")
	}
	set(t, relay, Fault{Mode: Cut})
	send(t, conn, "b")
	stays(t, conn, "b") // the fault before does not come back, nor does its end
}

func TestDelayedDataIsLateAndInOrder(t *testing.T) {
	relay, address := start(t)
	set(t, relay, Fault{DelayMS: 50})
	conn := dial(t, address)
	began := time.Now()
	send(t, conn, "a")
	send(t, conn, "b")
	arrives(t, conn, "ab")
	if took := time.Since(began); took < 100*time.Millisecond {
		t.Errorf("there and back took %s, want at least twice 50ms", took)
	}
}

func TestControl(t *testing.T) {
	cases := map[string]struct {
		body string
		want int
	}{
		"a cut":                      {`{"mode": "Cut"}`, http.StatusNoContent},
		"a link that is well":        {`{}`, http.StatusNoContent},
		"everything at once":         {`{"mode": "HoldBack", "dropPercent": 30, "delayMS": 5, "flapMS": 60000}`, http.StatusNoContent},
		"a mode that does not exist": {`{"mode": "Slow"}`, http.StatusBadRequest},
		"a misspelt name":            {`{"drop": 30}`, http.StatusBadRequest},
		"more connections than all":  {`{"dropPercent": 101}`, http.StatusBadRequest},
		"a negative delay":           {`{"delayMS": -1}`, http.StatusBadRequest},
		"no JSON":                    {`Cut`, http.StatusBadRequest},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			handler := New("").Control()
			put := httptest.NewRequestWithContext(t.Context(), http.MethodPut, FaultPath, strings.NewReader(tc.body))
			answer := httptest.NewRecorder()
			handler.ServeHTTP(answer, put)
			if answer.Code != tc.want {
				t.Fatalf("status %d, want %d: %s", answer.Code, tc.want, answer.Body)
			}
			if tc.want != http.StatusNoContent {
				return
			}
			answer = httptest.NewRecorder()
			handler.ServeHTTP(answer, httptest.NewRequestWithContext(t.Context(), http.MethodGet, FaultPath, nil))
			var got report
			var want Fault
			if err := json.Unmarshal(answer.Body.Bytes(), &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tc.body), &want); err != nil {
				t.Fatal(err)
			}
			if got.Fault != want {
				t.Errorf("the fault is %+v, want %+v", got.Fault, want)
			}
		})
	}
}
