// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers/market/member"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/hubjoin"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/joinhttp"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/builders"
)

const (
	joinServer = "join-server" // the user as whom the join server acts
	// revokedWithin is how long a suspended member may keep any right.
	revokedWithin = time.Minute
)

var joinNetwork = chain.Hash{7}

// joinLab is a hub on a real API server whose join server has the rights that its chart gives it, and no others.
type joinLab struct {
	*testing.T

	admin, server client.Client
	hub           *joinhttp.Client
	moved         *atomic.Int64 // how far the clock of the hub was moved on
}

// mostDays is after how many days without a sign the lab lets a member go.
const mostDays = 14

// now is what the clock of the hub says.
func (l *joinLab) now() time.Time { return time.Now().Add(time.Duration(l.moved.Load())) }

func newJoinLab(t *testing.T) *joinLab {
	t.Helper()
	s := scheme(t)
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	admin, err := client.New(apiServer, client.Options{Scheme: s})
	if err != nil {
		t.Fatal(err)
	}
	l := &joinLab{T: t, admin: admin, moved: &atomic.Int64{}}
	l.role("member-role.yaml")
	l.role("join-role.yaml")
	l.create(&rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: joinServer}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bourse-join"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: joinServer}},
	})
	impersonating := rest.CopyConfig(apiServer)
	impersonating.Impersonate = rest.ImpersonationConfig{UserName: joinServer}
	if l.server, err = client.New(impersonating, client.Options{Scheme: s}); err != nil {
		t.Fatal(err)
	}
	l.eventually("the join server has its rights", func() bool { return l.server.List(t.Context(), &boursev1.MemberList{}) == nil })
	members := hubjoin.New(hubjoin.Options{
		Client: l.server, Live: l.server, Server: serverURL(), CA: apiServer.CAData, Lifetime: 10 * time.Minute, Now: l.now,
	})
	l.serve(members)
	l.judge(members)
	return l
}

// role creates a role of config/rbac.
func (l *joinLab) role(file string) {
	l.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "config", "rbac", file))
	if err != nil {
		l.Fatal(err)
	}
	role := &rbacv1.ClusterRole{}
	if err := yaml.UnmarshalStrict(text, role); err != nil {
		l.Fatal(err)
	}
	l.create(role)
}

func (l *joinLab) create(object client.Object) {
	l.Helper()
	if err := l.admin.Create(l.Context(), object); err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() {
		if err := l.admin.Delete(cleanupContext(), object); client.IgnoreNotFound(err) != nil {
			l.Errorf("delete: %v", err)
		}
	})
}

// serve runs the join server.
func (l *joinLab) serve(members *hubjoin.Hub) {
	l.Helper()
	server := httptest.NewUnstartedServer(nil)
	l.Cleanup(server.Close)
	gate, err := join.NewGate(join.GateOptions{
		Hub: server.Listener.Addr().String(), Network: join.Network(joinNetwork), Random: rand.Reader, Now: time.Now,
	})
	if err != nil {
		l.Fatal(err)
	}
	server.Config.Handler = joinhttp.NewServer(gate, members, logr.Discard(), time.Now).Handler()
	server.StartTLS()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if l.hub, err = joinhttp.NewClient(server.URL, authority); err != nil {
		l.Fatal(err)
	}
}

// judge runs the market's controller of members.
func (l *joinLab) judge(members *hubjoin.Hub) {
	l.Helper()
	mgr, err := ctrl.NewManager(apiServer, ctrl.Options{
		Scheme: l.admin.Scheme(), Metrics: metricsserver.Options{BindAddress: "0"}, Logger: logr.Discard(),
		Controller: config.Controller{SkipNameValidation: new(true)}, // each test has its own
	})
	if err != nil {
		l.Fatal(err)
	}
	teller := &kube.Teller{Client: mgr.GetClient(), Recorder: events.NewFakeRecorder(1000), Metrics: metrics.New(prometheus.NewRegistry())}
	later := func() time.Time { return l.now().Add(2 * time.Minute) } // whoever leaves has been quiet for long enough
	r := &member.Reconciler{
		Teller: teller, Hub: mgr.GetClient(), Live: mgr.GetAPIReader(), Access: members, MostUnseen: mostDays, Now: later,
	}
	if err := r.SetupWithManager(l.Context(), mgr); err != nil {
		l.Fatal(err)
	}
	l.run(mgr)
}

// eventually waits, and returns for how long.
func (l *joinLab) eventually(what string, holds func() bool) time.Duration {
	l.Helper()
	began := time.Now()
	for ; !holds(); time.Sleep(20 * time.Millisecond) {
		if time.Since(began) > revokedWithin {
			l.Fatalf("not within %s: %s", revokedWithin, what)
		}
	}
	return time.Since(began)
}

// send asks for access as a member would, with its agent.
func (l *joinLab) send(kind join.Kind, wallet, agent *signer.Keypair) (join.Access, error) {
	l.Helper()
	challenge, network, err := l.hub.Challenge(l.Context(), wallet.PublicKey())
	if err != nil {
		l.Fatal(err)
	}
	claim := join.Claim{
		Version: join.Version, Kind: kind, Hub: l.hub.Hub(), Network: join.Network(network),
		Wallet: join.Key(wallet.PublicKey()), Agent: join.Key(agent.PublicKey()), Challenge: challenge,
	}
	by := agent
	if kind == join.Join {
		by, claim.Roles, claim.Name = wallet, []join.Role{join.Buyer, join.Supplier}, "Fjord & Söhne"
		claim.Until = l.now().Add(time.Hour).UTC().Truncate(time.Second)
	}
	message, err := claim.Encode()
	if err != nil {
		l.Fatal(err)
	}
	signature, err := by.Sign(l.Context(), message)
	if err != nil {
		l.Fatal(err)
	}
	return l.hub.Send(l.Context(), kind, message, signature)
}

func (l *joinLab) must(access join.Access, err error) join.Access {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
	l.Cleanup(func() { l.remove(access.Namespace) })
	return access
}

// remove removes the member. Its namespace needs a controller to end, and its access one to go with it.
func (l *joinLab) remove(namespace string) {
	m := &boursev1.Member{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: boursev1.MemberName}}
	if err := l.admin.Delete(cleanupContext(), m); client.IgnoreNotFound(err) != nil {
		l.Errorf("delete member: %v", err)
	}
}

// as returns a client with the member's access and nothing else.
func (l *joinLab) as(access join.Access) client.Client {
	l.Helper()
	c, err := client.New(&rest.Config{
		Host: access.Server, BearerToken: access.Token, TLSClientConfig: rest.TLSClientConfig{CAData: access.CA}, QPS: -1,
	}, client.Options{Scheme: l.admin.Scheme()})
	if err != nil {
		l.Fatal(err)
	}
	return c
}

// count does what the controller of quotas does in a real cluster.
func (l *joinLab) count(namespace string) {
	l.Helper()
	quota := &corev1.ResourceQuota{}
	if err := l.admin.Get(l.Context(), client.ObjectKey{Namespace: namespace, Name: hubjoin.Name}, quota); err != nil {
		l.Fatal(err)
	}
	quota.Status.Hard, quota.Status.Used = quota.Spec.Hard, corev1.ResourceList{}
	for name := range quota.Spec.Hard {
		quota.Status.Used[name] = resource.MustParse("0")
	}
	if err := l.admin.Status().Update(l.Context(), quota); err != nil {
		l.Fatal(err)
	}
}

func (l *joinLab) member(namespace string) *boursev1.Member {
	l.Helper()
	m := &boursev1.Member{}
	if err := l.admin.Get(l.Context(), client.ObjectKey{Namespace: namespace, Name: boursev1.MemberName}, m); err != nil {
		l.Fatal(err)
	}
	return m
}

func jobIn(namespace, name string) *boursev1.ComputeJob {
	job := builders.Job(name)
	job.Namespace, job.UID, job.Generation = namespace, "", 0
	return job
}

func TestAMemberJoinsAndHasItsOwnNamespaceOnly(t *testing.T) {
	l := newJoinLab(t)
	began := time.Now()
	access := l.must(l.send(join.Join, builders.Wallet("joined"), builders.Wallet("agent")))
	t.Logf("joined within %s", time.Since(began).Round(time.Millisecond))
	other := l.must(l.send(join.Join, builders.Wallet("other"), builders.Wallet("agent")))
	l.count(access.Namespace)
	l.eventually("the member is admitted", func() bool {
		return meta.IsStatusConditionTrue(l.member(access.Namespace).Status.Conditions, boursev1.Ready)
	})
	own := l.as(access)
	l.eventually("it may buy", func() bool { return own.Create(t.Context(), jobIn(access.Namespace, "train")) == nil })
	if err := own.Create(t.Context(), builders.Offer(access.Namespace, "pool-h100")); err != nil {
		t.Errorf("it may not sell: %v", err)
	}
	mine := l.member(access.Namespace)
	for name, try := range map[string]func() error{
		"another's jobs": func() error {
			return own.List(t.Context(), &boursev1.ComputeJobList{}, client.InNamespace(other.Namespace))
		},
		"a job of another's": func() error { return own.Create(t.Context(), jobIn(other.Namespace, "train")) },
		"all members":        func() error { return own.List(t.Context(), &boursev1.MemberList{}) }, // until the market says that all may
		"who it is":          func() error { return own.Update(t.Context(), mine) },
		"whether it is good": func() error { return own.Status().Update(t.Context(), mine) },
		"a lease":            func() error { return own.Create(t.Context(), &boursev1.GPULease{ObjectMeta: named(access.Namespace)}) },
		"a pod":              func() error { return own.Create(t.Context(), &corev1.Pod{ObjectMeta: named(access.Namespace)}) },
		"a quota": func() error {
			return own.Delete(t.Context(), &corev1.ResourceQuota{ObjectMeta: named(access.Namespace)})
		},
		"secrets":            func() error { return own.List(t.Context(), &corev1.SecretList{}, client.InNamespace(access.Namespace)) },
		"another right":      func() error { return own.Create(t.Context(), toAdmin(access.Namespace)) },
		"a token of its own": func() error { return token(t, own, access.Namespace, hubjoin.Name) },
		"another's namespace": func() error {
			return own.Get(t.Context(), client.ObjectKey{Name: other.Namespace}, &corev1.Namespace{})
		},
	} {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want it forbidden", name, err)
		}
	}
	l.renews(access)
}

// renews checks that the agent's token works as the first one did.
func (l *joinLab) renews(first join.Access) {
	l.Helper()
	began := time.Now()
	renewed, err := l.send(join.Renew, builders.Wallet("joined"), builders.Wallet("agent"))
	if err != nil {
		l.Fatal(err)
	}
	l.Logf("renewed within %s", time.Since(began).Round(time.Millisecond))
	if renewed.Namespace != first.Namespace || renewed.Token == first.Token || time.Until(renewed.Expires) > time.Hour {
		l.Errorf("renewed %s until %s", renewed, renewed.Expires)
	}
	if err := l.as(renewed).List(l.Context(), &boursev1.ComputeJobList{}, client.InNamespace(first.Namespace)); err != nil {
		l.Errorf("the second token: %v", err)
	}
	if _, err := l.send(join.Renew, builders.Wallet("joined"), builders.Wallet("thief")); !errors.Is(err, join.WrongKey) {
		l.Errorf("another agent: %v, want %s", err, join.WrongKey)
	}
}

func TestAMemberOfAnOlderHubGetsTheQuotaOfNow(t *testing.T) {
	l := newJoinLab(t)
	wallet, agent := builders.Wallet("long ago"), builders.Wallet("agent")
	key := client.ObjectKey{Namespace: l.must(l.send(join.Join, wallet, agent)).Namespace, Name: hubjoin.Name}
	quota, presences := &corev1.ResourceQuota{}, corev1.ResourceName("count/leases.coordination.k8s.io")
	if err := l.admin.Get(t.Context(), key, quota); err != nil {
		t.Fatal(err)
	}
	want := quota.Spec.Hard[presences]
	delete(quota.Spec.Hard, presences)
	if err := l.admin.Update(t.Context(), quota); err != nil {
		t.Fatal(err)
	}
	for _, writes := range []bool{true, false} {
		before := quota.ResourceVersion
		if _, err := l.send(join.Renew, wallet, agent); err != nil {
			t.Fatal(err)
		}
		if err := l.admin.Get(t.Context(), key, quota); err != nil {
			t.Fatal(err)
		}
		if got := quota.Spec.Hard[presences]; want.IsZero() || got.Cmp(want) != 0 {
			t.Errorf("it may have %s signs of presence, want %s", got.String(), want.String())
		}
		if (before != quota.ResourceVersion) != writes {
			t.Errorf("the quota was written: %t, want %t", !writes, writes)
		}
	}
}

func named(namespace string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: namespace, Name: hubjoin.Name}
}

func toAdmin(namespace string) *rbacv1.RoleBinding {
	return &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "admin"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: hubjoin.Name}},
	}
}

func token(t *testing.T, c client.Client, namespace, account string) error {
	t.Helper()
	return c.SubResource("token").Create(t.Context(), &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: account}},
		&authenticationv1.TokenRequest{})
}

// A join server that is taken over must not be a way to the rest of the hub.
func TestTheJoinServerMayDoNoMoreThanJoin(t *testing.T) {
	l := newJoinLab(t)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "controller"}}
	l.create(account)
	if err := l.server.List(t.Context(), &boursev1.MarketList{}); err != nil {
		t.Errorf("it does not find out what is staked: %v", err)
	}
	for name, try := range map[string]func() error{
		"a token of another account": func() error { return token(t, l.server, "kube-system", "controller") },
		"all rights":                 func() error { return l.server.Create(t.Context(), toAdmin("default")) },
		"secrets":                    func() error { return l.server.List(t.Context(), &corev1.SecretList{}) },
		"another account":            func() error { return l.server.Delete(t.Context(), account) },
		"a namespace": func() error {
			return l.server.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default"}})
		},
		"jobs": func() error { return l.server.List(t.Context(), &boursev1.ComputeJobList{}) },
	} {
		if err := try(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: %v, want it forbidden", name, err)
		}
	}
}

func TestASuspendedMemberLosesItsRightsWithinAMinute(t *testing.T) {
	l := newJoinLab(t)
	wallet, agent := builders.Wallet("suspended"), builders.Wallet("agent")
	access := l.must(l.send(join.Join, wallet, agent))
	list := func(with join.Access) error {
		return l.as(with).List(t.Context(), &boursev1.ComputeJobList{}, client.InNamespace(access.Namespace))
	}
	l.eventually("the member has its rights", func() bool { return list(access) == nil })
	l.setState(access.Namespace, boursev1.MemberSuspended)
	took := l.eventually("the rights are gone", func() bool { return apierrors.IsForbidden(list(access)) || apierrors.IsUnauthorized(list(access)) })
	t.Logf("the rights are gone after %s", took.Round(time.Millisecond))
	took = l.eventually("the token is void", func() bool { return apierrors.IsUnauthorized(list(access)) })
	t.Logf("the token is void after %s more", took.Round(time.Millisecond))
	for _, kind := range []join.Kind{join.Join, join.Renew} {
		if _, err := l.send(kind, wallet, agent); !errors.Is(err, join.Suspended) {
			t.Errorf("%s: %v, want %s", kind, err, join.Suspended)
		}
	}
	l.eventually("the member is not ready", func() bool {
		ready := meta.FindStatusCondition(l.member(access.Namespace).Status.Conditions, boursev1.Ready)
		return ready != nil && ready.Reason == boursev1.ReasonSuspended
	})
	l.setState(access.Namespace, boursev1.MemberActive)
	again, err := l.send(join.Renew, wallet, agent)
	if err != nil {
		t.Fatal(err)
	}
	l.eventually("the member has its rights back", func() bool { return list(again) == nil })
	if err := list(access); !apierrors.IsUnauthorized(err) {
		t.Errorf("the old token: %v, want it void for good", err)
	}
}

func (l *joinLab) setState(namespace string, state boursev1.MemberState) {
	l.Helper()
	patch := fmt.Appendf(nil, `{"spec":{"state":%q}}`, state)
	if err := l.admin.Patch(l.Context(), l.member(namespace), client.RawPatch("application/merge-patch+json", patch)); err != nil {
		l.Fatal(err)
	}
}

// What a removed member had goes with it, by the garbage collector of a real cluster; a member that joins again gets its own.
func TestARemovedMemberCanJoinAgainAndItsOldTokenCannot(t *testing.T) {
	l := newJoinLab(t)
	wallet, agent := builders.Wallet("removed"), builders.Wallet("agent")
	access := l.must(l.send(join.Join, wallet, agent))
	owner := l.member(access.Namespace).UID
	for _, object := range []client.Object{&rbacv1.RoleBinding{}, &corev1.ServiceAccount{}, &corev1.ResourceQuota{}} {
		if err := l.admin.Get(t.Context(), client.ObjectKey{Namespace: access.Namespace, Name: hubjoin.Name}, object); err != nil {
			t.Fatal(err)
		}
		if owners := object.GetOwnerReferences(); len(owners) != 1 || owners[0].UID != owner {
			t.Errorf("%T belongs to %+v", object, owners)
		}
	}
	l.remove(access.Namespace)
	if _, err := l.send(join.Renew, wallet, agent); !errors.Is(err, join.NotMember) {
		t.Errorf("renew: %v, want %s", err, join.NotMember)
	}
	again := l.must(l.send(join.Join, wallet, agent))
	list := func(with join.Access) error {
		return l.as(with).List(t.Context(), &boursev1.ComputeJobList{}, client.InNamespace(access.Namespace))
	}
	l.eventually("the member has its rights", func() bool { return list(again) == nil })
	l.eventually("the old token is void", func() bool { return apierrors.IsUnauthorized(list(access)) })
}
