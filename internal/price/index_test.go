// SPDX-License-Identifier: Apache-2.0

package price

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/bourse-dev/bourse/internal/money"
)

func TestNext(t *testing.T) {
	rule := Rule{Target: 900_000, Gain: 100_000, Step: 20_000, Low: 600_000, High: 2_500_000}
	cases := map[string]struct {
		index PPM
		use   Use
		want  PPM
	}{
		"it rests at its target":                        {1_000_000, Use{Leased: 9, Free: 1}, 1_000_000},
		"it rises when all is leased":                   {1_000_000, Use{Leased: 10}, 1_010_000},
		"it falls when little is leased":                {1_000_000, Use{Leased: 8, Free: 2}, 990_000},
		"it never falls by more than a step":            {1_000_000, Use{Free: 10}, 980_000},
		"it stays where nothing is on offer":            {1_300_000, Use{}, 1_300_000},
		"it does not leave its band below":              {600_000, Use{Free: 10}, 600_000},
		"it does not leave its band above":              {2_500_000, Use{Leased: 10}, 2_500_000},
		"one that is outside of its band comes into it": {9_000_000, Use{}, 2_500_000},
		"one that was never set begins at the lowest":   {0, Use{}, 600_000},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := rule.Next(tc.index, tc.use)
			if err != nil || got != tc.want {
				t.Errorf("index %d, %v, want %d", got, err, tc.want)
			}
		})
	}
	if _, err := rule.Next(One, Use{Leased: -1}); !errors.Is(err, ErrNegative) {
		t.Errorf("a negative count: %v", err)
	}
}

// However a market fares, the index stays in its band, moves no more than a step at a time, and moves towards its target.
func TestTheIndexIsBounded(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		rule := Rule{
			Target: 1 + PPM(random.Int64N(1_000_000)), Gain: PPM(random.Int64N(1_000_001)), Step: PPM(random.Int64N(500_001)),
			Low: 1 + PPM(random.Int64N(1_000_000)), High: One + PPM(random.Int64N(99_000_000)),
		}
		if err := rule.Check(); err != nil {
			t.Fatal(err)
		}
		index := rule.within(PPM(random.Int64N(100_000_000)))
		for range 50 {
			use := Use{Leased: random.Int64N(1_000_000), Free: random.Int64N(1_000_000)}
			next, err := rule.Next(index, use)
			if err != nil {
				t.Fatal(err)
			}
			over := use.Leased*int64(One) > (use.Leased+use.Free)*int64(rule.Target)
			switch moved := next - index; {
			case next < rule.Low || next > rule.High:
				t.Fatalf("%+v: %d is outside of the band", rule, next)
			case max(moved, -moved) > index*rule.Step/One:
				t.Fatalf("%+v: from %d to %d is more than a step", rule, index, next)
			case over && moved < 0, !over && moved > 0:
				t.Fatalf("%+v: with %+v it moved by %d", rule, use, moved)
			}
			index = next
		}
	}
}

// Whatever waits, an index cannot be driven up while GPUs stand idle: there is no way to tell it of a queue.
func TestIdleGPUsAlwaysLowerTheIndex(t *testing.T) {
	rule := Default()
	index := rule.High
	for range 1000 {
		next, err := rule.Next(index, Use{Leased: 1, Free: 1})
		if err != nil {
			t.Fatal(err)
		}
		if next >= index && index > rule.Low {
			t.Fatalf("half of the GPUs are idle and the index goes from %d to %d", index, next)
		}
		index = next
	}
	if index != rule.Low {
		t.Errorf("in the end it is %d, want %d", index, rule.Low)
	}
}

func TestAsk(t *testing.T) {
	usd := func(text string) money.USD {
		t.Helper()
		price, err := money.ParseUSD(text)
		if err != nil {
			t.Fatal(err)
		}
		return price
	}
	limits := Limits{Reference: usd("2"), Least: usd("1.50"), Most: usd("3")}
	for index, want := range map[PPM]string{One: "2", 1_250_000: "2.5", 600_000: "1.50", 2_500_000: "3", 999_999: "1.999998", 0: "1.50"} {
		if got := limits.Ask(index); got != usd(want) {
			t.Errorf("at %d: %s, want %s", index, got, want)
		}
	}
}

func TestCheckNamesTheField(t *testing.T) {
	for field, change := range map[string]func(*Rule){
		"target": func(r *Rule) { r.Target = One + 1 },
		"gain":   func(r *Rule) { r.Gain = -1 },
		"step":   func(r *Rule) { r.Step = One },
		"low":    func(r *Rule) { r.Low = 0 },
		"high":   func(r *Rule) { r.High = One - 1 },
	} {
		rule := Default()
		change(&rule)
		if err := rule.Check(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
	if err := Default().Check(); err != nil {
		t.Error(err)
	}
}
