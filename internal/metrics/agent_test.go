// SPDX-License-Identifier: Apache-2.0

package metrics_test

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/bourse-dev/bourse/internal/metrics"
)

// touch gives every metric of an agent a series.
func touch(reg prometheus.Registerer) *metrics.Agent {
	a := metrics.NewAgent(reg)
	a.Reading(metrics.OutcomeOK)
	a.Write(metrics.OutcomeUnchanged)
	a.Error(79)
	a.Devices([]metrics.Gauge{{
		Model: "l4", Healthy: true, Celsius: new(40.0), Watts: new(30.0), Hertz: new(2.1e8), Utilization: new(0.5), MemoryUsed: new(1024.0), Processes: new(int32(1)),
	}})
	return a
}

func TestDevicesAreExportedAsTheyAreNow(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	a := touch(reg)
	a.Devices([]metrics.Gauge{{Model: "h100-sxm-80gb"}, {Model: "l4", Healthy: true, Celsius: new(41.5)}})
	want := `# HELP bourse_gpu_healthy Whether the device can run work (1) or not (0).
# TYPE bourse_gpu_healthy gauge
bourse_gpu_healthy{gpu="0",model="h100-sxm-80gb"} 0
bourse_gpu_healthy{gpu="1",model="l4"} 1
# HELP bourse_gpu_temperature_celsius The temperature of the device.
# TYPE bourse_gpu_temperature_celsius gauge
bourse_gpu_temperature_celsius{gpu="1",model="l4"} 41.5
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "bourse_gpu_healthy", "bourse_gpu_temperature_celsius", "bourse_gpu_power_watts"); err != nil {
		t.Error(err)
	}
}
