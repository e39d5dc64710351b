// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// deadlines is an answer, and the connection below it, that knows until when it may be written.
type deadlines struct {
	*httptest.ResponseRecorder
	net.Conn

	answer, conn time.Time
}

func (d *deadlines) Write(from []byte) (int, error) { return d.ResponseRecorder.Write(from) }

// The answer's deadline, as http.ResponseController sets it.
func (d *deadlines) SetWriteDeadline(at time.Time) error {
	d.answer = at
	return nil
}

func (d *deadlines) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	return hijacked{Conn: d.Conn, of: d}, nil, nil
}

type hijacked struct {
	net.Conn

	of *deadlines
}

func (h hijacked) SetWriteDeadline(at time.Time) error {
	h.of.conn = at
	return h.Conn.SetWriteDeadline(at)
}

func TestNoAnswerWaitsForAClientWithoutEnd(t *testing.T) {
	b := newBench(t)
	for _, path := range []string{logOfTrain, "/", "/v1/nothing", "//v1", "/v1/namespaces/a/computejobs/b/ray"} {
		for _, method := range []string{http.MethodGet, http.MethodPost} {
			writer := &deadlines{ResponseRecorder: httptest.NewRecorder()}
			b.server.Handler().ServeHTTP(writer, httptest.NewRequestWithContext(t.Context(), method, path, nil))
			if left := time.Until(writer.answer); left <= 0 || left > writeWithin {
				t.Errorf("%s %s: the answer %d may be written for %s", method, path, writer.Code, left)
			}
		}
	}
}

// net/http answers what is asked of the server as a whole by itself, with no deadline.
func TestNothingIsAnsweredPastTheHandler(t *testing.T) {
	b := newBench(t)
	request := b.request(http.MethodOptions, "/", "", nil)
	request.URL.Opaque = "*"
	response, err := b.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("OPTIONS * is answered by %s, want that the handler refuses it", response.Status)
	}
}

func TestAnUpgradedConnectionWaitsForNoClientWithoutEnd(t *testing.T) {
	ours, theirs := net.Pipe()
	t.Cleanup(func() { _ = ours.Close() })
	t.Cleanup(func() { _ = theirs.Close() })
	of, now := &deadlines{Conn: ours}, time.Now()
	request := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
	conn, _, err := http.NewResponseController(patient(of, request, func() time.Time { return now })).Hijack()
	if err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = theirs.Read(make([]byte, 1)) }()
	if _, err := conn.Write([]byte{1}); err != nil || !of.conn.Equal(now.Add(writeWithin)) {
		t.Errorf("%v, with the deadline %s, want %s", err, of.conn, now.Add(writeWithin))
	}
	now = now.Add(-writeWithin)
	if _, err := conn.Write([]byte{1}); err == nil {
		t.Error("a client that does not read is waited for")
	}
}
