// SPDX-License-Identifier: Apache-2.0

package auction

import (
	"errors"
	"fmt"
	"math/bits"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// ErrSchedule says that a schedule makes no sense.
var ErrSchedule = errors.New("the schedule makes no sense")

// Schedule is how the highest price of a job rises while it waits: from From, which holds for Rest, in equal steps to To, over Over.
type Schedule struct {
	From  money.USD
	To    money.USD
	Rest  time.Duration // how long it waits at From
	Over  time.Duration // how long the rise takes
	Steps int           // in how many steps
}

// Validate says whether the schedule rises.
func (s Schedule) Validate() error {
	if s.From > s.To || s.Rest < 0 || s.Over < 0 || s.Steps < 1 || s.Over/time.Duration(s.Steps) < 0 {
		return fmt.Errorf("from %s to %s in %d steps: %w", s.From, s.To, s.Steps, ErrSchedule)
	}
	return nil
}

// steps returns how many steps are taken after a time of waiting.
func (s Schedule) steps(waited time.Duration) int {
	risen := waited - s.Rest
	switch {
	case risen < 0:
		return 0
	case risen >= s.Over:
		return s.Steps
	}
	high, low := bits.Mul64(uint64(risen), uint64(s.Steps)) //nolint:gosec // neither is negative
	taken, _ := bits.Div64(high, low, uint64(s.Over))       //nolint:gosec // more than risen
	return int(taken)                                       //nolint:gosec // less than Steps
}

// At returns the highest price after a time of waiting. It never falls.
func (s Schedule) At(waited time.Duration) money.USD {
	high, low := bits.Mul64(uint64(s.To-s.From), uint64(s.steps(waited))) //nolint:gosec // not negative
	rise, _ := bits.Div64(high, low, uint64(s.Steps))                     //nolint:gosec // at least 1
	return s.From + money.USD(rise)
}

// Next returns after what time of waiting the price rises next; false when it does not rise any more.
func (s Schedule) Next(waited time.Duration) (time.Duration, bool) {
	taken := s.steps(waited)
	if taken >= s.Steps || s.From == s.To {
		return 0, false
	}
	// The first moment at which risen × Steps ≥ (taken+1) × Over.
	high, low := bits.Mul64(uint64(s.Over), uint64(taken+1)) //nolint:gosec // neither is negative
	risen, rest := bits.Div64(high, low, uint64(s.Steps))    //nolint:gosec // taken is less than Steps
	if rest > 0 {
		risen++
	}
	return s.Rest + time.Duration(risen), true //nolint:gosec // at most Over
}
