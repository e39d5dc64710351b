// SPDX-License-Identifier: Apache-2.0

package reputation

import (
	"math"
	"math/bits"

	"github.com/bourse-dev/bourse/internal/money"
)

// Hours returns GPU-milliseconds as GPU-hours in millionths, rounded down.
func Hours(gpuMilliseconds uint64) uint64 {
	const whole, parts = 18, 5 // 3.6 milliseconds are a millionth of an hour
	return gpuMilliseconds/whole*parts + gpuMilliseconds%whole*parts/whole
}

// Bought returns the GPU-hours that an amount pays for at a price per GPU-hour, in millionths, rounded down. More than can be counted is
// the most that can.
func Bought(gross, pricePerGPUHour money.Amount) uint64 {
	high, low := bits.Mul64(uint64(gross), PPM)
	if high >= uint64(pricePerGPUHour) {
		return math.MaxUint64
	}
	hours, _ := bits.Div64(high, low, uint64(pricePerGPUHour))
	return hours
}
