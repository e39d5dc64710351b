// SPDX-License-Identifier: Apache-2.0

package money

import (
	"cmp"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// settling is how long the last passes have when all is done.
const settling = 2 * time.Minute

// horizon is when a schedule that has not come to its end is given up.
const horizon = 3 * time.Hour

// play runs the schedule to its end.
func (w *world) play() {
	for w.problem == "" {
		if !w.calm && !w.now.Before(w.began.Add(w.profile.until)) {
			w.stop()
		}
		w.surroundings()
		for _, p := range w.procs {
			p.catchUp()
			for _, it := range p.next() {
				p.pass(it)
			}
		}
		w.eye.CatchUp(w.eye.Behind(), w.see)
		w.check()
		if w.calm && w.finished() {
			return
		}
		w.elapse(w.idle())
	}
}

// idle is for how long nothing happens.
func (w *world) idle() time.Duration {
	if !w.calm {
		return time.Second
	}
	next := w.now.Add(time.Minute)
	sooner := func(at time.Time) {
		if at.Before(next) {
			next = at
		}
	}
	for _, e := range w.agenda {
		sooner(e.at)
	}
	for _, p := range w.procs {
		if p.client.Behind() > 0 {
			sooner(w.now)
		}
		for _, at := range p.due {
			sooner(at)
		}
	}
	return max(time.Second, next.Sub(w.now))
}

// finished says whether every lease is over. If so it holds what must hold in the end, and lets everybody look once more: a second
// pass writes nothing.
func (w *world) finished() bool {
	done := true
	for _, d := range w.deals {
		over, why := w.over(d)
		if over {
			if !d.done {
				d.done, w.slowest = true, max(w.slowest, w.now.Sub(w.healthy(d)))
			}
			continue
		}
		done, d.done = false, false
		if late := w.now.Sub(w.healthy(d)); w.now.Sub(w.began) > horizon || late > patience && w.lease(d).Status.End != nil {
			w.wrong("%s %s after the faults", why, late)
		}
	}
	if !done {
		w.doneAt = time.Time{}
		return false
	}
	if w.doneAt.IsZero() {
		w.doneAt = w.now
	}
	if w.now.Sub(w.doneAt) < settling {
		return false
	}
	for _, d := range w.deals {
		w.settled(d)
	}
	w.rest()
	return true
}

// rest lets every controller look at every lease once more.
func (w *world) rest() {
	for _, p := range w.procs {
		p.catchUp()
	}
	for _, p := range w.procs {
		for i := range w.deals {
			for r := range roles {
				before := p.writes + len(w.sent)
				p.pass(item{r, i})
				if p.writes+len(w.sent) != before {
					w.wrong("a second pass of the %s writes", r)
				}
			}
		}
	}
	w.check()
}

// threads is how many schedules are played at once.
const threads = 2

// failure is a schedule in which something was that must never be.
type failure struct {
	seed uint64
	what string
}

// outcome is what many schedules came to.
type outcome struct {
	schedules, passes, steps, funded, together int
	fired                                      map[fault]int
	failures                                   []failure
	traces                                     uint64 // of all schedules together: the same for the same seeds
	slowest                                    time.Duration
	slowestSeed                                uint64
}

// add takes in one schedule.
func (o *outcome) add(seed uint64, w *world) {
	o.schedules++
	o.passes += w.passes
	o.steps += w.steps
	o.funded += w.funded
	o.together += w.together
	for f, n := range w.fired {
		o.fired[f] += n
	}
	o.traces += w.hash.Sum64()
	if w.problem != "" {
		o.failures = append(o.failures, failure{seed: seed, what: w.problem})
	}
	if w.slowest > o.slowest {
		o.slowest, o.slowestSeed = w.slowest, seed
	}
}

// many counts the failures that begin with these words.
func (o *outcome) many(kind string) int {
	count := 0
	for _, f := range o.failures {
		if strings.HasPrefix(f.what, kind) {
			count++
		}
	}
	return count
}

// playAll plays schedules on all threads until there are no more, or until enough says so.
func playAll(t *testing.T, from, to uint64, play func(t *testing.T, seed uint64) *world, enough func(*outcome) bool) *outcome {
	t.Helper()
	all := &outcome{fired: map[fault]int{}}
	var next atomic.Uint64
	next.Store(from)
	var mu sync.Mutex
	t.Run("all", func(t *testing.T) {
		for range threads {
			t.Run("thread", func(t *testing.T) {
				t.Parallel()
				for {
					seed := next.Add(1) - 1
					mu.Lock()
					stop := seed >= to || enough(all)
					mu.Unlock()
					if stop {
						return
					}
					w := play(t, seed)
					mu.Lock()
					all.add(seed, w)
					mu.Unlock()
				}
			})
		}
	})
	slices.SortFunc(all.failures, func(a, b failure) int { return cmp.Compare(a.seed, b.seed) })
	return all
}

// under plays the schedule of a seed under a rule.
func under(with rule) func(*testing.T, uint64) *world {
	return func(t *testing.T, seed uint64) *world {
		t.Helper()
		return played(t, seed, with, nil, nil)
	}
}

func played(t *testing.T, seed uint64, with rule, single *strike, trace io.Writer) *world {
	t.Helper()
	w := newWorld(t, seed, with, single, trace)
	w.play()
	return w
}

func never(*outcome) bool { return false }
