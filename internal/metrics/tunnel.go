// SPDX-License-Identifier: Apache-2.0

package metrics

import "github.com/prometheus/client_golang/prometheus"

// CollectTunnels registers how many tunnels of suppliers the gateway holds, which is read whenever it is scraped. It panics when reg has
// metrics of the same names already.
func CollectTunnels(reg prometheus.Registerer, open func() int) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bourse_gateway_tunnels",
		Help: "Tunnels of suppliers that the gateway holds.",
	}, func() float64 { return float64(open()) }))
}

// CollectTunnel registers whether the supplier's tunnel is open, which is read whenever it is scraped. It panics when reg has metrics of the
// same names already.
func CollectTunnel(reg prometheus.Registerer, connected func() bool) {
	reg.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "bourse_tunnel_connected",
		Help: "Whether the supplier's tunnel to the market's gateway is open (1) or not (0).",
	}, func() float64 {
		if connected() {
			return 1
		}
		return 0
	}))
}
