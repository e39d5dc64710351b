// SPDX-License-Identifier: Apache-2.0

package book

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// The market of the benchmarks: 110 000 offers with 1.09 million GPUs in all, of 40 models in 30 regions.
const (
	marketOffers  = 110_000
	marketModels  = 40
	marketRegions = 30
)

func modelName(i int) string  { return fmt.Sprintf("model-%02d", i%marketModels) }
func regionName(i int) string { return fmt.Sprintf("region-%02d", i%marketRegions) }

// market returns a book, its offers, and where more may be drawn from.
func market(tb testing.TB, n int) (*Book, []Offer, *rand.Rand) {
	tb.Helper()
	rng := rand.New(rand.NewPCG(5, 6))
	b := New()
	offers := make([]Offer, n)
	for i := range offers {
		model := rng.IntN(marketModels)
		base := money.USD(200_000_000 + 50_000_000*model) // 0.20 to 2.15 USD
		offers[i] = Offer{
			Name: fmt.Sprintf("member-%05d/offer-%d", i/4, i%4), Model: modelName(model), MemoryMiB: 81_920, Region: regionName(rng.IntN(marketRegions)),
			Price: base * money.USD(60+rng.IntN(120)) / 100, Tokens: []string{"IO", "USDC"}, Tiers: []string{"Interruptible"}, Egress: Internet,
			Shortest: time.Minute, Longest: 24 * time.Hour, ValidUntil: start.Add(time.Hour), Reputation: rng.Uint32N(PPM),
			Shapes: []Shape{{Free: pick(rng, 1, 2, 4, 8, 8, 8, 16, 32), Nodes: 1}},
		}
		b.Upsert(offers[i])
	}
	return b, offers, rng
}

// typicalJob is one of one to four workers that accepts two models anywhere.
func typicalJob(rng *rand.Rand) *Demand {
	m := rng.IntN(marketModels)
	return &Demand{
		UID: fmt.Sprintf("%016x-%016x", rng.Uint64(), rng.Uint64()), At: start, Models: []Model{{Name: modelName(m)}, {Name: modelName(m + 1), Speed: 900_000}},
		Workers: 1 + rng.IntN(4), PerWorker: pick(rng, 1, 1, 1, 2, 4, 8), Token: "IO", MaxPrice: money.USD(6_000_000_000),
		Tier: "Interruptible", Duration: time.Hour, MinReputation: 200_000, Weights: DefaultWeights(),
	}
}

func wildcardJob(rng *rand.Rand) *Demand {
	d := typicalJob(rng)
	d.Models = nil
	for i := range marketRegions {
		d.Penalties = append(d.Penalties, Penalty{Region: regionName(i), PPM: rng.Uint32N(300_000)})
	}
	return d
}

// each times do for each of the jobs in turn, and reports the median and the 99th percentile.
func each(b *testing.B, jobs []*Demand, do func(*Demand)) {
	b.Helper()
	took := make([]time.Duration, 0, 1<<20)
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		began := time.Now()
		do(jobs[i%len(jobs)])
		if len(took) < cap(took) {
			took = append(took, time.Since(began))
		}
		i++
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1000, "p50-µs")
	b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1000, "p99-µs")
}

func jobsOf(n int, rng *rand.Rand, of func(*rand.Rand) *Demand) []*Demand {
	jobs := make([]*Demand, n)
	for i := range jobs {
		jobs[i] = of(rng)
	}
	return jobs
}

func BenchmarkBook(b *testing.B) {
	book, offers, rng := market(b, marketOffers)
	gpus := 0
	for i := range offers {
		gpus += offers[i].Free()
	}
	buf := make([]Fill, 0, 128)
	match := func(d *Demand) { buf = book.Match(d, buf) }
	b.Run("typical", func(b *testing.B) {
		each(b, jobsOf(4096, rng, typicalJob), match)
		b.ReportMetric(float64(gpus), "GPUs")
	})
	b.Run("typical-in-two-regions", func(b *testing.B) {
		each(b, jobsOf(4096, rng, func(rng *rand.Rand) *Demand {
			d := typicalJob(rng)
			d.Regions = []string{regionName(rng.IntN(marketRegions)), regionName(rng.IntN(marketRegions))}
			return d
		}), match)
	})
	b.Run("typical-reserve-commit-release", func(b *testing.B) {
		each(b, jobsOf(4096, rng, typicalJob), func(d *Demand) {
			match(d)
			if len(buf) == 0 {
				return
			}
			if err := book.Reserve(d.UID, d.PerWorker, buf, start.Add(time.Minute)); err != nil {
				b.Fatal(err)
			}
			if err := book.Commit(d.UID); err != nil {
				b.Fatal(err)
			}
			book.Release(d.UID)
		})
	})
	b.Run("split-64-workers-of-8", func(b *testing.B) {
		each(b, jobsOf(1024, rng, func(rng *rand.Rand) *Demand {
			d := typicalJob(rng)
			d.Workers, d.PerWorker, d.Parts = 64, 8, 64
			return d
		}), match)
	})
	b.Run("wildcard", func(b *testing.B) { each(b, jobsOf(512, rng, wildcardJob), match) })
	b.Run("reprice", func(b *testing.B) {
		each(b, []*Demand{nil}, func(*Demand) {
			o := &offers[rng.IntN(len(offers))]
			o.Price = o.Price*money.USD(90+rng.IntN(20))/100 + 10_000_000
			book.Upsert(*o)
		})
	})
	b.Run("judge", func(b *testing.B) { each(b, jobsOf(64, rng, typicalJob), func(d *Demand) { book.Judge(d) }) })
	b.Run("digest-after-one-change", func(b *testing.B) {
		book.Digest()
		each(b, []*Demand{nil}, func(*Demand) {
			book.Upsert(offers[rng.IntN(len(offers))])
			book.Digest()
		})
	})
	b.Run("digest-of-an-offer-that-holds-1000", func(b *testing.B) {
		const name = "big/offer"
		book.Upsert(Offer{Name: name, Model: modelName(0), Region: regionName(0), ValidUntil: start.Add(time.Hour), Shapes: []Shape{{Free: 8, Nodes: 1000}}})
		for i := range 1000 {
			book.Promise(fmt.Sprintf("lease-%d", i), []Promise{{Offer: name, Gang: Gang{Workers: 1, PerWorker: 1 + i%4}}}, time.Time{})
		}
		each(b, []*Demand{nil}, func(*Demand) {
			book.Promise("one-more", []Promise{{Offer: name, Gang: Gang{Workers: 1, PerWorker: 2}}}, time.Time{})
			book.Digest()
			book.Release("one-more")
		})
	})
}
