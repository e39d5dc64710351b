// SPDX-License-Identifier: Apache-2.0

// Package book decides which offers a job gets: hard rules in a fixed order, then a score, then a draw. A decision depends on the
// demand and the set of offers alone, never on their order, a clock or earlier calls, and it carries its own explanation.
// It knows nothing of Kubernetes, of chains, or of who made an offer.
package book

import (
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

// PPM is one whole in parts per million: the scale of reputations, penalties, speeds and weights.
const PPM = 1_000_000

// Isolation orders how strongly leases are kept apart from other work, weakest first.
type Isolation uint8

// The levels of isolation.
const (
	Container Isolation = iota
	Sandbox
	VM
	Confidential
)

// String names the level as the API does.
func (i Isolation) String() string {
	return nameOf(uint8(i), "Container", "Sandbox", "VM", "Confidential")
}

// Egress orders what a lease's pods may reach, least first.
type Egress uint8

// The levels of egress.
const (
	None Egress = iota
	Registry
	Internet
)

// String names the level as the API does.
func (e Egress) String() string { return nameOf(uint8(e), "None", "Registry", "Internet") }

func nameOf(level uint8, names ...string) string {
	if int(level) < len(names) {
		return names[level]
	}
	return "unknown"
}

// Demand is what one job asks for: a gang of equal workers, all at once or not at all.
type Demand struct {
	UID           string        // the job's identity: it keys the draw among equals
	At            time.Time     // when it is decided: offers that end before count no more
	Models        []Model       // the acceptable GPU models; any, when empty
	MinMemoryMiB  int           // the least memory of one GPU
	Workers       int           // the size of the gang, at least 1
	PerWorker     int           // GPUs of each worker, on one node, at least 1
	Parts         int           // in how many offers of one model the workers may stand at most; in one only, when it is less than 2
	Token         string        // what the job is paid in
	MaxPrice      money.USD     // the highest price of one GPU for one hour
	Affordable    money.USD     // the highest price that the budget covers for all GPUs and the whole term; 0 says that any is
	Regions       []string      // the acceptable regions; any, when empty
	Penalties     []Penalty     // what the buyer would pay not to be in a region
	Isolation     Isolation     // the least isolation
	Tier          string        // the kind of lease
	Egress        Egress        // what the pods must reach
	Duration      time.Duration // the term
	Start         time.Duration // how long after At the term may begin
	MinReputation uint32        // the least reputation of a supplier, in ppm
	Buyer         string        // who asks, as suppliers name those whom they serve
	Image         string        // what the workers run
	Weights       Weights       // what counts besides the price, and how much
	Refused       []string      // the offers that refused this job last rank behind every other
}

// Model is a GPU model that a job accepts.
type Model struct {
	Name  string
	Speed uint32 // how fast it is for this job, in ppm of the model that the buyer reckons with; 0 is as fast as that
}

// Penalty makes offers of a region count as dearer than they are.
type Penalty struct {
	Region string
	PPM    uint32 // of the price, at most MaxPenalty
}

// MaxPenalty is the greatest penalty: eleven times the price.
const MaxPenalty = 10 * PPM

// Weights say how much, in ppm of the price, each of these counts at most.
type Weights struct {
	Reputation uint32 // an offer of no reputation counts as this much dearer, at most MaxWeight
	Packing    uint32 // an offer whose whole nodes are all broken counts as this much dearer, at most MaxWeight
	Cache      uint32 // an offer that holds the job's image counts as this much cheaper, less than PPM
}

// MaxWeight is the greatest weight.
const MaxWeight = 10 * PPM

// DefaultWeights say that without any reputation an offer counts twice, that a whole node broken costs 5 %, and an image held saves 2 %.
func DefaultWeights() Weights { return Weights{Reputation: PPM, Packing: PPM / 20, Cache: PPM / 50} }

// Offer is what one supplier advertises now: GPUs of one model at one price.
type Offer struct {
	Name       string // unique in a book
	Model      string
	MemoryMiB  int // of one GPU
	Region     string
	Price      money.USD // of one GPU for one hour
	Tokens     []string
	Tiers      []string
	Isolation  Isolation
	Egress     Egress        // the most that pods may reach
	Shortest   time.Duration // the shortest term
	Longest    time.Duration // the longest term
	ValidUntil time.Time     // when the offer ends; zero says that it does not count at all
	Until      time.Time     // when the GPUs are needed back: a lease must end before; zero says never
	Reputation uint32        // of the supplier, in ppm
	Unstaked   bool          // the supplier lacks the stake that the market asks for
	Images     []string      // the images that its nodes hold, as far as known
	Allowed    []string      // the images that may run, as ImageAllowed reads them; any, when empty
	Buyers     []string      // who may lease; anybody, when empty
	Shapes     []Shape       // the nodes by their number of free GPUs
	Held       []Gang        // what was promised out of the shapes, but is not yet subtracted from them
}

// Shape says how many nodes have a number of free GPUs.
type Shape struct {
	Free  int
	Nodes int
}

// Gang is a number of equal workers, each on one node.
type Gang struct {
	Workers   int
	PerWorker int
}

// Slots returns how many workers of the given size the offer is certain to place, wherever its held gangs come to stand.
// A held worker of h GPUs takes at most ceil(h / size) slots, since floor((f-h)/size) >= floor(f/size) - ceil(h/size).
func (o *Offer) Slots(size int) int {
	if size < 1 {
		return 0
	}
	slots := 0
	for _, shape := range o.Shapes {
		slots += shape.Nodes * (shape.Free / size)
	}
	for _, held := range o.Held {
		slots -= held.Workers * ((held.PerWorker + size - 1) / size)
	}
	return max(slots, 0)
}

// Free returns how many GPUs the offer has left over all its nodes.
func (o *Offer) Free() int {
	gpus := 0
	for _, shape := range o.Shapes {
		gpus += shape.Nodes * shape.Free
	}
	for _, held := range o.Held {
		gpus -= held.Workers * held.PerWorker
	}
	return max(gpus, 0)
}

// largest returns the greatest number of free GPUs of one node, held gangs aside.
func (o *Offer) largest() int {
	most := 0
	for _, shape := range o.Shapes {
		if shape.Nodes > 0 {
			most = max(most, shape.Free)
		}
	}
	return most
}

// split says whether the workers may stand in several offers.
func (d *Demand) split() bool { return d.Parts > 1 }

// room returns how many of the demand's workers the offer can place, at most all of them.
func (o *Offer) room(d *Demand) int { return max(0, min(d.Workers, o.Slots(d.PerWorker))) }
