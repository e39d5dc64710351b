// SPDX-License-Identifier: Apache-2.0

package market

import (
	"math"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/reputation"
)

// The arena is a market of equal machines: five suppliers that are known for long, and one that is new and may be an adversary. Its jobs
// want one GPU and do not mind which node they break: to sell a machine as two halves is another product, which large jobs pass by.
const (
	incumbents  = 5
	machine     = 8 // GPUs of each supplier
	arenaDays   = 60
	jobsPerHour = 7 // of three to seven hours on one GPU: about three quarters of all GPUs are asked for
	rounds      = 12
	wholeUSD    = money.USD(1_000_000_000)
	feesPPM     = 5_000 // buyer's and supplier's, of the price
)

// strategy is what the newcomer does. The zero value is honest: it asks less while it is less known.
type strategy struct {
	wallets   int  // its machine is offered by so many wallets
	grind     bool // its offers have the names that would have won most draws so far
	wash      int  // GPU-hours a day that it buys from itself while its GPUs are idle …
	strangers bool // … with wallets that nobody knows for its own
	fails     int  // of a hundred leases, so many are failed half-way, and the GPU is let once more meanwhile
	again     bool // it takes a new wallet when its score is worse than a newcomer's
}

// wallet is one supplier in the market's eyes.
type wallet struct {
	name     string
	mine     bool // the newcomer's
	gpus     int
	free     int
	history  []reputation.Event
	explored uint64
	ranked   uint32
}

// arena is one run.
type arena struct {
	strategy

	random  *rand.Rand
	book    *book.Book
	wallets []*wallet
	ends    map[int][]*wallet // by hour
	income  float64           // the newcomer's, in US dollars, less fees that it pays
	known   uint32            // the best reputation of an incumbent
	fresh   int
}

// play returns what the newcomer earns in all.
func play(s strategy, seed uint64) float64 {
	a := &arena{strategy: s, random: rand.New(rand.NewPCG(seed, 7)), book: book.New(), ends: map[int][]*wallet{}}
	for i := range incumbents {
		known := &wallet{name: "incumbent-" + strconv.Itoa(i), gpus: machine, free: machine, explored: reputation.DefaultQuota().GPUHours}
		for buyer := range 20 {
			known.history = append(known.history, good(-1, 10, "customer-"+strconv.Itoa(buyer)))
		}
		a.wallets = append(a.wallets, known)
	}
	split := max(s.wallets, 1)
	for range split {
		a.wallets = append(a.wallets, a.newcomer(machine/split))
	}
	for hour := range arenaDays * 24 {
		if hour%24 == 0 {
			a.dawn(hour / 24)
		}
		for _, w := range a.ends[hour] {
			w.free++
			a.offer(w)
		}
		delete(a.ends, hour)
		for range jobsPerHour {
			a.job(hour)
		}
	}
	return a.income
}

func good(day int, hours uint64, buyer string) reputation.Event {
	return reputation.Event{Day: day, Part: reputation.Completion, Good: true, Weight: hours * reputation.PPM, Counterparty: buyer}
}

func (a *arena) newcomer(gpus int) *wallet {
	a.fresh++
	name := "newcomer-" + strconv.Itoa(a.fresh)
	if a.grind {
		name = luckiest(a.fresh)
	}
	return &wallet{name: name, mine: true, gpus: gpus, free: gpus}
}

// dawn recomputes every reputation, as the market does once a day, and lets the adversary act.
func (a *arena) dawn(day int) {
	a.known = 0
	for i, w := range a.wallets {
		if w.mine {
			a.buyFromItself(w, day)
		}
		score := reputation.Of(w.history, day)
		w.ranked = reputation.DefaultQuota().Ranked(&score, w.explored)
		if !w.mine {
			a.known = max(a.known, w.ranked)
		}
		if w.mine && a.again && w.ranked < reputation.Newcomer && w.free == w.gpus {
			a.book.Remove(w.name)
			w = a.newcomer(w.gpus)
			a.wallets[i], w.ranked = w, reputation.Newcomer
		}
		a.offer(w)
	}
}

// buyFromItself is a wash trade: the price comes back, the fees do not.
func (a *arena) buyFromItself(w *wallet, day int) {
	hours := uint64(min(a.wash, w.free*24))
	if hours == 0 {
		return
	}
	event := good(day, hours, "sock-"+strconv.Itoa(day))
	event.Related = !a.strangers
	w.history = append(w.history, event)
	a.income -= float64(hours) * float64(a.ask(w)) / float64(wholeUSD) * feesPPM / reputation.PPM
}

// ask is what makes the newcomer a hundredth better than those that are known: the rank is price × (2 − reputation). At the same rank it
// would share the jobs by draw, and any strategy that makes it a little better by chance would look like a gain.
func (a *arena) ask(w *wallet) money.USD {
	if !w.mine {
		return wholeUSD
	}
	return wholeUSD / 100 * 99 * money.USD(2*reputation.PPM-a.known) / money.USD(2*reputation.PPM-w.ranked)
}

func (a *arena) offer(w *wallet) {
	a.book.Upsert(book.Offer{
		Name: w.name, Model: model, Region: "one", Price: a.ask(w), Tokens: []string{token}, Tiers: []string{tier}, Longest: 24 * time.Hour,
		ValidUntil: always, Reputation: w.ranked, Shapes: []book.Shape{{Free: w.free, Nodes: 1}},
	})
}

// always is later than the arena lasts.
var always = time.Date(2030, time.January, 1, 0, 0, 0, 0, time.UTC)

// job lets one job of one GPU find an offer.
func (a *arena) job(hour int) {
	lasts := 3 + a.random.IntN(5)
	fails := a.random.IntN(100) < a.fails
	buyer := "customer-" + strconv.Itoa(a.random.IntN(40))
	demand := book.Demand{
		UID: strconv.FormatUint(a.random.Uint64(), 16), At: always.Add(-time.Hour), Models: []book.Model{{Name: model}}, Workers: 1, PerWorker: 1,
		Token: token, Tier: tier, MaxPrice: 10 * wholeUSD, Duration: time.Duration(lasts) * time.Hour, Weights: book.Weights{Reputation: book.PPM},
	}
	fills := a.book.Match(&demand, nil)
	if len(fills) == 0 {
		return
	}
	for _, w := range a.wallets {
		if w.name == fills[0].Offer.Name {
			a.lease(w, hour, lasts, buyer, fails && w.mine)
			return
		}
	}
}

func (a *arena) lease(w *wallet, hour, lasts int, buyer string, fails bool) {
	w.free--
	a.offer(w)
	paid := lasts
	event := good(hour/24, uint64(lasts), buyer)
	if fails {
		paid, event.Good = (lasts+1)/2, false
		lasts = paid
	}
	a.ends[hour+lasts] = append(a.ends[hour+lasts], w)
	w.history = append(w.history, event)
	w.explored += event.Weight
	if w.mine {
		a.income += float64(paid) * float64(a.ask(w)) / float64(wholeUSD) * (1 - feesPPM/2.0/reputation.PPM)
	}
}

// luckiest is the one of many names that would have won most of the draws that anybody could have seen so far.
func luckiest(n int) string {
	best, most := "", -1
	for try := range 200 {
		name := "lucky-" + strconv.Itoa(n) + "-" + strconv.Itoa(try)
		if won := winsOf(name, 0, 60); won > most {
			best, most = name, won
		}
	}
	return best
}

// winsOf counts the draws against five equal offers that a name wins, among those of some jobs.
func winsOf(name string, from, to int) int {
	b := book.New()
	for i := range incumbents + 1 {
		rival := "incumbent-" + strconv.Itoa(i)
		if i == incumbents {
			rival = name
		}
		b.Upsert(book.Offer{
			Name: rival, Model: model, Price: wholeUSD, Tokens: []string{token}, Tiers: []string{tier}, Longest: 24 * time.Hour,
			ValidUntil: always, Shapes: []book.Shape{{Free: 1, Nodes: 1}},
		})
	}
	won := 0
	for job := from; job < to; job++ {
		fills := b.Match(&book.Demand{
			UID: "job-" + strconv.Itoa(job), At: always.Add(-time.Hour), Models: []book.Model{{Name: model}}, Workers: 1, PerWorker: 1, Token: token,
			Tier: tier, MaxPrice: 10 * wholeUSD, Duration: time.Hour,
		}, nil)
		if len(fills) == 1 && fills[0].Offer.Name == name {
			won++
		}
	}
	return won
}

// gain is what a strategy earns more than honesty, in per cent of what honesty earns, and how far that may be off.
func gain(s strategy) (percent, off float64) {
	var sum, squares float64
	for seed := range uint64(rounds) {
		honest := play(strategy{}, seed)
		more := 100 * (play(s, seed) - honest) / honest
		sum += more
		squares += more * more
	}
	mean := sum / rounds
	return mean, 2 * math.Sqrt((squares/rounds-mean*mean)/(rounds-1))
}

// Nobody earns more by names, by splitting, by buying from itself, or by failing and coming back under another name.
func TestAdversariesGainNothing(t *testing.T) {
	for name, s := range map[string]strategy{
		"names that won draws before":           {grind: true},
		"one machine behind eight wallets":      {wallets: machine},
		"buying from itself with known wallets": {wash: 48},
		"failing one lease in five":             {fails: 20},
		"failing, and a new wallet each time":   {fails: 20, again: true},
		"failing much, and a new wallet":        {fails: 60, again: true},
	} {
		t.Run(name, func(t *testing.T) {
			percent, off := gain(s)
			t.Logf("gain %+.1f %% ± %.1f", percent, off)
			if percent > off {
				t.Errorf("it gains %.1f %% ± %.1f", percent, off)
			}
		})
	}
}

// Buying from itself with wallets that nobody connects saves a newcomer its first discounts, and no more.
func TestAnUnknownWashSavesTheDiscountOnly(t *testing.T) {
	percent, off := gain(strategy{wash: 24, strangers: true})
	t.Logf("gain %+.1f %% ± %.1f", percent, off)
	if percent > 1+off {
		t.Errorf("it gains %.1f %% ± %.1f", percent, off)
	}
}

// A name that won before wins no more often than others.
func TestALuckyNameIsNotLuckyAgain(t *testing.T) {
	const jobs = 6_000
	name := luckiest(1)
	before, after := winsOf(name, 0, 60), winsOf(name, 60, 60+jobs)
	if before <= 60/(incumbents+1) {
		t.Errorf("the name won %d of 60 draws: it was not chosen well", before)
	}
	fair := float64(jobs) / (incumbents + 1)
	if far := 4 * math.Sqrt(fair*(1-1.0/(incumbents+1))); math.Abs(float64(after)-fair) > far {
		t.Errorf("it won %d of the next %d draws, and %.0f ± %.0f are fair", after, jobs, fair, far)
	}
}
