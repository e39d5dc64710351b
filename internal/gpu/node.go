// SPDX-License-Identifier: Apache-2.0

package gpu

// Facts are what the cluster says of one node.
type Facts struct {
	Name        string
	Model       Model
	Ready       bool  // the kubelet reports, and says that it is well
	Unknown     bool  // the kubelet does not report: nothing is known to be wrong
	Cordoned    bool  // no new pod may come
	Tainted     bool  // a taint keeps the market's pods away
	Shared      bool  // each GPU is handed out several times
	Capacity    int32 // the GPUs that the device plugin knows
	Allocatable int32 // those of them that work
	Local       int32 // those that pods of the supplier hold, or are about to
	Leased      int32 // those that pods of leases hold
}

// Counts are the GPUs of one or several nodes. 0 ≤ Leased ≤ Offered ≤ Healthy ≤ Total, and Idle ≤ Healthy.
type Counts struct {
	Total   int32 // all
	Healthy int32 // those that can run work
	Idle    int32 // healthy ones that no pod holds
	Offered int32 // those given to the market: free ones and leased ones
	Leased  int32 // those that leases hold
}

// Add returns the sum.
func (c Counts) Add(more Counts) Counts {
	return Counts{
		Total:   c.Total + more.Total,
		Healthy: c.Healthy + more.Healthy,
		Idle:    c.Idle + more.Idle,
		Offered: c.Offered + more.Offered,
		Leased:  c.Leased + more.Leased,
	}
}

// Free returns the GPUs that a new lease can have.
func (c Counts) Free() int32 { return c.Offered - c.Leased }

// Sellable says whether the node's GPUs are of a kind that is ever sold.
func (f Facts) Sellable() bool { return !f.Shared && f.Model.Name != "" && f.Capacity > 0 }

// Open says whether new leases may come to the node.
func (f Facts) Open() bool { return f.Sellable() && f.Ready && !f.Unknown && !f.Cordoned && !f.Tainted }

// Available is how many GPUs the supplier's own work leaves: what the idle tracker watches. GPUs of leases are among them, because
// local work left them alone all the while; so they need not cool down again when their lease ends.
func (f Facts) Available() int32 {
	if !f.Open() {
		return 0
	}
	return max(0, f.healthy()-max(0, f.Local))
}

// Count sums the node up, given how many of its GPUs have been available for long enough.
func (f Facts) Count(idle int32) Counts {
	if !f.Sellable() {
		return Counts{}
	}
	c := Counts{Total: f.Capacity, Healthy: f.healthy()}
	c.Leased = max(0, min(f.Leased, c.Healthy))
	c.Idle = max(0, c.Healthy-c.Leased-max(0, f.Local))
	c.Offered = max(c.Leased, min(idle, f.Available()))
	return c
}

// healthy counts the GPUs that can run work. A node that does not report keeps its GPUs: nothing is known to be wrong with them.
func (f Facts) healthy() int32 {
	if !f.Ready && !f.Unknown {
		return 0
	}
	return max(0, min(f.Allocatable, f.Capacity))
}
