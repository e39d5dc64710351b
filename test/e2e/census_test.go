// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/test/gpuhistory"
)

// census holds at every moment that no more GPUs of a supplier are held than there are: on each node by pods, as its cluster says, and of
// each model by leases, as the hub says. It sees every change of both, each in the order in which it happened, and writes down who took and
// left GPUs from when on and until when: in the end that must have an order in which each GPU has one holder at the most.
type census struct {
	f        *federation
	supplier string
	stop     context.CancelFunc
	watches  sync.WaitGroup
	there    map[string]int64 // node to its GPUs

	lock     sync.Mutex
	history  *gpuhistory.History
	holders  map[string]*holder // by the UID of pod or lease
	held     map[string]int64   // node to the GPUs that pods hold now
	own      int64              // how many of the model's GPUs the supplier's own work has, and leases cannot
	most     int64              // the most that pods ever held of all nodes
	mostSold int64              // the most that leases ever held
	changes  int
}

func newCensus(f *federation, supplier string) *census {
	f.t.Helper()
	ctx, stop := context.WithCancel(f.t.Context())
	c := &census{
		f: f, supplier: supplier, stop: stop, there: map[string]int64{}, held: map[string]int64{}, holders: map[string]*holder{},
	}
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
	c.history = gpuhistory.New(c.sets())
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
	c.f.must(c.history.Check(time.Minute))
	c.f.teller.Say("%d times GPUs were taken and left, in an order in which each has one holder at the most", c.history.Len())
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

// reserve tells that the supplier's own work has taken so many of the model's GPUs, which it asked for at a time, and that leases cannot
// have them from now on.
func (c *census) reserve(own int64, asked time.Time) {
	c.f.t.Helper()
	c.lock.Lock()
	defer c.lock.Unlock()
	c.own = own
	c.f.must(c.history.Take(sold, "own work", int(own), gpuhistory.Seen{Call: asked, Return: time.Now()}))
}

// release tells that the supplier's own work is gone, which was asked to go at a time.
func (c *census) release(asked time.Time) {
	c.f.t.Helper()
	c.lock.Lock()
	defer c.lock.Unlock()
	c.own = 0
	c.f.must(c.history.Leave(sold, "own work", gpuhistory.Seen{Call: asked, Return: time.Now()}))
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
		c.record(object, change.Type == watch.Deleted)
		look(all)
		c.lock.Unlock()
	}
	if ctx.Err() == nil {
		c.f.t.Error("a watch ended before the test")
	}
}

// sold is the set of GPUs that leases and the supplier's own work take from. Each node is another set, which pods take from.
const sold = "the GPUs of " + apartModel

// sets are how many GPUs there are in each set.
func (c *census) sets() map[string]int {
	sets := map[string]int{}
	for node, gpus := range c.there {
		sets[node] = int(gpus)
		if isApartModel(node) {
			sets[sold] += int(gpus)
		}
	}
	return sets
}

// holder is what was seen so far of a pod or a lease.
type holder struct {
	set string // empty while it holds nothing
	// since is when it was first seen to be about to change: it cannot have taken its GPUs before, nor left them.
	since time.Time
	usage *boursev1.LeaseUsage // the newest that the hub has, of a lease
}

// meter holds that what the hub has of a lease's meter only grows, and that each record is there in one form; the lock is held.
func (c *census) meter(known *holder, lease *boursev1.GPULease) {
	old, now := known.usage, lease.Status.Usage
	known.usage = now
	switch {
	case old == nil:
	case now == nil:
		c.f.t.Errorf("%s has lost its meter, of record %d", lease.Name, old.Sequence)
	case now.Sequence == old.Sequence && now.Digest != old.Digest:
		c.f.t.Errorf("%s has two records %d: %+v and %+v", lease.Name, now.Sequence, old, now)
	case now.Sequence < old.Sequence || *now.GPUMilliseconds < *old.GPUMilliseconds || now.Through.Before(&old.Through):
		c.f.t.Errorf("the meter of %s went back: %+v after %+v", lease.Name, now, old)
	}
}

// record writes down what a change of a pod or a lease says about GPUs; the lock is held. What happens to one cluster's objects is seen in
// the order in which it happens, but for that of another the times alone tell.
func (c *census) record(object client.Object, gone bool) {
	now, uid := time.Now(), string(object.GetUID())
	known := c.holders[uid]
	if known == nil {
		known = &holder{since: now}
		c.holders[uid] = known
	}
	name := object.GetNamespace() + "/" + object.GetName() + " " + uid
	set, gpus := "", int64(0)
	switch object := object.(type) {
	case *corev1.Pod:
		if !gone && holds(object) {
			set, gpus = object.Spec.NodeName, requested(object)
		}
		if known.set != "" && object.DeletionTimestamp == nil {
			known.since = now // it still runs
		}
	case *boursev1.GPULease:
		c.meter(known, object)
		if sells(object) {
			set, gpus = sold, int64(object.Spec.Workers*object.Spec.PerWorker)
		}
		if usage := object.Status.Usage; set != "" && known.set != "" && usage != nil {
			known.since = usage.Through.Time // its supplier says that it ran then; the hub may hear of it late
		}
	}
	var err error
	switch {
	case known.set == "" && gpus > 0:
		err = c.history.Take(set, name, int(gpus), gpuhistory.Seen{Call: known.since, Return: now})
		known.set = set
	case known.set != "" && set == "":
		err = c.history.Leave(known.set, name, gpuhistory.Seen{Call: known.since, Return: now})
		known.set = ""
	}
	if err != nil {
		c.f.t.Error(err)
	}
}

// holds says whether a pod has its GPUs.
func holds(pod *corev1.Pod) bool {
	return pod.Spec.NodeName != "" && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed
}

// requested is how many GPUs a pod has or waits for.
func requested(pod *corev1.Pod) int64 {
	var sum int64
	for _, container := range pod.Spec.Containers {
		gpus := container.Resources.Requests[resourceGPU]
		sum += gpus.Value()
	}
	return sum
}

// sells says whether a lease has GPUs of the model that is ordered.
func sells(lease *boursev1.GPULease) bool {
	return lease.Spec.Model == apartModel && kube.IsTrue(lease, boursev1.LeaseAccepted) && lease.Status.End == nil
}

// pods counts what pods hold; the lock is held.
func (c *census) pods(all map[client.ObjectKey]*corev1.Pod) {
	c.held = map[string]int64{}
	var sum int64
	for _, pod := range all {
		if holds(pod) {
			gpus := requested(pod)
			c.held[pod.Spec.NodeName] += gpus
			sum += gpus
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
	held, of := int64(0), -c.own
	for _, lease := range all {
		if sells(lease) {
			held += int64(lease.Spec.Workers * lease.Spec.PerWorker)
		}
	}
	for node, gpus := range c.there {
		if isApartModel(node) {
			of += gpus
		}
	}
	c.mostSold = max(c.mostSold, held)
	if held > of {
		c.f.t.Errorf("%d GPUs of %s are sold, and there are %d", held, apartModel, of)
	}
}

// isApartModel says whether a fake node has GPUs of the model that is ordered; its name tells.
func isApartModel(node string) bool { return strings.Contains(node, "-a100-") }
