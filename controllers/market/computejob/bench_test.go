// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// bench is a controller on a hub in memory, whose watches it tells of before each pass.
type bench struct {
	t        *testing.T
	hub      *fakehub.Hub
	r        *Reconciler
	ofOffers watch.Interface
	ofLeases watch.Interface
	seen     map[client.ObjectKey]client.Object // offers, as the watch showed them last
	queue    *queue                             // what the watches brought back
}

// queue takes requests down.
type queue struct {
	workqueue.TypedRateLimitingInterface[reconcile.Request]

	added []string
}

func (q *queue) Add(request reconcile.Request) { q.added = append(q.added, request.Name) }

// newBench returns a controller on a hub with a market, both members, and the objects.
func newBench(t *testing.T, objects ...client.Object) *bench {
	t.Helper()
	wanted := indexes()
	found := make([]fakehub.Index, 0, len(wanted))
	for _, one := range wanted {
		found = append(found, fakehub.Index{Of: one.of, Name: one.name, Values: one.values})
	}
	objects = append(objects, builders.Market(), builders.Member(builders.Buyer), builders.Member(builders.Supplier))
	b := &bench{t: t, hub: fakehub.New(t, found, objects...), seen: map[client.ObjectKey]client.Object{}, queue: &queue{}}
	b.ofOffers, b.ofLeases = b.watch(&boursev1.GPUOfferList{}), b.watch(&boursev1.GPULeaseList{})
	b.restart()
	return b
}

func (b *bench) watch(list client.ObjectList) watch.Interface {
	b.t.Helper()
	hub, ok := b.hub.Client.(client.WithWatch)
	if !ok {
		b.t.Fatal("the fake hub cannot be watched")
	}
	watched, err := hub.Watch(b.t.Context(), list)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(watched.Stop)
	return watched
}

// tell hands the controller what its watches saw since it was last told. A cache that shows no lease brings no events of leases.
func (b *bench) tell() {
	b.t.Helper()
	for {
		select {
		case e := <-b.ofOffers.ResultChan():
			b.handle(b.r.offerEvents(), e)
		case e := <-b.ofLeases.ResultChan():
			if _, stale := b.r.Hub.(blind); !stale {
				b.handle(b.r.leaseEvents(), e)
			}
		default:
			return
		}
	}
}

func (b *bench) handle(funcs handler.Funcs, e watch.Event) {
	b.t.Helper()
	obj, ok := e.Object.(client.Object)
	if !ok {
		b.t.Fatalf("the watch shows a %T", e.Object)
	}
	key := client.ObjectKeyFromObject(obj)
	switch older := b.seen[key]; {
	case e.Type == watch.Deleted:
		funcs.Delete(b.t.Context(), event.DeleteEvent{Object: obj}, b.queue)
		delete(b.seen, key)
	case older == nil:
		funcs.Create(b.t.Context(), event.CreateEvent{Object: obj}, b.queue)
		b.seen[key] = obj
	default:
		funcs.Update(b.t.Context(), event.UpdateEvent{ObjectOld: older, ObjectNew: obj}, b.queue)
		b.seen[key] = obj
	}
}

// restart replaces the controller by one that remembers nothing.
func (b *bench) restart() {
	b.t.Helper()
	b.r = &Reconciler{Teller: b.hub.Teller(), Hub: b.hub, Live: b.hub, Now: b.hub.Now}
}

// pass runs one pass and returns the job as the hub holds it then; a job that is gone is nil.
func (b *bench) pass(name string) (*boursev1.ComputeJob, reconcile.Result) {
	b.t.Helper()
	b.tell()
	job := builders.Job(name)
	b.hub.Read(job)
	result, err := b.r.Reconcile(b.t.Context(), job)
	if err != nil {
		b.t.Fatalf("pass: %v", err)
	}
	err = b.hub.Get(b.t.Context(), client.ObjectKeyFromObject(job), job)
	if apierrors.IsNotFound(err) {
		return nil, result
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return job, result
}

// settle runs passes until one writes nothing, and returns the job.
func (b *bench) settle(name string) (*boursev1.ComputeJob, reconcile.Result) {
	b.t.Helper()
	for range 10 {
		var job *boursev1.ComputeJob
		var result reconcile.Result
		wrote := b.hub.Writes(func() { job, result = b.pass(name) })
		if len(wrote) == 0 || job == nil {
			return job, result
		}
	}
	b.t.Fatal("ten passes did not come to rest: the job is written again and again")
	return nil, reconcile.Result{}
}

// lease returns the job's lease.
func (b *bench) lease(job *boursev1.ComputeJob) *boursev1.GPULease {
	b.t.Helper()
	if job.Status.Lease == nil {
		b.t.Fatal("the job has no lease")
	}
	lease := &boursev1.GPULease{ObjectMeta: metav1.ObjectMeta{Namespace: job.Status.Lease.Namespace, Name: job.Status.Lease.Name}}
	b.hub.Read(lease)
	return lease
}

// delete deletes the job, and sets the clock to when the fake API server says that it did so.
func (b *bench) delete(job *boursev1.ComputeJob) {
	b.t.Helper()
	if err := b.hub.Delete(b.t.Context(), job); err != nil {
		b.t.Fatal(err)
	}
	b.hub.Read(job)
	b.hub.Step(job.DeletionTimestamp.Sub(b.hub.Now()))
}

// leases returns every lease of the hub.
func (b *bench) leases() []boursev1.GPULease {
	b.t.Helper()
	var list boursev1.GPULeaseList
	if err := b.hub.List(b.t.Context(), &list); err != nil {
		b.t.Fatal(err)
	}
	return list.Items
}

// supplier sets conditions on the lease, as its supplier would.
func (b *bench) supplier(lease *boursev1.GPULease, change func(*boursev1.GPULeaseStatus), conditions ...metav1.Condition) {
	b.t.Helper()
	for _, condition := range conditions {
		condition.LastTransitionTime = metav1.NewTime(b.hub.Now())
		meta.SetStatusCondition(&lease.Status.Conditions, condition)
	}
	if change != nil {
		change(&lease.Status)
	}
	b.hub.EditStatus(lease)
}

func accepted() metav1.Condition {
	return builders.Condition(boursev1.LeaseAccepted, metav1.ConditionTrue, boursev1.ReasonCapacityHeld)
}

// expect compares one condition.
func expect(t *testing.T, job *boursev1.ComputeJob, kind string, status metav1.ConditionStatus, reason string) {
	t.Helper()
	got := meta.FindStatusCondition(job.Status.Conditions, kind)
	if got == nil {
		t.Errorf("%s is missing, want %s/%s", kind, status, reason)
		return
	}
	if got.Status != status || got.Reason != reason {
		t.Errorf("%s is %s/%s (%s), want %s/%s", kind, got.Status, got.Reason, got.Message, status, reason)
	}
}

// blind is a cache that has not seen any lease yet.
type blind struct{ client.Client }

func (c blind) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if _, ok := obj.(*boursev1.GPULease); ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "gpuleases"}, key.Name)
	}
	return c.Client.Get(ctx, key, obj, opts...)
}

func (c blind) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if _, ok := list.(*boursev1.GPULeaseList); ok {
		return nil
	}
	return c.Client.List(ctx, list, opts...)
}

const minute = time.Minute
