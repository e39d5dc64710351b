// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/test/e2e/story"
)

var partitions = flag.Bool("partitions", false, "break a supplier's link to the hub for minutes; `make e2e-federation` does")

const (
	apart        = "porto" // the supplier whose link fails
	apartModel   = "a100-sxm-80gb"
	longTerm     = 1200 // seconds; the outages and what is waited for between them take less
	recoverLimit = 3 * time.Minute
	killedAfter  = 2 * time.Minute // since the hub went away
	crowdGPUs    = 4
	crowd        = 6 // jobs of so many GPUs each. Eight are free, and the supplier's own work takes four of them
	crowdOld     = 2 // of the jobs, those that are sold the free GPUs before the hub hears that some are taken
)

// A supplier's link to the hub fails in turn in every way, while it runs a lease: it is cut for ten minutes, in which its manager is killed
// and started again, one direction is lost and then the other, a share of new connections is dropped, and the link flaps while more is ordered than there is. Nothing ends the lease,
// its pods stay the same, its meter goes on to the millisecond, and each GPU is sold once at every moment. In the end everything is paid
// once, to the base unit. The outages last as long as they say. The lab's clocks are those of every lab: a settlement every 10 seconds
// instead of an hour, and slots of 100 milliseconds instead of 400.
func TestPartitionsEndNoLeaseAndSellNoGPUTwice(t *testing.T) {
	if !*partitions {
		t.Skip("SKIPPED: it breaks a link for twenty minutes; run `make e2e-federation`")
	}
	p := newPartition(t)
	p.outlivesKill(10 * time.Minute)
	p.outlives("nothing that the supplier sends arrives", fault{Mode: "HoldOut"}, 75*time.Second, nothing)
	p.outlives("nothing that the hub answers arrives", fault{Mode: "HoldBack"}, 75*time.Second, nothing)
	p.outlivesDrops(time.Minute)
	jobs := append(p.outlivesFlapping(time.Minute), p.job)
	p.must(p.teller.Finished(t.Context(), p.lab, jobs...))
	p.census.end()
	wholeTerm(t, p.job)
	p.settled(jobs...)
	p.fence.end()
}

// fault is what is wrong with a supplier's link, as the lab's relay is told.
type fault struct {
	Mode        string `json:"mode,omitempty"`
	DropPercent int    `json:"dropPercent,omitempty"`
	FlapMS      int    `json:"flapMS,omitempty"`
}

// partition is a federation with a lease that runs through everything.
type partition struct {
	*federation

	census *census
	job    *story.Job
	pods   []string    // their UIDs
	since  metav1.Time // when the lease began to run
	ready  metav1.Time // since when it is metered
}

func newPartition(t *testing.T) *partition {
	t.Helper()
	p := &partition{federation: newFederation(t)}
	p.census = newCensus(p.federation, apart)
	p.job = p.order("through", longTerm, 2)
	p.must(p.teller.Running(t.Context(), p.lab, p.job))
	p.runsOnlyIn(apart, p.job)
	p.must(p.teller.Claimed(t.Context(), p.lab, 1, p.job))
	p.pods = identities(t.Context(), t, p.lab, p.job)
	p.since = meta.FindStatusCondition(p.job.Lease.Status.Conditions, boursev1.LeaseRunning).LastTransitionTime
	p.ready = *p.job.Lease.Status.Usage.ReadySince
	return p
}

// order applies a job of so many workers with four GPUs each, which only the supplier apart has.
func (f *federation) order(name string, seconds, workers int) *story.Job {
	f.t.Helper()
	sample, err := os.ReadFile(filepath.Join(samples, "computejob-interactive-io.yaml"))
	f.must(err)
	text := strings.NewReplacer("name: notebook", "name: "+name, "[h100-sxm-80gb, a100-sxm-80gb]", "["+apartModel+"]",
		"workers: 2", fmt.Sprintf("workers: %d", workers), `budgetUSD: "5"`, `budgetUSD: "20"`,
		"perWorker: 4", fmt.Sprintf("perWorker: %d", crowdGPUs), "durationSeconds: 60", fmt.Sprintf("durationSeconds: %d", seconds)).Replace(string(sample))
	path := filepath.Join(f.t.TempDir(), name+".yaml")
	f.must(os.WriteFile(path, []byte(text), 0o600))
	job, err := f.teller.Apply(f.t.Context(), f.lab, path)
	f.must(err)
	return job
}

// set breaks the link, or mends it.
func (f *federation) set(what fault) {
	f.t.Helper()
	body, err := json.Marshal(what)
	f.must(err)
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodPut, f.lab.Suppliers[apart].Link, bytes.NewReader(body))
	f.must(err)
	response, err := http.DefaultClient.Do(request)
	f.must(err)
	f.must(response.Body.Close())
	if response.StatusCode != http.StatusNoContent {
		f.t.Fatalf("set fault %+v: %s", what, response.Status)
	}
}

// dropped is how many connections the link has dropped so far.
func (f *federation) dropped() int {
	f.t.Helper()
	request, err := http.NewRequestWithContext(f.t.Context(), http.MethodGet, f.lab.Suppliers[apart].Link, nil)
	f.must(err)
	response, err := http.DefaultClient.Do(request)
	f.must(err)
	var report struct {
		Count struct{ Connections, Dropped int }
	}
	f.must(json.NewDecoder(response.Body).Decode(&report))
	f.must(response.Body.Close())
	f.teller.Say("the link has had %d connections, and dropped %d", report.Count.Connections, report.Count.Dropped)
	return report.Count.Dropped
}

// nothing happens beside a fault.
func nothing() error { return nil }

// outlivesKill cuts the link, kills the supplier's manager meanwhile, and starts it again while its hub is away. It waits for the hub.
func (p *partition) outlivesKill(lasts time.Duration) {
	p.t.Helper()
	kill, manager := time.Now().Add(killedAfter), 0
	p.outlives("the link is cut, and the manager is killed", fault{Mode: "Cut"}, lasts, func() error {
		if manager != 0 || time.Now().Before(kill) {
			return nil
		}
		before := p.fence.pid("manager-" + apart)
		p.must(command(p.t.Context(), p.t, "restart", "manager", apart, "--no-wait", "--dir", p.lab.Dir))
		if manager = p.fence.pid("manager-" + apart); manager == before {
			p.t.Errorf("the manager still has the pid %d", before)
		}
		p.teller.Say("the manager was killed, and started again while its hub is away: pid %d instead of %d", manager, before)
		return nil
	})
	if _, err := os.Stat(fmt.Sprintf("/proc/%d", manager)); err != nil || p.fence.pid("manager-"+apart) != manager {
		p.t.Errorf("the manager with pid %d did not wait for its hub: %v", manager, err)
	}
}

// outlives holds that a fault of the link changes nothing for the lease, whatever happens beside it, and that the meter catches up after it.
func (p *partition) outlives(what string, of fault, lasts time.Duration, beside func() error) {
	p.t.Helper()
	p.teller.Title(fmt.Sprintf("For %s %s", lasts, what))
	p.unbroken(p.t.Context())
	before := p.job.Lease.Status.Usage.Sequence
	p.set(of)
	p.unbrokenFor(lasts, beside)
	// One that was sent before may still arrive, and one whose answer is lost; the fault would be none if more did.
	if heard := p.job.Lease.Status.Usage.Sequence; heard > before+2 {
		p.t.Errorf("the hub heard of records %d to %d meanwhile", before+1, heard)
	}
	p.set(fault{})
	p.recovers()
}

// outlivesDrops drops 30 % of new connections. All connections end every few seconds, so that there are new ones.
func (p *partition) outlivesDrops(lasts time.Duration) {
	p.t.Helper()
	const every = 3 * time.Second
	p.teller.Title(fmt.Sprintf("For %s 30 %% of new connections are dropped, and all end every %s", lasts, every))
	before, next := p.dropped(), time.Now()
	p.unbrokenFor(lasts, func() error {
		if time.Now().Before(next) {
			return nil
		}
		next = time.Now().Add(every)
		p.set(fault{Mode: "Refuse"})
		p.set(fault{DropPercent: 30})
		return nil
	})
	if p.dropped() == before {
		p.t.Error("no connection was dropped")
	}
	p.set(fault{})
	p.recovers()
}

// outlivesFlapping lets the link come and go every five seconds, at first with broken connections and then with silent ones, while more
// is ordered than there is. It begins with a link that is down, behind which GPUs are taken that the hub then sells.
func (p *partition) outlivesFlapping(each time.Duration) []*story.Job {
	p.t.Helper()
	p.teller.Title(fmt.Sprintf("For %s the link flaps every 5s, while more is ordered than there is", 2*each))
	p.set(fault{Mode: "Refuse"})
	asked := time.Now()
	own := p.ownWork()
	p.census.reserve(crowdGPUs, asked)
	var jobs []*story.Job
	for len(jobs) < crowdOld {
		jobs = append(jobs, p.order(fmt.Sprintf("crowd-%d", len(jobs)+1), 60, 1))
	}
	p.must(p.teller.Wait(p.t.Context(), "the hub to sell what is taken", supplyWithin, func(ctx context.Context) (bool, error) {
		p.unbroken(ctx)
		return p.matched(ctx, jobs)
	}))
	more := func() error {
		if len(jobs) < crowd {
			jobs = append(jobs, p.order(fmt.Sprintf("crowd-%d", len(jobs)+1), 60, 1))
		}
		_, err := p.matched(p.t.Context(), jobs)
		return err
	}
	p.set(fault{Mode: "Refuse", FlapMS: 5000})
	p.unbrokenFor(each, more)
	p.set(fault{Mode: "Cut", FlapMS: 5000})
	p.unbrokenFor(each, more)
	p.set(fault{})
	p.recovers()
	p.refusedStale()
	asked = time.Now()
	p.must(p.lab.In(apart).Delete(p.t.Context(), own, client.GracePeriodSeconds(0)))
	p.census.release(asked)
	return jobs
}

// matched looks at the jobs, and says whether each has a lease.
func (p *partition) matched(ctx context.Context, jobs []*story.Job) (bool, error) {
	all := true
	for _, job := range jobs {
		if err := p.teller.Look(ctx, p.lab, job); err != nil {
			return false, err // the job may name a lease that is not there yet
		}
		all = all && job.Lease != nil
	}
	return all, nil
}

// refusedStale holds that the supplier refused what the hub matched to GPUs that were not free any more.
func (p *partition) refusedStale() {
	p.t.Helper()
	refused := 0
	for _, job := range p.leases(p.t.Context()) {
		if end := job.Lease.Status.End; end != nil && end.Reason == boursev1.EndNotAccepted {
			refused++
			p.teller.Say("%s was not accepted: %s", job.Lease.Name, end.Message)
		}
	}
	if refused == 0 {
		p.t.Error("no lease was refused: the hub's offers were never old")
	}
}

// ownWork is a pod of the supplier's own, on GPUs that are on offer.
func (p *partition) ownWork() *corev1.Pod {
	p.t.Helper()
	var pod *corev1.Pod
	for node, free := range p.census.free() {
		if isApartModel(node) && free >= crowdGPUs {
			pod = localPod("default", "own-work", crowdGPUs, node)
		}
	}
	if pod == nil {
		p.t.Fatal("no node has free GPUs")
	}
	p.must(p.teller.Wait(p.t.Context(), "the supplier's own work to be admitted", supplyWithin, func(ctx context.Context) (bool, error) {
		err := p.lab.In(apart).Create(ctx, pod)
		return err == nil, err // a new namespace may not have its service account yet
	}))
	p.must(p.teller.Wait(p.t.Context(), "the supplier's own work to have its GPUs", supplyWithin, func(ctx context.Context) (bool, error) {
		err := p.lab.In(apart).Get(ctx, client.ObjectKeyFromObject(pod), pod)
		return err == nil && pod.Spec.NodeName != "", err
	}))
	return pod
}

// unbrokenFor holds that the lease runs on for so long, and does something beside it.
func (p *partition) unbrokenFor(lasts time.Duration, beside func() error) {
	p.t.Helper()
	until := time.Now().Add(lasts)
	p.must(p.teller.Wait(p.t.Context(), "the outage to be over", lasts+time.Minute, func(ctx context.Context) (bool, error) {
		p.unbroken(ctx)
		err := beside()
		return !time.Now().Before(until), err
	}))
}

// unbroken holds that the lease runs on: nobody ended it, and its pods are those of the beginning.
func (p *partition) unbroken(ctx context.Context) {
	p.t.Helper()
	p.must(p.teller.Look(ctx, p.lab, p.job))
	running := meta.FindStatusCondition(p.job.Lease.Status.Conditions, boursev1.LeaseRunning)
	if running.Status != metav1.ConditionTrue || !running.LastTransitionTime.Equal(&p.since) || p.job.Lease.Status.End != nil {
		p.t.Fatalf("the lease does not run on: %+v, end %+v", running, p.job.Lease.Status.End)
	}
	if diff := cmp.Diff(p.pods, identities(ctx, p.t, p.lab, p.job)); diff != "" {
		p.t.Fatalf("the lease's pods changed (-before +after):\n%s", diff)
	}
}

// recovers waits until the hub hears of the meter again, which has counted every second.
func (p *partition) recovers() {
	p.t.Helper()
	mended := time.Now()
	p.must(p.teller.Wait(p.t.Context(), "the meter to be heard of", recoverLimit, func(ctx context.Context) (bool, error) {
		p.unbroken(ctx)
		return p.job.Lease.Status.Usage.Through.After(mended), nil
	}))
	usage := p.job.Lease.Status.Usage
	gpus := int64(p.job.Lease.Spec.Workers * p.job.Lease.Spec.PerWorker)
	want := gpus * usage.Through.Sub(p.ready.Time).Milliseconds()
	if *usage.GPUMilliseconds != want || !usage.ReadySince.Equal(&p.ready) {
		p.t.Errorf("%d GPU-ms were metered since %s, want %d since %s", *usage.GPUMilliseconds, usage.ReadySince, want, p.ready)
	}
	p.teller.Say("the meter was heard of %s after the link was well, with every second counted: %d GPU-ms",
		time.Since(mended).Round(time.Second), want)
}
