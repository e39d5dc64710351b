// SPDX-License-Identifier: Apache-2.0

package price

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/money"
)

func TestNext(t *testing.T) {
	slow := Default()
	slow.Gain = 5_000
	eager := Default()
	eager.Gain = PPM
	cases := map[string]struct {
		rules Rules
		index uint32
		load  Load
		want  uint32
	}{
		"on target it rests":                {Default(), PPM, Load{Leased: 90, Free: 10}, PPM},
		"all sold, it rises":                {Default(), PPM, Load{Leased: 100}, 1_002_000},
		"none sold, it falls":               {Default(), PPM, Load{Free: 100}, 982_000},
		"half sold":                         {Default(), PPM, Load{Leased: 50, Free: 50}, 992_000},
		"a lower gain moves it less":        {slow, PPM, Load{Free: 100}, 995_500},
		"never further than a step":         {eager, PPM, Load{Free: 100}, 980_000},
		"nor up":                            {eager, PPM, Load{Leased: 100}, 1_020_000},
		"not below the floor":               {Default(), 601_000, Load{Free: 1}, 600_000},
		"not above the ceiling":             {Default(), 2_499_999, Load{Leased: 1}, 2_500_000},
		"without GPUs it rests":             {Default(), 1_234_567, Load{}, 1_234_567},
		"out of the band, it comes back":    {Default(), 1, Load{}, 600_000},
		"more GPUs than can be counted":     {Default(), PPM, Load{Leased: math.MaxUint64, Free: 1}, PPM},
		"as many GPUs as can be counted":    {Default(), PPM, Load{Leased: math.MaxUint64}, 1_002_000},
		"a change of less than one is none": {slow, 600_000, Load{Leased: 900_100, Free: 99_900}, 600_000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.rules.Next(tc.index, tc.load); got != tc.want {
				t.Errorf("got %d ppm, want %d", got, tc.want)
			}
		})
	}
}

func TestAnIndexIsBounded(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		r := Rules{
			Target: 1 + rng.Uint32N(PPM-1), Gain: 1 + rng.Uint32N(PPM), Step: 1 + rng.Uint32N(PPM/10),
			Floor: 1 + rng.Uint32N(PPM), Ceiling: PPM + rng.Uint32N(99*PPM),
		}
		if err := r.Validate(); err != nil {
			t.Fatal(err)
		}
		index := r.Floor + rng.Uint32N(r.Ceiling-r.Floor+1)
		got := r.Next(index, Load{Leased: rng.Uint64() >> rng.IntN(64), Free: rng.Uint64() >> (1 + rng.IntN(63))})
		most := int64(index) * int64(r.Step) / PPM
		if moved := int64(got) - int64(index); got < r.Floor || got > r.Ceiling || moved > most || moved < -most {
			t.Fatalf("%+v moved %d to %d", r, index, got)
		}
	}
}

func TestValidate(t *testing.T) {
	cases := map[string]func(*Rules){
		"a target of nothing":         func(r *Rules) { r.Target = 0 },
		"a target of everything":      func(r *Rules) { r.Target = PPM },
		"an index that cannot move":   func(r *Rules) { r.Gain = 0 },
		"a gain of more than a whole": func(r *Rules) { r.Gain = PPM + 1 },
		"no step":                     func(r *Rules) { r.Step = 0 },
		"a leap":                      func(r *Rules) { r.Step = PPM/10 + 1 },
		"no floor":                    func(r *Rules) { r.Floor = 0 },
		"a floor above the reference": func(r *Rules) { r.Floor = PPM + 1 },
		"a ceiling below it":          func(r *Rules) { r.Ceiling = PPM - 1 },
	}
	if err := Default().Validate(); err != nil {
		t.Errorf("the default rules: %v", err)
	}
	for name, change := range cases {
		r := Default()
		change(&r)
		if err := r.Validate(); !errors.Is(err, ErrRules) {
			t.Errorf("%s: err = %v, want ErrRules", name, err)
		}
	}
}

// market is a simulation: GPUs that ask the reference times the index, and jobs that pay what they value a GPU at, at most.
type market struct {
	rng    *rand.Rand
	gpus   int
	ends   []int // of the leases that run, by epoch
	queue  []waiting
	index  uint32
	sold   int // GPU-epochs
	perDay int // jobs an epoch, in thousandths
}

type waiting struct {
	worth uint32 // ppm of the reference
	until int
}

// epoch lets jobs come, run and end. pressure is what moves the index.
func (m *market) epoch(now int, next func(index uint32, leased, free, queued int) uint32) {
	running := m.ends[:0]
	for _, end := range m.ends {
		if end > now {
			running = append(running, end)
		}
	}
	m.ends = running
	for range m.perDay / 1000 {
		m.queue = append(m.queue, waiting{worth: 300_000 + m.rng.Uint32N(2_000_000), until: now + 576}) // patient for two days
	}
	rest := m.queue[:0]
	for _, job := range m.queue {
		switch {
		case job.worth >= m.index && len(m.ends) < m.gpus:
			m.ends = append(m.ends, now+24)
		case job.until > now:
			rest = append(rest, job)
		}
	}
	m.queue = rest
	m.sold += len(m.ends)
	m.index = next(m.index, len(m.ends), m.gpus-len(m.ends), len(m.queue))
}

func run(epochs, perEpoch int, next func(index uint32, leased, free, queued int) uint32) (*market, []uint32) {
	m := &market{rng: rand.New(rand.NewPCG(7, 7)), gpus: 100, index: PPM, perDay: perEpoch * 1000}
	indexes := make([]uint32, 0, epochs)
	for now := range epochs {
		m.epoch(now, next)
		indexes = append(indexes, m.index)
	}
	return m, indexes
}

func byUtilisation(index uint32, leased, free, _ int) uint32 {
	return Default().Next(index, Load{Leased: uint64(leased), Free: uint64(free)})
}

// If whoever waits counted as demand, jobs that cannot pay would drive the price to the ceiling, where still fewer can: the GPUs stand
// idle and the price is stuck.
func TestAQueueThatCannotPayDoesNotRaiseThePrice(t *testing.T) {
	const epochs, jobs = 4000, 3 // 3 jobs × 24 epochs are 72 of 100 GPUs
	sound, indexes := run(epochs, jobs, byUtilisation)
	naive, stuck := run(epochs, jobs, func(index uint32, leased, free, queued int) uint32 {
		return Default().Next(index, Load{Leased: uint64(min(leased+queued, leased+free)), Free: uint64(max(0, free-queued))})
	})
	t.Logf("sold %d GPU-epochs at an index of %d by utilisation, %d at %d when the queue counts", sound.sold, indexes[epochs-1], naive.sold, stuck[epochs-1])
	if stuck[epochs-1] != Default().Ceiling {
		t.Errorf("the naive index is %d, not stuck at the ceiling: the lesson was not tried", stuck[epochs-1])
	}
	if indexes[epochs-1] > PPM || sound.sold < 5*naive.sold {
		t.Errorf("the index is %d with %d GPU-epochs sold, %d when the queue counts", indexes[epochs-1], sound.sold, naive.sold)
	}
}

// Twice the demand raises the index step by step, and the index comes back with the demand.
func TestTheIndexFollowsDemandAndComesBack(t *testing.T) {
	m := &market{rng: rand.New(rand.NewPCG(7, 7)), gpus: 100, index: PPM}
	mean := func(from, to, perEpoch int) uint32 {
		m.perDay = perEpoch * 1000
		sum := uint64(0)
		for now := from; now < to; now++ {
			before := m.index
			m.epoch(now, byUtilisation)
			if most := before / 50; m.index > before+most || m.index+most < before {
				t.Fatalf("the index went from %d to %d in one step", before, m.index)
			}
			if now >= to-500 {
				sum += uint64(m.index)
			}
		}
		return uint32(sum / 500)
	}
	base := mean(0, 4000, 5)
	high := mean(4000, 8000, 10)
	again := mean(8000, 14000, 5)
	t.Logf("index %d, %d under twice the demand, %d afterwards", base, high, again)
	if high < base+base/10 {
		t.Errorf("twice the demand moves the index from %d to %d", base, high)
	}
	if off := int64(again) - int64(base); off > int64(base)/20 || off < -int64(base)/20 {
		t.Errorf("the index is %d after the demand is gone, want about %d", again, base)
	}
}

func TestNamesTellWhatHasAnIndex(t *testing.T) {
	names := Names{
		Families: []string{"h100", "h100-pcie", "rtx-4090", "a100", "a100-sxm-80gb-mig-1g-10gb", "h200-sxm-141gb-mig"},
		Groups:   []string{"eu", "eu-north", "us"},
	}
	cases := map[[2]string]struct {
		want Key
		ok   bool
	}{
		{"h100-sxm-80gb", "eu-west-1"}:              {Key{"h100", "eu"}, true},
		{"h100-pcie-80gb", "eu-north-1"}:            {Key{"h100-pcie", "eu-north"}, true},
		{"h100", "us"}:                              {Key{"h100", "us"}, true},
		{"rtx-4090", "europe"}:                      {Key{"rtx-4090", Rest}, true},
		{"a100-sxm-80gb-mig-1g-10gb", "ap-x-y"}:     {Key{"a100-sxm-80gb-mig-1g-10gb", Rest}, true},
		{"a100-sxm-80gb-mig-1g-10gb-me", "eu"}:      {Key{"a100-sxm-80gb-mig-1g-10gb", "eu"}, true},
		{"a100-sxm-80gb-mig-2g-20gb", "eu"}:         {Key{"", "eu"}, false},
		{"h200-sxm-141gb-mig-1g-18gb", "us-east-1"}: {Key{"h200-sxm-141gb-mig", "us"}, true},
		{"h200-sxm-141gb", "us"}:                    {Key{"", "us"}, false},
		{"h1000", "us"}:                             {Key{"", "us"}, false},
	}
	for of, want := range cases {
		got, ok := names.Key(of[0], of[1])
		if got != want.want || ok != want.ok {
			t.Errorf("Key(%q, %q) = %v, %t, want %v, %t", of[0], of[1], got, ok, want.want, want.ok)
		}
		if names.Has(got) != ok {
			t.Errorf("Has(%v) = %t, want %t", got, !ok, ok)
		}
	}
	if (Names{Families: []string{"h100"}}).Has(Key{"h100", "eu"}) {
		t.Error("there is no group eu")
	}
}

func TestAdvance(t *testing.T) {
	h100, a100, l4 := Key{"h100", "eu"}, Key{"a100", "eu"}, Key{"l4", "us"}
	got := Default().Advance(
		[]Entry{{h100, 1_100_000}, {a100, 900_000}, {h100, 1}},
		map[Key]Load{h100: {Leased: 10}, l4: {Free: 10}},
	)
	want := []Entry{{a100, 900_000}, {h100, 1_102_200}, {l4, 982_000}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("entries (-want +got):\n%s", diff)
	}
}

func TestPricesFollowWithinLimits(t *testing.T) {
	const dollar = money.USD(1_000_000_000)
	limits := Limits{Min: dollar * 3 / 2, Max: 3 * dollar}
	cases := map[string]struct {
		index uint32
		want  money.USD
	}{
		"at the reference":    {PPM, 2 * dollar},
		"above it":            {1_250_000, dollar * 5 / 2},
		"not over the most":   {2_500_000, 3 * dollar},
		"not under the least": {600_000, dollar * 3 / 2},
		"a millionth":         {1_000_001, 2*dollar + 2000},
	}
	for name, tc := range cases {
		if got := limits.Within(At(2*dollar, tc.index)); got != tc.want {
			t.Errorf("%s: %s, want %s", name, got, tc.want)
		}
	}
	if got := At(1_234_567, 999_999); got != 1_234_000 {
		t.Errorf("a price of %d, want it rounded down to a millionth of a dollar", got)
	}
	if got := At(math.MaxUint64, 2*PPM); got != math.MaxUint64/1000*1000 {
		t.Errorf("a price that does not fit is %d, want the most", got)
	}
}
