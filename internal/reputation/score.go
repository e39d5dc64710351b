// SPDX-License-Identifier: Apache-2.0

// Package reputation decides what a supplier's history says of it: a number between 0 and one whole for each part, and one for all. The
// formula is published in docs/reputation.md; equal histories have equal scores, on any machine, at any time of a day.
// It does not know who reports what, nor how anybody proves it.
package reputation

import (
	"math/bits"
	"slices"
	"strings"
)

// PPM is one whole in parts per million.
const PPM = 1_000_000

// Part is one of the things that a supplier is measured by.
type Part uint8

// The parts.
const (
	Completion Part = iota // leases that ran as agreed; those that the supplier failed
	Proof                  // challenges to prove that a GPU is what it is said to be
	Uptime                 // hours that offered GPUs could be reached
	Metering               // usage records that agree with the buyer's
	parts
)

// String names the part.
func (p Part) String() string {
	names := [...]string{"completion", "proof", "uptime", "metering"}
	if int(p) < len(names) {
		return names[p]
	}
	return "unknown"
}

// share returns what a part counts for in the whole, among the parts that there is evidence of.
func (p Part) share() uint64 { return [parts]uint64{50, 20, 20, 10}[p] }

// Event is one thing that happened.
type Event struct {
	Day          int // since any fixed day, the same for all
	Part         Part
	Good         bool
	Weight       uint64 // GPU-hours of a lease, challenges, hours, or records, in millionths; at most MaxWeight counts
	Counterparty string // the buyer's wallet, or empty
	Related      bool   // buyer and supplier are the same people: such events count for nothing
}

const (
	// MaxWeight is what one event counts at most: ten observations.
	MaxWeight = 10 * PPM
	// MaxCounterparty is what the good events with one counterparty count at most in a part: thirty observations. Bad ones all count.
	MaxCounterparty = 30 * PPM
	// HalfLife is the number of days after which an event counts half.
	HalfLife = 30
	// Newcomer is the score in the middle, which a newcomer is ranked with while its quota lasts.
	Newcomer = PPM / 2
	// FewObservations is how many observations make a newcomer somebody who is known.
	FewObservations = 10 * PPM
)

// Evidence is what counts for and against a supplier in one part, in millionths of observations, decayed.
type Evidence struct {
	Good uint64
	Bad  uint64
}

// Score is what a history comes to.
type Score struct {
	Parts    [parts]uint32 // in ppm; 0 without evidence
	Evidence [parts]Evidence
	Overall  uint32 // in ppm; 0 without evidence
}

// Of returns the score of a history on a day. Events of later days count as if they were of that day.
func Of(history []Event, day int) Score {
	var score Score
	for part := range parts {
		score.Evidence[part] = weigh(history, part, day)
		score.Parts[part] = score.Evidence[part].lower()
	}
	score.Overall = score.overall()
	return score
}

// weigh sums the events of one part.
func weigh(history []Event, part Part, day int) Evidence {
	var sum Evidence
	good := map[string]uint64{}
	var counterparties []string
	for i := range history {
		event := &history[i]
		if event.Part != part || event.Related {
			continue
		}
		weight := decay(min(event.Weight, MaxWeight), day-event.Day)
		if !event.Good {
			sum.Bad += weight
			continue
		}
		if _, known := good[event.Counterparty]; !known {
			counterparties = append(counterparties, event.Counterparty)
		}
		good[event.Counterparty] += weight
	}
	slices.SortFunc(counterparties, strings.Compare)
	for _, one := range counterparties {
		if one == "" { // nobody's word in particular, such as a challenge's result
			sum.Good += good[one]
			continue
		}
		sum.Good += min(good[one], MaxCounterparty)
	}
	return sum
}

// dayFactor is 2^(-1/HalfLife) in 64 binary places.
const dayFactor = 0xfa27_27db_62ae_bb76

// decay returns floor(weight × 2^(-days/HalfLife)), computed by squaring in 64 binary places.
func decay(weight uint64, days int) uint64 {
	if days <= 0 {
		return weight
	}
	factor, square := uint64(1)<<63, uint64(dayFactor) // factor has 63 places
	for left := uint(days); left > 0; left >>= 1 {
		if left&1 == 1 {
			factor, _ = bits.Mul64(factor, square)
		}
		square, _ = bits.Mul64(square, square)
	}
	high, low := bits.Mul64(weight, factor)
	return high<<1 | low>>63
}

// z2 is the square of 1.96 in millionths: 95 % of what may be lies within so many standard deviations.
const z2 = 3_841_600

// lower returns the lower end of the Wilson interval for the share of good, in ppm, rounded down but for its last few:
//
//	(good + z²/2 − z·√(good·bad/n + z²/4)) / (n + z²)  with n = good + bad
//
// Few observations prove little, so it is far below the share at first, and near it with many.
func (e Evidence) lower() uint32 {
	n := e.Good + e.Bad
	if n == 0 {
		return 0
	}
	high, low := bits.Mul64(e.Good, e.Bad)
	spread, _ := bits.Div64(high, low, n) // good is not more than n
	high, low = bits.Mul64(spread+z2/4, z2)
	root := sqrt(high, low)
	centre := e.Good + z2/2
	if centre <= root {
		return 0
	}
	high, low = bits.Mul64(centre-root, PPM)
	share, _ := bits.Div64(high, low, n+z2)
	return uint32(min(share, PPM))
}

// sqrt returns the whole part of the square root of a number of 128 bits.
func sqrt(high, low uint64) uint64 {
	var root uint64
	for bit := uint64(1) << 63; bit != 0; bit >>= 1 {
		try := root | bit
		h, l := bits.Mul64(try, try)
		if h < high || h == high && l <= low {
			root = try
		}
	}
	return root
}

// overall is the mean of the parts that there is evidence of, by their shares.
func (s *Score) overall() uint32 {
	var sum, shares uint64
	for part := range parts {
		if s.Evidence[part].Good+s.Evidence[part].Bad > 0 {
			sum += uint64(s.Parts[part]) * part.share()
			shares += part.share()
		}
	}
	if shares == 0 {
		return 0
	}
	return uint32(sum / shares) //nolint:gosec // a mean of numbers of at most PPM
}

// Quota is how many GPU-hours newcomers may explore: so much can be leased from a supplier that little is known of as if it were in the
// middle, in millionths.
type Quota struct {
	GPUHours uint64
}

// DefaultQuota is two days of one GPU.
func DefaultQuota() Quota { return Quota{GPUHours: 48 * PPM} }

// Lasts says whether a supplier is a newcomer whose quota lasts: known by few observations of its leases, with nothing against it, and
// with less leased from it in all than the quota. explored is never given back, so that nobody stays a newcomer.
func (q Quota) Lasts(score *Score, explored uint64) bool {
	return !score.bad() && score.Evidence[Completion].Good < FewObservations && explored < q.GPUHours
}

// Ranked returns what a supplier is ranked with: its score; or the middle, if that is more, while its quota lasts.
func (q Quota) Ranked(score *Score, explored uint64) uint32 {
	if !q.Lasts(score, explored) {
		return score.Overall
	}
	return max(score.Overall, Newcomer)
}

// bad says whether anything counts against the supplier.
func (s *Score) bad() bool {
	return slices.ContainsFunc(s.Evidence[:], func(e Evidence) bool { return e.Bad > 0 })
}
