// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"maps"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
)

// census holds at every moment that no more GPUs of a supplier are held than there are: on each node by pods, as its cluster says, and of
// each model by leases, as the hub says. It sees every change of both, each in the order in which it happened.
type census struct {
	f        *federation
	supplier string
	stop     context.CancelFunc
	watches  sync.WaitGroup
	there    map[string]int64 // node to its GPUs

	lock     sync.Mutex
	held     map[string]int64 // node to the GPUs that pods hold now
	own      int64            // how many of the model's GPUs the supplier's own work has, and leases cannot
	most     int64            // the most that pods ever held of all nodes
	mostSold int64            // the most that leases ever held
	changes  int
}

func newCensus(f *federation, supplier string) *census {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	c := &census{f: f, supplier: supplier, stop: stop, there: map[string]int64{}, held: map[string]int64{}}
	f.t.Cleanup(func() { // should the test not come to its end
		stop()
		c.watches.Wait()
	})
	var nodes corev1.NodeList
	f.must(f.lab.In(supplier).List(f.t.Context(), &nodes))
	for i := range nodes.Items {
		gpus := nodes.Items[i].Status.Allocatable[resourceGPU]
		c.there[nodes.Items[i].Name] = gpus.Value()
	}
	c.watches.Go(func() { follow(ctx, c, f.lab.In(supplier), &corev1.PodList{}, c.pods) })
	c.watches.Go(func() { follow(ctx, c, f.lab.Client, &boursev1.GPULeaseList{}, c.leases, client.InNamespace(supplier)) })
	return c
}

// end stops counting and says what was seen.
func (c *census) end() {
	c.f.t.Helper()
	c.stop()
	c.watches.Wait()
	var all int64
	for _, gpus := range c.there {
		all += gpus
	}
	c.f.teller.Say("%d changes were seen: pods held %d of %d GPUs at the most, and leases %d", c.changes, c.most, all, c.mostSold)
}

// free is how many GPUs no pod holds, by node.
func (c *census) free() map[string]int64 {
	c.lock.Lock()
	defer c.lock.Unlock()
	free := maps.Clone(c.there)
	for node, gpus := range c.held {
		free[node] -= gpus
	}
	return free
}

// reserve tells how many of the model's GPUs leases cannot have from now on.
func (c *census) reserve(own int64) {
	c.lock.Lock()
	defer c.lock.Unlock()
	c.own = own
}

// follow lets look see all objects whenever one of them has changed.
func follow[T client.Object](
	ctx context.Context, c *census, side client.WithWatch, list client.ObjectList, look func(map[client.ObjectKey]T),
	options ...client.ListOption,
) {
	changes, err := side.Watch(ctx, list, options...)
	if err != nil {
		c.f.t.Errorf("watch: %v", err)
		return
	}
	defer changes.Stop()
	all := map[client.ObjectKey]T{}
	for change := range changes.ResultChan() {
		object, ok := change.Object.(T)
		switch {
		case ctx.Err() != nil:
			return
		case change.Type == watch.Error:
			c.f.t.Errorf("watch: %v", apierrors.FromObject(change.Object))
			return
		case !ok || change.Type == watch.Bookmark:
			continue
		case change.Type == watch.Deleted:
			delete(all, client.ObjectKeyFromObject(object))
		default:
			all[client.ObjectKeyFromObject(object)] = object
		}
		c.lock.Lock()
		c.changes++
		look(all)
		c.lock.Unlock()
	}
	if ctx.Err() == nil {
		c.f.t.Error("a watch ended before the test")
	}
}

// pods counts what pods hold; the lock is held.
func (c *census) pods(all map[client.ObjectKey]*corev1.Pod) {
	c.held = map[string]int64{}
	var sum int64
	for _, pod := range all {
		if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
			continue
		}
		for _, container := range pod.Spec.Containers {
			gpus := container.Resources.Requests[resourceGPU]
			c.held[pod.Spec.NodeName] += gpus.Value()
			sum += gpus.Value()
		}
	}
	c.most = max(c.most, sum)
	for node, gpus := range c.held {
		if gpus > c.there[node] {
			c.f.t.Errorf("pods hold %d GPUs of node %s, which has %d", gpus, node, c.there[node])
		}
	}
}

// leases counts what leases hold that were accepted and have not ended; the lock is held.
func (c *census) leases(all map[client.ObjectKey]*boursev1.GPULease) {
	sold, of := int64(0), -c.own
	for _, lease := range all {
		if lease.Spec.Model == apartModel && kube.IsTrue(lease, boursev1.LeaseAccepted) && lease.Status.End == nil {
			sold += int64(lease.Spec.Workers * lease.Spec.PerWorker)
		}
	}
	for node, gpus := range c.there {
		if isApartModel(node) {
			of += gpus
		}
	}
	c.mostSold = max(c.mostSold, sold)
	if sold > of {
		c.f.t.Errorf("%d GPUs of %s are sold, and there are %d", sold, apartModel, of)
	}
}

// isApartModel says whether a fake node has GPUs of the model that is ordered; its name tells.
func isApartModel(node string) bool { return strings.Contains(node, "-a100-") }
