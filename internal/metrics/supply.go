// SPDX-License-Identifier: Apache-2.0

package metrics

import "github.com/prometheus/client_golang/prometheus"

// The states of a supplier's GPUs, of which each GPU has one.
const (
	// StateLeased is held by a lease.
	StateLeased = "leased"
	// StateFree is with the market, and nobody has it.
	StateFree = "free"
	// StateWithheld can run work, and is not with the market.
	StateWithheld = "withheld"
	// StateUnhealthy cannot run work.
	StateUnhealthy = "unhealthy"
)

// Supply is how many GPUs a supplier has, by model and state, and how many are kept back, by reason.
type Supply struct {
	GPUs     map[GPUState]int32
	HeldBack map[string]int32
}

// GPUState is a state that GPUs of a model are in.
type GPUState struct {
	Model string
	State string
}

// supply collects what is read when it is scraped.
type supply struct {
	read func() (Supply, error)
}

// CollectSupply registers the supplier's GPUs, which are read whenever they are scraped. While they cannot be read there is no series of
// them: a number that nobody knows is not zero. It panics when reg has metrics of the same names already.
func CollectSupply(reg prometheus.Registerer, read func() (Supply, error)) {
	reg.MustRegister(supply{read: read})
}

func gauges() (gpus, heldBack *prometheus.GaugeVec) {
	gpus = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bourse_gpus",
		Help: "GPUs of the supplier's pools, by model and state (leased, free, withheld, unhealthy).",
	}, []string{"model", "state"})
	heldBack = prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "bourse_gpus_held_back",
		Help: "GPUs of the supplier's pools that are not with the market, by the first reason that applies.",
	}, []string{"reason"})
	return gpus, heldBack
}

// Describe says which metrics there are.
func (s supply) Describe(descs chan<- *prometheus.Desc) {
	gpus, heldBack := gauges()
	gpus.Describe(descs)
	heldBack.Describe(descs)
}

// Collect reads them.
func (s supply) Collect(series chan<- prometheus.Metric) {
	now, err := s.read()
	if err != nil {
		return
	}
	gpus, heldBack := gauges()
	for of, number := range now.GPUs {
		gpus.WithLabelValues(of.Model, of.State).Set(float64(number))
	}
	for reason, number := range now.HeldBack {
		heldBack.WithLabelValues(reason).Set(float64(number))
	}
	gpus.Collect(series)
	heldBack.Collect(series)
}
