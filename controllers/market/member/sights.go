// SPDX-License-Identifier: Apache-2.0

package member

import (
	"slices"
	"strings"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"

	"github.com/bourse-dev/bourse/internal/presence"
)

// sight is what was seen of a member's managers.
type sight int

const (
	seenUndecided sight = iota // they were not looked at for long enough
	seenNone                   // none has ever said that it is there, or what it said was removed
	seenAll
	seenNotAll
)

// sights are the signs of all members' managers. They are not kept over a restart. The looker's own clock tells how old a sign is, and not
// what the sign says of itself, so at first there is no opinion.
type sights struct {
	mu     sync.Mutex
	looked bool
	began  time.Time                  // when it was first looked
	signs  map[string]map[string]sign // by namespace and role
	told   map[string]verdict         // what was made of each namespace's signs
}

// sign is what is known of one manager's Lease.
type sign struct {
	renewed time.Time     // what the Lease says
	since   time.Time     // when it was first seen to say so
	age     time.Duration // for how long that was, when it was last looked
	fresh   bool          // it was seen to change, and not found so
}

// verdict is what is said of a member.
type verdict struct {
	found   sight
	missing string // the roles whose managers were not seen
}

// look takes in the Leases, and returns the namespaces of which something else is to be said than before.
func (s *sights) look(leases []coordinationv1.Lease, now time.Time) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.signs
	s.signs = map[string]map[string]sign{}
	for i := range leases {
		lease := &leases[i]
		role, ok := strings.CutPrefix(lease.Name, presence.NamePrefix)
		if !ok || lease.Spec.RenewTime == nil {
			continue
		}
		next := sign{renewed: lease.Spec.RenewTime.Time, since: now, fresh: s.looked}
		if was, known := before[lease.Namespace][role]; known && was.renewed.Equal(next.renewed) {
			next = was
		}
		next.age = now.Sub(next.since)
		if s.signs[lease.Namespace] == nil {
			s.signs[lease.Namespace] = map[string]sign{}
		}
		s.signs[lease.Namespace][role] = next
	}
	if !s.looked {
		s.looked, s.began = true, now
	}
	return s.tell()
}

// tell returns the namespaces whose members are to be told something else, and remembers that they are.
func (s *sights) tell() []string {
	var changed []string
	told := map[string]verdict{}
	for namespace := range s.signs {
		now := s.judge(namespace)
		told[namespace] = now
		if s.told[namespace] != now && now.found != seenUndecided {
			changed = append(changed, namespace)
		}
	}
	for namespace := range s.told {
		if _, still := told[namespace]; !still {
			changed = append(changed, namespace)
		}
	}
	s.told = told
	slices.Sort(changed)
	return changed
}

// of returns what is to be said of a namespace's member.
func (s *sights) of(namespace string) (found sight, missing string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.judge(namespace)
	return now.found, now.missing
}

// there says whether some manager of a namespace's member shows itself.
func (s *sights) there(namespace string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, last := range s.signs[namespace] {
		if last.fresh && last.age < presence.Patience {
			return true
		}
	}
	return false
}

// settlesIn is for how long more it is to be looked before that nothing was seen says something.
func (s *sights) settlesIn(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.looked {
		return settle
	}
	return max(0, settle-now.Sub(s.began))
}

func (s *sights) judge(namespace string) verdict {
	if !s.looked {
		return verdict{found: seenUndecided}
	}
	if len(s.signs[namespace]) == 0 {
		return verdict{found: seenNone}
	}
	var late []string
	waits := false
	for role, last := range s.signs[namespace] {
		if last.age >= presence.Patience {
			late = append(late, role)
		} else if !last.fresh {
			waits = true
		}
	}
	switch {
	case len(late) > 0:
		slices.Sort(late)
		return verdict{found: seenNotAll, missing: strings.Join(late, ", ")}
	case waits:
		return verdict{found: seenUndecided}
	default:
		return verdict{found: seenAll}
	}
}
