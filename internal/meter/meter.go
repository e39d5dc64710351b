// SPDX-License-Identifier: Apache-2.0

// Package meter decides how much GPU time a lease has used and what it costs: all GPUs of the gang are counted while every worker
// is ready, in whole seconds, and never for longer than the term. Records are cumulative and chained, so neither when they are
// made nor how often changes what is paid; the package knows neither clusters nor chains.
package meter

import (
	"errors"
	"fmt"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// ErrFinal says that a record was asked for after the final one.
var ErrFinal = errors.New("usage is final")

// Terms are what of a lease the meter needs.
type Terms struct {
	Lease   [32]byte      // the lease's identity on chain
	GPUs    uint32        // the GPUs of all workers together
	Price   money.Amount  // base units for one GPU for one hour
	Deposit money.Amount  // what the escrow holds
	Fees    money.Fees    // what each side pays on the gross amount
	Term    time.Duration // the longest time that the workers may be ready
	Period  time.Duration // how long one billing period is
}

// Sighting is what the cluster says of the workers now.
type Sighting struct {
	Ready bool      // every worker is ready
	Since time.Time // since when; zero when that is not known
}

// Next returns the record that is due, or nil: one when the workers become ready, one at the end of each period while they are,
// and one when they stop. Time that nobody vouches for is not counted: a break whose begin is not known begins at the last record.
func (t Terms) Next(last *Record, seen Sighting, now time.Time) (*Record, error) {
	before := orNone(last)
	seen.Since, now = whole(seen.Since), whole(now)
	next, due := t.due(before, seen, now)
	if !due {
		return nil, nil //nolint:nilnil // that nothing is due is no error
	}
	return t.seal(before, next)
}

// due returns what the record that follows says, and whether one is due.
func (t Terms) due(before Record, seen Sighting, now time.Time) (Record, bool) {
	switch since, opens := opening(before, seen, now); {
	case before.Final:
		return Record{}, false
	case opens:
		return Record{GPUMilliseconds: before.GPUMilliseconds, ReadySince: since, Through: since}, true
	case !before.Open():
		return Record{}, false
	case !seen.Ready:
		return t.counted(before, earlier(seen.Since, now)), true
	}
	next := t.counted(before, before.Through.Add(now.Sub(before.Through).Truncate(t.Period)))
	next.ReadySince = before.ReadySince
	return next, next.Through.After(before.Through)
}

// Final returns the last record of a lease that ended at the given moment.
func (t Terms) Final(last *Record, seen Sighting, end time.Time) (*Record, error) {
	before := orNone(last)
	if before.Final {
		return nil, fmt.Errorf("end usage: %w", ErrFinal)
	}
	seen.Since, end = whole(seen.Since), whole(end)
	from := before
	if since, opens := opening(before, seen, end); opens {
		from.ReadySince, from.Through = since, since
	}
	final := Record{GPUMilliseconds: from.GPUMilliseconds, Through: later(from.Through, end)}
	switch {
	case from.Open() && seen.Ready:
		final = t.counted(from, end)
	case from.Open():
		final = t.counted(from, earlier(seen.Since, end))
	}
	final.Final = true
	return t.seal(before, final)
}

// opening says whether the workers are counted anew, and from when: they are ready, and were not without a break since the record.
func opening(before Record, seen Sighting, now time.Time) (time.Time, bool) {
	unbroken := before.Open() && !seen.Since.After(before.Through)
	if !seen.Ready || seen.Since.IsZero() || unbroken {
		return time.Time{}, false
	}
	since := later(seen.Since, before.Through)
	return since, !since.After(now)
}

// TermEnds returns when the ready time reaches the term if the workers stay ready, and whether they are counted now.
func (t Terms) TermEnds(last *Record) (time.Time, bool) {
	before := orNone(last)
	if !before.Open() || before.Final {
		return time.Time{}, false
	}
	return before.Through.Add(t.left(before)), true
}

// Due returns when the next record is due if the workers stay as they are, and whether one is.
func (t Terms) Due(last *Record) (time.Time, bool) {
	ends, counting := t.TermEnds(last)
	if !counting {
		return time.Time{}, false
	}
	return earlier(last.Through.Add(t.Period), ends), true
}

// Gross returns what the GPU time costs before fees, and never more than the deposit covers.
func (t Terms) Gross(gpuMilliseconds uint64) (money.Amount, error) {
	gross, err := money.Gross(t.Price, gpuMilliseconds)
	if err != nil {
		return 0, err
	}
	most, err := t.Fees.MaxGross(t.Deposit)
	if err != nil {
		return 0, err
	}
	return min(gross, most), nil
}

// counted counts an open record on to a moment, but neither back nor past the term.
func (t Terms) counted(before Record, to time.Time) Record {
	span := max(0, min(to.Sub(before.Through), t.left(before)))
	return Record{
		GPUMilliseconds: before.GPUMilliseconds + t.gpuMilliseconds(span),
		Through:         before.Through.Add(span),
	}
}

// left is how much longer the workers may be ready.
func (t Terms) left(before Record) time.Duration {
	if t.GPUs == 0 {
		return 0
	}
	if before.GPUMilliseconds >= t.Whole() {
		return 0
	}
	spent := time.Duration(before.GPUMilliseconds/uint64(t.GPUs)) * time.Millisecond //nolint:gosec // less than the term
	return max(0, t.Term-spent)
}

// Whole returns the GPU time of the whole term.
func (t Terms) Whole() uint64 { return t.gpuMilliseconds(t.Term) }

// gpuMilliseconds is what all GPUs together use in a time that is not negative.
func (t Terms) gpuMilliseconds(span time.Duration) uint64 {
	return uint64(max(0, span).Milliseconds()) * uint64(t.GPUs) //nolint:gosec // not negative
}

// seal prices a record and chains it to the one before.
func (t Terms) seal(before, next Record) (*Record, error) {
	gross, err := t.Gross(next.GPUMilliseconds)
	if err != nil {
		return nil, fmt.Errorf("price usage: %w", err)
	}
	next.Sequence, next.Gross = before.Sequence+1, gross
	next.Digest = next.digest(t.Lease, before.Digest)
	return &next, nil
}

// orNone is the record, or the zero record, which every first one follows.
func orNone(record *Record) Record {
	if record == nil {
		return Record{}
	}
	return *record
}

// whole cuts a moment to its second, because the API server keeps no more.
func whole(at time.Time) time.Time { return at.Truncate(time.Second) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
