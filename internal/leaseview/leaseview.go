// SPDX-License-Identifier: Apache-2.0

// Package leaseview answers at a supplier's end what is asked through the market's gateway: the logs, the program's output and the Ray
// dashboard of the supplier's own leases, while they have pods. It trusts the hub with saying which lease is meant, and with nothing else.
package leaseview

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
	"github.com/bourse-dev/bourse/internal/ray"
)

const (
	dialWithin = 10 * time.Second
	// headersWithin is how long Ray may look at a program before it answers.
	headersWithin = 100 * time.Second
	idleFor       = 30 * time.Second
	maxHeaders    = 32 << 10
)

// Options are what a supplier answers from.
type Options struct {
	Hub       client.Reader // cached: the supplier's leases
	Local     client.Reader // cached: namespaces, pods and Ray jobs of the supplier's cluster
	Secrets   client.Reader // not cached: the supplier may read those of one name alone
	Config    *rest.Config  // the supplier's API server, for logs
	Namespace string        // the supplier's in the hub
	// Dial reaches a pod; nil: over the network that the manager's own pod is on.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	Log  logr.Logger
}

// Server answers what is asked of leases.
type Server struct {
	o         Options
	pods      typedcorev1.PodsGetter
	transport *http.Transport
	outputs   *outputs
	heldFor   time.Duration // how long an output may be held
}

// The supplier needs this beside what its controllers do.
// +kubebuilder:rbac:groups="",resources=pods/log,verbs=get
// +kubebuilder:rbac:groups="",resources=secrets,resourceNames=bourse-ray-token,verbs=get
// +kubebuilder:rbac:groups=bourse.dev,resources=gpuleases/tunnel,verbs=create

// New returns a server.
func New(o Options) (*Server, error) {
	pods, err := typedcorev1.NewForConfig(o.Config)
	if err != nil {
		return nil, fmt.Errorf("make client for logs: %w", err)
	}
	if o.Dial == nil {
		o.Dial = (&net.Dialer{Timeout: dialWithin}).DialContext
	}
	return &Server{o: o, pods: pods, heldFor: heldFor, outputs: &outputs{each: map[string]int{}}, transport: &http.Transport{
		DialContext: o.Dial, ResponseHeaderTimeout: headersWithin, IdleConnTimeout: idleFor, MaxResponseHeaderBytes: maxHeaders,
		DisableCompression: true,
	}}, nil
}

// Handler answers requests that came through the tunnel.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, answer := range map[string]func(http.ResponseWriter, *http.Request, *lease) error{
		http.MethodGet + " " + access.LeaseLogPath:    s.log,
		http.MethodGet + " " + access.LeaseOutputPath: s.output,
		access.LeaseRayPath:                           s.ray,
	} {
		mux.HandleFunc(pattern, func(writer http.ResponseWriter, request *http.Request) {
			found, err := s.lease(request.Context(), request.PathValue("lease"))
			if err == nil {
				err = answer(writer, request, found)
			}
			if err != nil {
				s.refuse(writer, request, err)
			}
		})
	}
	return mux
}

// refuse says why not. What went wrong in the supplier's cluster is the supplier's to know.
func (s *Server) refuse(writer http.ResponseWriter, request *http.Request, err error) {
	refusal, ok := errors.AsType[*access.Refusal](err)
	if !ok {
		s.o.Log.Error(err, "Did not answer for a lease", "path", request.URL.Path)
		refusal = &access.Refusal{Reason: access.Unreachable, Detail: "The supplier cannot look at the lease now; try again"}
	}
	if err := refusal.Write(writer); err != nil {
		s.o.Log.V(1).Info("Could not write an answer", "problem", err.Error()) // its reader is gone
	}
}

// lease is one of the supplier's leases, and what it runs.
type lease struct {
	*boursev1.GPULease

	space string
	pods  []corev1.Pod
}

// lease finds a lease of the supplier's, if it has its namespace in the supplier's cluster. The name of that follows from the lease's, and
// the namespace itself says whose it is: whatever the hub says, no other one is looked at.
func (s *Server) lease(ctx context.Context, name string) (*lease, error) {
	found := &lease{GPULease: &boursev1.GPULease{}, space: ray.LeaseSpace(name)}
	if err := s.o.Hub.Get(ctx, client.ObjectKey{Namespace: s.o.Namespace, Name: name}, found.GPULease); apierrors.IsNotFound(err) {
		return nil, access.Refuse(access.LeaseUnknown, "The supplier has no lease %s", name)
	} else if err != nil {
		return nil, fmt.Errorf("get lease: %w", err)
	}
	if ended := meta.FindStatusCondition(found.Status.Conditions, boursev1.Succeeded); ended != nil && ended.Status != "Unknown" {
		return nil, gone(found.GPULease)
	}
	space := &corev1.Namespace{}
	err := s.o.Local.Get(ctx, client.ObjectKey{Name: found.space}, space)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("get namespace: %w", err)
	}
	switch {
	case err == nil && ray.Belongs(space, name):
	case found.Status.End != nil:
		return nil, gone(found.GPULease)
	default:
		return nil, access.Refuse(access.NotStarted, "The supplier has not begun with lease %s", name)
	}
	var pods corev1.PodList
	if err := s.o.Local.List(ctx, &pods, client.InNamespace(found.space)); err != nil {
		return nil, fmt.Errorf("list pods: %w", err)
	}
	found.pods = pods.Items
	return found, nil
}

func gone(l *boursev1.GPULease) error {
	as := ""
	if l.Status.End != nil {
		as = " as " + l.Status.End.Reason
	}
	return access.Refuse(access.LeaseEnded, "Lease %s has ended%s: its pods are gone, and their logs with them", l.Name, as)
}

// missing is why a pod that should be there is not.
func (l *lease) missing(what string) error {
	if l.Status.End != nil {
		return gone(l.GPULease)
	}
	return access.Refuse(access.NotStarted, "%s of lease %s is not there yet, or is being replaced; try again", what, l.Name)
}

// silent is why a head that is there does not answer.
func (l *lease) silent() error {
	if l.Status.End != nil {
		return gone(l.GPULease)
	}
	return access.Refuse(access.Unreachable,
		"Ray does not answer on the head of lease %s: its dashboard starts some time after the pod, or the supplier's network keeps the operator from it", l.Name)
}

// head is the head's container and where it is reached.
func (l *lease) head() (ray.Container, error) {
	head, ok := ray.Head(l.pods)
	if !ok || head.Host == "" {
		return ray.Container{}, l.missing("The Ray head")
	}
	return head, nil
}
