// SPDX-License-Identifier: Apache-2.0

package computejob

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
)

// ours is the member's namespace in the hub.
const ours = "member-1"

var jobsResource = schema.GroupResource{Group: "bourse.dev", Resource: "computejobs"}

// apiServer adds to a fake one what it lacks: UIDs, generations, deletions of one UID only, and outages.
type apiServer struct {
	client.Client
	fake *fakehub.Hub
	name string
	made int
	away error // what every request is answered with; nil while it is there

	between func()      // what others do before a request arrives
	deaf    func() bool // whether the answer to a write gets lost
}

// answer is what comes back of a write.
func (s *apiServer) answer(err error) error {
	if s.deaf != nil && s.deaf() {
		return unavailable()
	}
	return err
}

// arrive lets a request through.
func (s *apiServer) arrive() error {
	if s.between != nil {
		s.between()
	}
	return s.away
}

func newAPIServer(t *testing.T, name string, objects ...client.Object) *apiServer {
	t.Helper()
	fake := fakehub.New(t, nil, objects...)
	return &apiServer{Client: fake, fake: fake, name: name}
}

func unavailable() error { return apierrors.NewServiceUnavailable("it is away") }

func (s *apiServer) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	if err := s.arrive(); err != nil {
		return err
	}
	return s.Client.Get(ctx, key, obj, opts...)
}

func (s *apiServer) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if err := s.arrive(); err != nil {
		return err
	}
	return s.Client.List(ctx, list, opts...)
}

func (s *apiServer) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	if err := s.arrive(); err != nil {
		return err
	}
	s.made++
	obj.SetUID(types.UID(fmt.Sprintf("%s-%d", s.name, s.made)))
	obj.SetGeneration(1)
	return s.answer(s.Client.Create(ctx, obj, opts...))
}

func (s *apiServer) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	if err := s.arrive(); err != nil {
		return err
	}
	job, isJob := obj.(*boursev1.ComputeJob)
	var before boursev1.ComputeJob
	if !isJob {
		return s.Client.Patch(ctx, obj, patch, opts...)
	}
	if err := s.Client.Get(ctx, client.ObjectKeyFromObject(obj), &before); err != nil {
		return err
	}
	if err := s.Client.Patch(ctx, obj, patch, opts...); err != nil || apiequality.Semantic.DeepEqual(before.Spec, job.Spec) {
		return err
	}
	job.Generation = before.Generation + 1
	return s.answer(s.Update(ctx, job))
}

func (s *apiServer) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	if err := s.arrive(); err != nil {
		return err
	}
	var of client.DeleteOptions
	of.ApplyOptions(opts)
	if of.Preconditions != nil && of.Preconditions.UID != nil {
		var now boursev1.ComputeJob
		if err := s.Client.Get(ctx, client.ObjectKeyFromObject(obj), &now); err != nil {
			return err
		}
		if now.UID != *of.Preconditions.UID {
			return apierrors.NewConflict(jobsResource, obj.GetName(), errors.New("another UID"))
		}
	}
	return s.answer(s.Client.Delete(ctx, obj, opts...))
}

// cached reads jobs as they were when it was synced last, and everything else, and every write, from the API server.
type cached struct {
	*apiServer
	t      *testing.T
	origin client.IndexerFunc
	jobs   map[client.ObjectKey]*boursev1.ComputeJob
	blind  bool // it has not been filled
}

func (c *cached) sync() {
	c.t.Helper()
	var list boursev1.ComputeJobList
	if err := c.Client.List(c.t.Context(), &list); err != nil {
		c.t.Fatal(err)
	}
	c.jobs = map[client.ObjectKey]*boursev1.ComputeJob{}
	if c.blind {
		return
	}
	for i := range list.Items {
		c.jobs[client.ObjectKeyFromObject(&list.Items[i])] = &list.Items[i]
	}
}

func (c *cached) Get(ctx context.Context, key client.ObjectKey, obj client.Object, opts ...client.GetOption) error {
	into, ok := obj.(*boursev1.ComputeJob)
	if !ok {
		return c.Client.Get(ctx, key, obj, opts...)
	}
	found := c.jobs[key]
	if found == nil {
		return apierrors.NewNotFound(jobsResource, key.Name)
	}
	found.DeepCopyInto(into)
	return nil
}

func (c *cached) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	into, ok := list.(*boursev1.ComputeJobList)
	if !ok {
		return c.Client.List(ctx, list, opts...)
	}
	var of client.ListOptions
	of.ApplyOptions(opts)
	for _, key := range slices.SortedFunc(maps.Keys(c.jobs), func(a, b client.ObjectKey) int { return slices.Compare([]byte(a.String()), []byte(b.String())) }) {
		job := c.jobs[key]
		if of.Namespace != "" && job.Namespace != of.Namespace {
			continue
		}
		if of.FieldSelector != nil {
			want, _ := of.FieldSelector.RequiresExactMatch(byOrigin)
			if !slices.Contains(c.origin(job), want) {
				continue
			}
		}
		into.Items = append(into.Items, *job.DeepCopy())
	}
	return nil
}

// bench is a buyer's cluster and its hub.
type bench struct {
	*testing.T
	r                  *Reconciler
	here, hub          *apiServer
	hereSeen, hubSeen  *cached
	began              time.Time
	later              time.Duration
	hereWrote, hubWrte []string
}

// newBench has a Member in the hub, and the jobs in the buyer's cluster.
func newBench(t *testing.T, jobs ...client.Object) *bench {
	t.Helper()
	member := builders.Member(ours)
	member.UID = "member-uid"
	system := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: metav1.NamespaceSystem, UID: "cluster-1"}}
	b := &bench{T: t, here: newAPIServer(t, "here", append(jobs, system)...), hub: newAPIServer(t, "hub", member), began: time.Now()}
	b.r = &Reconciler{
		Teller: b.here.fake.Teller(), Recorder: b.here.fake.Recorder, LocalLive: b.here, HubLive: b.hub,
		Namespace: ours, Wallet: member.Spec.Wallet, Now: func() time.Time { return b.began.Add(b.later) },
	}
	b.hereSeen = &cached{apiServer: b.here, t: t, origin: b.r.indexOrigin}
	b.hubSeen = &cached{apiServer: b.hub, t: t, origin: b.r.indexOrigin}
	b.r.Local, b.r.Hub = b.hereSeen, b.hubSeen
	if err := b.r.identify(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

// pass lets both caches catch up, and looks at the job.
func (b *bench) pass(name string) (reconcile.Result, error) {
	b.Helper()
	b.hereSeen.sync()
	b.hubSeen.sync()
	return b.look(name)
}

// look looks at the job with the caches as they are.
func (b *bench) look(name string) (reconcile.Result, error) {
	b.Helper()
	var result reconcile.Result
	var err error
	b.hereWrote = b.here.fake.Writes(func() {
		b.hubWrte = b.hub.fake.Writes(func() {
			result, err = b.r.Reconcile(b.Context(), reconcile.Request{NamespacedName: types.NamespacedName{Namespace: builders.Buyer, Name: name}})
		})
	})
	return result, err
}

// settle looks at the job until that changes nothing, which must come soon.
func (b *bench) settle(name string) reconcile.Result {
	b.Helper()
	for range 10 {
		result, err := b.pass(name)
		if err != nil {
			b.Fatal(err)
		}
		if len(b.hereWrote)+len(b.hubWrte) == 0 {
			return result
		}
	}
	b.Fatalf("passes go on writing: here %v, in the hub %v", b.hereWrote, b.hubWrte)
	return reconcile.Result{}
}

func (b *bench) job(name string) *boursev1.ComputeJob {
	b.Helper()
	job := b.find(name)
	if job == nil {
		b.Fatalf("the job %s is gone", name)
	}
	return job
}

// find returns a job of the buyer's cluster, or nil.
func (b *bench) find(name string) *boursev1.ComputeJob {
	b.Helper()
	job := &boursev1.ComputeJob{}
	err := b.here.Client.Get(b.Context(), client.ObjectKey{Namespace: builders.Buyer, Name: name}, job)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		b.Fatal(err)
	}
	return job
}

// twins returns what the hub has, by name.
func (b *bench) twins() []boursev1.ComputeJob {
	b.Helper()
	var list boursev1.ComputeJobList
	if err := b.hub.Client.List(b.Context(), &list); err != nil {
		b.Fatal(err)
	}
	return list.Items
}

// twin returns the one job that the hub has.
func (b *bench) twin() *boursev1.ComputeJob {
	b.Helper()
	found := b.twins()
	if len(found) != 1 {
		b.Fatalf("the hub has %d jobs, want 1", len(found))
	}
	return &found[0]
}

// says checks a condition of the job train, and returns it.
func (b *bench) says(kind string, status metav1.ConditionStatus, reason string) *metav1.Condition {
	b.Helper()
	found := meta.FindStatusCondition(b.job("train").Status.Conditions, kind)
	if found == nil || found.Status != status || found.Reason != reason {
		b.Fatalf("%s is %+v, want %s/%s", kind, found, status, reason)
	}
	return found
}

// market writes what the market says of a twin.
func (b *bench) market(twin *boursev1.ComputeJob, change func(*boursev1.ComputeJob)) {
	b.Helper()
	change(twin)
	if err := b.hub.Client.Status().Update(b.Context(), twin); err != nil {
		b.Fatal(err)
	}
}

// edit changes the spec of the job train as its owner would.
func (b *bench) edit(change func(*boursev1.ComputeJobSpec)) {
	b.Helper()
	job := b.job("train")
	change(&job.Spec)
	job.Generation++
	if err := b.here.Update(b.Context(), job); err != nil {
		b.Fatal(err)
	}
}

// remove deletes an object as somebody else would.
func (b *bench) remove(from *apiServer, obj client.Object) {
	b.Helper()
	if err := from.Client.Delete(b.Context(), obj); err != nil {
		b.Fatal(err)
	}
}

// finalizers sets those of an object, as somebody else would.
func (b *bench) finalizers(from *apiServer, obj client.Object, to ...string) {
	b.Helper()
	obj.SetFinalizers(to)
	if err := from.Update(b.Context(), obj); err != nil {
		b.Fatal(err)
	}
}

// lease is what a market writes for a twin.
func (b *bench) lease(twin *boursev1.ComputeJob, end string) *boursev1.GPULease {
	b.Helper()
	_, lease := builders.Leased(b, twin.Name)
	lease.Labels = map[string]string{boursev1.LabelJobName: twin.Name, boursev1.LabelJobNamespace: twin.Namespace}
	lease.Spec.Job = boursev1.JobReference{Namespace: twin.Namespace, Name: twin.Name, UID: string(twin.UID)}
	if end != "" {
		lease.Spec.State, lease.Spec.EndReason = boursev1.LeaseEnded, end
	}
	if end == boursev1.EndNotAccepted {
		lease.Status = boursev1.GPULeaseStatus{}
	}
	return lease
}

func condition(kind string, status metav1.ConditionStatus, reason string, generation int64) metav1.Condition {
	of := builders.Condition(kind, status, reason)
	of.ObservedGeneration = generation
	return of
}
