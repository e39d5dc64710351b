// SPDX-License-Identifier: Apache-2.0

package joinhttp

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/visitor"
)

// What one connection may cost.
const (
	maxBody        = 4 << 10 // a claim takes two thirds of it in base64
	maxHeaders     = 8 << 10
	maxConnections = 512
	headersWithin  = 5 * time.Second
	requestWithin  = 10 * time.Second
	answerWithin   = 15 * time.Second
	idleFor        = 30 * time.Second
	retryAfter     = 5 // seconds
)

// The outcomes of a request that was not refused.
const (
	OutcomeOK    = "ok"    // it was given what it asked for
	OutcomeError = "error" // the hub could not do it now
)

// What strangers may ask. A join is two requests, and so is a renewal, which a member needs every half an hour: the whole hub's rate is
// enough for 18 000 members.
const (
	perSecond, burst         = 20, 200 // of all together
	perSecondEach, burstEach = 1, 20   // of one address
)

// Admitter gives members what they have claimed, and lets them go. It returns a *join.Refusal when it will not, and any other error when it
// cannot now.
// Repeating a call is harmless.
type Admitter interface {
	Admit(ctx context.Context, claim join.Claim) (join.Access, error)
	Renew(ctx context.Context, claim join.Claim) (join.Access, error)
	Leave(ctx context.Context, claim join.Claim) (join.Departure, error)
}

// Server answers those who want to join a hub.
type Server struct {
	// Observe is told of each request: which of the routes it was for, and OutcomeOK, OutcomeError or the reason of its refusal. It may be
	// nil.
	Observe func(route, outcome string)

	gate     *join.Gate
	admitter Admitter
	limits   *visitor.Limits
	log      logr.Logger
	now      func() time.Time
}

// NewServer returns a server.
func NewServer(gate *join.Gate, admitter Admitter, logger logr.Logger, now func() time.Time) *Server {
	limits := visitor.NewLimits(visitor.Rates{PerSecond: perSecond, Burst: burst, PerSecondEach: perSecondEach, BurstEach: burstEach})
	return &Server{gate: gate, admitter: admitter, limits: limits, log: logger, now: now}
}

// Serve answers on the listener until the context ends. The certificate is asked for with each connection, so that it can be renewed.
func (s *Server) Serve(ctx context.Context, listener net.Listener, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: headersWithin, ReadTimeout: requestWithin, WriteTimeout: answerWithin, IdleTimeout: idleFor,
		MaxHeaderBytes: maxHeaders,
	}
	if err := visitor.Serve(ctx, listener, maxConnections, server, certificate); err != nil {
		return fmt.Errorf("serve joins: %w", err)
	}
	return nil
}

// answerer says what a request is worth.
type answerer func(ctx context.Context, request *http.Request) (any, error)

// routes are what can be asked, all of it by POST.
func (s *Server) routes() map[string]answerer {
	return map[string]answerer{
		challengePath: s.challenge,
		joinPath: func(ctx context.Context, request *http.Request) (any, error) {
			return s.claim(ctx, request, join.Join, s.admitter.Admit)
		},
		renewPath: func(ctx context.Context, request *http.Request) (any, error) {
			return s.claim(ctx, request, join.Renew, s.admitter.Renew)
		},
		leavePath: s.leave,
	}
}

// Handler answers requests.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for path, answer := range s.routes() {
		mux.HandleFunc("POST "+path, s.bounded(path, answer))
	}
	return mux
}

// bounded answers with what a request is worth, unless too much is asked.
func (s *Server) bounded(path string, answer answerer) http.HandlerFunc {
	return func(writer http.ResponseWriter, request *http.Request) {
		ctx, cancel := context.WithTimeout(request.Context(), requestWithin)
		defer cancel()
		from, err := netip.ParseAddrPort(request.RemoteAddr)
		if err != nil || !s.limits.Allow(from.Addr(), s.now()) {
			s.refuse(writer, path, join.Refuse(join.Busy, "Too much is asked; come back in %d seconds", retryAfter))
			return
		}
		request.Body = http.MaxBytesReader(writer, request.Body, maxBody)
		body, err := answer(ctx, request)
		if err != nil {
			s.refuse(writer, path, err)
			return
		}
		s.observe(path, OutcomeOK)
		s.write(writer, http.StatusOK, body)
	}
}

func (s *Server) observe(path, outcome string) {
	if s.Observe != nil {
		s.Observe(strings.TrimPrefix(path, version), outcome)
	}
}

func (s *Server) challenge(_ context.Context, request *http.Request) (any, error) {
	var asked challengeRequest
	if err := read(request, &asked); err != nil {
		return nil, err
	}
	wallet, err := chain.ParseAddress(asked.Wallet)
	if err != nil {
		return nil, join.Refuse(join.Malformed, "The wallet is not a Solana address")
	}
	made, err := s.gate.Challenge(join.Key(wallet))
	if err != nil {
		return nil, err
	}
	return challengeAnswer{Hub: s.gate.Hub(), Network: chain.Hash(s.gate.Network()).String(), Challenge: made.String()}, nil
}

func (s *Server) claim(
	ctx context.Context, request *http.Request, kind join.Kind, admit func(context.Context, join.Claim) (join.Access, error),
) (any, error) {
	claim, err := s.check(request, kind)
	if err != nil {
		return nil, err
	}
	access, err := admit(ctx, claim)
	if err != nil {
		return nil, err
	}
	level := 0
	if kind == join.Renew {
		level = 1 // each member does so every half an hour
	}
	s.log.V(level).Info("Gave access", "claim", string(kind), "namespace", access.Namespace)
	return accessAnswer(access), nil
}

// leave lets a member go, or tells it how far it is.
func (s *Server) leave(ctx context.Context, request *http.Request) (any, error) {
	claim, err := s.check(request, join.Leave)
	if err != nil {
		return nil, err
	}
	departure, err := s.admitter.Leave(ctx, claim)
	if err != nil {
		return nil, err
	}
	if claim.Mode != join.Look {
		s.log.Info("Let a member leave", "mode", string(claim.Mode), "namespace", departure.Namespace)
	}
	return departureAnswer(departure), nil
}

// check reads a claim of a kind, and passes on those that are good.
func (s *Server) check(request *http.Request, kind join.Kind) (join.Claim, error) {
	var sent claimRequest
	if err := read(request, &sent); err != nil {
		return join.Claim{}, err
	}
	return s.gate.Check(kind, sent.Message, sent.Signature)
}

// read reads the body, which is one JSON object and nothing else.
func read(request *http.Request, into any) error {
	decoder := json.NewDecoder(request.Body)
	if err := decoder.Decode(into); err != nil {
		return join.Refuse(join.Malformed, "The request is not a JSON object of at most %d bytes", maxBody)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return join.Refuse(join.Malformed, "The request has more than one JSON object")
	}
	return nil
}

// refuse says why not. What went wrong in the hub is the hub's to know, and the stranger is only told to come back.
func (s *Server) refuse(writer http.ResponseWriter, path string, err error) {
	refusal, ok := errors.AsType[*join.Refusal](err)
	if !ok {
		s.observe(path, OutcomeError)
		s.log.Error(err, "Did not answer a join", "path", path)
		s.write(writer, http.StatusServiceUnavailable, refusalAnswer{Reason: join.Busy, Message: "The hub cannot do this now; come back"})
		return
	}
	s.observe(path, string(refusal.Reason))
	s.log.V(1).Info("Refused a join", "path", path, "reason", string(refusal.Reason))
	status := statusOf(refusal.Reason)
	if status == http.StatusTooManyRequests {
		writer.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	s.write(writer, status, refusalAnswer{Reason: refusal.Reason, Message: refusal.Detail})
}

func statusOf(reason join.Reason) int {
	switch reason {
	case join.Malformed, join.UnsupportedVersion:
		return http.StatusBadRequest
	case join.Suspended, join.NotMember, join.StakeRequired:
		return http.StatusForbidden
	case join.WalletTaken, join.Leaving:
		return http.StatusConflict
	case join.Busy:
		return http.StatusTooManyRequests
	default:
		return http.StatusUnauthorized
	}
}

func (s *Server) write(writer http.ResponseWriter, status int, body any) {
	writer.Header().Set("Content-Type", "application/json")
	writer.Header().Set("Cache-Control", "no-store")
	writer.WriteHeader(status)
	if err := json.NewEncoder(writer).Encode(body); err != nil {
		s.log.V(1).Info("Could not write an answer", "problem", err.Error()) // its reader is gone
	}
}
