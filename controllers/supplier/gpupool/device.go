// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/gpu"
	"github.com/bourse-dev/bourse/internal/kube"
)

// leastPower is how much of its default power limit a GPU needs to be what its model says, in hundredths.
const leastPower = 80

// maxNamed is how many GPUs a message names.
const maxNamed = 3

// verdict is what became of checking one version of an agent's record.
type verdict struct {
	version string
	err     error
}

// agents reads what the agents report, and where two nodes report one GPU. Records whose signature does not hold say nothing of
// identities: otherwise an impostor could take another node's GPUs off the market.
func (p *pass) agents(ctx context.Context, exists map[string]*corev1.Node) error {
	var list boursev1.GPUNodeList
	if err := p.Local.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("list GPU nodes: %w", err)
	}
	verdicts := make(map[types.UID]verdict, len(list.Items))
	p.reports = make(map[string]*boursev1.GPUNode, len(list.Items))
	p.owners, p.twice = map[string]string{}, map[string]bool{}
	for i := range list.Items {
		of := &list.Items[i]
		if exists[of.Name] == nil {
			continue // a node that has left the cluster
		}
		p.reports[of.Name] = of
		verdicts[of.UID] = p.verify(ctx, of)
		if verdicts[of.UID].err != nil {
			continue
		}
		for d := range of.Status.Devices {
			p.claim(of.Name, of.Status.Devices[d].UUID)
		}
	}
	p.verdicts = verdicts
	return nil
}

// claim notes on which node a GPU is.
func (p *pass) claim(node, uuid string) {
	if other, taken := p.owners[uuid]; taken && other != node {
		p.twice[uuid] = true
	}
	p.owners[uuid] = node
}

// verify checks the agent's signature, once for each version of a record.
func (r *Reconciler) verify(ctx context.Context, of *boursev1.GPUNode) verdict {
	if r.Verified == nil {
		return verdict{}
	}
	last, known := r.verdicts[of.UID]
	if known && last.version == of.ResourceVersion {
		return last
	}
	next := verdict{of.ResourceVersion, r.Verified(of)}
	if next.err != nil && last.err == nil {
		ctrl.LoggerFrom(ctx).Info("Refused record of agent", "node", klog.KObj(of), "reason", next.err.Error())
	}
	return next
}

// devices are the GPUs of one vendor that the node's agent reports, and the pods that only the agent still knows.
func (p *pass) devices(of *boursev1.GPUNode, class boursev1.DeviceClass) (devices []gpu.Device, ghosts []gpu.Holder) {
	devices = make([]gpu.Device, 0, len(of.Status.Devices))
	for d := range of.Status.Devices {
		reported := &of.Status.Devices[d]
		if reported.Class != class && (reported.Class != "" || class != boursev1.ClassNVIDIA) {
			continue
		}
		device := gpu.Device{
			ID:       reported.UUID,
			Model:    gpu.Model{Name: string(reported.Model), MemoryMiB: reported.MemoryMiB, Partition: reported.Parent != ""},
			Fault:    fault(reported),
			Conflict: p.twice[reported.UUID],
			Limited:  reported.PowerLimitPercent != nil && *reported.PowerLimitPercent < leastPower,
		}
		if reported.Processes != nil {
			device.Processes = *reported.Processes
		}
		if reported.Pod.Name != "" {
			uid, known := p.held.uids[types.NamespacedName{Namespace: reported.Pod.Namespace, Name: reported.Pod.Name}]
			if !known {
				holder := ghost(reported.Pod)
				uid = holder.UID
				if !slices.ContainsFunc(ghosts, func(g gpu.Holder) bool { return g.UID == uid }) {
					ghosts = append(ghosts, holder)
				}
			}
			device.Holder = uid
		}
		devices = append(devices, device)
	}
	return devices, ghosts
}

// fault says in words what is wrong with a device; nothing if it is well.
func fault(of *boursev1.GPUDevice) string {
	switch {
	case of.Health == boursev1.DeviceHealthy:
		return ""
	case of.XID != nil:
		return "XID " + strconv.Itoa(int(*of.XID))
	case of.Fault != "":
		return string(of.Fault)
	default:
		return "no reason given"
	}
}

// identify says whether each of the pool's GPUs is on one node only.
func (p *pass) identify(pool *boursev1.GPUPool) {
	known := false
	var twice []string
	for i := range p.stocks {
		for d := range p.stocks[i].Devices {
			known = true
			if device := &p.stocks[i].Devices[d]; device.Conflict {
				twice = append(twice, device.ID)
			}
		}
	}
	slices.Sort(twice)
	twice = slices.Compact(twice)
	switch {
	case len(twice) > 0:
		names := strings.Join(twice[:min(len(twice), maxNamed)], ", ")
		if len(twice) > maxNamed {
			names += " and more"
		}
		kube.Failed(pool, boursev1.PoolIdentified, boursev1.ReasonIdentityConflict, "More than one node reports "+names)
	case known:
		kube.True(pool, boursev1.PoolIdentified, boursev1.ReasonDistinct, "Each GPU that is known by its identity is on one node only")
	default:
		kube.Waiting(pool, boursev1.PoolIdentified, boursev1.ReasonNoAgent, "No agent reports the identities of the pool's GPUs")
	}
}
