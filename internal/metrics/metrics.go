// SPDX-License-Identifier: Apache-2.0

// Package metrics declares every metric that Bourse's processes export, so that one page, docs/metrics.md, can list them all.
// It knows names, labels and buckets; what happens when is for its callers to say.
package metrics

import "github.com/prometheus/client_golang/prometheus"

// The outcomes of a request to the chain.
const (
	// OutcomeOK is a request that was answered.
	OutcomeOK = "ok"
	// OutcomeError is a request that failed, was refused or timed out.
	OutcomeError = "error"
)

// Metrics is every metric that happens; state is exported by collectors at scrape time.
type Metrics struct {
	transitions  *prometheus.CounterVec
	conflicts    *prometheus.CounterVec
	chainSeconds *prometheus.HistogramVec
	joins        *prometheus.CounterVec
	gateway      *prometheus.CounterVec
}

// New makes the metrics and registers them. It panics when reg has metrics of the same names already.
func New(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		transitions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bourse_condition_transitions_total",
			Help: "Conditions that changed their status or reason, by kind, condition, new status and new reason.",
		}, []string{"kind", "condition", "status", "reason"}),
		conflicts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bourse_write_conflicts_total",
			Help: "Writes that the API server refused because the object had changed since it was read, by kind.",
		}, []string{"kind"}),
		chainSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "bourse_chain_request_duration_seconds",
			Help:    "How long requests to the chain took, by method and outcome (ok, error).",
			Buckets: []float64{0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30},
		}, []string{"method", "outcome"}),
		joins: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bourse_join_requests_total",
			Help: "Requests to the join server, by route (challenge, join, renew, leave) and outcome (ok, error, or the reason of a refusal).",
		}, []string{"route", "outcome"}),
		gateway: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bourse_gateway_requests_total",
			Help: "Requests to the market's gateway that have ended, by route (tunnel, log, output, ray) and outcome (ok, or why it was refused).",
		}, []string{"route", "outcome"}),
	}
	reg.MustRegister(m.transitions, m.conflicts, m.chainSeconds, m.joins, m.gateway)
	return m
}

// Transition counts a condition that changed.
func (m *Metrics) Transition(kind, condition, status, reason string) {
	m.transitions.WithLabelValues(kind, condition, status, reason).Inc()
}

// Conflict counts a write that was refused because the object had changed since it was read.
func (m *Metrics) Conflict(kind string) {
	m.conflicts.WithLabelValues(kind).Inc()
}

// ChainRequest records how long a request to the chain took and whether it was answered.
func (m *Metrics) ChainRequest(method, outcome string, seconds float64) {
	m.chainSeconds.WithLabelValues(method, outcome).Observe(seconds)
}

// JoinRequest counts a request to the join server. Both come from closed sets.
func (m *Metrics) JoinRequest(route, outcome string) {
	m.joins.WithLabelValues(route, outcome).Inc()
}

// GatewayRequest counts a request to the gateway that has ended, and whether it was answered.
func (m *Metrics) GatewayRequest(route, outcome string) {
	m.gateway.WithLabelValues(route, outcome).Inc()
}
