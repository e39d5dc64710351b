// SPDX-License-Identifier: Apache-2.0

// Package gpuhistory records who was seen to take and to leave GPUs, and when, and says whether it can have happened with one holder at
// the most for each GPU. It knows nothing of how it was seen.
package gpuhistory

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
)

var (
	// ErrImpossible tells that no order of what was seen gives each GPU one holder at the most.
	ErrImpossible = errors.New("a GPU had two holders at once")
	// ErrUndecided tells that there was not enough time to say.
	ErrUndecided = errors.New("the history was not checked to its end")
)

// Seen bounds when something happened: not before Call, and not after Return.
type Seen struct{ Call, Return time.Time }

// History is what was seen of some sets of GPUs, which are alike within each set. It may be written by several at once.
type History struct {
	sizes map[string]int

	lock       sync.Mutex
	operations []porcupine.Operation
}

// change is one operation.
type change struct {
	set, holder string
	// gpus is how many are taken; zero: all that the holder has are left.
	gpus int
	size int
}

// New returns a history of sets of GPUs, with the number of GPUs in each.
func New(sizes map[string]int) *History { return &History{sizes: sizes} }

// Take records that a holder took so many GPUs of a set.
func (h *History) Take(set, holder string, gpus int, seen Seen) error {
	if gpus <= 0 {
		return fmt.Errorf("%s takes %d GPUs of %s: take at least one", holder, gpus, set)
	}
	return h.add(change{set: set, holder: holder, gpus: gpus}, seen)
}

// Leave records that a holder left all of its GPUs of a set.
func (h *History) Leave(set, holder string, seen Seen) error {
	return h.add(change{set: set, holder: holder}, seen)
}

func (h *History) add(what change, seen Seen) error {
	size, known := h.sizes[what.set]
	switch {
	case !known:
		return fmt.Errorf("%s changes a set that is not known: %q", what.holder, what.set)
	case seen.Return.Before(seen.Call):
		return fmt.Errorf("a change of %s by %s was over at %s, before it began at %s", what.set, what.holder, seen.Return, seen.Call)
	}
	what.size = size
	h.lock.Lock()
	defer h.lock.Unlock()
	h.operations = append(h.operations, porcupine.Operation{
		ClientId: len(h.operations), Input: what, Call: seen.Call.UnixNano(), Return: seen.Return.UnixNano(),
	})
	return nil
}

// Len is how many changes were recorded.
func (h *History) Len() int {
	h.lock.Lock()
	defer h.lock.Unlock()
	return len(h.operations)
}

// Check says whether the changes have an order in which each happened within the time in which it was seen, each GPU had one holder at the
// most, and nobody left what he did not have. The error names the sets that have none.
func (h *History) Check(limit time.Duration) error {
	h.lock.Lock()
	defer h.lock.Unlock()
	var failed []error
	for _, part := range partition(h.operations) {
		set := of(part[0]).set
		switch porcupine.CheckOperationsTimeout(model(), part, limit) {
		case porcupine.Ok:
		case porcupine.Illegal:
			failed = append(failed, fmt.Errorf("%w: of %d in %s, which %d changes were seen of", ErrImpossible, h.sizes[set], set, len(part)))
		default:
			failed = append(failed, fmt.Errorf("%w: %d changes of %s within %s", ErrUndecided, len(part), set, limit))
		}
	}
	return errors.Join(failed...)
}

// of is what an operation did.
func of(operation porcupine.Operation) change {
	return operation.Input.(change) // add writes nothing else
}

// partition puts each set's operations by themselves, the sets in the order of their names.
func partition(all []porcupine.Operation) [][]porcupine.Operation {
	all = slices.Clone(all)
	slices.SortStableFunc(all, func(a, b porcupine.Operation) int { return strings.Compare(of(a).set, of(b).set) })
	var parts [][]porcupine.Operation
	for i, operation := range all {
		if i == 0 || of(all[i-1]).set != of(operation).set {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], operation)
	}
	return parts
}

// model is one set of GPUs: the holder of each that has one, sorted, since the GPUs are alike.
func model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return []string(nil) },
		Step: func(state, input, _ any) (bool, any) {
			held, okHeld := state.([]string)
			what, okWhat := input.(change)
			if !okHeld || !okWhat {
				return false, state
			}
			return step(held, what)
		},
		Equal: func(a, b any) bool {
			one, okOne := a.([]string)
			other, okOther := b.([]string)
			return okOne && okOther && slices.Equal(one, other)
		},
	}
}

// step says whether a change can follow, and who holds GPUs then.
func step(held []string, what change) (bool, []string) {
	has := slices.Contains(held, what.holder)
	if what.gpus == 0 {
		return has, slices.DeleteFunc(slices.Clone(held), func(holder string) bool { return holder == what.holder })
	}
	if has || len(held)+what.gpus > what.size {
		return false, held
	}
	next := slices.Concat(held, slices.Repeat([]string{what.holder}, what.gpus))
	slices.Sort(next)
	return true, next
}
