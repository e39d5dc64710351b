// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"

	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/visitor"
	"github.com/bourse-dev/bourse/test/builders"
)

// follow begins to follow a log that never ends.
func (b *bench) follow() *http.Response {
	b.Helper()
	_, lease := builders.Leased(b, "train")
	b.supplier.HandleFunc("GET "+access.OfLease(lease.Name, "log"), func(writer http.ResponseWriter, request *http.Request) {
		fmt.Fprintln(writer, "first")
		_ = http.NewResponseController(writer).Flush()
		<-request.Context().Done()
	})
	response, err := b.client.Do(b.request(http.MethodGet, logOfTrain+"?follow=true", "buyer", nil))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = response.Body.Close() })
	if line, err := bufio.NewReader(response.Body).ReadString('\n'); err != nil || line != "first\n" {
		b.Fatalf("got %q, %v", line, err)
	}
	return response
}

func TestALogThatIsFollowedEndsWithTheRightToIt(t *testing.T) {
	for name, change := range map[string]func(b *bench){
		"the right is taken":      func(b *bench) { b.reviewer.set("buyer") },
		"the member is suspended": func(b *bench) { b.suspend(builders.Buyer) },
	} {
		t.Run(name, func(t *testing.T) {
			b := leased(t)
			response := b.follow()
			change(b)
			if _, err := io.ReadAll(response.Body); err == nil {
				t.Error("what was cut off looks complete")
			}
			b.eventually("it is counted", func() bool { return b.recorder.count("log ok") == 1 })
		})
	}
}

func TestARightEndsHoweverMuchIsAsked(t *testing.T) {
	b := leased(t)
	response := b.follow()
	b.server.limits = visitor.NewLimits(visitor.Rates{}) // strangers take all that there is
	b.reviewer.set("buyer")
	b.eventually("the log ends with the right to it", func() bool { return b.recorder.count("log ok") == 1 })
	if _, err := io.ReadAll(response.Body); err == nil {
		t.Error("what was cut off looks complete")
	}
}

func TestALogIsFollowedWhileTheAPIServerIsAway(t *testing.T) {
	b := leased(t)
	response := b.follow()
	b.reviewer.mu.Lock()
	b.reviewer.fail = errors.New("away")
	b.reviewer.mu.Unlock()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_, _ = io.ReadAll(response.Body)
	}()
	select {
	case <-ended:
		t.Error("the log ended because nobody could be asked")
	case <-time.After(time.Second):
	}
	_ = response.Body.Close()
	<-ended
}

func TestAGatewayThatStopsSendsToAnother(t *testing.T) {
	b := leased(t)
	_, lease := builders.Leased(t, "train")
	b.supplier.HandleFunc("GET "+access.OfLease(lease.Name, "log"), func(_ http.ResponseWriter, request *http.Request) {
		b.stop()
		<-request.Context().Done()
	})
	if text, err := b.ask(http.MethodGet, logOfTrain, "buyer"); !errors.Is(err, access.Standby) {
		t.Errorf("got %q, %v, want %s", text, err, access.Standby)
	}
}

func TestOnlyTunnelsThatAreOpenAreToldOf(t *testing.T) {
	b := newBench(t)
	var mu sync.Mutex
	var told []string
	b.server.o.Log = funcr.New(func(_, line string) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, line)
	}, funcr.Options{})
	lines := func() int {
		mu.Lock()
		defer mu.Unlock()
		return len(told)
	}
	if _, err := b.ask(http.MethodGet, access.OfTunnel(builders.Supplier), "supplier"); !errors.Is(err, access.Malformed) || lines() > 0 {
		t.Errorf("%v, told %q of what is no tunnel", err, told)
	}
	b.connect(builders.Supplier, "supplier")
	b.eventually("it is told that it was opened", func() bool { return lines() == 1 })
	b.stop()
	b.eventually("it is told that it was closed", func() bool { return lines() == 2 })
	if !strings.Contains(told[0], "Opened a tunnel") || !strings.Contains(told[1], "Closed a tunnel") {
		t.Errorf("told %q", told)
	}
}

func TestWhoAsksAndLeavesIsNotToldOf(t *testing.T) {
	b := newBench(t)
	var told []string
	b.server.o.Log = funcr.New(func(_, line string) { told = append(told, line) }, funcr.Options{})
	b.reviewer.fail = errors.New("nobody waits for the answer")
	here, leave := context.WithCancel(t.Context())
	defer leave()
	ask := func() {
		request := httptest.NewRequestWithContext(here, http.MethodGet, logOfTrain, nil)
		request.Header.Set("Authorization", "Bearer buyer")
		b.server.Handler().ServeHTTP(httptest.NewRecorder(), request) //nolint:contextcheck // the request has it
	}
	if ask(); len(told) != 1 {
		t.Errorf("told %q, want that the hub did not answer", told)
	}
	leave()
	if ask(); len(told) != 1 {
		t.Errorf("told %q, and nothing more of who has left", told)
	}
}

func TestAnUpgradeGoesThroughToTheHead(t *testing.T) {
	b := leased(t)
	_, lease := builders.Leased(t, "train")
	b.supplier.HandleFunc("GET "+access.OfLease(lease.Name, access.Ray)+"/shout", func(writer http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(writer).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer func() { _ = conn.Close() }()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: shouting\r\n\r\n")
		for word, err := buffered.ReadString('\n'); err == nil; word, err = buffered.ReadString('\n') {
			fmt.Fprint(conn, strings.ToUpper(word))
		}
	})
	request := b.request(http.MethodGet, access.OfJob(builders.Buyer, "train", access.Ray)+"/shout", "buyer", nil)
	request.Header.Set("Connection", "Upgrade")
	request.Header.Set("Upgrade", "shouting")
	response, err := b.client.Transport.RoundTrip(request)
	if err != nil {
		t.Fatal(err)
	}
	both, upgraded := response.Body.(io.ReadWriteCloser)
	if !upgraded {
		t.Fatalf("got %s", response.Status)
	}
	defer func() { _ = both.Close() }()
	reader := bufio.NewReader(both)
	for _, word := range []string{"hear", "me"} {
		fmt.Fprintln(both, word)
		if got, err := reader.ReadString('\n'); err != nil || got != strings.ToUpper(word)+"\n" {
			t.Fatalf("got %q, %v", got, err)
		}
	}
	b.reviewer.set("buyer")
	if rest, err := reader.ReadString('\n'); err == nil {
		t.Errorf("got %q when the right had ended", rest)
	}
}
