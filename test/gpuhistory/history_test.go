// SPDX-License-Identifier: Apache-2.0

package gpuhistory

import (
	"errors"
	"testing"
	"time"
)

// at is what was seen from one second to another.
func at(call, back int) Seen {
	start := time.Unix(1_800_000_000, 0)
	return Seen{start.Add(time.Duration(call) * time.Second), start.Add(time.Duration(back) * time.Second)}
}

// written is one change of the set node, which has eight GPUs.
type written struct {
	holder string
	gpus   int // zero: it leaves
	seen   Seen
}

func write(t *testing.T, changes []written) *History {
	t.Helper()
	history := New(map[string]int{"node": 8})
	for _, c := range changes {
		var err error
		if c.gpus > 0 {
			err = history.Take("node", c.holder, c.gpus, c.seen)
		} else {
			err = history.Leave("node", c.holder, c.seen)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return history
}

// honest is a history as it is seen: one lease after the other, local work between them, and a handover that is seen late.
func honest() []written {
	return []written{
		{"first", 4, at(0, 2)},
		{"local", 4, at(1, 3)},
		{"local", 0, at(10, 12)},
		{"second", 4, at(11, 14)}, // asked for before the local work was seen to be gone
		{"first", 0, at(20, 20)},
		{"second", 0, at(30, 31)},
		{"third", 8, at(31, 33)},
	}
}

func TestAHistoryIsPossibleIfEachGPUHasOneHolderAtTheMost(t *testing.T) {
	cases := map[string]struct {
		changes []written
		want    error
	}{
		"nothing happened":                      {nil, nil},
		"one after the other":                   {honest(), nil},
		"all at once":                           {[]written{{"a", 8, at(0, 9)}, {"a", 0, at(0, 9)}, {"b", 8, at(0, 9)}}, nil},
		"two hold what there is":                {[]written{{"a", 4, at(0, 1)}, {"b", 4, at(0, 1)}}, nil},
		"three hold more":                       {[]written{{"a", 4, at(0, 1)}, {"b", 4, at(0, 1)}, {"c", 1, at(0, 9)}}, ErrImpossible},
		"the next one came too early":           {[]written{{"a", 8, at(0, 1)}, {"b", 8, at(2, 3)}, {"a", 0, at(4, 5)}}, ErrImpossible},
		"the next one may have come in time":    {[]written{{"a", 8, at(0, 1)}, {"b", 8, at(2, 5)}, {"a", 0, at(4, 5)}}, nil},
		"one took twice":                        {[]written{{"a", 1, at(0, 1)}, {"a", 1, at(2, 3)}}, ErrImpossible},
		"one left what it did not have":         {[]written{{"a", 0, at(0, 1)}}, ErrImpossible},
		"one left before it took":               {[]written{{"a", 0, at(0, 1)}, {"a", 1, at(2, 3)}}, ErrImpossible},
		"one took more than there ever were":    {[]written{{"a", 9, at(0, 1)}}, ErrImpossible},
		"one that took again after it had left": {[]written{{"a", 8, at(0, 1)}, {"a", 0, at(2, 3)}, {"a", 8, at(4, 5)}}, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := write(t, tc.changes).Check(time.Minute); !errors.Is(err, tc.want) {
				t.Errorf("Check: %v, want %v", err, tc.want)
			}
		})
	}
}

// Each mutant is the honest history with one thing wrong. The check that finds none of them would find nothing.
func TestMutantsOfAHistoryAreFound(t *testing.T) {
	mutants := map[string]func([]written) []written{
		"a lease is sold while local work runs": func(all []written) []written {
			all[3].seen = at(5, 9)
			return all
		},
		"a lease is never seen to end": func(all []written) []written { return append(all[:4:4], all[5:]...) },
		"a node's GPUs are given away a second before": func(all []written) []written {
			all[6].seen = at(28, 29)
			return all
		},
		"a lease has one GPU more": func(all []written) []written {
			all[3].gpus = 5
			return all
		},
		"somebody else holds one all the time": func(all []written) []written {
			return append([]written{{"thief", 1, at(0, 0)}}, all...)
		},
	}
	if err := write(t, honest()).Check(time.Minute); err != nil {
		t.Fatalf("the honest history: %v", err)
	}
	for name, mutate := range mutants {
		t.Run(name, func(t *testing.T) {
			if err := write(t, mutate(honest())).Check(time.Minute); !errors.Is(err, ErrImpossible) {
				t.Errorf("Check: %v, want %v", err, ErrImpossible)
			}
		})
	}
}

func TestSetsAreApart(t *testing.T) {
	history := New(map[string]int{"a": 1, "b": 1})
	for set, holders := range map[string][]string{"a": {"one"}, "b": {"one", "two"}} {
		for _, holder := range holders {
			if err := history.Take(set, holder, 1, at(0, 1)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got := history.Len(); got != 3 {
		t.Errorf("%d changes were recorded, want 3", got)
	}
	err := history.Check(time.Minute)
	if want := "a GPU had two holders at once: of 1 in b, which 2 changes were seen of"; err == nil || err.Error() != want {
		t.Errorf("Check: %v, want %s", err, want)
	}
}

func TestWhatCannotHaveBeenSeenIsRefused(t *testing.T) {
	history := New(map[string]int{"node": 8})
	cases := map[string]error{
		"a set that is not there": history.Take("other", "a", 1, at(0, 1)),
		"no GPU":                  history.Take("node", "a", 0, at(0, 1)),
		"an end before its start": history.Leave("node", "a", at(1, 0)),
	}
	for name, err := range cases {
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if history.Len() != 0 {
		t.Errorf("%d changes were recorded, want none", history.Len())
	}
}
