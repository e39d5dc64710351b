// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/book"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/listing"
)

const (
	// forgotten is after how many rematches a waiting job that is not tried any more counts as gone.
	forgotten = 4
	// spacing is the least time between two rematches of any waiting jobs: telling a job why no offer fits means to look at all of them.
	spacing = 20 * time.Millisecond
)

// feed carries what the watches see to whoever owns the book next: which offers and leases changed. They are read anew, so that it does not
// matter how often or in what order they are told. The feed also knows the jobs that wait, and so which of them an event can help.
type feed struct {
	mu      sync.Mutex
	offers  map[types.NamespacedName]bool
	leases  map[types.NamespacedName]bool
	waiting map[types.NamespacedName]waiter
}

// waiter is a job that found no offer.
type waiter struct {
	demand book.Demand
	until  time.Time // when it counts as gone, unless it is tried again
	on     uint64    // the version of the book that it was tried on
}

func (f *feed) offer(key types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.offers == nil {
		f.offers = map[types.NamespacedName]bool{}
	}
	f.offers[key] = true
}

func (f *feed) lease(key types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.leases == nil {
		f.leases = map[types.NamespacedName]bool{}
	}
	f.leases[key] = true
}

// take returns what changed since it was last asked, in order.
func (f *feed) take() (offers, leases []types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	offers, leases = inOrder(f.offers), inOrder(f.leases)
	clear(f.offers)
	clear(f.leases)
	return offers, leases
}

func inOrder(set map[types.NamespacedName]bool) []types.NamespacedName {
	keys := make([]types.NamespacedName, 0, len(set))
	for key := range set {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b types.NamespacedName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return keys
}

// wait remembers a job that found no offer on a version of the book, and returns how long it waits for its next try: the longer, the more
// jobs wait.
func (f *feed) wait(job types.NamespacedName, demand *book.Demand, on uint64) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.waiting == nil {
		f.waiting = map[types.NamespacedName]waiter{}
	}
	every := max(rematchEvery, time.Duration(len(f.waiting))*spacing)
	f.waiting[job] = waiter{demand: *demand, until: demand.At.Add(forgotten * every), on: on}
	return every
}

// tried says whether a waiting job was tried with the same bid on the version of the book.
func (f *feed) tried(job types.NamespacedName, demand *book.Demand, on uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	one, ok := f.waiting[job]
	return ok && one.on == on && one.demand.MaxPrice == demand.MaxPrice
}

// leave forgets a job that waits no more.
func (f *feed) leave(job types.NamespacedName) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.waiting, job)
}

// served returns the waiting jobs whose every rule the offer meets now.
func (f *feed) served(offer *book.Offer, now time.Time) []reconcile.Request {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := map[types.NamespacedName]bool{}
	for key, one := range f.waiting {
		if now.After(one.until) {
			delete(f.waiting, key)
			continue
		}
		one.demand.At = now
		if book.Fits(&one.demand, offer) {
			found[key] = true
		}
	}
	requests := make([]reconcile.Request, 0, len(found))
	for _, key := range inOrder(found) {
		requests = append(requests, reconcile.Request{NamespacedName: key})
	}
	return requests
}

type requests = workqueue.TypedRateLimitingInterface[reconcile.Request]

// offerEvents tells the book of every change of an offer, and brings back the jobs that it can serve now.
func (r *Reconciler) offerEvents() handler.Funcs {
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue requests) {
			r.feed.offer(client.ObjectKeyFromObject(e.Object))
			r.serve(ctx, e.Object, queue)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue requests) {
			r.feed.offer(client.ObjectKeyFromObject(e.ObjectNew))
			if offerChanged(e.ObjectOld, e.ObjectNew) {
				r.serve(ctx, e.ObjectNew, queue)
			}
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ requests) {
			r.feed.offer(client.ObjectKeyFromObject(e.Object))
		},
	}
}

// leaseEvents brings back the job of a lease, and tells the book what the lease holds; what it gives back may serve others.
func (r *Reconciler) leaseEvents() handler.Funcs {
	tell := func(ctx context.Context, obj client.Object, queue requests, gone bool) {
		lease, ok := obj.(*boursev1.GPULease)
		if !ok {
			return
		}
		r.feed.lease(client.ObjectKeyFromObject(lease))
		queue.Add(jobOf(lease))
		if !gone && listing.Open(lease) {
			return
		}
		var offer boursev1.GPUOffer
		key := types.NamespacedName{Namespace: lease.Namespace, Name: lease.Spec.Offer}
		if err := r.Hub.Get(ctx, key, &offer); err == nil { // an offer that is not there serves nobody
			r.serve(ctx, &offer, queue)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, queue requests) { tell(ctx, e.Object, queue, false) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, queue requests) { tell(ctx, e.ObjectNew, queue, false) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, queue requests) { tell(ctx, e.Object, queue, true) },
	}
}

// serve brings back the waiting jobs that fit the offer.
func (r *Reconciler) serve(ctx context.Context, obj client.Object, queue requests) {
	offer, ok := obj.(*boursev1.GPUOffer)
	if !ok {
		return
	}
	entry, err := r.listed(ctx, offer)
	if err != nil {
		ctrl.LoggerFrom(ctx).V(1).Info("An offer serves nobody", "offer", offer.Namespace+"/"+offer.Name, "reason", err.Error())
		return
	}
	for _, request := range r.feed.served(&entry, r.Now()) {
		queue.Add(request)
	}
}

// offerChanged says whether an offer may serve other jobs than before: a change other than its renewal.
func offerChanged(from, to client.Object) bool {
	before, isOffer := from.(*boursev1.GPUOffer)
	after, stillOffer := to.(*boursev1.GPUOffer)
	if !isOffer || !stillOffer {
		return false
	}
	if kube.IsTrue(before, boursev1.Ready) != kube.IsTrue(after, boursev1.Ready) {
		return true
	}
	was := before.Spec.DeepCopy()
	was.ValidUntil = metav1.Time{}
	is := after.Spec.DeepCopy()
	is.ValidUntil = metav1.Time{}
	return !apiequality.Semantic.DeepEqual(was, is)
}

func jobOf(lease *boursev1.GPULease) reconcile.Request {
	return reconcile.Request{NamespacedName: types.NamespacedName{Namespace: lease.Spec.Job.Namespace, Name: lease.Spec.Job.Name}}
}
