// SPDX-License-Identifier: Apache-2.0

package gateway

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/access"
)

const (
	// reviewedFor is how long a review's answer is good.
	reviewedFor = 5 * time.Second
	// mostReviewed is how many answers are kept; more are asked for each time.
	mostReviewed = 20_000
)

// identity is who asks.
type identity struct {
	user authenticationv1.UserInfo
	key  [sha256.Size]byte // of the token
	from string            // the address and port that it asks from
}

// right is what somebody wants to do.
type right struct {
	namespace, verb, resource, subresource, name string
}

// authenticate asks the hub whose token it is.
func (s *Server) authenticate(ctx context.Context, request *http.Request) (identity, error) {
	for name := range request.Header {
		if strings.HasPrefix(http.CanonicalHeaderKey(name), "Impersonate-") {
			return identity{}, access.Refuse(access.Malformed, "The gateway knows no impersonation: ask with the account's own token")
		}
	}
	scheme, token, _ := strings.Cut(request.Header.Get("Authorization"), " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return identity{}, access.Refuse(access.Unauthenticated,
			"The gateway knows accounts by a bearer token, and there is none: a client certificate does not do; kubectl create token makes one")
	}
	who := identity{key: sha256.Sum256([]byte(token)), from: request.RemoteAddr}
	known, err := s.reviews.of(reviewed{who: who.key}, s.o.Now(), func() (answer, error) {
		if err := s.allow(who); err != nil {
			return answer{}, err
		}
		review := &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}
		if err := s.o.Reviewer.Create(ctx, review); err != nil {
			return answer{}, fmt.Errorf("review token: %w", err)
		}
		return answer{yes: review.Status.Authenticated, user: review.Status.User}, nil
	})
	if err != nil {
		return identity{}, err
	}
	if !known.yes {
		return identity{}, access.Refuse(access.Unauthenticated, "The hub does not know the token, or it has expired: get another one")
	}
	who.user = known.user
	return who, nil
}

// authorize asks the hub whether somebody may do something, and refuses those who are suspended.
func (s *Server) authorize(ctx context.Context, who identity, want right) error {
	return s.review(ctx, who, want, func() error { return s.allow(who) })
}

// still asks it again of what is under way. That is bounded by the connections and not counted: a full gateway would have nothing left for
// others, and whoever asks too much would keep rights from ending.
func (s *Server) still(ctx context.Context, who identity, want right) error {
	return s.review(ctx, who, want, func() error { return nil })
}

func (s *Server) review(ctx context.Context, who identity, want right, allow func() error) error {
	if err := s.active(ctx, want.namespace); err != nil {
		return err
	}
	found, err := s.reviews.of(reviewed{who: who.key, what: want}, s.o.Now(), func() (answer, error) {
		if err := allow(); err != nil {
			return answer{}, err
		}
		review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
			User: who.user.Username, Groups: who.user.Groups, UID: who.user.UID, Extra: extra(who.user.Extra),
			ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: want.namespace, Verb: want.verb, Group: boursev1.GroupVersion.Group, Version: boursev1.GroupVersion.Version,
				Resource: want.resource, Subresource: want.subresource, Name: want.name,
			},
		}}
		if err := s.o.Reviewer.Create(ctx, review); err != nil {
			return answer{}, fmt.Errorf("review rights: %w", err)
		}
		return answer{yes: review.Status.Allowed}, nil
	})
	if err != nil {
		return err
	}
	if !found.yes {
		return access.Refuse(access.Forbidden, "%s may not %s %s/%s in namespace %s: ask who administers it for that right",
			who.user.Username, want.verb, want.resource, want.subresource, want.namespace)
	}
	return nil
}

// active says whether the namespace's member is not suspended. A namespace need not have a member.
func (s *Server) active(ctx context.Context, namespace string) error {
	var member boursev1.Member
	err := s.o.Hub.Get(ctx, client.ObjectKey{Namespace: namespace, Name: boursev1.MemberName}, &member)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("get member: %w", err)
	}
	if err == nil && member.Spec.State == boursev1.MemberSuspended {
		return access.Refuse(access.Forbidden, "The market's admin has suspended the member of namespace %s", namespace)
	}
	return nil
}

// allow says whether the API server is asked once more for who is at the address.
func (s *Server) allow(who identity) error {
	from, err := netip.ParseAddrPort(who.from)
	if err != nil || !s.limits.Allow(from.Addr(), s.o.Now()) {
		return access.Refuse(access.Busy, "Too much is asked; come back in a few seconds")
	}
	return nil
}

func extra(of map[string]authenticationv1.ExtraValue) map[string]authorizationv1.ExtraValue {
	converted := make(map[string]authorizationv1.ExtraValue, len(of))
	for name, values := range of {
		converted[name] = authorizationv1.ExtraValue(values)
	}
	return converted
}

// reviewed is a token, and a right if the question is not whose it is.
type reviewed struct {
	who  [sha256.Size]byte
	what right
}

// answer is what the hub's API server said.
type answer struct {
	yes   bool
	user  authenticationv1.UserInfo
	until time.Time
}

// reviews remember what the API server said for a few seconds.
type reviews struct {
	mu    sync.Mutex
	known map[reviewed]answer
}

func newReviews() *reviews { return &reviews{known: map[reviewed]answer{}} }

// of returns what is known, or asks. An error is not remembered.
func (r *reviews) of(what reviewed, now time.Time, ask func() (answer, error)) (answer, error) {
	r.mu.Lock()
	found, ok := r.known[what]
	r.mu.Unlock()
	if ok && now.Before(found.until) {
		return found, nil
	}
	found, err := ask()
	if err != nil {
		return answer{}, err
	}
	found.until = now.Add(reviewedFor)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= mostReviewed {
		for other, of := range r.known {
			if !now.Before(of.until) {
				delete(r.known, other)
			}
		}
	}
	if len(r.known) < mostReviewed {
		r.known[what] = found
	}
	return found, nil
}
