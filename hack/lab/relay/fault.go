// SPDX-License-Identifier: Apache-2.0

package relay

import (
	"errors"
	"fmt"
	"time"
)

// Mode is what happens to what is on its way.
type Mode string

// The modes of a link. What is held arrives when the link is well again, as on a network that lost a cable: connections that both ends
// keep for that long go on.
const (
	// Well lets everything through.
	Well Mode = ""
	// Cut holds everything, and nobody is told.
	Cut Mode = "Cut"
	// HoldOut holds what callers send.
	HoldOut Mode = "HoldOut"
	// HoldBack holds what callers are sent: requests arrive and are answered, and nobody hears the answer.
	HoldBack Mode = "HoldBack"
	// Refuse ends all connections and every new one at once.
	Refuse Mode = "Refuse"
)

// Fault is what is wrong with a link. The zero Fault is a link that is well.
type Fault struct {
	Mode Mode `json:"mode,omitempty"`
	// DropPercent is the share of new connections that end at once.
	DropPercent int `json:"dropPercent,omitempty"`
	// DelayMS is how many milliseconds each piece of data takes longer.
	DelayMS int `json:"delayMS,omitempty"`
	// FlapMS lets the fault come and go: it lasts for so many milliseconds, and so does the time without it. Zero: it stays.
	FlapMS int `json:"flapMS,omitempty"`
}

// Validate reports what is wrong with the fault itself.
func (f Fault) Validate() error {
	switch f.Mode {
	case Well, Cut, HoldOut, HoldBack, Refuse:
	default:
		return fmt.Errorf("%q is no mode: choose %s, %s, %s, %s or none", f.Mode, Cut, HoldOut, HoldBack, Refuse)
	}
	switch {
	case f.DropPercent < 0 || f.DropPercent > 100:
		return errors.New("dropPercent is 0 to 100")
	case f.DelayMS < 0 || f.FlapMS < 0:
		return errors.New("a time is negative")
	}
	return nil
}

// way is one of a connection's two directions.
type way int

const (
	out  way = iota // from the caller to the target
	back            // from the target to the caller
)

// holds says whether what goes this way is held.
func (f Fault) holds(w way) bool {
	switch f.Mode {
	case Cut:
		return true
	case HoldOut:
		return w == out
	case HoldBack:
		return w == back
	case Well, Refuse:
	}
	return false
}

func (f Fault) delay() time.Duration { return time.Duration(f.DelayMS) * time.Millisecond }

func (f Fault) flap() time.Duration { return time.Duration(f.FlapMS) * time.Millisecond }
