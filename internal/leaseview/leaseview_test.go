// SPDX-License-Identifier: Apache-2.0

package leaseview

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/net/websocket"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/ray"
	"github.com/bourse-dev/bourse/internal/ray/raytest"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

const (
	token = "Ray's own"
	whole = "one\ntwo\nthree\n"
)

// bench is a supplier's cluster with one lease that runs a program, an API server that has logs, and a Ray head.
type bench struct {
	*testing.T

	lease  *boursev1.GPULease
	hub    *fakehub.Hub
	server *httptest.Server
	view   *Server
	logs   atomic.Pointer[http.HandlerFunc]
	whole  string      // what the program has written
	more   chan string // what the program writes while it is followed; closed when it ends
	head   net.Conn    // a head that is no Ray; nil: Ray
	dialed atomic.Value
	silent atomic.Bool // the Ray head does not answer
}

func space(lease *boursev1.GPULease) string { return ray.LeaseSpace(lease.Name) }

func newBench(t *testing.T, change func(lease *boursev1.GPULease, objects []client.Object) []client.Object) *bench {
	t.Helper()
	_, lease := builders.Leased(t, "train")
	lease.Spec.Ends = boursev1.EndsWithProgram
	b := &bench{T: t, lease: lease, whole: whole, more: make(chan string)}
	objects := b.cluster()
	if change != nil {
		objects = change(lease, objects)
	}
	b.hub = fakehub.New(t, nil, append(objects, lease)...)
	head := httptest.NewServer(b.ray())
	t.Cleanup(head.Close)
	api := httptest.NewServer(http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) { (*b.logs.Load())(writer, request) }))
	t.Cleanup(api.Close)
	b.log(func(writer http.ResponseWriter, request *http.Request) { fmt.Fprint(writer, request.URL) })
	view, err := New(Options{
		Hub: b.hub, Local: b.hub, Secrets: b.hub, Config: &rest.Config{Host: api.URL, QPS: -1}, Namespace: builders.Supplier, Log: logr.Discard(),
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			b.dialed.Store(address)
			switch {
			case b.head != nil:
				return b.head, nil
			case b.silent.Load():
				return nil, errors.New("connection refused")
			}
			return (&net.Dialer{}).DialContext(ctx, network, head.Listener.Addr().String())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	b.view, b.server = view, httptest.NewServer(view.Handler())
	t.Cleanup(b.server.Close)
	t.Cleanup(view.transport.CloseIdleConnections)
	return b
}

// cluster is what the lease has in the supplier's cluster, and what others have beside it.
func (b *bench) cluster() []client.Object {
	b.Helper()
	plan := ray.Plan{
		Namespace: space(b.lease), Lease: b.lease.Name, Run: "python /bourse/program.py", Token: token, Workers: b.lease.Spec.Workers, Version: "2.54.1",
	}
	objects := append([]client.Object{plan.Space()}, plan.Objects()...)
	job := objects[len(objects)-1]
	pods, err := raytest.Pods(job, builders.Start)
	if err != nil {
		b.Fatal(err)
	}
	raytest.Submit(job, "train-x7")
	for i, pod := range pods {
		pod.Status.PodIP = fmt.Sprintf("10.0.0.%d", i+1)
		objects = append(objects, pod)
	}
	other := pods[0].DeepCopy()
	other.Namespace, other.Name, other.Status.PodIP = "kube-system", "a-head-of-others", "10.0.0.99"
	return append(objects, other)
}

func (b *bench) log(answer http.HandlerFunc) { b.logs.Store(&answer) }

// ray answers as Ray's dashboard does.
func (b *bench) ray() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		writer.Header().Set("Set-Cookie", "ray-authentication-token="+token)
		writer.Header()["bourse-reason"] = []string{string(access.Standby)} // as only a head that is the buyer's own does
		writer.Header().Set("Bourse-Upgrade", "yes")
		body, err := io.ReadAll(request.Body)
		fmt.Fprintf(writer, "%s %s %s", request.Method, request.URL, body)
		if err != nil || request.Header.Get("Cookie")+request.Header.Get("X-Ray-Authorization") != "" {
			b.Errorf("Ray sees %v, %v", request.Header, err)
		}
	})
	mux.HandleFunc("GET /api/jobs/train-x7/logs", func(writer http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(writer).Encode(map[string]string{"logs": b.whole})
	})
	mux.Handle("GET /api/jobs/train-x7/logs/tail", websocket.Handler(func(conn *websocket.Conn) {
		for _, line := range strings.SplitAfter(whole, "\n") {
			_ = websocket.Message.Send(conn, line)
		}
		for line := range b.more {
			if websocket.Message.Send(conn, line) != nil {
				return
			}
		}
	}))
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		if request.Header.Get("Authorization") != "Bearer "+token {
			http.Error(writer, "Unauthorized", http.StatusUnauthorized)
			return
		}
		mux.ServeHTTP(writer, request)
	})
}

func (b *bench) get(path string) *http.Response {
	b.Helper()
	request, err := http.NewRequestWithContext(b.Context(), http.MethodGet, b.server.URL+path, nil)
	if err != nil {
		b.Fatal(err)
	}
	for _, name := range []string{"Authorization", "X-Ray-Authorization", "Cookie"} {
		request.Header.Set(name, "the buyer's")
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = response.Body.Close() })
	return response
}

// ask returns the text of the answer, or the refusal.
func (b *bench) ask(path string) (string, error) {
	b.Helper()
	response := b.get(path)
	if err := access.RefusalOf(response); err != nil {
		return "", err
	}
	text, err := io.ReadAll(response.Body)
	return string(text), err
}

func TestALogIsThatOfTheLeasesOwnContainer(t *testing.T) {
	b := newBench(t, nil)
	pods := "/api/v1/namespaces/" + space(b.lease) + "/pods/"
	for query, want := range map[string]string{
		"":                                  pods + "ray-head/log?container=ray-head",
		"?worker=head":                      pods + "ray-head/log?container=ray-head",
		"?worker=1&tail=5":                  pods + "ray-worker-1/log?container=ray-worker&tailLines=5",
		"?worker=0&follow=true&since=1m30s": pods + "ray-worker-0/log?container=ray-worker&follow=true&sinceSeconds=90",
	} {
		if got, err := b.ask(access.OfLease(b.lease.Name, access.Log) + query); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", query, got, err, want)
		}
	}
}

func TestOutputsAreTheProgramsOwn(t *testing.T) {
	b := newBench(t, nil)
	for query, want := range map[string]string{"": whole, "?tail=2": "two\nthree\n", "?tail=0": "", "?tail=9": whole} {
		if got, err := b.ask(access.OfLease(b.lease.Name, access.Output) + query); err != nil || got != want {
			t.Errorf("%s: got %q, %v, want %q", query, got, err, want)
		}
	}
	if address := b.dialed.Load(); address != "10.0.0.1:8265" {
		t.Errorf("the output is of %v", address)
	}
}

func TestAnOutputIsFollowedToItsEnd(t *testing.T) {
	for query, want := range map[string]string{"?follow=true": whole, "?follow=true&tail=1": "three\n"} {
		t.Run(query, func(t *testing.T) {
			b := newBench(t, nil)
			response := b.get(access.OfLease(b.lease.Name, access.Output) + query)
			reader := bufio.NewReader(response.Body)
			read := func(want string) {
				t.Helper()
				got := make([]byte, len(want))
				if _, err := io.ReadFull(reader, got); err != nil || string(got) != want {
					t.Fatalf("got %q, %v, want %q", got, err, want)
				}
			}
			read(want)
			b.more <- "four\n"
			read("four\n")
			close(b.more)
			if rest, err := io.ReadAll(reader); err != nil || len(rest) > 0 {
				t.Errorf("at its end: %q, %v", rest, err)
			}
		})
	}
}

func TestAnOutputHasItsPlaceUntilItIsSent(t *testing.T) {
	b := newBench(t, nil)
	b.whole = strings.Repeat("a word ", maxOutput/8)
	output := access.OfLease(b.lease.Name, access.Output)
	slow := []*http.Response{b.get(output), b.get(output)} // they are not read
	for _, query := range []string{"", "?tail=1", "?follow=true&tail=1"} {
		if _, err := b.ask(output + query); !errors.Is(err, access.Busy) {
			t.Errorf("%q, while two outputs of the lease are held: %v, want %s", query, err, access.Busy)
		}
	}
	if text, err := io.ReadAll(slow[0].Body); err != nil || string(text) != b.whole {
		t.Errorf("%d bytes came, %v, want %d", len(text), err, len(b.whole))
	}
	b.eventually("there is a place when one was sent", func() bool { return b.held() == 1 })
	if _, err := b.ask(output + "?tail=1"); err != nil {
		t.Error(err)
	}
}

func TestAnOutputIsNotHeldForAReaderThatStops(t *testing.T) {
	b := newBench(t, nil)
	b.whole, b.view.heldFor = strings.Repeat("a word ", maxOutput/8), 2*time.Second // enough to get it
	response := b.get(access.OfLease(b.lease.Name, access.Output))
	b.eventually("it is held no more", func() bool { return b.held() == 0 })
	if text, err := io.ReadAll(response.Body); err == nil {
		t.Errorf("%d bytes of %d look complete", len(text), len(b.whole))
	}
}

func (b *bench) held() int {
	b.view.outputs.mu.Lock()
	defer b.view.outputs.mu.Unlock()
	return b.view.outputs.all
}

func (b *bench) eventually(what string, holds func() bool) {
	b.Helper()
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			b.Fatalf("not within 10 s: %s", what)
		}
	}
}

func TestFewOutputsAreHeldAtOnce(t *testing.T) {
	b := newBench(t, nil)
	for i := range mostOutputs {
		if !b.view.outputs.take(fmt.Sprint("another ", i)) {
			t.Fatalf("after %d outputs there is no place", i)
		}
	}
	if _, err := b.ask(access.OfLease(b.lease.Name, access.Output)); !errors.Is(err, access.Busy) {
		t.Errorf("got %v, want %s", err, access.Busy)
	}
	b.view.outputs.leave("another 0")
	if _, err := b.ask(access.OfLease(b.lease.Name, access.Output)); err != nil {
		t.Error(err)
	}
}

// endless is a head that answers with a header that never ends.
type endless struct {
	net.Conn

	mu     sync.Mutex
	answer string
	sent   int
	closed chan struct{}
}

func (e *endless) Read(into []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := copy(into, e.answer)
	e.answer = e.answer[n:]
	for n < len(into) {
		n += copy(into[n:], "X-More: of it\r\n")
	}
	e.sent += n
	select {
	case <-e.closed:
		return 0, net.ErrClosed
	default:
		return n, nil
	}
}

func (e *endless) Write(from []byte) (int, error) { return len(from), nil }

func (e *endless) Close() error {
	close(e.closed)
	return nil
}

func TestAHeadMayNotAnswerWithoutEnd(t *testing.T) {
	b := newBench(t, nil)
	head := &endless{answer: "HTTP/1.1 101 Switching Protocols\r\n", closed: make(chan struct{})}
	b.head = head
	if _, err := b.ask(access.OfLease(b.lease.Name, access.Output) + "?follow=true"); !errors.Is(err, access.NotStarted) {
		t.Errorf("got %v, want %s", err, access.NotStarted)
	}
	if head.sent > maxHeaders {
		t.Errorf("%d bytes of an answer without end were read, want at most %d", head.sent, maxHeaders)
	}
}

func TestTheDashboardIsAskedWithItsOwnToken(t *testing.T) {
	b := newBench(t, nil)
	response := b.get(access.OfLease(b.lease.Name, access.Ray) + "/api/jobs/a%2Fb?x=1")
	text, err := io.ReadAll(response.Body)
	if err != nil || string(text) != "GET /api/jobs/a%2Fb?x=1 " {
		t.Errorf("got %q, %v", text, err)
	}
	for _, name := range []string{"Set-Cookie", "Bourse-Reason", "Bourse-Upgrade"} {
		if value, there := response.Header[name]; there {
			t.Errorf("Ray's answer brings %s: %q", name, value)
		}
	}
	if address := b.dialed.Load(); address != "10.0.0.1:8265" {
		t.Errorf("the dashboard is that of %v", address)
	}
}

// without leaves out the objects of a kind.
func without[T client.Object](objects []client.Object) []client.Object {
	var kept []client.Object
	for _, object := range objects {
		if _, of := object.(T); !of {
			kept = append(kept, object)
		}
	}
	return kept
}

func TestWhatIsRefused(t *testing.T) {
	part := func(part string) func(lease string) string {
		return func(lease string) string { return access.OfLease(lease, part) }
	}
	type objects = []client.Object
	cases := map[string]struct {
		path   func(lease string) string
		change func(lease *boursev1.GPULease, all objects) objects
		want   access.Reason
	}{
		"a lease that is not there": {path: func(string) string { return access.OfLease("none", access.Log) }, want: access.LeaseUnknown},
		"a lease of another supplier": {path: part(access.Log), want: access.LeaseUnknown, change: func(l *boursev1.GPULease, all objects) objects {
			l.Namespace = "rome-dc"
			return all
		}},
		"a lease that has not begun": {path: part(access.Log), want: access.NotStarted, change: func(_ *boursev1.GPULease, all objects) objects {
			return without[*corev1.Namespace](all)
		}},
		"a namespace of somebody else's": {path: part(access.Log), want: access.NotStarted, change: func(_ *boursev1.GPULease, all objects) objects {
			all[0].SetLabels(nil)
			return all
		}},
		"a lease that has ended": {path: part(access.Log), want: access.LeaseEnded, change: func(l *boursev1.GPULease, all objects) objects {
			l.Status.Conditions = append(l.Status.Conditions, builders.Condition(boursev1.Succeeded, metav1.ConditionTrue, boursev1.EndCompleted))
			return all
		}},
		"a lease whose pods are gone": {path: part(access.Log), want: access.LeaseEnded, change: func(l *boursev1.GPULease, all objects) objects {
			l.Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndCompleted}
			return without[*corev1.Pod](all)
		}},
		"pods that are not there yet": {path: part(access.Log), want: access.NotStarted, change: func(_ *boursev1.GPULease, all objects) objects {
			return without[*corev1.Pod](all)
		}},
		"a worker that the lease does not have": {path: func(l string) string { return access.OfLease(l, access.Log) + "?worker=2" }, want: access.Malformed},
		"a query that is none":                  {path: func(l string) string { return access.OfLease(l, access.Log) + "?lines=2" }, want: access.Malformed},
		"an output of a worker":                 {path: func(l string) string { return access.OfLease(l, access.Output) + "?worker=1" }, want: access.Malformed},
		"an output of an interactive cluster": {path: part(access.Output), want: access.NoProgram, change: func(l *boursev1.GPULease, all objects) objects {
			l.Spec.Ends = boursev1.EndsWithTerm
			return all
		}},
		"an output before the head is there": {path: part(access.Output), want: access.NotStarted, change: func(_ *boursev1.GPULease, all objects) objects {
			return without[*corev1.Pod](all)
		}},
		"a dashboard that the node would answer for": {
			path: func(l string) string { return access.OfLease(l, access.Ray) + "/" }, want: access.NotStarted,
			change: func(_ *boursev1.GPULease, all objects) objects {
				for _, object := range all {
					if pod, ok := object.(*corev1.Pod); ok {
						pod.Spec.HostNetwork = true
					}
				}
				return all
			},
		},
		"a dashboard without a token of ours": {
			path: func(l string) string { return access.OfLease(l, access.Ray) + "/" }, want: access.NotStarted,
			change: func(_ *boursev1.GPULease, all objects) objects { return without[*corev1.Secret](all) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			if text, err := b.ask(tc.path(b.lease.Name)); !errors.Is(err, tc.want) {
				t.Errorf("got %q, %v, want %s", text, err, tc.want)
			}
		})
	}
}

// A head comes up after its pod, and goes down before it.
func TestAHeadThatDoesNotAnswerHasNotStartedOrHasEnded(t *testing.T) {
	paths := map[string]string{"the dashboard": access.Ray + "/", "the output": access.Output, "the output that is followed": access.Output + "?follow=true"}
	for name, path := range paths {
		t.Run(name, func(t *testing.T) {
			for _, end := range []*boursev1.LeaseEnd{nil, {Reason: boursev1.EndCompleted}} {
				b := newBench(t, func(lease *boursev1.GPULease, all []client.Object) []client.Object {
					lease.Status.End = end
					return all
				})
				b.silent.Store(true)
				want, says := access.Unreachable, "starts some time after the pod"
				if end != nil {
					want, says = access.LeaseEnded, "has ended as Completed"
				}
				if text, err := b.ask(access.OfLease(b.lease.Name, path)); !errors.Is(err, want) || !strings.Contains(err.Error(), says) {
					t.Errorf("end %v: got %q, %v, want %s", end, text, err, want)
				}
			}
		})
	}
}

func TestWhatTheAPIServerSaysIsSaidInOtherWords(t *testing.T) {
	for status, want := range map[int]access.Reason{
		http.StatusNotFound: access.NotStarted, http.StatusBadRequest: access.NotStarted, http.StatusInternalServerError: access.Unreachable,
	} {
		b := newBench(t, nil)
		b.log(func(writer http.ResponseWriter, _ *http.Request) {
			writer.Header().Set("Content-Type", "application/json")
			writer.WriteHeader(status)
			_ = json.NewEncoder(writer).Encode(metav1.Status{Status: metav1.StatusFailure, Code: int32(status), Message: "dial tcp 192.0.2.7:10250"})
		})
		_, err := b.ask(access.OfLease(b.lease.Name, access.Log))
		if !errors.Is(err, want) || strings.Contains(err.Error(), "192.0.2.7") {
			t.Errorf("%d: got %v, want %s", status, err, want)
		}
	}
}

func TestALogThatBreaksOffIsNotWhole(t *testing.T) {
	b := newBench(t, nil)
	b.log(func(writer http.ResponseWriter, _ *http.Request) {
		fmt.Fprintln(writer, "first")
		_ = http.NewResponseController(writer).Flush()
		panic(http.ErrAbortHandler)
	})
	if text, err := b.ask(access.OfLease(b.lease.Name, access.Log)); err == nil || text != "first\n" {
		t.Errorf("got %q, %v", text, err)
	}
}

func TestALogEndsWithItsReader(t *testing.T) {
	b := newBench(t, nil)
	ended := make(chan struct{})
	b.log(func(writer http.ResponseWriter, request *http.Request) {
		defer close(ended)
		_ = http.NewResponseController(writer).Flush()
		<-request.Context().Done()
	})
	response := b.get(access.OfLease(b.lease.Name, access.Log) + "?follow=true")
	_ = response.Body.Close()
	select {
	case <-ended:
	case <-time.After(10 * time.Second):
		t.Error("the API server is asked for a reader that has left")
	}
}

func TestLastLines(t *testing.T) {
	for _, tc := range []struct {
		text string
		most int64
		want string
	}{
		{"a\nb\nc\n", 2, "b\nc\n"}, {"a\nb\nc", 1, "c"}, {"a\nb", 0, ""}, {"a\nb", 7, "a\nb"}, {"", 3, ""}, {"\n\n", 1, "\n"},
	} {
		if got := lastLines(tc.text, tc.most); got != tc.want {
			t.Errorf("%d of %q: %q, want %q", tc.most, tc.text, got, tc.want)
		}
	}
}
