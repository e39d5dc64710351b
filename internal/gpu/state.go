// SPDX-License-Identifier: Apache-2.0

package gpu

// State is where a GPU is in its life. Health is not among the states: a GPU that is leased may be sick, and stays leased. Each look at the
// cluster gives each GPU the first state of the table whose rule holds, from whatever state it was in.
//
//	state     rule                                                     healthy ones count as
//	Draining  a lease's pod that was told to end holds it              leased
//	Leased    a lease's pod holds it, or is promised it                leased
//	Busy      a local pod holds it, or a process outside of all pods   neither idle nor offered
//	Unknown   it is out of sight or out of use: see Reason             idle, since no pod holds it
//	Cleaning  its lease has ended, and it was not found empty since    neither idle nor offered
//	Cooling   it is free, but not for long enough                      idle
//	Offered   it is free for long enough, and the policy lets it go    idle and offered
//	Idle      it is free for long enough, and the policy keeps it      idle
//
// A GPU thus comes to the market by Unknown, Busy, Cooling, Idle, Offered, and back from it by Leased, Draining, Cleaning, Offered. It
// leaves from every state at once. It comes back only after it was free without a break for as long as the policy says: its clock starts
// anew whenever it is Unknown or Busy, and runs on through a lease, because local work left it alone all the while.
type State uint8

// The states, in the order in which a GPU passes through them.
const (
	Unknown State = iota
	Busy
	Cooling
	Idle
	Offered
	Leased
	Draining
	Cleaning
)

// Reason is why a GPU is not with the market. Each GPU that is neither offered nor leased has one: the first that applies.
type Reason string

// The reasons, in the order in which they are looked for.
const (
	Unhealthy        Reason = "Unhealthy"        // a fault, or the scheduler was told of fewer
	IdentityConflict Reason = "IdentityConflict" // another node reports the same GPU
	RecordRefused    Reason = "RecordRefused"    // the agent's signature does not hold
	AgentSilent      Reason = "AgentSilent"      // the agent was not heard of for some time
	NodeNotReady     Reason = "NodeNotReady"     // the node is not well, or does not report
	Cordoned         Reason = "Cordoned"         // nothing new may start on the node
	Tainted          Reason = "Tainted"          // a taint keeps leases away
	Unplaceable      Reason = "Unplaceable"      // leases cannot ask for such a GPU
	LocalPods        Reason = "LocalPods"        // the supplier's own pods hold it
	HostProcess      Reason = "HostProcess"      // a process outside of all pods uses it
	NotClean         Reason = "Cleaning"         // its lease has ended, and it was not found empty since
	PowerLimited     Reason = "PowerLimited"     // its power limit makes it less than its model says
	Recycling        Reason = "Recycling"        // a mock rental tries the nodes before they are sold again
	StillCooling     Reason = "Cooling"          // it was not free for long enough
	Reserved         Reason = "Reserved"         // kept for local work that may come
	PendingPods      Reason = "PendingPods"      // kept for local work that waits
	OverBudget       Reason = "Budget"           // more than the market may have now
	OnHold           Reason = "Hold"             // the supplier sells nothing now
	InDrain          Reason = "Drain"            // the supplier sells nothing any more
	Maintenance      Reason = "Maintenance"      // the nodes are needed for themselves now
)

// Reasons returns all reasons, in their order.
func Reasons() []Reason {
	return []Reason{
		Unhealthy, IdentityConflict, RecordRefused, AgentSilent, NodeNotReady, Cordoned, Tainted, Unplaceable, LocalPods, HostProcess, NotClean,
		PowerLimited, Recycling, StillCooling, Reserved, PendingPods, OverBudget, OnHold, InDrain, Maintenance,
	}
}

// Counts are the GPUs of one or several nodes. 0 ≤ Leased ≤ Offered ≤ Healthy ≤ Total, and Idle ≤ Healthy.
type Counts struct {
	Total   int32 // all
	Healthy int32 // those that can run work
	Idle    int32 // healthy ones that nobody holds, for however long
	Offered int32 // those with the market: free ones and leased ones
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
