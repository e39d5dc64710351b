// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"slices"
	"strings"
	"time"

	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/listing"
	"github.com/bourse-dev/bourse/internal/tunnel"
)

// hold makes the connection the tunnel of the namespace's supplier, for as long as who opened it may have it.
func (s *Server) hold(e *exchange) error {
	namespace := e.PathValue("namespace")
	want := right{namespace: namespace, verb: "create", resource: "gpuleases", subresource: "tunnel"}
	if err := s.authorize(e.Context(), e.who, want); err != nil {
		return err
	}
	ctx, end := s.while(e.Context(), e.who, want)
	defer end()
	writer := e.writer
	if waits, ok := writer.(*patientWriter); ok {
		writer = waits.ResponseWriter // a tunnel has deadlines of its own
	}
	err := s.o.Tunnels.Accept(ctx, writer, e.Request, namespace, func() { s.o.Log.Info("Opened a tunnel", "namespace", namespace) })
	switch {
	case errors.Is(err, tunnel.ErrFull):
		return access.Refuse(access.Busy, "The gateway has as many tunnels as it may have; come back later")
	case err != nil:
		return access.Refuse(access.Malformed, "This is where suppliers open tunnels: %s", err)
	}
	s.o.Log.Info("Closed a tunnel", "namespace", namespace)
	return nil
}

// passTo passes a request for a job, or for one part of it, on to the supplier of the lease.
func (s *Server) passTo(what, subresource string) func(e *exchange) error {
	return func(e *exchange) error {
		verb := access.Verb(e.Method)
		if verb == "" {
			return access.Refuse(access.Malformed, "Nothing can be asked for by %.16q", e.Method)
		}
		want := right{
			namespace: e.PathValue("namespace"), verb: verb, resource: "computejobs", subresource: subresource, name: e.PathValue("job"),
		}
		if err := s.authorize(e.Context(), e.who, want); err != nil {
			return err
		}
		part, err := partOf(e)
		if err != nil {
			return err
		}
		lease, err := s.leaseOf(e.Context(), want.namespace, want.name, part)
		if err != nil {
			return err
		}
		ctx, end := s.while(e.Context(), e.who, want)
		defer end()
		s.pass(ctx, e, lease, what)
		return nil
	}
}

// partOf is the part that the request names, or the first.
func partOf(e *exchange) (int, error) {
	text := e.PathValue("part")
	if text == "" {
		return 0, nil
	}
	return access.ReadPart(text)
}

// leaseOf is the lease that the part of the job has now.
func (s *Server) leaseOf(ctx context.Context, namespace, name string, part int) (*boursev1.GPULease, error) {
	var job boursev1.ComputeJob
	if err := s.o.Hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, &job); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get job: %w", err)
	} else if err != nil {
		return nil, access.Refuse(access.JobUnknown, "Namespace %s has no job %s", namespace, name)
	}
	parts := listing.Parts(&job)
	switch {
	case len(parts) == 0:
		return nil, access.Refuse(access.NoLease, "Job %s has no lease yet: kubectl get computejobs -o wide says what it waits for", name)
	case part >= len(parts) && len(parts) == 1:
		return nil, access.Refuse(access.PartUnknown, "Job %s is not split: it has 1 part, which is part 0, and no part %d", name, part)
	case part >= len(parts):
		return nil, access.Refuse(access.PartUnknown, "Job %s has %d parts, from 0 to %d, and no part %d", name, len(parts), len(parts)-1, part)
	}
	var lease boursev1.GPULease
	key := client.ObjectKey{Namespace: parts[part].Lease.Namespace, Name: parts[part].Lease.Name}
	if err := s.o.Hub.Get(ctx, key, &lease); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get lease: %w", err)
	} else if err != nil {
		return nil, access.Refuse(access.LeaseUnknown, "Lease %s of job %s is gone, and its pods with it", key.Name, name)
	}
	if of := lease.Spec.Job; of.UID != string(job.UID) || of.Namespace != job.Namespace || of.Name != job.Name {
		return nil, access.Refuse(access.LeaseUnknown, "Lease %s serves another job than %s", key.Name, name)
	}
	return &lease, nil
}

// pass sends the request through the tunnel of the lease's supplier, and its answer back.
func (s *Server) pass(ctx context.Context, e *exchange, lease *boursev1.GPULease, what string) {
	path := access.OfLease(lease.Name, what)
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Path, r.Out.URL.RawPath = path, ""
			if what == access.Ray {
				r.Out.URL.Path += "/" + e.PathValue("path")
				before := strings.Count(e.Pattern, "/") // a namespace or a job may be called ray, too
				r.Out.URL.RawPath = path + "/" + strings.SplitN(e.URL.EscapedPath(), "/", before+1)[before]
			}
			access.Strip(r.Out.Header)
			r.Out.Header.Del("Expect") // the gateway has said that it goes on
		},
		Transport:     s.o.Tunnels.To(lease.Namespace, lease.Name),
		FlushInterval: -1,
		ModifyResponse: func(response *http.Response) error {
			response.Header.Del("Set-Cookie")
			if reason := access.ReasonOf(response.Header); slices.Contains(access.Reasons(), reason) {
				e.outcome = string(reason)
			}
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, _ *http.Request, err error) { s.refuse(e, s.unpassed(ctx, e, err, lease)) },
		ErrorLog:     log.New(io.Discard, "", 0), // what is cut off is the client's to see
	}
	proxy.ServeHTTP(e.writer, e.WithContext(ctx))
}

// unpassed is why a request did not get through.
func (s *Server) unpassed(ctx context.Context, e *exchange, err error, lease *boursev1.GPULease) error {
	switch {
	case errors.Is(err, tunnel.ErrBusy):
		return access.Refuse(access.Busy, "Too many requests for this lease or its supplier are under way; end one, or try again")
	case e.Context().Err() != nil: // or who asked has left, and hears nothing of it
		return access.Refuse(access.Standby, "This replica of the gateway is being stopped; try again at once, over a new connection")
	case ctx.Err() != nil:
		return access.Refuse(access.Forbidden, "The right to ask has ended")
	default:
		s.o.Log.V(1).Info("Did not reach a supplier", "lease", klog.KObj(lease), "problem", err.Error())
		return access.Refuse(access.NotConnected,
			"The supplier of lease %s is not connected to the gateway now; the lease goes on, so try again later", lease.Name)
	}
}

// while is a context that ends when somebody may not do any more what was allowed. That it cannot be found out ends nothing. What it began
// ends when the function is called that it returns.
func (s *Server) while(ctx context.Context, who identity, want right) (allowed context.Context, end func()) {
	allowed, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		ticker := time.NewTicker(s.o.Recheck)
		defer ticker.Stop()
		for {
			select {
			case <-allowed.Done():
				return
			case <-ticker.C:
			}
			if refusal, ok := errors.AsType[*access.Refusal](s.still(allowed, who, want)); ok && refusal.Reason == access.Forbidden {
				cancel()
				return
			}
		}
	}()
	return allowed, func() {
		cancel()
		<-ended
	}
}
