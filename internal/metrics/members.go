// SPDX-License-Identifier: Apache-2.0

package metrics

import "github.com/prometheus/client_golang/prometheus"

// The states of a market's members, of which each has one.
const (
	// MemberReady may buy and sell.
	MemberReady = "ready"
	// MemberSuspended was suspended by the market's admin.
	MemberSuspended = "suspended"
	// MemberRefused may not take part for another reason.
	MemberRefused = "refused"
	// MemberPending was not looked at yet.
	MemberPending = "pending"
)

// What was seen of members' managers.
const (
	// ManagersSeen is a member all of whose managers say that they are there.
	ManagersSeen = "seen"
	// ManagersNotSeen is one of whose managers some were not seen for a while.
	ManagersNotSeen = "not_seen"
	// ManagersSilent is one whose managers never said that they are there.
	ManagersSilent = "silent"
)

// MemberState is what a market holds of a member.
type MemberState struct {
	State    string
	Managers string
}

// members collects what is read when it is scraped.
type members struct {
	read func() (map[MemberState]int, error)
}

// CollectMembers registers the market's members, which are read whenever they are scraped. While they cannot be read there is no series of
// them. It panics when reg has metrics of the same names already.
func CollectMembers(reg prometheus.Registerer, read func() (map[MemberState]int, error)) {
	reg.MustRegister(members{read: read})
}

func memberGauge() *prometheus.GaugeVec {
	return prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bourse_members",
		Help: "The market's members, by state (ready, suspended, refused, pending) and what is seen of their managers (seen, not_seen, silent).",
	}, []string{"state", "managers"})
}

// Describe says which metrics there are.
func (m members) Describe(descs chan<- *prometheus.Desc) { memberGauge().Describe(descs) }

// Collect reads them.
func (m members) Collect(series chan<- prometheus.Metric) {
	now, err := m.read()
	if err != nil {
		return
	}
	gauge := memberGauge()
	for of, number := range now {
		gauge.WithLabelValues(of.State, of.Managers).Set(float64(number))
	}
	gauge.Collect(series)
}
