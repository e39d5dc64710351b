// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"errors"
	"fmt"
	"time"
)

// ErrRefused says that a record claims what cannot be: nobody should pay for it.
var ErrRefused = errors.New("usage record refused")

// MaxSkew is how far a supplier's clock may be ahead of the reader's, or behind.
const MaxSkew = time.Minute

// Bounds are what the buyer knows by itself.
type Bounds struct {
	Funded time.Time // no worker can have been ready before
	Now    time.Time // no record can reach further, but for the skew
}

// Verify says whether a buyer should believe a record that follows the last one it believed, nil for none. Records between the two
// may be missing, since they are cumulative: the link is checked where the two are neighbours. A zero Through in last is not known.
func (t Terms) Verify(last *Record, next Record, bounds Bounds) error {
	if err := t.verifyOrder(last, next); err != nil {
		return err
	}
	if err := t.verifyTime(last, next, bounds); err != nil {
		return err
	}
	gross, err := t.Gross(next.GPUMilliseconds)
	if err != nil {
		return fmt.Errorf("price usage: %w", err)
	}
	if next.Gross != gross {
		return fmt.Errorf("%w: it costs %s, and the record says %s", ErrRefused, gross, next.Gross)
	}
	return nil
}

func (t Terms) verifyOrder(last *Record, next Record) error {
	before := orNone(last)
	switch {
	case before.Final:
		return fmt.Errorf("%w: it follows a final one", ErrRefused)
	case next.Sequence <= before.Sequence:
		return fmt.Errorf("%w: record %d does not follow %d", ErrRefused, next.Sequence, before.Sequence)
	case next.Sequence == before.Sequence+1 && next.Digest != next.digest(t.Lease, before.Digest):
		return fmt.Errorf("%w: its digest does not follow from the record before", ErrRefused)
	case next.GPUMilliseconds < before.GPUMilliseconds:
		return fmt.Errorf("%w: GPU time went back from %d to %d ms", ErrRefused, before.GPUMilliseconds, next.GPUMilliseconds)
	}
	return nil
}

func (t Terms) verifyTime(last *Record, next Record, bounds Bounds) error {
	if ahead := next.Through.Sub(bounds.Now); ahead > MaxSkew {
		return fmt.Errorf("%w: it counts up to %s, which is in the future", ErrRefused, next.Through.UTC().Format(time.RFC3339))
	}
	if next.ReadySince.After(next.Through) {
		return fmt.Errorf("%w: the workers became ready after what it counts", ErrRefused)
	}
	if most := t.most(last, next, bounds); next.GPUMilliseconds > most {
		return fmt.Errorf("%w: %d GPU-ms in a time that holds %d", ErrRefused, next.GPUMilliseconds, most)
	}
	if most := t.Whole(); next.GPUMilliseconds > most {
		return fmt.Errorf("%w: %d GPU-ms in a term that holds %d", ErrRefused, next.GPUMilliseconds, most)
	}
	return nil
}

// most is how much GPU time there can have been. From one record to the next, the supplier's clock is held against itself. From the deposit on it is
// held against ours, and may be behind; one that is ahead gains no more than one that is right, which is MaxSkew in all.
func (t Terms) most(last *Record, next Record, bounds Bounds) uint64 {
	begin := whole(bounds.Funded)
	if last != nil && last.Through.After(begin) {
		return last.GPUMilliseconds + t.gpuMilliseconds(next.Through.Sub(last.Through))
	}
	through := next.Through
	if through.After(bounds.Now) {
		through = bounds.Now
	}
	return t.gpuMilliseconds(through.Add(MaxSkew).Sub(begin))
}
