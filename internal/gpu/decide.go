// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"cmp"
	"slices"
	"time"
)

// Unlimited is a policy's limit that is none.
const Unlimited int32 = 1 << 30

// Policy is what the supplier keeps back, and for how long a GPU must have been free.
type Policy struct {
	IdleFor  time.Duration
	Reserve  int32            // of each model
	Pending  map[string]int32 // by model, those that local work waits for
	Promises []Promise        // what leases are to get back
	Limit    int32            // the most that are with the market, leased ones among them
	Stop     Reason           // why no free one is with the market; empty if nothing stops them
}

// Promise is a lease that has been accepted, and whose pods hold fewer GPUs than that, because they are being exchanged.
type Promise struct {
	Lease string
	Model string
	GPUs  int32
}

// Report is what there is of each GPU model, and what is kept back.
type Report struct {
	Total    Counts
	Models   []Holding // by name
	HeldBack []Held    // in the order of the reasons; with Total.Offered they sum up to Total.Total
	Cooling  bool      // some GPUs are free, but not for long enough …
	Wake     time.Duration
	Cleaning bool // some GPUs wait to be found empty
}

// Holding is what there is of one model.
type Holding struct {
	Model

	Counts Counts
	Free   []int32 // those that a new lease can have, node by node
}

// Held is how many GPUs are kept back for a reason.
type Held struct {
	Reason Reason
	GPUs   int32
}

// bin is one node's GPUs of one model.
type bin struct {
	shelf *shelf
	model int
	free  int32
}

// decision is one run of Decide.
type decision struct {
	report Report
	bins   []bin
	models map[string]int
	least  time.Duration
	now    time.Time
}

// Decide applies the policy to what was observed last. It keeps GPUs back on the nodes that have the fewest free ones, so that whole nodes
// stay whole.
func (i *Inventory) Decide(policy Policy, now time.Time) Report {
	d := &decision{models: map[string]int{}, least: policy.IdleFor, now: now, bins: make([]bin, 0, len(i.order))}
	for _, s := range i.order {
		d.classify(s)
	}
	for _, promise := range policy.Promises {
		d.keepPromise(promise)
	}
	for _, model := range d.report.Models {
		d.take(model.Name, policy.Reserve, Reserved)
		d.take(model.Name, policy.Pending[model.Name], PendingPods)
	}
	d.take("", d.beyond(policy.Limit), OverBudget)
	if policy.Stop != "" {
		d.take("", Unlimited, policy.Stop)
	}
	return d.sum(i.order)
}

// classify gives the shelf's cards their states as far as the policy has no part in it.
func (d *decision) classify(s *shelf) {
	first := len(d.bins)
	for c := range s.cards {
		entry := &s.cards[c]
		at := d.modelOf(entry.Model)
		mine := first
		for mine < len(d.bins) && d.bins[mine].model != at {
			mine++
		}
		if mine == len(d.bins) {
			d.bins = append(d.bins, bin{shelf: s, model: at})
		}
		entry.classify(d.least, d.now)
		switch entry.state {
		case Idle:
			d.bins[mine].free++
		case Cooling:
			left := d.least - d.now.Sub(entry.since)
			if !d.report.Cooling || left < d.report.Wake {
				d.report.Cooling, d.report.Wake = true, left
			}
		case Cleaning:
			d.report.Cleaning = true
		default:
		}
	}
}

func (d *decision) modelOf(model Model) int {
	at, known := d.models[model.Name]
	if !known {
		at = len(d.report.Models)
		d.models[model.Name] = at
		d.report.Models = append(d.report.Models, Holding{Model: model})
	}
	holding := &d.report.Models[at]
	holding.MemoryMiB = min(holding.MemoryMiB, model.MemoryMiB)
	return at
}

// classify gives the card the state and the reason that it has before the policy speaks.
func (c *card) classify(least time.Duration, now time.Time) {
	switch {
	case c.holder != "" && c.lease != "":
		c.state, c.reason = Leased, ""
		if c.ending {
			c.state = Draining
		}
		if !c.well {
			c.reason = c.block
		}
	case c.holder != "" || c.block == HostProcess:
		c.state, c.reason = Busy, c.block
	case c.block != "":
		c.state, c.reason = Unknown, c.block
	case c.dirty:
		c.state, c.reason = Cleaning, NotClean
	case now.Sub(c.since) < least:
		c.state, c.reason = Cooling, StillCooling
	default:
		c.state, c.reason = Idle, ""
	}
}

// keepPromise keeps GPUs for a lease: those that its own pods have just left, then any of the model.
func (d *decision) keepPromise(promise Promise) {
	at, known := d.models[promise.Model]
	left := promise.GPUs
	if !known || left <= 0 {
		return
	}
	for b := range d.bins {
		if d.bins[b].model != at {
			continue
		}
		for c := range d.bins[b].shelf.cards {
			entry := &d.bins[b].shelf.cards[c]
			if left > 0 && entry.state == Cleaning && entry.lease == promise.Lease && entry.Model.Name == promise.Model {
				entry.state, entry.reason = Leased, ""
				left--
			}
		}
	}
	d.mark(promise.Model, left, func(c *card) { c.state = Leased })
}

// take keeps free GPUs of a model, or of all models, back for a reason.
func (d *decision) take(model string, gpus int32, reason Reason) {
	d.mark(model, gpus, func(c *card) { c.reason = reason })
}

// mark changes as many free cards as are asked for, from the emptiest nodes on.
func (d *decision) mark(model string, gpus int32, change func(*card)) {
	if gpus <= 0 {
		return
	}
	order := make([]*bin, 0, len(d.bins))
	for b := range d.bins {
		if d.bins[b].free > 0 && (model == "" || d.report.Models[d.bins[b].model].Name == model) {
			order = append(order, &d.bins[b])
		}
	}
	slices.SortStableFunc(order, func(a, b *bin) int { return cmp.Compare(a.free, b.free) })
	for _, b := range order {
		name := d.report.Models[b.model].Name
		for ; gpus > 0 && b.free > 0; gpus-- {
			change(b.shelf.freshest(name))
			b.free--
		}
	}
}

// freshest returns the free card of the model that was free for the shortest time. There is one.
func (s *shelf) freshest(model string) *card {
	var best *card
	for c := range s.cards {
		entry := &s.cards[c]
		if entry.state == Idle && entry.reason == "" && entry.Model.Name == model && (best == nil || entry.since.After(best.since)) {
			best = entry
		}
	}
	return best
}

// beyond is how many more GPUs than the limit would be with the market.
func (d *decision) beyond(limit int32) int32 {
	over := -max(0, limit)
	for b := range d.bins {
		over += d.bins[b].free
	}
	for b, last := 0, (*shelf)(nil); b < len(d.bins); b++ {
		s := d.bins[b].shelf
		if s == last {
			continue
		}
		last = s
		for c := range s.cards {
			if s.cards[c].leased() {
				over++
			}
		}
	}
	return over
}

// leased says whether the card counts as leased.
func (c *card) leased() bool { return (c.state == Leased || c.state == Draining) && c.reason == "" }

// idle says whether nobody holds the card, as far as anybody can see.
func (c *card) idle() bool {
	return c.well && c.holder == "" && !c.dirty && c.Processes == 0 && c.state != Leased
}

// sum counts what was decided.
func (d *decision) sum(order []*shelf) Report {
	held := map[Reason]int32{}
	for b := range d.bins {
		holding := &d.report.Models[d.bins[b].model]
		if d.bins[b].free > 0 {
			holding.Free = append(holding.Free, d.bins[b].free)
		}
	}
	for _, s := range order {
		for c := range s.cards {
			entry := &s.cards[c]
			if entry.state == Idle && entry.reason == "" {
				entry.state = Offered
			}
			if entry.reason != "" {
				held[entry.reason]++
			}
			counts := &d.report.Models[d.models[entry.Model.Name]].Counts
			*counts = counts.Add(entry.counts())
		}
	}
	for _, holding := range d.report.Models {
		d.report.Total = d.report.Total.Add(holding.Counts)
	}
	slices.SortFunc(d.report.Models, func(a, b Holding) int { return cmp.Compare(a.Name, b.Name) })
	for _, reason := range Reasons() {
		if held[reason] > 0 {
			d.report.HeldBack = append(d.report.HeldBack, Held{reason, held[reason]})
		}
	}
	return d.report
}

// counts is the card in the sums.
func (c *card) counts() Counts {
	return Counts{
		Total:   1,
		Healthy: number(c.well),
		Idle:    number(c.idle()),
		Offered: number(c.state == Offered || c.leased()),
		Leased:  number(c.leased()),
	}
}
