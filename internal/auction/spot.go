// SPDX-License-Identifier: Apache-2.0

package auction

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// The reasons why a spot bid is refused.
var (
	ErrBelowFloor = errors.New("the bid is below the floor")
	ErrNotAStep   = errors.New("the bid is not a whole number of steps above the floor")
	ErrTooFar     = errors.New("the bid moves too far at once")
	ErrTooSoon    = errors.New("the bid was changed a moment ago")
)

// SpotRules are what spot bids of an offer must keep to.
type SpotRules struct {
	Floor     money.USD     // the least that is taken
	Step      money.USD     // bids are whole steps above the floor, so that nobody wins by a millionth
	MostSteps uint64        // how many steps a bid may move at once
	Every     time.Duration // how long a bid stands before it may be changed
}

// SpotBid is what a job pays for GPUs that a higher bid may take.
type SpotBid struct {
	Job   string // unique among bids
	GPUs  int
	Price money.USD // of one GPU for one hour
	Since time.Time // when it was placed or last changed
}

// Admit says whether a bid may stand in the place of an older one, or of none.
func (r SpotRules) Admit(older *SpotBid, bid SpotBid) error {
	switch {
	case bid.Price < r.Floor:
		return fmt.Errorf("bid %s USD: %w of %s", bid.Price, ErrBelowFloor, r.Floor)
	case r.Step > 0 && (bid.Price-r.Floor)%r.Step != 0:
		return fmt.Errorf("bid %s USD: %w of %s", bid.Price, ErrNotAStep, r.Floor)
	case older == nil || older.Price == bid.Price:
		return nil
	case bid.Since.Before(older.Since.Add(r.Every)):
		return fmt.Errorf("bid %s USD: %w: it stands for %s", bid.Price, ErrTooSoon, r.Every)
	}
	moved := max(bid.Price, older.Price) - min(bid.Price, older.Price)
	if r.Step > 0 && uint64(moved/r.Step) > r.MostSteps {
		return fmt.Errorf("bid %s USD: %w: %d steps of %s at most", bid.Price, ErrTooFar, r.MostSteps, r.Step)
	}
	return nil
}

// Evict returns the running bids that make room for a new one: the lowest first, and of equal ones the newest, never one that bids as
// much as the new one, and none whose GPUs are not needed. It is false when all lower bids together do not have enough.
func Evict(running []SpotBid, free int, bid SpotBid) ([]SpotBid, bool) {
	lower := make([]SpotBid, 0, len(running))
	for _, one := range running {
		if one.Price < bid.Price {
			lower = append(lower, one)
		}
	}
	slices.SortFunc(lower, func(a, b SpotBid) int {
		return cmp.Or(cmp.Compare(a.Price, b.Price), b.Since.Compare(a.Since), strings.Compare(a.Job, b.Job))
	})
	var evicted []SpotBid
	for _, one := range lower {
		if free >= bid.GPUs {
			break
		}
		evicted = append(evicted, one)
		free += one.GPUs
	}
	if free < bid.GPUs {
		return nil, false
	}
	// A large one that came last may make those before it needless: the dearest of these stay.
	kept := map[string]bool{}
	for _, one := range slices.Backward(evicted) {
		if free-one.GPUs >= bid.GPUs {
			free -= one.GPUs
			kept[one.Job] = true
		}
	}
	return slices.DeleteFunc(evicted, func(one SpotBid) bool { return kept[one.Job] }), true
}
