// SPDX-License-Identifier: Apache-2.0

package gpu

// Init is an init container of a pod.
type Init struct {
	GPUs    int32
	Sidecar bool // it keeps running beside the containers that follow
}

// Requests returns how many GPUs the scheduler counts for a pod: what its containers and sidecars hold together, or what one of its
// init containers holds together with the sidecars before it, if that is more.
func Requests(containers []int32, inits []Init) int32 {
	var sidecars, most int32
	for _, init := range inits {
		if init.Sidecar {
			sidecars += init.GPUs
			most = max(most, sidecars)
			continue
		}
		most = max(most, sidecars+init.GPUs)
	}
	running := sidecars
	for _, gpus := range containers {
		running += gpus
	}
	return max(most, running)
}
