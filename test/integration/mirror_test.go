// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"context"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers/buyer/computejob"
	"github.com/bourse-dev/bourse/internal/hubjoin"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/test/builders"
)

// team is the namespace of a buyer's own cluster.
const team = "ml"

// mirrorLab is a buyer's own cluster beside the hub. Its manager has the rights that the chart gives it here, and there those of a member that
// joined, and no others.
type mirrorLab struct {
	*joinLab

	own  client.Client // the administrator of the buyer's cluster
	at   string        // the member's namespace in the hub
	way  *link         // to the hub
	told *events.FakeRecorder
}

func newMirrorLab(t *testing.T) *mirrorLab {
	t.Helper()
	env := &envtest.Environment{CRDDirectoryPaths: []string{filepath.Join("..", "..", "config", "crd", "bases")}, ErrorIfCRDPathMissing: true}
	ownServer, err := env.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stop the buyer's API server: %v", err)
		}
	})
	l := &mirrorLab{joinLab: newJoinLab(t), told: events.NewFakeRecorder(1000)}
	l.readable()
	ownServer.QPS = -1
	if l.own, err = client.New(ownServer, client.Options{Scheme: l.admin.Scheme()}); err != nil {
		t.Fatal(err)
	}
	access := l.must(l.send(join.Join, builders.Wallet("mirrors"), builders.Wallet("agent")))
	l.at = access.Namespace
	as := l.as(access)
	l.eventually("the member has its rights", func() bool { return allowed(l.joinLab, as, l.at, "create", "bourse.dev", "computejobs") })
	l.way = newLink(t, access.Server)
	l.way.open()
	l.run(l.manager(ownServer), &rest.Config{
		Host: "https://" + l.way.at, BearerToken: access.Token, TLSClientConfig: rest.TLSClientConfig{CAData: access.CA}, QPS: -1,
	})
	return l
}

// manager is the account of the buyer's manager in its own cluster.
func (l *mirrorLab) manager(ownServer *rest.Config) *rest.Config {
	l.Helper()
	const user = "buyers-manager"
	there := &joinLab{T: l.T, admin: l.own}
	there.role("buyer-role.yaml")
	there.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bourse-buyer"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	})
	there.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: team}})
	impersonating := rest.CopyConfig(ownServer)
	impersonating.Impersonate = rest.ImpersonationConfig{UserName: user}
	as, err := client.New(impersonating, client.Options{Scheme: l.admin.Scheme()})
	if err != nil {
		l.Fatal(err)
	}
	l.eventually("the manager has its rights", func() bool { return as.List(l.Context(), &boursev1.ComputeJobList{}) == nil })
	return impersonating
}

// run runs the controller, with the caches that a member's manager has.
func (l *mirrorLab) run(here, there *rest.Config) {
	l.Helper()
	mgr, err := ctrl.NewManager(here, ctrl.Options{
		Scheme: l.admin.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		l.Fatal(err)
	}
	hub, err := cluster.New(there, func(o *cluster.Options) {
		own := cache.ByObject{Namespaces: map[string]cache.Config{l.at: {}}}
		o.Scheme, o.Logger = l.admin.Scheme(), logr.Discard()
		o.Cache.ByObject = map[client.Object]cache.ByObject{&boursev1.ComputeJob{}: own, &boursev1.Member{}: own}
	})
	if err != nil {
		l.Fatal(err)
	}
	if err := mgr.Add(hub); err != nil {
		l.Fatal(err)
	}
	r := &computejob.Reconciler{
		Teller:   &kube.Teller{Client: mgr.GetClient(), Recorder: l.told, Metrics: metrics.New(prometheus.NewRegistry())},
		Recorder: l.told, Local: mgr.GetClient(), LocalLive: mgr.GetAPIReader(),
		Hub: hub.GetClient(), HubLive: hub.GetAPIReader(), HubCache: hub.GetCache(),
		Namespace: l.at, Wallet: builders.Address("mirrors"), Now: time.Now,
	}
	if err := r.SetupWithManager(l.Context(), mgr); err != nil {
		l.Fatal(err)
	}
	ctx, stop := context.WithCancel(cleanupContext())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	l.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			l.Errorf("run manager: %v", err)
		}
	})
}

// apply creates a job in the buyer's cluster.
func (l *mirrorLab) apply(name string) {
	l.Helper()
	if err := l.own.Create(l.Context(), jobIn(team, name)); err != nil {
		l.Fatal(err)
	}
}

// job reads a job of the buyer's cluster; nil when there is none.
func (l *mirrorLab) job(name string) *boursev1.ComputeJob {
	l.Helper()
	job := &boursev1.ComputeJob{}
	err := l.own.Get(l.Context(), client.ObjectKey{Namespace: team, Name: name}, job)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		l.Fatal(err)
	}
	return job
}

// twin reads the job that the hub has for one of the buyer's cluster; nil when there is none.
func (l *mirrorLab) twin(name string) *boursev1.ComputeJob {
	l.Helper()
	var jobs boursev1.ComputeJobList
	if err := l.admin.List(l.Context(), &jobs, client.InNamespace(l.at)); err != nil {
		l.Fatal(err)
	}
	for i := range jobs.Items {
		if jobs.Items[i].Annotations[boursev1.AnnotationOriginName] == name {
			return &jobs.Items[i]
		}
	}
	return nil
}

// says waits until a condition of the job has the reason.
func (l *mirrorLab) says(name, kind, reason string) *metav1.Condition {
	l.Helper()
	var found *metav1.Condition
	l.eventually(name+": "+kind+" says "+reason, func() bool {
		job := l.job(name)
		if job == nil {
			return false
		}
		found = meta.FindStatusCondition(job.Status.Conditions, kind)
		return found != nil && found.Reason == reason
	})
	return found
}

// market writes what the market says of a job.
func (l *mirrorLab) market(name string, change func(*boursev1.ComputeJob)) {
	l.Helper()
	l.eventually("the market says something of "+name, func() bool { // the manager may write to it at the same time
		twin := l.twin(name)
		change(twin)
		return l.admin.Status().Update(l.Context(), twin) == nil
	})
}

func (l *mirrorLab) finalizers(of client.Client, read func(string) *boursev1.ComputeJob, name string, to ...string) {
	l.Helper()
	l.eventually("the finalizers of "+name+" are set", func() bool {
		job := read(name)
		job.Finalizers = to
		return of.Update(l.Context(), job) == nil
	})
}

// versions are the resource versions of all jobs on both sides.
func (l *mirrorLab) versions() map[string]string {
	l.Helper()
	found := map[string]string{}
	for _, side := range []client.Client{l.own, l.admin} {
		var jobs boursev1.ComputeJobList
		if err := side.List(l.Context(), &jobs); err != nil {
			l.Fatal(err)
		}
		for i := range jobs.Items {
			found[jobs.Items[i].Name] = jobs.Items[i].ResourceVersion
		}
	}
	return found
}

// quota bounds how many jobs the member may have, as the controller of quotas would count them.
func (l *mirrorLab) quota(most int64) {
	l.Helper()
	const jobs = "count/computejobs.bourse.dev"
	l.eventually("the quota is set", func() bool {
		quota := &corev1.ResourceQuota{}
		if err := l.admin.Get(l.Context(), client.ObjectKey{Namespace: l.at, Name: hubjoin.Name}, quota); err != nil {
			return false
		}
		quota.Spec.Hard[jobs] = *resource.NewQuantity(most, resource.DecimalSI)
		if err := l.admin.Update(l.Context(), quota); err != nil {
			return false
		}
		var there boursev1.ComputeJobList
		if err := l.admin.List(l.Context(), &there, client.InNamespace(l.at)); err != nil {
			return false
		}
		quota.Status.Hard, quota.Status.Used = quota.Spec.Hard, corev1.ResourceList{}
		for name := range quota.Spec.Hard {
			quota.Status.Used[name] = resource.MustParse("0")
		}
		quota.Status.Used[jobs] = *resource.NewQuantity(int64(len(there.Items)), resource.DecimalSI)
		return l.admin.Status().Update(l.Context(), quota) == nil
	})
}

// A team applies a job in its own cluster and sees its whole life there, over two API servers and with a joined member's rights.
func TestATeamSeesItsJobInItsOwnCluster(t *testing.T) {
	l := newMirrorLab(t)
	l.quota(100)
	l.apply("train")
	mirrored := l.says("train", boursev1.JobMirrored, boursev1.ReasonInHub)
	l.says("train", boursev1.Succeeded, boursev1.ReasonAwaitingMarket)
	if diff := cmp.Diff(l.job("train").Spec, l.twin("train").Spec); diff != "" {
		t.Errorf("spec (-job +twin):\n%s", diff)
	}
	t.Logf("the team reads: %s", mirrored.Message)

	edited := l.job("train")
	edited.Spec.Bid.MaxPriceUSD = "3"
	if err := l.own.Patch(t.Context(), edited, client.MergeFrom(l.job("train"))); err != nil {
		t.Fatal(err)
	}
	l.eventually("the edit is in the hub", func() bool { return l.twin("train").Spec.Bid.MaxPriceUSD == "3" })
	l.finalizers(l.admin, l.twin, "train", "bourse.dev/lease")
	l.market("train", func(twin *boursev1.ComputeJob) {
		twin.Status.Lease = &boursev1.ObjectReference{Namespace: "oslo-dc", Name: "train-1"}
		twin.Status.Conditions = []metav1.Condition{builders.Condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonRunning)}
		twin.Status.Conditions[0].ObservedGeneration = twin.Generation
	})
	running := l.says("train", boursev1.Succeeded, boursev1.ReasonRunning)
	if job := l.job("train"); job.Status.Lease == nil || job.Status.Lease.Name != "train-1" || running.ObservedGeneration != job.Generation {
		t.Errorf("status %+v", job.Status)
	}
	late := l.job("train")
	late.Spec.Bid.MaxPriceUSD = "4"
	if err := l.own.Update(t.Context(), late); !apierrors.IsInvalid(err) && !apierrors.IsConflict(err) {
		t.Errorf("a job with a lease was edited: %v", err)
	}
	before := l.versions()
	time.Sleep(time.Second)
	if diff := cmp.Diff(before, l.versions()); diff != "" {
		t.Errorf("something was written although nothing happened:\n%s", diff)
	}

	if err := l.own.Delete(t.Context(), l.job("train")); err != nil {
		t.Fatal(err)
	}
	l.says("train", boursev1.JobMirrored, boursev1.ReasonReleasing)
	l.eventually("the hub's job is being deleted", func() bool { return !l.twin("train").DeletionTimestamp.IsZero() })
	l.market("train", func(twin *boursev1.ComputeJob) {
		meta.SetStatusCondition(&twin.Status.Conditions, builders.Condition(boursev1.Succeeded, metav1.ConditionUnknown, boursev1.ReasonSettling))
	})
	l.says("train", boursev1.Succeeded, boursev1.ReasonSettling)
	l.finalizers(l.admin, l.twin, "train")
	l.eventually("both are gone", func() bool { return l.job("train") == nil && l.twin("train") == nil })
}

func TestWhatTheHubRefusesIsToldInTheTeamsCluster(t *testing.T) {
	l := newMirrorLab(t)
	l.quota(1)
	l.apply("first")
	l.says("first", boursev1.JobMirrored, boursev1.ReasonInHub)
	l.apply("second")
	t.Logf("the team reads: %s", l.says("second", boursev1.JobMirrored, boursev1.ReasonHubForbidden).Message)

	// The first one is forced away: nothing of it stays in the hub, and that makes room for the second.
	l.finalizers(l.own, l.job, "first")
	if err := l.own.Delete(t.Context(), l.job("first")); err != nil {
		t.Fatal(err)
	}
	l.eventually("the hub's job of a job that was forced away is gone", func() bool { return l.twin("first") == nil })
	l.quota(1)
	touched := l.job("second")
	touched.Labels = map[string]string{"touched": "yes"}
	if err := l.own.Patch(t.Context(), touched, client.MergeFrom(l.job("second"))); err != nil {
		t.Fatal(err)
	}
	l.says("second", boursev1.JobMirrored, boursev1.ReasonInHub)

	// A twin that somebody deletes in the hub is made again while it has no lease.
	was := l.twin("second").UID
	if err := l.admin.Delete(t.Context(), l.twin("second")); err != nil {
		t.Fatal(err)
	}
	l.quota(1)
	l.eventually("it is made again", func() bool { twin := l.twin("second"); return twin != nil && twin.UID != was })

	// A member that is suspended writes nothing more.
	found := l.member(l.at)
	found.Spec.State = boursev1.MemberSuspended
	if err := l.admin.Update(t.Context(), found); err != nil {
		t.Fatal(err)
	}
	l.eventually("the member is suspended", func() bool { return kube.IsFalse(l.member(l.at), boursev1.Ready) })
	time.Sleep(time.Second) // its rights go right after
	l.apply("third")
	var why string
	l.eventually("it is told why", func() bool {
		for _, condition := range l.job("third").Status.Conditions {
			why = condition.Reason
		}
		return why != ""
	})
	if wants := []string{boursev1.ReasonMemberNotReady, boursev1.ReasonHubForbidden, boursev1.ReasonHubUnauthorized}; !slices.Contains(wants, why) {
		t.Errorf("the job says %s, want one of %v", why, wants)
	}
	t.Logf("a suspended member's job says %s", why)
	if l.twin("third") != nil || kube.IsTrue(l.job("third"), boursev1.JobMirrored) {
		t.Error("the job of a suspended member is in the hub")
	}
	if job := l.job("second"); !kube.IsTrue(job, boursev1.JobMirrored) {
		t.Errorf("what was in the hub changed: %+v", job.Status.Conditions)
	}
}

// While the hub is away nothing ends, and all that was wanted meanwhile happens when it is back.
func TestAHubThatIsAwayIsWaitedForInTheTeamsCluster(t *testing.T) {
	l := newMirrorLab(t)
	for _, name := range []string{"stays", "leaves", "forced"} {
		l.apply(name)
		l.says(name, boursev1.JobMirrored, boursev1.ReasonInHub)
	}
	before := l.job("stays")
	l.way.cut()
	l.apply("late")
	l.says("late", boursev1.JobMirrored, boursev1.ReasonHubUnreachable)
	if err := l.own.Delete(t.Context(), l.job("leaves")); err != nil {
		t.Fatal(err)
	}
	l.says("leaves", boursev1.JobMirrored, boursev1.ReasonHubUnreachable)
	if err := l.own.Delete(t.Context(), l.job("forced")); err != nil {
		t.Fatal(err)
	}
	l.finalizers(l.own, l.job, "forced") // after the deletion: as long as the job is wanted, the manager puts its own back
	if diff := cmp.Diff(before, l.job("stays")); diff != "" {
		t.Errorf("a job changed because the hub was away:\n%s", diff)
	}
	if l.job("forced") != nil || l.twin("forced") == nil || l.twin("leaves") == nil {
		t.Error("something reached a hub that was away")
	}
	l.way.open()
	took := l.eventually("what was wanted has happened", func() bool {
		return l.job("leaves") == nil && l.twin("leaves") == nil && l.twin("forced") == nil && l.twin("late") != nil
	})
	t.Logf("all is done %s after the hub was back", took.Round(time.Millisecond))
	l.says("late", boursev1.JobMirrored, boursev1.ReasonInHub)
	if diff := cmp.Diff(before, l.job("stays")); diff != "" {
		t.Errorf("a job changed because the hub was away:\n%s", diff)
	}
}
