// SPDX-License-Identifier: Apache-2.0

package auction

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bourse-dev/bourse/internal/money"
)

var start = time.Date(2027, time.March, 1, 12, 0, 0, 0, time.UTC)

func ask(supplier string, price money.USD) Ask {
	return Ask{Offer: supplier + "/h100", Supplier: supplier, Price: price, Factor: PPM}
}

func TestSecond(t *testing.T) {
	trusted := ask("oslo", 110)
	trusted.Factor = 900_000
	twice := ask("oslo", 120)
	twice.Offer = "oslo/other"
	cases := map[string]struct {
		asks []Ask
		want Award
		ok   bool
	}{
		"nobody asks":                             {nil, Award{}, false},
		"nobody asks little enough":               {[]Ask{ask("oslo", 201)}, Award{}, false},
		"the only one is paid the highest price":  {[]Ask{ask("oslo", 100)}, Award{"oslo/h100", 200}, true},
		"the lowest is paid the second price":     {[]Ask{ask("rome", 130), ask("oslo", 100), ask("lima", 150)}, Award{"oslo/h100", 130}, true},
		"one above the highest price is no rival": {[]Ask{ask("oslo", 100), ask("lima", 250)}, Award{"oslo/h100", 200}, true},
		"a supplier is no rival of itself":        {[]Ask{ask("oslo", 100), twice, ask("lima", 150)}, Award{"oslo/h100", 150}, true},
		"equal asks pay themselves":               {[]Ask{ask("oslo", 100), ask("oslo2", 100)}, Award{"", 100}, true},
		"a better factor wins, and is paid what would tie": { // 100 × 1 / 0.9
			[]Ask{trusted, ask("rome", 100)}, Award{"oslo/h100", 111}, true,
		},
		"an ask without a factor does not count": {[]Ask{{Offer: "x", Supplier: "x", Price: 1}, ask("oslo", 100)}, Award{"oslo/h100", 200}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, ok := Second("job", 200, tc.asks)
			if tc.want.Offer == "" {
				got.Offer = ""
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != tc.ok {
				t.Errorf("award, %t, want %t (-want +got):\n%s", ok, tc.ok, diff)
			}
		})
	}
}

func randomAsks(rng *rand.Rand) []Ask {
	asks := make([]Ask, 1+rng.IntN(6))
	for i := range asks {
		asks[i] = ask(fmt.Sprintf("supplier-%d", i), money.USD(100+rng.IntN(20)))
		asks[i].Factor = PPM/2 + rng.Uint32N(PPM)
	}
	return asks
}

// Whatever the others ask, a supplier that asks something else than its cost is never better off.
func TestAskingTheTrueCostIsBest(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	const highest, job = money.USD(115), "job"
	gain := func(asks []Ask, cost money.USD) int64 {
		award, ok := Second(job, highest, asks)
		if !ok || award.Offer != asks[0].Offer {
			return 0
		}
		return int64(award.Price) - int64(cost)
	}
	won := 0
	for range 20_000 {
		asks := randomAsks(rng)
		cost := asks[0].Price
		honest := gain(asks, cost)
		if honest > 0 {
			won++
		}
		asks[0].Price = money.USD(80 + rng.IntN(60))
		if other := gain(asks, cost); other > honest {
			t.Fatalf("at a cost of %d, asking %d gains %d instead of %d: %+v", cost, asks[0].Price, other, honest, asks)
		}
	}
	if won < 1000 {
		t.Fatalf("the honest supplier gained in %d auctions only: the property was hardly tried", won)
	}
}

func TestAnAuctionDependsOnTheSetAlone(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		asks := randomAsks(rng)
		want, _ := Second("job", 118, asks)
		rng.Shuffle(len(asks), func(i, j int) { asks[i], asks[j] = asks[j], asks[i] })
		got, ok := Second("job", 118, asks)
		if got != want {
			t.Fatalf("another order awards %+v, want %+v", got, want)
		}
		if !ok {
			continue
		}
		for i := range asks {
			if asks[i].Offer == got.Offer && (got.Price < asks[i].Price || got.Price > 118) {
				t.Fatalf("an ask of %d is paid %d", asks[i].Price, got.Price)
			}
		}
	}
}

func TestATieIsDrawnByTheJob(t *testing.T) {
	wins := map[string]int{}
	for i := range 1000 {
		award, _ := Second(strconv.Itoa(i), 200, []Ask{ask("oslo", 100), ask("rome", 100)})
		wins[award.Offer]++
	}
	if n := wins["oslo/h100"]; n < 420 || n > 580 { // five standard deviations
		t.Errorf("oslo won %d of 1000 draws", n)
	}
}

func TestASealedAskCannotBeChanged(t *testing.T) {
	sealed := ask("oslo", 100)
	sealed.Salt = [32]byte{1, 2, 3}
	commitment := Commit("job", &sealed)
	if err := Open("job", &sealed, commitment); err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*Ask){
		"price": func(a *Ask) { a.Price-- }, "offer": func(a *Ask) { a.Offer += "x" }, "supplier": func(a *Ask) { a.Supplier += "x" },
		"salt": func(a *Ask) { a.Salt[31]++ }, "border": func(a *Ask) { a.Offer, a.Supplier = a.Offer+a.Supplier[:1], a.Supplier[1:] },
	} {
		other := sealed
		change(&other)
		if err := Open("job", &other, commitment); !errors.Is(err, ErrNotCommitted) {
			t.Errorf("another %s: err = %v, want ErrNotCommitted", name, err)
		}
	}
	if err := Open("another job", &sealed, commitment); !errors.Is(err, ErrNotCommitted) {
		t.Errorf("another job: err = %v, want ErrNotCommitted", err)
	}
}

func TestSpotBidsKeepToTheRules(t *testing.T) {
	rules := SpotRules{Floor: 100, Step: 5, MostSteps: 4, Every: time.Minute}
	older := &SpotBid{Job: "a", Price: 110, Since: start}
	cases := map[string]struct {
		older *SpotBid
		price money.USD
		at    time.Duration
		want  error
	}{
		"at the floor":                {nil, 100, 0, nil},
		"below the floor":             {nil, 99, 0, ErrBelowFloor},
		"between steps":               {nil, 101, 0, ErrNotAStep},
		"a first bid may be anything": {nil, 1000, 0, nil},
		"a raise of the most":         {older, 130, time.Minute, nil},
		"a raise of more":             {older, 135, time.Minute, ErrTooFar},
		"a cut to the floor":          {older, 100, time.Minute, nil},
		"too soon":                    {older, 115, time.Minute - 1, ErrTooSoon},
		"the same again at any time":  {older, 110, 0, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := rules.Admit(tc.older, SpotBid{Job: "a", Price: tc.price, Since: start.Add(tc.at)})
			if !errors.Is(err, tc.want) || (tc.want == nil) != (err == nil) {
				t.Errorf("err = %v, want %v", err, tc.want)
			}
		})
	}
	if err := (SpotRules{Floor: 1}).Admit(older, SpotBid{Price: 7, Since: start}); err != nil {
		t.Errorf("without steps: %v", err)
	}
}

func TestEvict(t *testing.T) {
	bid := func(job string, gpus int, price money.USD, after time.Duration) SpotBid {
		return SpotBid{Job: job, GPUs: gpus, Price: price, Since: start.Add(after)}
	}
	running := []SpotBid{bid("high", 4, 120, 0), bid("low", 2, 100, 0), bid("newer", 2, 105, 1), bid("older", 2, 105, 0)}
	cases := map[string]struct {
		free int
		bid  SpotBid
		want []string
		ok   bool
	}{
		"there is room":                        {4, bid("new", 4, 100, 0), nil, true},
		"the lowest goes first":                {0, bid("new", 2, 110, 0), []string{"low"}, true},
		"of equals the newest":                 {0, bid("new", 4, 110, 0), []string{"low", "newer"}, true},
		"nobody goes for an equal bid":         {0, bid("new", 4, 105, 0), nil, false},
		"nobody goes when it does not suffice": {0, bid("new", 7, 110, 0), nil, false},
		"whose GPUs are not needed stays":      {0, bid("new", 8, 130, 0), []string{"low", "newer", "high"}, true},
		"free GPUs count":                      {2, bid("new", 4, 110, 0), []string{"low"}, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			evicted, ok := Evict(running, tc.free, tc.bid)
			var got []string
			for _, one := range evicted {
				got = append(got, one.Job)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != tc.ok {
				t.Errorf("evicted, %t, want %t (-want +got):\n%s", ok, tc.ok, diff)
			}
		})
	}
}

func TestEvictionIsEnoughAndNoMore(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 6))
	for range 5000 {
		running := make([]SpotBid, rng.IntN(8))
		for i := range running {
			running[i] = SpotBid{Job: strconv.Itoa(i), GPUs: 1 + rng.IntN(4), Price: money.USD(1 + rng.IntN(5)), Since: start.Add(time.Duration(rng.IntN(3)))}
		}
		free, bid := rng.IntN(4), SpotBid{GPUs: 1 + rng.IntN(8), Price: money.USD(1 + rng.IntN(6))}
		evicted, ok := Evict(running, free, bid)
		if !ok {
			continue
		}
		sum := free
		for _, one := range evicted {
			sum += one.GPUs
			if one.Price >= bid.Price {
				t.Fatalf("a bid of %d was evicted for one of %d", one.Price, bid.Price)
			}
		}
		if sum < bid.GPUs {
			t.Fatalf("%d GPUs for a bid on %d", sum, bid.GPUs)
		}
		for _, one := range evicted {
			if sum-one.GPUs >= bid.GPUs {
				t.Fatalf("%+v was evicted for nothing", one)
			}
		}
	}
}

func TestSchedule(t *testing.T) {
	s := Schedule{From: 100, To: 200, Rest: time.Minute, Over: 4 * time.Minute, Steps: 4}
	cases := map[string]struct {
		waited time.Duration
		want   money.USD
		next   time.Duration // 0: never
	}{
		"at first":                  {0, 100, 2 * time.Minute},
		"just before it rises":      {2*time.Minute - 1, 100, 2 * time.Minute},
		"the first step":            {2 * time.Minute, 125, 3 * time.Minute},
		"just before the last step": {5*time.Minute - 1, 175, 5 * time.Minute},
		"the last step":             {5 * time.Minute, 200, 0},
		"long after":                {time.Hour, 200, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			next, more := s.Next(tc.waited)
			if got := s.At(tc.waited); got != tc.want || next != tc.next || more != (tc.next > 0) {
				t.Errorf("%d, next after %s (%t); want %d, next after %s", got, next, more, tc.want, tc.next)
			}
		})
	}
	for _, wrong := range []Schedule{{From: 2, To: 1, Steps: 1}, {Steps: 0}, {Rest: -1, Steps: 1}, {Over: -1, Steps: 1}} {
		if err := wrong.Validate(); !errors.Is(err, ErrSchedule) {
			t.Errorf("%+v: err = %v, want ErrSchedule", wrong, err)
		}
	}
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}

func TestAScheduleRisesWhenItSays(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 5000 {
		s := Schedule{
			From: money.USD(rng.Uint64N(math.MaxUint32)), Rest: time.Duration(rng.Int64N(1e12)), Over: time.Duration(rng.Int64N(1e13)), Steps: 1 + rng.IntN(100),
		}
		s.To = s.From + money.USD(1000+rng.Uint64N(1<<40))
		waited := time.Duration(rng.Int64N(2e13))
		next, more := s.Next(waited)
		if !more {
			if got := s.At(waited); got != s.To {
				t.Fatalf("%+v does not rise after %s, and stands at %d", s, waited, got)
			}
			continue
		}
		if next <= waited || s.At(next) <= s.At(waited) || s.At(next-1) != s.At(waited) {
			t.Fatalf("%+v after %s: %d, %d just before %s, %d then", s, waited, s.At(waited), s.At(next-1), next, s.At(next))
		}
	}
}
