// SPDX-License-Identifier: Apache-2.0

package chain_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/chain"
)

// endpoint answers with its name and a status, and writes down what it was sent.
type endpoint struct {
	name   string
	status int
	got    []string
}

func (e *endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	e.got = append(e.got, string(body))
	w.WriteHeader(e.status)
	_, _ = io.WriteString(w, e.name)
}

func serve(t *testing.T, handler http.Handler) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func post(t *testing.T, transport http.RoundTripper, body string) (int, string, error) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://first.invalid", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(text), nil
}

func TestFailoverStaysWithTheEndpointThatAnswers(t *testing.T) {
	busy, good := &endpoint{name: "busy", status: http.StatusTooManyRequests}, &endpoint{name: "good", status: http.StatusOK}
	gone := httptest.NewServer(good)
	gone.Close()
	transport := chain.Failover(http.DefaultTransport, gone.URL, serve(t, busy), serve(t, good))
	for _, body := range []string{"one", "two"} {
		if status, text, err := post(t, transport, body); err != nil || status != http.StatusOK || text != "good" {
			t.Fatalf("%s: %d %q %v, want the good endpoint's answer", body, status, text, err)
		}
	}
	if diff := cmp.Diff([]string{"one"}, busy.got); diff != "" {
		t.Errorf("the busy endpoint got (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"one", "two"}, good.got); diff != "" {
		t.Errorf("the good endpoint got (-want +got):\n%s", diff)
	}
}

func TestFailoverReturnsTheLastAnswerWhenAllAreOverloaded(t *testing.T) {
	one, two := &endpoint{name: "one", status: http.StatusServiceUnavailable}, &endpoint{name: "two", status: http.StatusTooManyRequests}
	transport := chain.Failover(http.DefaultTransport, serve(t, one), serve(t, two))
	if status, text, err := post(t, transport, "x"); err != nil || status != http.StatusTooManyRequests || text != "two" {
		t.Errorf("%d %q %v, want the last endpoint's refusal", status, text, err)
	}
}

func TestFailoverSaysWhatWasWrongWithEachEndpoint(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	secret := gone.URL + "/?api-key=hidden"
	_, _, err := post(t, chain.Failover(http.DefaultTransport, secret, secret), "x")
	if err == nil || !strings.Contains(err.Error(), "endpoint 1") || !strings.Contains(err.Error(), "endpoint 2") {
		t.Errorf("err = %v, want one problem per endpoint", err)
	}
	if err != nil && strings.Contains(err.Error(), "hidden") {
		t.Errorf("the error shows an access key: %v", err)
	}
}
