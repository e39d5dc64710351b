// SPDX-License-Identifier: Apache-2.0

package meter

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/money"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return noon.Add(time.Duration(seconds) * time.Second) }

func ready(since int) Sighting { return Sighting{Ready: true, Since: at(since)} }

func lost(since int) Sighting { return Sighting{Since: at(since)} }

// testTerms rent four GPUs for ten minutes at 3600 base units an hour: 1 base unit for a GPU-second.
func testTerms() Terms {
	return Terms{
		Lease: [32]byte{7}, GPUs: 4, Price: 3600, Deposit: 2400, Term: 10 * time.Minute, Period: time.Minute,
	}
}

// usage is what a test compares of a record.
type usage struct {
	Sequence int64
	Ms       uint64
	Gross    money.Amount
	Since    time.Time
	Through  time.Time
	Final    bool
}

func of(r *Record) *usage {
	if r == nil {
		return nil
	}
	return &usage{r.Sequence, r.GPUMilliseconds, r.Gross, r.ReadySince, r.Through, r.Final}
}

func TestNext(t *testing.T) {
	open := &Record{Sequence: 1, ReadySince: at(0), Through: at(0)}
	closed := &Record{Sequence: 2, GPUMilliseconds: 40_000, Gross: 40, Through: at(10)}
	cases := map[string]struct {
		last *Record
		seen Sighting
		now  time.Time
		want *usage
	}{
		"nothing is recorded before the workers are ready":       {nil, lost(0), at(100), nil},
		"nothing is recorded when ready has no known begin":      {nil, Sighting{Ready: true}, at(100), nil},
		"becoming ready opens the meter at that moment":          {nil, ready(3), at(100), &usage{1, 0, 0, at(3), at(3), false}},
		"nothing is due within a period":                         {open, ready(0), at(59), nil},
		"a period ends on its own second":                        {open, ready(0), at(64), &usage{2, 240_000, 240, at(0), at(60), false}},
		"an outage of three periods is caught up at once":        {open, ready(0), at(185), &usage{2, 720_000, 720, at(0), at(180), false}},
		"the term is the most that is counted":                   {open, ready(0), at(9000), &usage{2, 2_400_000, 2400, at(0), at(600), false}},
		"a break ends the count where it began":                  {open, lost(30), at(40), &usage{2, 120_000, 120, time.Time{}, at(30), false}},
		"a break with no known begin counts nothing more":        {open, Sighting{}, at(40), &usage{2, 0, 0, time.Time{}, at(0), false}},
		"a break from the future ends now":                       {open, lost(70), at(40), &usage{2, 160_000, 160, time.Time{}, at(40), false}},
		"a break that was not seen is not counted":               {open, ready(25), at(40), &usage{2, 0, 0, at(25), at(25), false}},
		"after a break the count goes on where ready began":      {closed, ready(20), at(25), &usage{3, 40_000, 40, at(20), at(20), false}},
		"ready from before the last record counts from it":       {closed, ready(5), at(25), &usage{3, 40_000, 40, at(10), at(10), false}},
		"a closed meter stays closed while workers are not back": {closed, lost(10), at(25), nil},
		"nothing follows the final record":                       {&Record{Sequence: 9, Final: true}, ready(0), at(90), nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := testTerms().Next(tc.last, tc.seen, tc.now)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, of(got)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
}

func TestFinal(t *testing.T) {
	open := &Record{Sequence: 1, ReadySince: at(0), Through: at(0)}
	later := &Record{Sequence: 2, GPUMilliseconds: 240_000, Gross: 240, ReadySince: at(0), Through: at(60)}
	closed := &Record{Sequence: 2, GPUMilliseconds: 40_000, Gross: 40, Through: at(10)}
	cases := map[string]struct {
		last *Record
		seen Sighting
		end  time.Time
		want *usage
	}{
		"a lease that never was ready costs nothing":      {nil, Sighting{}, at(50), &usage{1, 0, 0, time.Time{}, at(50), true}},
		"one that ended before its first record is paid":  {nil, ready(10), at(50), &usage{1, 160_000, 160, time.Time{}, at(50), true}},
		"the rest of a period is counted":                 {open, ready(0), at(42), &usage{2, 168_000, 168, time.Time{}, at(42), true}},
		"an end after the term is counted to the term":    {open, ready(0), at(700), &usage{2, 2_400_000, 2400, time.Time{}, at(600), true}},
		"workers that were lost are counted until then":   {open, lost(20), at(42), &usage{2, 80_000, 80, time.Time{}, at(20), true}},
		"what is recorded stays when the end lies before": {later, ready(0), at(58), &usage{3, 240_000, 240, time.Time{}, at(60), true}},
		"a closed meter is sealed":                        {closed, lost(10), at(42), &usage{3, 40_000, 40, time.Time{}, at(42), true}},
		"a break that was not seen is not counted":        {open, ready(30), at(42), &usage{2, 48_000, 48, time.Time{}, at(42), true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := testTerms().Final(tc.last, tc.seen, tc.end)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, of(got)); diff != "" {
				t.Errorf("record (-want +got):\n%s", diff)
			}
		})
	}
	if _, err := testTerms().Final(&Record{Final: true}, lost(0), at(9)); !errors.Is(err, ErrFinal) {
		t.Errorf("a second end: error %v, want %v", err, ErrFinal)
	}
}

// TestWhenPassesHappenChangesNothing looks at the same lease at random moments, with and without outages, and pays the same.
func TestWhenPassesHappenChangesNothing(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	terms := testTerms()
	for range 500 {
		begin, end := random.IntN(50), 60+random.IntN(700)
		var last *Record
		for now := begin; now < end; now += 1 + random.IntN(200) {
			next, err := terms.Next(last, ready(begin), at(now))
			if err != nil {
				t.Fatal(err)
			}
			if next == nil {
				continue
			}
			if err := terms.Verify(last, *next, Bounds{Funded: noon, Now: at(now)}); err != nil {
				t.Fatalf("the buyer refuses an honest record: %v", err)
			}
			last = next
		}
		final, err := terms.Final(last, ready(begin), at(end))
		if err != nil {
			t.Fatal(err)
		}
		want := min(uint64(end-begin), 600) * 4000
		if final.GPUMilliseconds != want {
			t.Fatalf("ready %d to %d: %d GPU-ms, want %d", begin, end, final.GPUMilliseconds, want)
		}
		if err := terms.Verify(last, *final, Bounds{Funded: noon, Now: at(end)}); err != nil {
			t.Fatalf("the buyer refuses an honest end: %v", err)
		}
	}
}

func TestVerifyRefusesWhatCannotBe(t *testing.T) {
	terms := testTerms()
	first, err := terms.Next(nil, ready(10), at(10))
	if err != nil {
		t.Fatal(err)
	}
	second, err := terms.Next(first, ready(10), at(70))
	if err != nil {
		t.Fatal(err)
	}
	chained := func(change func(*Record)) Record {
		forged := *second
		change(&forged)
		forged.Digest = forged.digest(terms.Lease, first.Digest)
		return forged
	}
	cases := map[string]Record{
		"a changed digest":    func() Record { r := *second; r.Digest[0] ^= 1; return r }(),
		"more GPU time":       chained(func(r *Record) { r.GPUMilliseconds += 4000; r.Gross += 4 }),
		"a higher price":      chained(func(r *Record) { r.Gross++ }),
		"a lower price":       chained(func(r *Record) { r.Gross-- }),
		"a repeated sequence": chained(func(r *Record) { r.Sequence = 1 }),
		"the future":          chained(func(r *Record) { r.Through = at(4000) }),
		"ready after through": chained(func(r *Record) { r.ReadySince = at(80) }),
		"a changed lease": func() Record {
			r := *second
			r.Digest = r.digest([32]byte{8}, first.Digest)
			return r
		}(),
	}
	bounds := Bounds{Funded: at(5), Now: at(70)}
	if err := terms.Verify(first, *second, bounds); err != nil {
		t.Fatalf("the honest record is refused: %v", err)
	}
	for name, forged := range cases {
		t.Run(name, func(t *testing.T) {
			if err := terms.Verify(first, forged, bounds); !errors.Is(err, ErrRefused) {
				t.Errorf("error %v, want %v", err, ErrRefused)
			}
		})
	}
	if err := terms.Verify(second, *first, bounds); !errors.Is(err, ErrRefused) {
		t.Errorf("going back: error %v, want %v", err, ErrRefused)
	}
	if err := terms.Verify(nil, *second, bounds); err != nil {
		t.Errorf("a record whose neighbour was missed is refused: %v", err)
	}
}

// A supplier's clock is rarely right to the second. Whatever it shows, no more is believed than what a minute more than the time since the deposit holds.
func TestASuppliersClockMayBeAheadOrBehind(t *testing.T) {
	const funded, began, ends = 3600, 3605, 3665 // the workers are ready for a minute, by the buyer's clock
	cases := map[string]struct {
		skew   int // of the supplier's clock, in seconds
		ready  int // for how many seconds it says that the workers were ready
		honest bool
	}{
		"a right clock":                       {0, 60, true},
		"one that is ahead":                   {60, 60, true},
		"one that is too far ahead":           {61, 60, false},
		"one that is behind":                  {-60, 60, true},
		"one that is too far behind":          {-66, 60, false},
		"a minute too much":                   {0, 125, true},
		"more than a minute":                  {0, 126, false},
		"more than a minute by a fast clock":  {60, 126, false},
		"more than it shows, by a slow clock": {-60, 66, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			terms := testTerms()
			record, err := terms.Final(nil, ready(ends+tc.skew-tc.ready), at(ends+tc.skew))
			if err != nil {
				t.Fatal(err)
			}
			err = terms.Verify(nil, *record, Bounds{Funded: at(funded), Now: at(ends)})
			if errors.Is(err, ErrRefused) == tc.honest || err != nil && !errors.Is(err, ErrRefused) {
				t.Errorf("error %v, to be believed: %t", err, tc.honest)
			}
		})
	}
}

func TestNoMinuteIsGainedWithEachRecord(t *testing.T) {
	terms := testTerms()
	begun, err := terms.Next(nil, ready(-60), at(-60)) // a minute before the deposit, and believed
	if err != nil {
		t.Fatal(err)
	}
	counted, err := terms.Next(begun, ready(-60), at(60))
	if err != nil || counted == nil {
		t.Fatalf("no record: %v", err)
	}
	first := *counted
	if err := terms.Verify(nil, first, Bounds{Funded: at(0), Now: at(60)}); err != nil {
		t.Fatal(err)
	}
	second := first
	second.Sequence, second.Through, second.GPUMilliseconds = first.Sequence+1, at(120), first.GPUMilliseconds+4*61_000
	second.Gross = money.Amount(second.GPUMilliseconds / 1000)
	second.Digest = second.digest(terms.Lease, first.Digest)
	if err := terms.Verify(&first, second, Bounds{Funded: at(0), Now: at(120)}); !errors.Is(err, ErrRefused) {
		t.Errorf("error %v, want %v", err, ErrRefused)
	}
}

func TestGrossNeverExceedsTheDeposit(t *testing.T) {
	terms := testTerms()
	terms.Deposit, terms.Fees = 1000, money.Fees{BuyerBps: 225}
	for _, ms := range []uint64{0, 999_000, 1_000_000, 2_400_000} {
		gross, err := terms.Gross(ms)
		if err != nil {
			t.Fatal(err)
		}
		split, err := terms.Fees.Split(gross)
		if err != nil {
			t.Fatal(err)
		}
		if split.Debit > terms.Deposit {
			t.Errorf("%d GPU-ms debit %s of a deposit of %s", ms, split.Debit, terms.Deposit)
		}
	}
}

func TestDue(t *testing.T) {
	open := &Record{Sequence: 2, GPUMilliseconds: 2_300_000, ReadySince: at(0), Through: at(575)}
	if due, counting := testTerms().Due(open); !counting || !due.Equal(at(600)) {
		t.Errorf("due %s %t, want the end of the term", due, counting)
	}
	if _, counting := testTerms().Due(&Record{Sequence: 3}); counting {
		t.Error("a closed meter has nothing due")
	}
}

func FuzzParseDigest(f *testing.F) {
	f.Add(Digest{1, 2, 3}.String())
	f.Add("00")
	f.Fuzz(func(t *testing.T, text string) {
		digest, err := ParseDigest(text)
		if err == nil && digest.String() != text {
			t.Errorf("%q reads as %s", text, digest)
		}
		if err != nil && !errors.Is(err, ErrDigest) {
			t.Errorf("%q: error %v", text, err)
		}
	})
}
