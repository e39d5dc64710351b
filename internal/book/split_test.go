// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// slots makes an offer with room for so many workers of four GPUs.
func slots(n int) func(*Offer) { return shaped(Shape{Free: 4, Nodes: n}) }

func TestASplitGangHasNoMorePartsThanItMay(t *testing.T) {
	offers := []Offer{
		offer(t, "a", "1.50", slots(1)), offer(t, "b", "1.60", slots(1)), offer(t, "c", "1.70", slots(3)),
		offer(t, "d", "1.80", slots(2)), offer(t, "e", "1.90", slots(5)),
	}
	cases := map[string]struct {
		parts, workers int
		refused        []string
		want           []string
		by             Edge
		next           string
		explain        string
	}{
		"better offers with too little room are passed over": {
			2, 5, nil, []string{"e×5"}, Alone, "", "the only one of 5 that fit with room for the whole job, at 1.90 USD per GPU-hour",
		},
		"the best that have the room together": {
			2, 4, []string{"e"}, []string{"e×4"}, Alone, "", "the only one of 5 that fit with room for the whole job, at 1.90 USD per GPU-hour",
		},
		"no one has room for all": {
			2, 6, nil, []string{"c×3", "e×3"}, ByRoom, "a", "the first of 2 of 5 that fit, which have room for the job together, at 1.70 to 1.90 USD per GPU-hour",
		},
		"more parts, better offers": {
			4, 7, nil,
			[]string{"a×1", "b×1", "c×3", "d×2"},
			ByScore, "e",
			"the first of 4 of 5 that fit, which have room for the job together, at 1.50 to 1.80 USD per GPU-hour",
		},
		"of equal rooms the better offer stays": {
			3, 6, nil,
			[]string{"a×1", "c×3", "d×2"},
			ByRoom, "b",
			"the first of 3 of 5 that fit, which have room for the job together, at 1.50 to 1.80 USD per GPU-hour",
		},
		"what refused last comes last": {
			4, 7,
			[]string{"a", "c"},
			[]string{"b×1", "d×2", "e×4"},
			ByRefusal, "a",
			"the first of 3 of 5 that fit, which have room for the job together, at 1.60 to 1.90 USD per GPU-hour",
		},
		"all that refused are better than none": {
			4, 11,
			[]string{"a", "b", "c", "d", "e"},
			[]string{"a×1", "c×3", "d×2", "e×5"},
			ByRoom, "b",
			"the first of 4 of 5 that fit, which have room for the job together, at 1.50 to 1.90 USD per GPU-hour",
		},
		"too many for so few parts": {
			3, 11, nil, []string{}, ByNothing, "", "Of the 5 offers that fit, no 3 together have room for more than 10 of 11 workers",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d := demand(t, func(d *Demand) { d.Parts, d.Workers, d.Refused = tc.parts, tc.workers, tc.refused })
			got := decide(t, d, offers)
			if diff := cmp.Diff(tc.want, names(got.Fills)); diff != "" {
				t.Errorf("fills (-want +got):\n%s", diff)
			}
			if got.By != tc.by || got.Next != tc.next {
				t.Errorf("decided by %s, next %q; want %s and %q", got.By, got.Next, tc.by, tc.next)
			}
			if got.Explain() != tc.explain {
				t.Errorf("explanation %q,\nwant %q", got.Explain(), tc.explain)
			}
		})
	}
}

// roomiest returns how many workers at most find a place in so many of the offers of one model that fit.
func roomiest(d *Demand, offers []Offer) int {
	rooms := map[string][]int{}
	for i := range offers {
		if offer := normal(offers[i]); fits(d, &offer) {
			rooms[offer.Model] = append(rooms[offer.Model], offer.room(d))
		}
	}
	best := 0
	for _, of := range rooms {
		slices.Sort(of)
		slices.Reverse(of)
		sum := 0
		for _, room := range of[:min(d.Parts, len(of))] {
			sum += room
		}
		best = max(best, sum)
	}
	return best
}

// Whatever the market: the parts are the whole gang, there are no more than may be, all of one model and within their offers' room; a gang
// that could be placed is, and none is split that one offer has room for.
func TestAGangIsSplitWithinItsBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 11))
	split, bounded := 0, 0
	for range 2_000 {
		d := demand(t, func(d *Demand) { d.Parts, d.Workers = 2+rng.IntN(3), 1+rng.IntN(12) })
		offers := make([]Offer, rng.IntN(9))
		for i := range offers {
			offers[i] = offer(t, fmt.Sprintf("offer-%d", i), fmt.Sprintf("1.%d", 80+rng.IntN(5)), slots(1+rng.IntN(4)))
			offers[i].Model = pick(rng, "h100", "h100", "a100")
			if rng.IntN(4) == 0 {
				offers[i].Held = []Gang{{Workers: 1, PerWorker: 1 + rng.IntN(8)}}
			}
		}
		got := decide(t, d, offers)
		if room := roomiest(d, offers); room >= d.Workers != (len(got.Fills) > 0) {
			t.Fatalf("there is room for %d of %d workers in %d parts, and the fills are %v", room, d.Workers, d.Parts, names(got.Fills))
		}
		if len(got.Fills) > d.Parts {
			t.Fatalf("%d parts, and %d may be", len(got.Fills), d.Parts)
		}
		sum := 0
		for _, fill := range got.Fills {
			if fill.Workers < 1 || fill.Workers > fill.Offer.Slots(d.PerWorker) || fill.Offer.Model != got.Fills[0].Offer.Model {
				t.Fatalf("fill %+v of %s", fill, fill.Offer.Name)
			}
			sum += fill.Workers
		}
		if len(got.Fills) > 0 && sum != d.Workers {
			t.Fatalf("the parts have %d workers, the gang %d", sum, d.Workers)
		}
		if len(got.Fills) > 1 {
			split++
			whole := *d
			whole.Parts = 1
			if one := Judge(&whole, offers); one.Won() != nil {
				t.Fatalf("the gang was split over %v, and %s has room for it", names(got.Fills), one.Won().Name)
			}
		}
		wider := *d
		wider.Parts = len(offers) + 1
		if len(got.Fills) == 0 && roomiest(&wider, offers) >= d.Workers {
			bounded++
		}
		if differences := Replay(got.Record(DigestOf(offers)), d, offers); differences != nil {
			t.Fatalf("the replay differs: %v", differences)
		}
	}
	if split < 100 || bounded < 100 {
		t.Errorf("%d gangs were split, and %d would have needed more parts: the property was hardly tried", split, bounded)
	}
}
