// SPDX-License-Identifier: Apache-2.0

package stake

import "time"

// Cause is why a pool is to be slashed, as the chain records it.
type Cause uint8

// The causes. Their numbers are part of the program's records.
const (
	IdleOffline   Cause = 1 // advertised GPUs that were not there
	RentedOffline Cause = 2 // leased GPUs that went away
	Unreachable   Cause = 3 // leased GPUs that were there and could not be used
	HardwareFault Cause = 4 // leased GPUs that broke and stayed broken
	Counterfeit   Cause = 5 // GPUs that were not what they were sold as
)

// step is what a cause costs up to a length of time.
type step struct {
	upTo time.Duration
	bps  uint16
}

// forever ends every scale.
const forever = time.Duration(1<<63 - 1)

// scales are DeepBrainChain's published slashes: the longer, the dearer. A market cannot ask for more than these.
//
//nolint:gochecknoglobals // a table: it is read, never written
var scales = map[Cause][]step{
	IdleOffline:   {{7 * time.Minute, 200}, {48 * time.Hour, 400}, {240 * time.Hour, 3000}, {forever, 8000}},
	RentedOffline: {{7 * time.Minute, 200}, {48 * time.Hour, 400}, {120 * time.Hour, 3000}, {forever, 5000}},
	Unreachable:   {{7 * time.Minute, 400}, {48 * time.Hour, 800}, {120 * time.Hour, 6000}, {forever, 10000}},
	HardwareFault: {{4 * time.Hour, 600}, {24 * time.Hour, 1200}, {48 * time.Hour, 1600}, {120 * time.Hour, 6000}, {forever, 10000}},
	Counterfeit:   {{4 * time.Hour, 1200}, {24 * time.Hour, 2400}, {48 * time.Hour, 3200}, {120 * time.Hour, 6000}, {forever, 10000}},
}

// Penalty returns the most of a pool that a cause may cost when it lasted so long, in basis points. It is false for an unknown cause.
func Penalty(cause Cause, lasted time.Duration) (bps uint16, ok bool) {
	for _, step := range scales[cause] {
		if lasted <= step.upTo {
			return step.bps, true
		}
	}
	return 0, false
}
