// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"flag"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

var (
	hubSuppliers = flag.Int("suppliers", 2000, "how many suppliers the hub's benchmark has")
	hubFor       = flag.Duration("hub-for", 3*time.Minute, "for how long they keep the hub busy")
)

const (
	offerLife  = 5 * time.Minute // of a real supplier's offers …
	offerEvery = offerLife / 2   // … which it renews at half of it
)

// BenchmarkHub lets many suppliers hold what a supplier's manager holds in the hub: an offer that they renew, and a watch of their leases
// over a connection of their own. It reports what each costs the hub's control plane and the market's manager beyond what they take without
// suppliers, and then lets all of them come back at once.
func BenchmarkHub(b *testing.B) {
	if b.N > 1 {
		b.Skip("one run is many suppliers: -benchtime 1x")
	}
	b.Setenv("GOGC", "100") // the hub's memory is measured as it is by default, and not with the compiler's setting of make
	lab := up(b, "--no-fake-nodes")
	h := &hubBench{b: b, lab: lab, market: startMarket(b, lab), teller: story.NewTeller(b.Output(), time.Now)}
	var cluster struct {
		PID int `json:"pid"`
	}
	readJSON(b, filepath.Join(lab.Dir, "proc", "cluster-hub.json"), &cluster)
	h.cluster = cluster.PID
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
	cluster int                                     // the control plane's process
	idle    struct{ cluster, market time.Duration } // processor time in a minute without suppliers
	teller  *story.Teller
	members []*simulated
}

// simulated is a supplier as the hub sees it.
type simulated struct {
	hub   client.WithWatch
	offer *boursev1.GPUOffer
	stop  context.CancelFunc
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

// join makes the suppliers' namespaces, members and offers, and waits until the market has looked at each.
func (h *hubBench) join() {
	h.b.Helper()
	began := time.Now()
	h.members = make([]*simulated, *hubSuppliers)
	for i := range h.members {
		member, err := h.supplier(i)
		if err != nil {
			h.b.Fatal(err)
		}
		h.members[i] = member
	}
	err := h.teller.Wait(h.b.Context(), "the market to know every offer", 10*time.Minute, func(ctx context.Context) (bool, error) {
		var offers boursev1.GPUOfferList
		if err := h.lab.Client.List(ctx, &offers); err != nil {
			return false, err
		}
		ready := 0
		for i := range offers.Items {
			if kube.IsTrue(&offers.Items[i], boursev1.Ready) {
				ready++
			}
		}
		return ready == len(h.members), nil
	})
	if err != nil {
		h.b.Fatal(err)
	}
	h.teller.Say("%d suppliers have joined and offer, after %s", len(h.members), time.Since(began).Round(time.Second))
}

// supplier makes one supplier with a client that shares no connection with others.
func (h *hubBench) supplier(number int) (*simulated, error) {
	ctx := h.b.Context()
	namespace := fmt.Sprintf("supplier-%04d", number)
	for _, object := range []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}},
		&boursev1.Member{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: boursev1.MemberName},
			Spec:       boursev1.MemberSpec{Wallet: builders.Address(namespace)},
		},
	} {
		if err := h.lab.Client.Create(ctx, object); err != nil {
			return nil, err
		}
	}
	s := &simulated{offer: &boursev1.GPUOffer{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "h100"},
		Spec: boursev1.GPUOfferSpec{
			Pool: "pool", Model: "h100-sxm-80gb", MemoryMiB: 81_559, Sharing: boursev1.SharingNone, PriceUSD: "1.85", Region: "eu-north",
			Tokens: []boursev1.TokenSymbol{"IO", "USDC"}, FreeGPUs: new(int32(100)),
			Shapes: []boursev1.NodeShape{{FreeGPUs: 4, Nodes: 1}, {FreeGPUs: 8, Nodes: 12}},
			Terms: boursev1.PoolTerms{
				Tiers: []boursev1.Tier{boursev1.TierInterruptible}, Isolation: boursev1.IsolationContainer, Egress: boursev1.EgressNone,
				MinDurationSeconds: 60, MaxDurationSeconds: 86_400, NoticeSeconds: 30,
			},
			ValidUntil: metav1.NewTime(time.Now().Add(2 * offerLife).Truncate(time.Second)), // until they have all joined
		},
	}}
	if err := h.lab.Client.Create(ctx, s.offer); err != nil {
		return nil, err
	}
	return s, h.connect(s)
}

// connect opens the supplier's own connection to the hub.
func (h *hubBench) connect(s *simulated) error {
	config, err := clientcmd.BuildConfigFromFlags("", h.lab.Kubeconfig())
	if err != nil {
		return err
	}
	config.QPS = -1
	config.Dial = (&net.Dialer{}).DialContext // a configuration that dials by itself shares no transport
	options := client.Options{Scheme: h.lab.Client.Scheme(), Mapper: h.lab.Client.RESTMapper()}
	if options.HTTPClient, err = rest.HTTPClientFor(config); err != nil {
		return err
	}
	s.hub, err = client.NewWithWatch(config, options)
	return err
}

// follow opens the supplier's watch of its leases.
func (h *hubBench) follow(s *simulated) error {
	ctx, stop := context.WithCancel(h.b.Context())
	watched, err := s.hub.Watch(ctx, &boursev1.GPULeaseList{}, client.InNamespace(s.offer.Namespace))
	if err != nil {
		stop()
		return err
	}
	s.stop = func() {
		stop()
		watched.Stop()
	}
	go func() {
		for range watched.ResultChan() { // nobody leases anything here
		}
	}()
	return nil
}

// everyone runs do for all suppliers, so many at a time, and fails with the first error.
func (h *hubBench) everyone(atOnce int, do func(*simulated) error) {
	h.b.Helper()
	var group sync.WaitGroup
	slots := make(chan struct{}, atOnce)
	errs := make(chan error, len(h.members))
	for _, s := range h.members {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if err := do(s); err != nil {
				errs <- err
			}
		})
	}
	group.Wait()
	close(errs)
	if err := <-errs; err != nil {
		h.b.Fatal(err)
	}
}

// run measures the suppliers at work, and then all of them coming back at once.
func (h *hubBench) run(before usage) {
	h.b.Helper()
	h.everyone(16, h.follow)
	h.everyone(16, h.renew) // all are valid for as long as the benchmark needs
	began := h.look()
	renewed := h.keepRenewing()
	ended := h.look()
	many, minutes := float64(len(h.members)), ended.at.Sub(began.at).Minutes()
	perMinute := func(spent, idle time.Duration) float64 {
		return (float64(spent)/minutes - float64(idle)) / float64(time.Millisecond) / many
	}
	h.b.ReportMetric(perMinute(ended.clusterCPU-began.clusterCPU, h.idle.cluster), "control-plane-cpu-ms/supplier/min")
	h.b.ReportMetric(perMinute(ended.marketCPU-began.marketCPU, h.idle.market), "market-cpu-ms/supplier/min")
	h.b.ReportMetric((ended.clusterMiB-before.clusterMiB)*1024/many, "control-plane-KiB/supplier")
	h.b.ReportMetric((ended.marketMiB-before.marketMiB)*1024/many, "market-KiB/supplier")
	h.teller.Say("%d offers were renewed in %s; the control plane has %.0f MiB (%.0f before), the market %.0f MiB (%.0f before)",
		renewed, ended.at.Sub(began.at).Round(time.Second), ended.clusterMiB, before.clusterMiB, ended.marketMiB, before.marketMiB)
	h.storm()
}

// keepRenewing renews each offer as often as a supplier does, evenly spread, and returns how many renewals there were.
func (h *hubBench) keepRenewing() int {
	h.b.Helper()
	tick := time.NewTicker(offerEvery / time.Duration(len(h.members)))
	defer tick.Stop()
	end := time.Now().Add(*hubFor)
	renewed := 0
	for ; time.Now().Before(end); renewed++ {
		<-tick.C
		if err := h.renew(h.members[renewed%len(h.members)]); err != nil {
			h.b.Fatal(err)
		}
	}
	return renewed
}

// renew makes an offer valid for longer, as a supplier does.
func (h *hubBench) renew(s *simulated) error {
	before := s.offer.DeepCopy()
	s.offer.Spec.ValidUntil = metav1.NewTime(time.Now().Add(2 * offerLife).Truncate(time.Second))
	return s.hub.Patch(h.b.Context(), s.offer, client.MergeFrom(before))
}

// storm breaks every connection at once, and lets every supplier come back with a new one: a watch of its leases, and its offer renewed.
func (h *hubBench) storm() {
	h.b.Helper()
	for _, s := range h.members {
		s.stop()
	}
	began := h.look()
	h.everyone(len(h.members), func(s *simulated) error {
		if err := h.connect(s); err != nil {
			return err
		}
		if err := h.follow(s); err != nil {
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
