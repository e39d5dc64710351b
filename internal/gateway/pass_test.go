// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"time"

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
