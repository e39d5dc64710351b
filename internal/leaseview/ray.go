// SPDX-License-Identifier: Apache-2.0

package leaseview

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
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
	maxOutput   = 8 << 20
	mostOutputs = 4 // at once
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
			response.Header.Del("Set-Cookie") // Ray's own has the token
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
	if query.Follow && query.Tail == nil {
		return s.follow(writer, request, program, 0)
	}
	text, err := s.whole(request.Context(), program)
	if err != nil {
		return err
	}
	if query.Follow {
		return s.follow(writer, request, program, len(text)-len(lastLines(text, *query.Tail)))
	}
	if query.Tail != nil {
		text = lastLines(text, *query.Tail)
	}
	s.send(request.Context(), writer, strings.NewReader(text))
	return nil
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
	select {
	case s.outputs <- struct{}{}:
		defer func() { <-s.outputs }()
	default:
		return "", access.Refuse(access.Busy, "The supplier sends as many outputs as it can; try again, or follow it")
	}
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
		return "", fmt.Errorf("read output: %w", err)
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
	stream, err := websocket.NewClient(config, conn)
	if !impatient.Stop() || err != nil {
		_ = conn.Close() // Ray has said no
		return of.of.missing("The program")
	}
	defer func() { _ = stream.Close() }() // it was only read
	stream.MaxPayloadBytes = maxOutput
	s.send(ctx, writer, &skipping{Reader: stream, left: skip})
	return nil
}

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
