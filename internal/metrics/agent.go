// SPDX-License-Identifier: Apache-2.0

package metrics

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// The outcomes of what an agent does are those of a request to the chain; this one is its own.
const (
	// OutcomeUnchanged is a reading that found what was reported already, so that nothing was written.
	OutcomeUnchanged = "unchanged"
)

// Gauge is the state of one device. What is nil is not known.
type Gauge struct {
	Model                                          string
	Healthy                                        bool
	Celsius, Watts, Hertz, Utilization, MemoryUsed *float64
	Processes                                      *int32
}

// Agent is every metric of a node's agent. The devices are numbered in the order in which their GPUNode lists them.
type Agent struct {
	readings, writes, errors *prometheus.CounterVec
	devices                  deviceCollector
}

// NewAgent makes the metrics and registers them. It panics when reg has metrics of the same names already.
func NewAgent(reg prometheus.Registerer) *Agent {
	a := &Agent{
		readings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bourse_agent_readings_total",
			Help: "Readings of the node's devices, by outcome (ok, error).",
		}, []string{"outcome"}),
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bourse_agent_writes_total",
			Help: "What became of readings, by outcome (ok, unchanged, error).",
		}, []string{"outcome"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "bourse_gpu_errors_total",
			Help: "Errors that the driver reported, by XID (0 for other kinds).",
		}, []string{"xid"}),
		devices: newDeviceCollector(),
	}
	reg.MustRegister(a.readings, a.writes, a.errors, &a.devices)
	return a
}

// Reading counts a reading.
func (a *Agent) Reading(outcome string) { a.readings.WithLabelValues(outcome).Inc() }

// Write counts what became of a reading.
func (a *Agent) Write(outcome string) { a.writes.WithLabelValues(outcome).Inc() }

// Error counts an error of a device.
func (a *Agent) Error(xid int32) { a.errors.WithLabelValues(strconv.Itoa(int(xid))).Inc() }

// Devices sets what is exported of the devices from now on.
func (a *Agent) Devices(now []Gauge) { a.devices.now.Store(&now) }

// deviceCollector exports the devices as they were last read.
type deviceCollector struct {
	now                                                                   atomic.Pointer[[]Gauge]
	healthy, celsius, watts, hertz, utilization, memoryUsed, processCount *prometheus.Desc
}

func newDeviceCollector() deviceCollector {
	describe := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, []string{"gpu", "model"}, nil)
	}
	return deviceCollector{
		healthy:      describe("bourse_gpu_healthy", "Whether the device can run work (1) or not (0)."),
		celsius:      describe("bourse_gpu_temperature_celsius", "The temperature of the device."),
		watts:        describe("bourse_gpu_power_watts", "What the device draws."),
		hertz:        describe("bourse_gpu_clock_hertz", "The clock of the device's processors."),
		utilization:  describe("bourse_gpu_utilization_ratio", "For which part of the last sample something ran on the device, from 0 to 1."),
		memoryUsed:   describe("bourse_gpu_memory_used_bytes", "How much of the device's memory is in use."),
		processCount: describe("bourse_gpu_foreign_processes", "Processes on the device that it was not given to."),
	}
}

// Describe sends what may be exported.
func (c *deviceCollector) Describe(to chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{c.healthy, c.celsius, c.watts, c.hertz, c.utilization, c.memoryUsed, c.processCount} {
		to <- desc
	}
}

// Collect sends what is known.
func (c *deviceCollector) Collect(to chan<- prometheus.Metric) {
	now := c.now.Load()
	if now == nil {
		return
	}
	for i, device := range *now {
		send := func(desc *prometheus.Desc, value *float64) {
			if value != nil {
				to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, *value, strconv.Itoa(i), device.Model) //nolint:promlinter // a test lints them
			}
		}
		health := 0.0
		if device.Healthy {
			health = 1
		}
		send(c.healthy, &health)
		send(c.celsius, device.Celsius)
		send(c.watts, device.Watts)
		send(c.hertz, device.Hertz)
		send(c.utilization, device.Utilization)
		send(c.memoryUsed, device.MemoryUsed)
		if device.Processes != nil {
			send(c.processCount, new(float64(*device.Processes)))
		}
	}
}
