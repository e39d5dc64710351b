// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sync/errgroup"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/hubjoin"
	"github.com/bourse-dev/bourse/internal/join"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/presence"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

var (
	hubSuppliers = flag.Int("suppliers", 2000, "how many suppliers the hub's benchmark has")
	hubGOGC      = flag.String("hub-gogc", "100", "how far the heaps of the hub's processes grow between two collections, in percent")
	hubFor       = flag.Duration("hub-for", 10*time.Minute, "for how long they keep the hub busy")
)

// What a supplier's manager does in the hub, and how often.
const (
	offerEvery = 150 * time.Second // half of the time that an offer stands
	offerFor   = 14 * time.Minute  // it stands for longer here, so that a busy machine ends none of them
	tokenFor   = time.Hour
	tokenEvery = tokenFor / 2
)

const (
	joiners = 8     // how many suppliers join at a time
	rare    = 0.005 // a request that a supplier makes less often in a minute is not told of
)

var errNotFilled = errors.New("the caches were not filled")

// watched are the kinds that a supplier's manager watches in the hub while it has no lease, each in a request of its own. An integration test
// holds a real manager to them.
func watched() []client.Object {
	return []client.Object{
		&boursev1.GPUOffer{}, &boursev1.GPULease{}, &boursev1.Member{}, &boursev1.StakePosition{}, &boursev1.Market{},
	}
}

// BenchmarkHub lets many suppliers hold and do in the hub what an idle supplier's manager does: each has joined, watches what concerns it over a
// connection and with a token of its own, renews its offer and its token, and shows its sign of presence. It reports what each costs the hub's control
// plane and the market's manager beyond what they take without suppliers, and then lets all of them start anew at once.
func BenchmarkHub(b *testing.B) {
	if b.N > 1 {
		b.Skip("one run is many suppliers: -benchtime 1x")
	}
	b.Setenv("GOGC", *hubGOGC) // and not the compiler's setting of make
	lab := up(b, "--no-fake-nodes")
	h := &hubBench{b: b, lab: lab, market: startMarket(b, lab), teller: story.NewTeller(b.Output(), time.Now)}
	var process struct {
		PID int `json:"pid"`
	}
	readJSON(b, filepath.Join(lab.Dir, "proc", "cluster-hub.json"), &process)
	h.cluster = process.PID
	h.open()
	before := h.look()
	h.rest(30 * time.Second)
	h.join()
	for b.Loop() {
		h.run(before)
	}
}

// hubBench is the hub and its simulated suppliers.
type hubBench struct {
	b       *testing.B
	lab     *story.Lab
	market  *marketAlone
	door    *hubjoin.Hub
	cluster int                                     // the control plane's process
	idle    struct{ cluster, market time.Duration } // processor time in a minute without suppliers
	teller  *story.Teller
	members []*simulated
}

// simulated is a supplier as the hub sees it.
type simulated struct {
	claim  join.Claim
	access join.Access
	hub    cluster.Cluster
	stop   context.CancelFunc
}

// usage is what the hub's two processes have used.
type usage struct {
	at                    time.Time
	clusterCPU, marketCPU time.Duration
	clusterMiB, marketMiB float64
}

func (h *hubBench) look() usage {
	h.b.Helper()
	return usage{
		at: time.Now(), clusterCPU: spentBy(h.b, h.cluster), marketCPU: h.market.spent(),
		clusterMiB: residentOf(h.b, h.cluster), marketMiB: residentOf(h.b, h.market.process.Process.Pid),
	}
}

// rest measures what the hub takes without suppliers.
func (h *hubBench) rest(long time.Duration) {
	h.b.Helper()
	began := h.look()
	time.Sleep(long) // nothing happens meanwhile, and that is what is measured
	ended := h.look()
	share := float64(time.Minute) / float64(ended.at.Sub(began.at))
	h.idle.cluster = time.Duration(share * float64(ended.clusterCPU-began.clusterCPU))
	h.idle.market = time.Duration(share * float64(ended.marketCPU-began.marketCPU))
	h.teller.Say("without suppliers the control plane takes %s of processor time a minute, the market %s",
		h.idle.cluster.Round(time.Millisecond), h.idle.market.Round(time.Millisecond))
}

// open lets members in, and lets them read what all may read, as the chart of an open hub does. Nobody is made to wait at the door: its clock
// runs ahead, so that it never sees too many newcomers at once.
func (h *hubBench) open() {
	h.b.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", h.lab.Kubeconfig())
	if err == nil {
		err = rest.LoadTLSFiles(config)
	}
	if err != nil {
		h.b.Fatal(err)
	}
	reads := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "bourse-member-reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "bourse-member-reader"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.GroupKind, Name: "system:serviceaccounts"}},
	}
	if err := h.lab.Client.Create(h.b.Context(), reads); client.IgnoreAlreadyExists(err) != nil {
		h.b.Fatal(err)
	}
	var asked atomic.Int64
	began := time.Now()
	h.door = hubjoin.New(hubjoin.Options{
		Client: h.lab.Client, Live: h.lab.Client, Server: config.Host, CA: config.CAData, Lifetime: tokenFor,
		Now: func() time.Time { return began.Add(time.Duration(asked.Add(1)) * 10 * time.Second) },
	})
}

// join lets the suppliers join, connect and offer, and waits until the market has looked at each.
func (h *hubBench) join() {
	h.b.Helper()
	began := time.Now()
	h.members = make([]*simulated, *hubSuppliers)
	for i := range h.members {
		h.members[i] = &simulated{claim: join.Claim{
			Wallet: memberKey("wallet", i), Agent: memberKey("agent", i), Roles: []join.Role{join.Supplier}, Until: began.Add(join.MaxDelegation).Truncate(time.Second),
		}}
	}
	h.everyone(joiners, func(s *simulated) error {
		var err error
		if s.access, err = h.door.Admit(h.b.Context(), s.claim); err != nil {
			return err
		}
		if err := h.connect(s); err != nil {
			return err
		}
		return again(func() error { return client.IgnoreAlreadyExists(s.hub.GetClient().Create(h.b.Context(), s.offer())) })
	})
	err := h.teller.Wait(h.b.Context(), "the market to know every offer and every supplier's sign", 20*time.Minute, h.known)
	if err != nil {
		h.b.Fatal(err)
	}
	h.teller.Say("%d suppliers have joined and offer, after %s", len(h.members), time.Since(began).Round(time.Second))
}

// known says whether the market matches to every offer, and has seen every supplier.
func (h *hubBench) known(ctx context.Context) (bool, error) {
	var offers boursev1.GPUOfferList
	var members boursev1.MemberList
	if err := errors.Join(h.lab.Client.List(ctx, &offers), h.lab.Client.List(ctx, &members)); err != nil {
		return false, err
	}
	ready := 0
	for i := range offers.Items {
		if kube.IsTrue(&offers.Items[i], boursev1.Ready) {
			ready++
		}
	}
	for i := range members.Items {
		if kube.IsTrue(&members.Items[i], boursev1.MemberConnected) {
			ready++
		}
	}
	return ready == 2*len(h.members), nil
}

func memberKey(what string, number int) join.Key {
	return sha256.Sum256(fmt.Appendf(nil, "%s of supplier %d", what, number))
}

// offer is what a supplier offers.
func (s *simulated) offer() *boursev1.GPUOffer {
	return &boursev1.GPUOffer{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.access.Namespace, Name: "h100"},
		Spec: boursev1.GPUOfferSpec{
			Pool: "pool", Model: "h100-sxm-80gb", MemoryMiB: 81_559, Sharing: boursev1.SharingNone, PriceUSD: "1.85", Region: "eu-north",
			Tokens: []boursev1.TokenSymbol{"IO", "USDC"}, FreeGPUs: new(int32(100)),
			Shapes: []boursev1.NodeShape{{FreeGPUs: 4, Nodes: 1}, {FreeGPUs: 8, Nodes: 12}},
			Terms: boursev1.PoolTerms{
				Tiers: []boursev1.Tier{boursev1.TierInterruptible}, Isolation: boursev1.IsolationContainer, Egress: boursev1.EgressNone,
				MinDurationSeconds: 60, MaxDurationSeconds: 86_400, NoticeSeconds: 30,
			},
			ValidUntil: metav1.NewTime(time.Now().Add(offerFor).Truncate(time.Second)),
		},
	}
}

// connect starts the supplier's part in the hub, over a connection of its own: caches as its manager's, which are filled when it returns, and
// signs of presence.
func (h *hubBench) connect(s *simulated) error {
	config := &rest.Config{Host: s.access.Server, BearerToken: s.access.Token, TLSClientConfig: rest.TLSClientConfig{CAData: s.access.CA}, QPS: -1}
	config.Dial = (&net.Dialer{}).DialContext // a configuration that dials by itself shares no transport
	own := cache.ByObject{Namespaces: map[string]cache.Config{s.access.Namespace: {}}}
	var err error
	s.hub, err = cluster.New(config, func(o *cluster.Options) {
		o.Scheme, o.Logger = h.lab.Client.Scheme(), logr.Discard()
		o.MapperProvider = func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return h.lab.Client.RESTMapper(), nil }
		o.Cache.DefaultTransform = cache.TransformStripManagedFields()
		o.Cache.NewInformer = kube.NewPatientInformer
		o.Cache.ByObject = map[client.Object]cache.ByObject{
			&boursev1.GPUOffer{}: own, &boursev1.GPULease{}: own, &boursev1.Member{}: own, &boursev1.StakePosition{}: own,
		}
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(h.b.Context())
	for _, kind := range watched() {
		if _, err := s.hub.GetCache().GetInformer(ctx, kind, cache.BlockUntilSynced(false)); err != nil {
			stop()
			return err
		}
	}
	sign := &presence.Sign{
		Client: s.hub.GetClient(), Namespace: s.access.Namespace, Role: "supplier", Holder: "manager-0", Now: time.Now, Log: logr.Discard(),
	}
	var parts sync.WaitGroup
	for _, start := range []func(context.Context) error{s.hub.Start, sign.Start} {
		parts.Go(func() {
			if err := start(ctx); err != nil {
				h.b.Error(err)
			}
		})
	}
	s.stop = func() {
		stop()
		parts.Wait()
	}
	if !s.hub.GetCache().WaitForCacheSync(ctx) {
		return errNotFilled
	}
	return nil
}

// again does something until it is done, as a manager's queue does it, and for as long as an offer stands at the most.
func again(do func() error) error {
	every := wait.Backoff{Duration: time.Second, Factor: 1.5, Jitter: 0.2, Steps: 12}
	return retry.OnError(every, func(error) bool { return true }, do)
}

// everyone runs do for all suppliers, so many at a time, and fails with the first error.
func (h *hubBench) everyone(atOnce int, do func(*simulated) error) {
	h.b.Helper()
	var group errgroup.Group
	group.SetLimit(atOnce)
	for _, s := range h.members {
		group.Go(func() error { return do(s) })
	}
	if err := group.Wait(); err != nil {
		h.b.Fatal(err)
	}
}

// run measures the suppliers at work, and then all of them coming back at once.
func (h *hubBench) run(before usage) {
	h.b.Helper()
	h.everyone(joiners, h.renew) // all are valid for as long as the benchmark needs
	asked, began := h.requests(), h.look()
	h.work()
	ended, answered := h.look(), h.requests()
	many, minutes := float64(len(h.members)), ended.at.Sub(began.at).Minutes()
	perMinute := func(spent, idle time.Duration) float64 {
		return (float64(spent)/minutes - float64(idle)) / float64(time.Millisecond) / many
	}
	plane := perMinute(ended.clusterCPU-began.clusterCPU, h.idle.cluster)
	market := perMinute(ended.marketCPU-began.marketCPU, h.idle.market)
	h.b.ReportMetric(plane, "control-plane-cpu-ms/supplier/min")
	h.b.ReportMetric(market, "market-cpu-ms/supplier/min")
	h.teller.Say("of each supplier in a minute: %.2f ms of the control plane's processor time, %.2f ms of the market's", plane, market)
	h.b.ReportMetric((ended.clusterMiB-before.clusterMiB)*1024/many, "control-plane-KiB/supplier")
	h.b.ReportMetric((ended.marketMiB-before.marketMiB)*1024/many, "market-KiB/supplier")
	for what, count := range answered {
		if rate := (count - asked[what]) / minutes / many; rate >= rare {
			h.teller.Say("of each supplier in a minute: %.3f × %s", rate, what)
		}
	}
	h.teller.Say("after %s the control plane has %.0f MiB (%.0f before), the market %.0f MiB (%.0f before)",
		ended.at.Sub(began.at).Round(time.Second), ended.clusterMiB, before.clusterMiB, ended.marketMiB, before.marketMiB)
	h.storm()
}

// work lets each supplier renew its offer and its token as often as it does, evenly spread. Signs are shown meanwhile.
func (h *hubBench) work() {
	h.b.Helper()
	ctx, stop := context.WithTimeout(h.b.Context(), *hubFor)
	defer stop()
	var group errgroup.Group
	for every, do := range map[time.Duration]func(*simulated) error{offerEvery: h.renew, tokenEvery: h.refresh} {
		group.Go(func() error { return h.spread(ctx, every, do) })
	}
	if err := group.Wait(); err != nil {
		h.b.Fatal(err)
	}
}

// spread does something for each supplier once in a while, one after the other, until the context ends. It waits for none of them.
func (h *hubBench) spread(ctx context.Context, every time.Duration, do func(*simulated) error) error {
	tick := time.NewTicker(every / time.Duration(len(h.members)))
	defer tick.Stop()
	var group errgroup.Group
	for next := 0; ; next++ {
		select {
		case <-ctx.Done():
			return group.Wait()
		case <-tick.C:
			group.Go(func() error { return do(h.members[next%len(h.members)]) })
		}
	}
}

// renew makes an offer valid for longer, as a supplier does.
func (h *hubBench) renew(s *simulated) error {
	writer := kube.SpecWriter{Client: s.hub.GetClient()}
	return again(func() error {
		offer := s.offer()
		if err := s.hub.GetClient().Get(h.b.Context(), client.ObjectKeyFromObject(offer), offer); err != nil {
			return err
		}
		before := offer.DeepCopy()
		offer.Spec.ValidUntil = metav1.NewTime(time.Now().Add(offerFor).Truncate(time.Second))
		return writer.Write(h.b.Context(), before, offer)
	})
}

// refresh gets the supplier a new token, which it does not need here.
func (h *hubBench) refresh(s *simulated) error {
	_, err := h.door.Renew(h.b.Context(), s.claim)
	return err
}

// answeredRequests finds the API server's counts of requests.
var answeredRequests = regexp.MustCompile(`(?m)^apiserver_request_total\{(.*)\} ([0-9.e+]+)$`)

// requests is how often the API server was asked for what, by anybody.
func (h *hubBench) requests() map[string]float64 {
	h.b.Helper()
	metrics, err := h.lab.Kubectl(h.b.Context(), "get", "--raw", "/metrics")
	if err != nil {
		h.b.Fatal(err)
	}
	sums := map[string]float64{}
	for _, match := range answeredRequests.FindAllStringSubmatch(metrics, -1) {
		labels := map[string]string{}
		for pair := range strings.SplitSeq(match[1], ",") {
			name, value, _ := strings.Cut(pair, "=")
			labels[name] = strings.Trim(value, `"`)
		}
		count, err := strconv.ParseFloat(match[2], 64)
		if err != nil {
			h.b.Fatal(err)
		}
		sums[strings.TrimSuffix(labels["verb"]+" "+labels["resource"]+"/"+labels["subresource"], "/")] += count
	}
	return sums
}

// storm ends every supplier's part in the hub at once, and lets all of them start anew with new connections: caches, signs, offers. Managers
// that only lost their connection ask for less.
func (h *hubBench) storm() {
	h.b.Helper()
	h.everyone(len(h.members), func(s *simulated) error {
		s.stop()
		return nil
	})
	began := h.look()
	h.everyone(len(h.members), func(s *simulated) error {
		if err := h.connect(s); err != nil {
			return err
		}
		return h.renew(s)
	})
	ended := h.look()
	h.b.ReportMetric(ended.at.Sub(began.at).Seconds(), "storm-s")
	h.b.ReportMetric((ended.clusterCPU - began.clusterCPU).Seconds(), "storm-control-plane-cpu-s")
	h.b.ReportMetric((ended.marketCPU - began.marketCPU).Seconds(), "storm-market-cpu-s")
	h.teller.Say("all %d suppliers came back within %s; the control plane had %.0f MiB then, the market %.0f MiB",
		len(h.members), ended.at.Sub(began.at).Round(100*time.Millisecond), ended.clusterMiB, ended.marketMiB)
}
