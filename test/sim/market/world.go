// SPDX-License-Identifier: Apache-2.0

package market

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/price"
)

// model, token and tier are the same for all: the trace tells jobs apart by nothing but their size.
const (
	model = "v100"
	token = "USDC"
	tier  = "Firm"
)

// world is a market while it is played.
type world struct {
	Parameters

	now     int64
	random  *rand.Rand
	supply  []supplier
	book    *book.Book
	fills   []book.Fill
	index   uint32 // of the price, in ppm
	waiting []waiting
	running endings
	report  Report
}

// supplier has nodes and an ask.
type supplier struct {
	name   string
	ask    money.USD
	free   []int // by node
	earned money.USD
}

// waiting is a job that has no lease yet.
type waiting struct {
	Job

	uid   string
	value money.USD // the most that it pays for a GPU-hour
}

// ending is when a lease ends, and what it gives back.
type ending struct {
	at       int64
	order    int // ties end in the order in which they began
	supplier int
	nodes    []int
	each     int
}

// Play plays the jobs in the market and reports what came of it.
func Play(jobs []Job, p Parameters) Report {
	w := &world{Parameters: p, random: rand.New(rand.NewPCG(p.Seed, 1)), index: price.PPM, book: book.New()}
	for i := range p.Suppliers {
		free := slices.Repeat([]int{perNode}, p.Nodes/p.Suppliers)
		w.supply = append(w.supply, supplier{name: "supplier-" + strconv.Itoa(i), ask: w.between(p.asks), free: free})
	}
	w.report.Jobs, w.report.GPUs = len(jobs), p.Nodes*perNode
	if len(jobs) > 0 {
		w.now = jobs[0].At
	}
	for next := 0; next < len(jobs) || len(w.waiting) > 0; {
		w.now += p.StepSeconds
		for ; next < len(jobs) && jobs[next].At <= w.now; next++ {
			job := waiting{Job: jobs[next], uid: "job-" + strconv.Itoa(next), value: w.between(p.values)}
			w.report.AskedSeconds += job.Duration * int64(job.GPUs())
			w.waiting = append(w.waiting, job)
		}
		w.step()
	}
	w.close()
	return w.report
}

func (w *world) between(span [2]money.USD) money.USD {
	return span[0] + money.USD(w.random.Uint64N(uint64(span[1]-span[0])+1))
}

// step frees what has ended, moves the index, and matches what waits in the order of arrival.
func (w *world) step() {
	for len(w.running) > 0 && w.running[0].at <= w.now {
		ended, _ := heap.Pop(&w.running).(ending)
		for _, node := range ended.nodes {
			w.supply[ended.supplier].free[node] += ended.each
		}
	}
	if w.Index != nil {
		free := w.free()
		w.index = w.Index.rules().Next(w.index, price.Load{Leased: uint64(w.report.GPUs - free), Free: uint64(free)})
	}
	for at := range w.supply {
		w.advertise(at)
	}
	w.report.observe(w)
	type shape struct{ workers, each int }
	failed := map[shape]money.USD{} // the most that was offered in vain in this step, in which GPUs only become fewer
	w.waiting = slices.DeleteFunc(w.waiting, func(job waiting) bool {
		if most, known := failed[shape{job.Workers, job.PerWorker}]; known && job.value <= most {
			return w.leaves(job)
		}
		if w.match(job) {
			return true
		}
		failed[shape{job.Workers, job.PerWorker}] = job.value
		return w.leaves(job)
	})
}

// leaves says whether a job waits no longer.
func (w *world) leaves(job waiting) bool {
	if w.now-job.At < w.PatienceSeconds {
		return false
	}
	w.report.Left++
	return true
}

// match asks the production matcher, and starts the job where it says.
func (w *world) match(job waiting) bool {
	w.fills = w.book.Match(&book.Demand{
		UID: job.uid, At: time.Unix(w.now, 0), Models: []book.Model{{Name: model}}, Workers: job.Workers, PerWorker: job.PerWorker,
		Token: token, MaxPrice: job.value, Tier: tier, Duration: time.Duration(job.Duration) * time.Second, Weights: book.DefaultWeights(),
	}, w.fills)
	if len(w.fills) == 0 {
		return false
	}
	won := w.fills[0].Offer
	at := slices.IndexFunc(w.supply, func(s supplier) bool { return s.name == won.Name })
	w.start(job, at, won.Price)
	w.advertise(at)
	return true
}

// advertise puts what a supplier has now into the book.
func (w *world) advertise(at int) {
	s := &w.supply[at]
	nodes := map[int]int{}
	for _, free := range s.free {
		nodes[free]++
	}
	shapes := make([]book.Shape, 0, perNode)
	for free := 1; free <= perNode; free++ {
		if nodes[free] > 0 {
			shapes = append(shapes, book.Shape{Free: free, Nodes: nodes[free]})
		}
	}
	const most, forever = 4, time.Duration(math.MaxInt64)
	limits := price.Limits{Min: s.ask / 2, Max: s.ask * most}
	w.book.Upsert(book.Offer{
		Name: s.name, Model: model, Price: limits.Within(price.At(s.ask, w.index)), Tokens: []string{token}, Tiers: []string{tier}, Longest: forever,
		ValidUntil: time.Unix(0, 0).Add(forever), Reputation: book.PPM / 2, Shapes: shapes,
	})
}

// start puts each worker on the fullest node that has room for it.
func (w *world) start(job waiting, at int, each money.USD) {
	s := &w.supply[at]
	lease := ending{at: w.now + job.Duration, order: w.report.Served, supplier: at, each: job.PerWorker}
	for range job.Workers {
		best := -1
		for node, free := range s.free {
			if free >= job.PerWorker && (best < 0 || free < s.free[best]) {
				best = node
			}
		}
		s.free[best] -= job.PerWorker
		lease.nodes = append(lease.nodes, best)
	}
	heap.Push(&w.running, lease)
	seconds := job.Duration * int64(job.GPUs())
	const hour = 3600
	paid := each/hour*money.USD(seconds) + each%hour*money.USD(seconds)/hour
	s.earned += paid
	w.report.serve(w.now-job.At, seconds, paid)
}

func (w *world) free() int {
	sum := 0
	for i := range w.supply {
		for _, free := range w.supply[i].free {
			sum += free
		}
	}
	return sum
}

func (w *world) close() {
	for i := range w.supply {
		w.report.Earned = append(w.report.Earned, w.supply[i].earned)
	}
	slices.Sort(w.report.Earned)
	slices.Sort(w.report.waits)
	slices.Sort(w.report.indexes)
}

// endings is a heap: what ends first is first.
type endings []ending

func (e endings) Len() int { return len(e) }
func (e endings) Less(a, b int) bool {
	if e[a].at != e[b].at {
		return e[a].at < e[b].at
	}
	return e[a].order < e[b].order
}
func (e endings) Swap(a, b int) { e[a], e[b] = e[b], e[a] }

// Push adds an ending, for the heap.
func (e *endings) Push(x any) {
	if next, ok := x.(ending); ok {
		*e = append(*e, next)
	}
}

// Pop takes the last one off, for the heap.
func (e *endings) Pop() any {
	old := *e
	last := old[len(old)-1]
	*e = old[:len(old)-1]
	return last
}
