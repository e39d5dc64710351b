// SPDX-License-Identifier: Apache-2.0

package leaseview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"math"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/websocket"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/ray"
)

const (
	// maxOutput is how much of an output is sent at once: Ray answers with all of it, or follows it.
	maxOutput = 8 << 20
	// mostOutputs is how many of them are held in memory at once, mostOutputsOf how many of one lease, and heldFor how long one may be: neither
	// a lease's own head nor its readers can keep those of other leases waiting.
	mostOutputs   = 8
	mostOutputsOf = 2
	heldFor       = 5 * time.Minute
)

// token is what the lease's Ray asks for.
func (s *Server) token(ctx context.Context, of *lease) (string, error) {
	var secret corev1.Secret
	err := s.o.Secrets.Get(ctx, client.ObjectKey{Namespace: of.space, Name: ray.TokenName}, &secret)
	if client.IgnoreNotFound(err) != nil {
		return "", fmt.Errorf("get Ray's token: %w", err)
	}
	token := ray.Token(&secret)
	if apierrors.IsNotFound(err) || token == "" {
		return "", access.Refuse(access.NotStarted, "The Ray cluster of lease %s was begun without a token that the supplier knows; its logs can be read", of.Name)
	}
	return token, nil
}

// ray passes a request on to Ray's dashboard, with the token that it asks for.
func (s *Server) ray(writer http.ResponseWriter, request *http.Request, of *lease) error {
	if access.Verb(request.Method) == "" {
		return access.Refuse(access.Malformed, "Nothing can be asked for by %.16q", request.Method)
	}
	head, err := of.head()
	if err != nil {
		return err
	}
	token, err := s.token(request.Context(), of)
	if err != nil {
		return err
	}
	_, raw, _ := strings.Cut(request.URL.EscapedPath(), "/"+access.Ray+"/")
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", ray.Dashboard(head.Host), ""
			r.Out.URL.Path, r.Out.URL.RawPath = "/"+request.PathValue("path"), "/"+raw
			access.Strip(r.Out.Header)
			r.Out.Header.Set("Authorization", "Bearer "+token)
			if r.Out.Header.Get("Origin") != "" { // Ray compares it with the host
				r.Out.Header.Set("Origin", "http://"+r.Out.URL.Host)
			}
		},
		Transport:     s.transport,
		FlushInterval: -1,
		ModifyResponse: func(response *http.Response) error {
			access.StripAnswer(response.Header)
			return nil
		},
		ErrorHandler: func(writer http.ResponseWriter, _ *http.Request, err error) {
			s.o.Log.V(1).Info("Did not reach a Ray head", "lease", klog.KObj(of), "problem", err.Error())
			s.refuse(writer, request, of.silent())
		},
		ErrorLog: log.New(io.Discard, "", 0), // what is cut off is the client's to see
	}
	proxy.ServeHTTP(writer, request)
	return nil
}

// output sends what the program has written, and follows it if that is asked for.
func (s *Server) output(writer http.ResponseWriter, request *http.Request, of *lease) error {
	query, err := access.ReadQuery(request.URL.Query())
	if err != nil {
		return err
	}
	if query.Worker != nil || query.Since > 0 {
		return access.Refuse(access.Malformed, "A program's output has neither workers nor times: leave out worker and since, or ask for a log")
	}
	if of.Spec.Ends == boursev1.EndsWithTerm {
		return access.Refuse(access.NoProgram, "Lease %s is an interactive cluster and has no program: ask for a log", of.Name)
	}
	program, err := s.program(request.Context(), of)
	if err != nil {
		return err
	}
	if !query.Follow {
		return s.sendLast(writer, request, program, query.Tail)
	}
	skip := 0
	if query.Tail != nil {
		if skip, err = s.before(request.Context(), program, *query.Tail); err != nil {
			return err
		}
	}
	return s.follow(writer, request, program, skip)
}

// sendLast sends the last lines of what the program has written, or all of it. What takes too long breaks off.
func (s *Server) sendLast(writer http.ResponseWriter, request *http.Request, of program, tail *int64) error {
	ctx, leave, err := s.hold(request.Context(), of)
	if err != nil {
		return err
	}
	defer leave()
	text, err := s.whole(ctx, of)
	if err != nil {
		return err
	}
	if tail != nil {
		text = lastLines(text, *tail)
	}
	defer context.AfterFunc(ctx, func() {
		_ = http.NewResponseController(writer).SetWriteDeadline(time.Unix(1, 0)) // an answer that has ended has no deadline
	})()
	s.send(ctx, writer, strings.NewReader(text))
	return nil
}

// before is how much the program has written before the last lines.
func (s *Server) before(ctx context.Context, of program, tail int64) (int, error) {
	ctx, leave, err := s.hold(ctx, of)
	if err != nil {
		return 0, err
	}
	defer leave()
	text, err := s.whole(ctx, of)
	return len(text) - len(lastLines(text, tail)), err
}

// hold takes a place for an output that is held in memory, until the function is called that it returns.
func (s *Server) hold(ctx context.Context, of program) (held context.Context, leave func(), err error) {
	if !s.outputs.take(of.of.Name) {
		return nil, nil, access.Refuse(access.Busy,
			"The supplier sends as many outputs as it can, of all leases or of this one; end one that is not read, try again, or follow it")
	}
	held, cancel := context.WithTimeout(ctx, s.heldFor)
	return held, func() {
		cancel()
		s.outputs.leave(of.of.Name)
	}, nil
}

// outputs are those that are held in memory.
type outputs struct {
	mu   sync.Mutex
	all  int
	each map[string]int // of a lease
}

func (o *outputs) take(lease string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.all >= mostOutputs || o.each[lease] >= mostOutputsOf {
		return false
	}
	o.all++
	o.each[lease]++
	return true
}

func (o *outputs) leave(lease string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all--
	if o.each[lease]--; o.each[lease] == 0 {
		delete(o.each, lease)
	}
}

// program is where a lease's program has its output.
type program struct {
	of    *lease
	host  string // with the port
	path  string
	token string
}

func (s *Server) program(ctx context.Context, of *lease) (program, error) {
	job := ray.Submitted(of.space)
	err := s.o.Local.Get(ctx, client.ObjectKeyFromObject(job), job)
	if client.IgnoreNotFound(err) != nil {
		return program{}, fmt.Errorf("get Ray job: %w", err)
	}
	id := ray.JobID(job)
	if err != nil || id == "" {
		return program{}, of.missing("The program")
	}
	head, err := of.head()
	if err != nil {
		return program{}, err
	}
	token, err := s.token(ctx, of)
	if err != nil {
		return program{}, err
	}
	return program{of: of, host: ray.Dashboard(head.Host), path: "/api/jobs/" + url.PathEscape(id) + "/logs", token: token}, nil
}

// whole is all that the program has written.
func (s *Server) whole(ctx context.Context, of program) (string, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+of.host+of.path, nil)
	if err != nil {
		return "", fmt.Errorf("make request: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+of.token)
	response, err := s.transport.RoundTrip(request)
	if err != nil {
		s.o.Log.V(1).Info("Did not reach a Ray head", "lease", klog.KObj(of.of), "problem", err.Error())
		return "", of.of.silent()
	}
	defer func() { _ = response.Body.Close() }() // it was only read
	switch {
	case response.StatusCode == http.StatusNotFound:
		return "", of.of.missing("The program")
	case response.StatusCode != http.StatusOK:
		return "", access.Refuse(access.Unreachable, "Ray answers %d instead of the output of lease %s", response.StatusCode, of.of.Name)
	}
	text, err := io.ReadAll(io.LimitReader(response.Body, maxOutput+1))
	if err != nil {
		s.o.Log.V(1).Info("An output broke off", "lease", klog.KObj(of.of), "problem", err.Error())
		return "", of.of.silent()
	}
	if len(text) > maxOutput {
		return "", access.Refuse(access.TooLong, "The output is longer than %d MiB: follow it from its beginning, which has no bound", maxOutput>>20)
	}
	var answer struct {
		Logs string `json:"logs"`
	}
	if err := json.Unmarshal(text, &answer); err != nil {
		return "", access.Refuse(access.Unreachable, "Ray answers something else than the output of lease %s", of.of.Name)
	}
	return answer.Logs, nil
}

// follow sends what the program writes until it has ended, but for the first bytes.
func (s *Server) follow(writer http.ResponseWriter, request *http.Request, of program, skip int) error {
	ctx := request.Context()
	conn, err := s.o.Dial(ctx, "tcp", of.host)
	if err != nil {
		s.o.Log.V(1).Info("Did not reach a Ray head", "lease", klog.KObj(of.of), "problem", err.Error())
		return of.of.silent()
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })() // a read that waits ends with its reader
	config, err := websocket.NewConfig("ws://"+of.host+of.path+"/tail", "http://"+of.host)
	if err != nil {
		return errors.Join(fmt.Errorf("make request: %w", err), conn.Close())
	}
	config.Header.Set("Authorization", "Bearer "+of.token)
	impatient := time.AfterFunc(dialWithin, func() { _ = conn.Close() })
	bounded := &io.LimitedReader{R: conn, N: maxHeaders} // what answers there is the buyer's
	stream, err := websocket.NewClient(config, answering{Conn: conn, reader: bounded})
	bounded.N = math.MaxInt64
	if !impatient.Stop() || err != nil {
		_ = conn.Close() // Ray has said no
		return of.of.missing("The program")
	}
	defer func() { _ = stream.Close() }() // it was only read
	stream.MaxPayloadBytes = maxOutput
	s.send(ctx, writer, &skipping{Reader: stream, left: skip})
	return nil
}

// answering is a connection that is read through another reader.
type answering struct {
	net.Conn

	reader io.Reader
}

// Read reads what the reader lets through.
func (a answering) Read(into []byte) (int, error) { return a.reader.Read(into) }

// skipping leaves out the first bytes.
type skipping struct {
	io.Reader

	left int
}

// Read reads what comes after them.
func (s *skipping) Read(into []byte) (int, error) {
	for s.left > 0 {
		n, err := s.Reader.Read(into[:min(len(into), s.left)])
		s.left -= n
		if err != nil {
			return 0, err
		}
	}
	return s.Reader.Read(into)
}

// lastLines are the last lines of a text.
func lastLines(text string, most int64) string {
	at := len(strings.TrimSuffix(text, "\n"))
	for range most {
		if at = strings.LastIndexByte(text[:max(0, at)], '\n'); at < 0 {
			return text
		}
	}
	if most == 0 {
		return ""
	}
	return text[at+1:]
}
