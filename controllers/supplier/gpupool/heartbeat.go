// SPDX-License-Identifier: Apache-2.0

package gpupool

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// agentLease is how the Leases begin by which agents say that they are there; the node's name follows.
const agentLease = "bourse-agent-"

// usualBeat is how long an agent that does not say otherwise may be silent, and beatMargin is how much later than that it may be heard.
const (
	usualBeat  = 40 * time.Second
	beatMargin = 15 * time.Second
)

// beat is the newest sign of life of an agent, and when it was heard. The two clocks are not compared after that: the agent's may be wrong.
type beat struct {
	renewed time.Time
	heard   time.Time
}

// listen reads the agents' signs of life.
func (r *Reconciler) listen(ctx context.Context) (map[string]*coordinationv1.Lease, error) {
	if r.System == "" {
		return nil, nil //nolint:nilnil // a nil map is one without entries
	}
	var leases coordinationv1.LeaseList
	if err := r.Local.List(ctx, &leases, client.InNamespace(r.System), client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("list heartbeats: %w", err)
	}
	now := r.Now()
	beats, beating := make(map[string]beat, len(leases.Items)), make(map[string]*coordinationv1.Lease, len(leases.Items))
	for i := range leases.Items {
		lease := &leases.Items[i]
		node, ok := strings.CutPrefix(lease.Name, agentLease)
		if !ok || lease.Spec.RenewTime == nil {
			continue
		}
		beating[node] = lease
		last, known := r.beats[node]
		switch {
		case !known && lease.Spec.RenewTime.Time.Before(now): // heard while nobody listened
			last = beat{lease.Spec.RenewTime.Time, lease.Spec.RenewTime.Time}
		case !known || !last.renewed.Equal(lease.Spec.RenewTime.Time):
			last = beat{lease.Spec.RenewTime.Time, now}
		}
		beats[node] = last
	}
	r.beats = beats
	return beating, nil
}

// silent says whether the node's agent was not heard of for too long, and looks again when it will be. An agent that was never heard of is
// silent too.
func (p *pass) silent(node string) bool {
	lease := p.beating[node]
	if lease == nil {
		return true
	}
	left := patience(lease) - p.Now().Sub(p.beats[node].heard)
	if left > 0 {
		p.lookAgain(left)
	}
	return left <= 0
}

// sign tells one sign of life from another.
func (p *pass) sign(node string, sequence int64) string {
	return strconv.FormatInt(sequence, 36) + "/" + strconv.FormatInt(p.beats[node].renewed.UnixNano(), 36)
}

func patience(lease *coordinationv1.Lease) time.Duration {
	if lease.Spec.LeaseDurationSeconds == nil {
		return usualBeat + beatMargin
	}
	return time.Duration(*lease.Spec.LeaseDurationSeconds)*time.Second + beatMargin
}

// heartbeat leaves out signs of life that come in time: nobody has to be woken for them.
func heartbeat() predicate.Predicate {
	agents := predicate.NewPredicateFuncs(func(object client.Object) bool { return strings.HasPrefix(object.GetName(), agentLease) })
	return predicate.And(agents, predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		before, okBefore := e.ObjectOld.(*coordinationv1.Lease)
		after, okAfter := e.ObjectNew.(*coordinationv1.Lease)
		if !okBefore || !okAfter || before.Spec.RenewTime == nil || after.Spec.RenewTime == nil {
			return okBefore && okAfter
		}
		return after.Spec.RenewTime.Sub(before.Spec.RenewTime.Time) >= patience(before)
	}})
}
