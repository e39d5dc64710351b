// SPDX-License-Identifier: Apache-2.0

// Package gateway lets buyers look at what runs on their leases, through the tunnels that suppliers open to it. It decides who may ask for
// which job and who may open a tunnel, by the hub's own accounts and rights; what is answered is the supplier's to decide.
package gateway

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/tunnel"
	"github.com/bourse-dev/bourse/internal/visitor"
)

// What one connection may cost.
const (
	maxHeaders     = 32 << 10
	maxConnections = 4096
	headersWithin  = 5 * time.Second
	idleFor        = time.Minute
	// readWithin and writeWithin are how long a client may keep a request that it sends, or an answer that it does not read, waiting.
	readWithin  = 30 * time.Second
	writeWithin = 5 * time.Minute
	// defaultRecheck is how soon what is under way ends when its rights do.
	defaultRecheck = 15 * time.Second
)

// rates bound what is asked of the hub's API server; what it said a few seconds ago is not asked again.
func rates() visitor.Rates {
	return visitor.Rates{PerSecond: 100, Burst: 1000, PerSecondEach: 10, BurstEach: 100}
}

// Recorder counts what is asked.
type Recorder interface {
	GatewayRequest(route, outcome string)
}

// Options are what a gateway works with.
type Options struct {
	Hub      client.Reader // cached: jobs, leases and members
	Reviewer client.Writer // makes reviews of tokens and rights
	Tunnels  *tunnel.Hub
	Leads    <-chan struct{} // closed while this replica is the one that serves
	Recheck  time.Duration   // how often the rights of what is under way are looked at again; 0: 15 seconds
	Recorder Recorder
	Log      logr.Logger
	Now      func() time.Time
}

// Server answers buyers, and holds suppliers' tunnels.
type Server struct {
	o       Options
	limits  *visitor.Limits
	reviews *reviews
}

// The gateway may do this and no more, beside what the role market reads: its ClusterRole is generated from these lines.
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// NewServer returns a gateway.
func NewServer(o Options) *Server {
	if o.Recheck == 0 {
		o.Recheck = defaultRecheck
	}
	return &Server{o: o, limits: visitor.NewLimits(rates()), reviews: newReviews()}
}

// Serve answers on the listener until the context ends. The certificate is asked for with each connection, so that it can be renewed.
func (s *Server) Serve(ctx context.Context, listener net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) error {
	server := &http.Server{
		Handler:           s.Handler(), //nolint:contextcheck // each request has its own
		ReadHeaderTimeout: headersWithin, IdleTimeout: idleFor, MaxHeaderBytes: maxHeaders,
		DisableGeneralOptionsHandler: true, // it answers past the handler's patience
		BaseContext:                  func(net.Listener) context.Context { return ctx },
	}
	if err := visitor.Serve(ctx, listener, maxConnections, server, certificate); err != nil {
		return fmt.Errorf("serve gateway: %w", err)
	}
	return nil
}

// route is one thing that can be asked for.
type route struct {
	name    string // for metrics
	pattern string
	answer  func(exchange *exchange) error
}

func (s *Server) routes() []route {
	return []route{
		{"tunnel", http.MethodGet + " " + access.TunnelPath, s.hold},
		{"log", http.MethodGet + " " + access.LogPath, s.passTo(access.Log, "log")},
		{"output", http.MethodGet + " " + access.OutputPath, s.passTo(access.Output, "log")},
		{"ray", access.RayPath, s.passTo(access.Ray, "proxy")},
		{"log", http.MethodGet + " " + access.PartLogPath, s.passTo(access.Log, "log")},
		{"output", http.MethodGet + " " + access.PartOutputPath, s.passTo(access.Output, "log")},
		{"ray", access.PartRayPath, s.passTo(access.Ray, "proxy")},
	}
}

// Routes lists the patterns of all that can be asked for.
func Routes() []string {
	routes := (&Server{}).routes()
	patterns := make([]string, 0, len(routes))
	for _, r := range routes {
		patterns = append(patterns, r.pattern)
	}
	return patterns
}

// Handler answers requests, also those for what is not there, and waits for no client without end.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.pattern, func(writer http.ResponseWriter, request *http.Request) {
			s.answer(request.Context(), r, writer, request)
		})
	}
	return http.HandlerFunc(func(writer http.ResponseWriter, request *http.Request) {
		mux.ServeHTTP(patient(writer, request, s.o.Now), request)
	})
}

// outcomeOK is an answer that is no refusal.
const outcomeOK = "ok"

// exchange is one request and its answer.
type exchange struct {
	*http.Request

	writer  http.ResponseWriter
	who     identity
	outcome string
}

// answer finds out who asks, and answers or refuses.
func (s *Server) answer(ctx context.Context, r route, writer http.ResponseWriter, request *http.Request) {
	e := &exchange{Request: request, writer: writer, outcome: outcomeOK}
	defer func() { s.o.Recorder.GatewayRequest(r.name, e.outcome) }() // also when the answer was cut off
	err := s.serves()
	if err == nil {
		e.who, err = s.authenticate(ctx, request)
	}
	if err == nil {
		err = r.answer(e)
	}
	if err != nil {
		s.refuse(e, err)
	}
}

// serves says whether this replica is the one that has the tunnels.
func (s *Server) serves() error {
	select {
	case <-s.o.Leads:
		return nil
	default:
		return access.Refuse(access.Standby, "Another replica of the gateway serves; try again at once, over a new connection")
	}
}

// refuse says why not. What went wrong in the hub is the hub's to know, and who asks is only told to come back.
func (s *Server) refuse(e *exchange, err error) {
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		if e.Context().Err() == nil { // strangers who ask and leave would fill it
			s.o.Log.Error(err, "Did not answer at the gateway", "path", e.URL.Path)
		}
		refusal = &access.Refusal{Reason: access.Unavailable, Detail: "The hub cannot say now; try again"}
	}
	s.o.Log.V(1).Info("Refused at the gateway", "path", e.URL.Path, "reason", string(refusal.Reason))
	e.outcome = string(refusal.Reason)
	if err := refusal.Write(e.writer); err != nil {
		s.o.Log.V(1).Info("Could not write an answer", "problem", err.Error()) // its reader is gone
	}
}
