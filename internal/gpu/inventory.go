// SPDX-License-Identifier: Apache-2.0

package gpu

import (
	"cmp"
	"slices"
	"time"
)

// Stock is what one look finds of one node's GPUs of one kind.
type Stock struct {
	Node        string
	Kind        string   // the resource that pods ask for
	Hold        Reason   // what keeps new leases away from all of them; empty if nothing does
	Down        bool     // the node says that it is not well, so none of them can run work
	Allocatable int32    // how many the scheduler may hand out
	Report      string   // marks the agent's newest sign of life; empty without an agent
	Devices     []Device // as somebody reports them, one by one …
	Slots       int32    // … or else their number
	Model       Model    // and what they are
	Holders     []Holder
}

// Device is one GPU as a node's agent reports it.
type Device struct {
	ID        string
	Model     Model
	Fault     string // what is wrong with it; empty if it is well
	Conflict  bool   // another node reports it too
	Limited   bool   // its power limit is too low
	Processes int32  // processes on it that belong to no pod
	Holder    string // the UID of the pod that the kubelet gave it to
}

// Holder is a pod that holds GPUs of a node, or is about to. It is known by its UID: two namespaces may have pods of one name.
type Holder struct {
	UID    string
	GPUs   int32
	Lease  string // the lease that the pod works for; empty for the supplier's own
	Ending bool   // it was told to end
	Gone   bool   // the API server has it no more, and yet the agent reports it
}

// Fault is a GPU that fell sick.
type Fault struct {
	Node string
	ID   string
	What string
}

// Inventory remembers each GPU of a set of nodes: who holds it, and since when it has been free for the market. Where nothing tells a
// node's GPUs apart, it gives pods to slots: local pods to those which were free for the shortest time, so that the others stay idle. Its
// zero value is ready for use, and it is not safe for concurrent use.
type Inventory struct {
	shelves map[place]*shelf
	order   []*shelf // as the stocks were given
}

type place struct{ node, kind string }

// shelf is one node's GPUs of one kind.
type shelf struct {
	place
	known   bool // its GPUs have identities
	cards   []card
	holders map[string]Holder
}

// card is one GPU.
type card struct {
	Device
	withdrawn bool // the scheduler was told of fewer GPUs than there are, and this is one of the missing
	well      bool
	holder    string // the UID of the pod that holds it
	lease     string // the lease that has it, or had it last while it is not clean
	ending    bool
	dirty     bool   // its lease has ended, and it was not found empty since
	mark      string // the agent's sign of life when it became dirty
	open      bool   // the market could have it, or a lease has it
	since     time.Time
	block     Reason // why it is not open
	state     State
	reason    Reason
}

// Observe takes in what the nodes have now, and forgets every node that is not among them. It returns the GPUs that fell sick.
func (i *Inventory) Observe(stocks []Stock, now time.Time) []Fault {
	if i.shelves == nil {
		i.shelves = map[place]*shelf{}
	}
	var faults []Fault
	i.order = i.order[:0]
	for at := range stocks {
		stock := &stocks[at]
		key := place{stock.Node, stock.Kind}
		s := i.shelves[key]
		if s == nil {
			s = &shelf{place: key, holders: map[string]Holder{}}
			i.shelves[key] = s
		}
		i.order = append(i.order, s)
		faults = s.observe(stock, now, faults)
	}
	if len(i.shelves) > len(i.order) {
		current := make(map[place]bool, len(i.order))
		for _, s := range i.order {
			current[s.place] = true
		}
		for key := range i.shelves {
			if !current[key] {
				delete(i.shelves, key)
			}
		}
	}
	return faults
}

// Seed says that a model's GPUs were with the market before this inventory began to look: those that leases hold, and as many free ones as
// the shapes say. So a restart withdraws nothing.
func (i *Inventory) Seed(model string, shapes []Shape) {
	room := map[string]int32{}
	for _, s := range i.order {
		for c := range s.cards {
			entry := &s.cards[c]
			if entry.Model.Name != model || !entry.open {
				continue
			}
			if entry.holder != "" {
				entry.since = time.Time{}
				continue
			}
			room[s.name()]++
		}
	}
	seeds := Spread(shapes, room)
	for _, s := range i.order {
		left := seeds[s.name()]
		for c := range s.cards {
			entry := &s.cards[c]
			if left > 0 && entry.Model.Name == model && entry.open && entry.holder == "" {
				entry.since = time.Time{}
				left--
			}
		}
	}
}

func (p place) name() string { return p.node + "/" + p.kind }

func (s *shelf) observe(stock *Stock, now time.Time, faults []Fault) []Fault {
	clear(s.holders)
	for _, holder := range stock.Holders {
		s.holders[holder.UID] = holder
	}
	before := s.clocks(stock)
	faults = s.stack(stock, faults)
	s.release(stock)
	s.confirm()
	s.hand(sorted(stock.Holders))
	s.withdraw(stock.Allocatable)
	for c := range s.cards {
		s.cards[c].judge(stock, s.holders, now)
	}
	s.inherit(before, now)
	return faults
}

// clocks returns since when its GPUs were free, the longest first, if their identities are about to come or to go: when an agent is
// installed, the same GPUs get names.
func (s *shelf) clocks(stock *Stock) []time.Time {
	known := len(stock.Devices) > 0
	if known == s.known {
		return nil
	}
	s.known = known
	var before []time.Time
	for c := range s.cards {
		if s.cards[c].open {
			before = append(before, s.cards[c].since)
		}
	}
	s.cards = nil
	slices.SortFunc(before, time.Time.Compare)
	return before
}

// inherit gives the clocks of GPUs without names to those that have them now, or the other way round.
func (s *shelf) inherit(before []time.Time, now time.Time) {
	for _, held := range []bool{true, false} {
		for c := range s.cards {
			entry := &s.cards[c]
			if len(before) > 0 && entry.open && entry.since.Equal(now) && (entry.holder != "") == held {
				entry.since, before = before[0], before[1:]
			}
		}
	}
}

// stack makes the cards those that there are now.
func (s *shelf) stack(stock *Stock, faults []Fault) []Fault {
	if !s.known {
		s.resize(int(max(0, stock.Slots)), stock.Model)
		return faults
	}
	old := s.cards
	if !s.same(stock.Devices) {
		s.cards = make([]card, 0, len(stock.Devices))
	}
	for d := range stock.Devices {
		device := &stock.Devices[d]
		at := slices.IndexFunc(old, func(c card) bool { return c.ID == device.ID })
		entry := card{}
		if at >= 0 {
			entry = old[at]
		}
		if device.Fault != "" && entry.Fault == "" {
			faults = append(faults, Fault{Node: s.node, ID: device.ID, What: device.Fault})
		}
		entry.Device = *device
		if len(s.cards) > d {
			s.cards[d] = entry
		} else {
			s.cards = append(s.cards, entry)
		}
	}
	return faults
}

// same says whether the devices are those that the cards are of, in the same order.
func (s *shelf) same(devices []Device) bool {
	return slices.EqualFunc(s.cards, devices, func(c card, d Device) bool { return c.ID == d.ID })
}

// resize makes as many slots as there are now. When there are fewer, those go first that are missed least.
func (s *shelf) resize(slots int, model Model) {
	if len(s.cards) > slots {
		slices.SortStableFunc(s.cards, leastMissed)
		s.cards = slices.Delete(s.cards, 0, len(s.cards)-slots)
	}
	for len(s.cards) < slots {
		s.cards = append(s.cards, card{})
	}
	for c := range s.cards {
		s.cards[c].Model = model
	}
}

// leastMissed sorts cards: those that nobody holds, then those that local pods hold, then those of leases; among the free ones, first what
// is withdrawn already, then what was free for the shortest time. So a GPU that is missing is never taken for one that is held.
func leastMissed(a, b card) int {
	return cmp.Or(cmp.Compare(a.weight(), b.weight()), freshest(a, b))
}

func (c *card) weight() int {
	switch {
	case c.holder != "" && c.lease != "":
		return 3
	case c.holder != "":
		return 2
	case !c.withdrawn:
		return 1
	default:
		return 0
	}
}

// freshest sorts those first that are not free at all, then those that are for the shortest time.
func freshest(a, b card) int {
	switch {
	case a.open && b.open:
		return b.since.Compare(a.since)
	case a.open:
		return 1
	case b.open:
		return -1
	default:
		return 0
	}
}

// withdraw marks as many well GPUs as the scheduler was not told of.
func (s *shelf) withdraw(allocatable int32) {
	excess := -int(max(0, allocatable))
	var missing int
	for c := range s.cards {
		if s.cards[c].Fault == "" {
			excess++
		}
		if s.cards[c].withdrawn {
			missing++
		}
	}
	if excess <= 0 && missing == 0 {
		return
	}
	order := make([]*card, 0, len(s.cards))
	for c := range s.cards {
		if s.cards[c].Fault == "" {
			order = append(order, &s.cards[c])
		} else {
			s.cards[c].withdrawn = false
		}
	}
	slices.SortStableFunc(order, func(a, b *card) int { return leastMissed(*a, *b) })
	for at, entry := range order {
		entry.withdrawn = at < excess
	}
}

// judge decides whether the market could have the card, and keeps its clock.
func (c *card) judge(stock *Stock, holders map[string]Holder, now time.Time) {
	c.well = c.Fault == "" && !c.withdrawn && !stock.Down
	c.ending = holders[c.holder].Ending
	if c.dirty && (stock.Report == "" || stock.Report != c.mark && c.Processes == 0) {
		c.dirty, c.lease = false, ""
	}
	c.block = c.blocked(stock)
	open := c.block == ""
	if open && !c.open {
		c.since = now
	}
	c.open = open
}

// blocked is the first reason why the market could not have the card, were it not for its lease and for the policy.
func (c *card) blocked(stock *Stock) Reason {
	leased := c.holder != "" && c.lease != ""
	for _, rule := range [...]struct {
		applies bool
		reason  Reason
	}{
		{c.Fault != "" || c.withdrawn, Unhealthy},
		{c.Conflict, IdentityConflict},
		{stock.Hold != "", stock.Hold},
		{stock.Down, NodeNotReady},
		{c.holder != "" && !leased, LocalPods},
		{c.Processes > 0 && !leased && !c.dirty, HostProcess},
		{c.Limited && !c.dirty, PowerLimited},
	} {
		if rule.applies {
			return rule.reason
		}
	}
	return ""
}
