// SPDX-License-Identifier: Apache-2.0

// Package book decides which offer a job gets: hard rules in a fixed order, then a rank. The decision depends on the demand and the
// set of offers alone, never on their order, a clock or earlier calls, and it carries its own explanation.
// It knows nothing of Kubernetes, of chains, or of who made an offer.
package book

import (
	"time"

	"github.com/bourse-dev/bourse/internal/money"
)

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
	UID       string        // the job's identity: it breaks ties
	Models    []string      // the acceptable GPU models
	Workers   int           // the size of the gang, at least 1
	PerWorker int           // GPUs of each worker, on one node, at least 1
	Token     string        // what the job is paid in
	MaxPrice  money.USD     // the highest price of one GPU for one hour
	Regions   []string      // the acceptable regions; any, when empty
	Isolation Isolation     // the least isolation
	Tier      string        // the kind of lease
	Egress    Egress        // what the pods must reach
	Duration  time.Duration // the term
	Refused   string        // the offer that refused this job last ranks behind every other; may be empty
}

// Offer is what one supplier advertises now: GPUs of one model at one price.
type Offer struct {
	Name      string // unique in a book
	Model     string
	Region    string
	Price     money.USD // of one GPU for one hour
	Tokens    []string
	Tiers     []string
	Isolation Isolation
	Egress    Egress        // the most that pods may reach
	Shortest  time.Duration // the shortest term
	Longest   time.Duration // the longest term
	Shapes    []Shape       // the nodes by their number of free GPUs
	Held      []Gang        // what was promised out of the shapes, but is not yet subtracted from them
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

// free returns how many GPUs the offer has left over all its nodes.
func (o *Offer) free() int {
	gpus := 0
	for _, shape := range o.Shapes {
		gpus += shape.Nodes * shape.Free
	}
	for _, held := range o.Held {
		gpus -= held.Workers * held.PerWorker
	}
	return max(gpus, 0)
}
