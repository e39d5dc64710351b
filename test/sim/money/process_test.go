// SPDX-License-Identifier: Apache-2.0

package money

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	buyervoucher "github.com/bourse-dev/bourse/controllers/buyer/voucher"
	"github.com/bourse-dev/bourse/controllers/market/settlement"
	"github.com/bourse-dev/bourse/controllers/supplier/gpulease"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/sim/apiserver"
)

// role is one of the controllers that handle money.
type role int

const (
	buyer role = iota
	supplier
	market
	roles
)

func (r role) String() string { return [...]string{"buyer", "supplier", "market"}[r] }

// item is a lease in the queue of a controller.
type item struct {
	role role
	deal int
}

// process is one manager with all three roles: what it remembers is its caches and its queue, and a crash takes both.
type process struct {
	w        *world
	name     string
	client   *apiserver.Client
	line     *line
	run      [roles]func(*boursev1.GPULease) (reconcile.Result, error)
	due      map[item]time.Time
	failures map[item]int
	writes   int
}

// crashed ends a pass as the end of its process does.
type crashed struct{}

// errLost is the error of a request whose answer did not arrive.
var errLost = errors.New("connection lost")

func (w *world) newProcess(name string) *process {
	p := &process{w: w, name: name, line: &line{}}
	p.line.p = p
	p.restart()
	return p
}

// quiet is a recorder of events that nobody reads.
type quiet struct{}

// Eventf implements events.EventRecorder.
func (quiet) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

// shared counts for all worlds: nothing reads it.
var shared = metrics.New(prometheus.NewRegistry())

// restart starts the process anew: it reads everything again, and looks at every lease.
func (p *process) restart() {
	w := p.w
	p.client = w.server.NewClient(p.around)
	if w.rule.unlocked {
		p.client.Unlocked()
	}
	now := func() time.Time { return w.now }
	teller := &kube.Teller{Client: p.client, Recorder: quiet{}, Metrics: shared}
	on := w.rule.over(p.line)
	payer, wallet := w.payer, w.seller
	pays := &buyervoucher.Reconciler{Hub: p.client, Chain: on, Signer: payer, Now: now}
	sells := &gpulease.Reconciler{
		Teller: teller, Hub: p.client, Local: p.client, LocalLive: p.client.Live(), Ledger: w.rule.ledger(p, gpulease.OnChain{Chain: on, Signer: wallet}),
		Wallet: boursev1.SolanaAddress(wallet.PublicKey().String()), Namespace: builders.Supplier, HoldImage: "pause:1", Now: now,
	}
	records := &settlement.Reconciler{Teller: teller, Hub: p.client, Live: p.client.Live(), Chain: on, Now: now}
	p.run = [roles]func(*boursev1.GPULease) (reconcile.Result, error){
		buyer:    func(l *boursev1.GPULease) (reconcile.Result, error) { return pays.Reconcile(w.ctx, l) },
		supplier: func(l *boursev1.GPULease) (reconcile.Result, error) { return sells.Reconcile(w.ctx, l) },
		market:   func(l *boursev1.GPULease) (reconcile.Result, error) { return records.Reconcile(w.ctx, l) },
	}
	p.due, p.failures = map[item]time.Time{}, map[item]int{}
	for i := range w.deals {
		for r := range roles {
			p.due[item{r, i}] = w.now
		}
	}
}

// next returns what is due now, in an order that the seed decides.
func (p *process) next() []item {
	var due []item
	for it, at := range p.due {
		if !at.After(p.w.now) {
			due = append(due, it)
		}
	}
	slices.SortFunc(due, func(a, b item) int { return int(a.role-b.role) + int(roles)*(a.deal-b.deal) })
	p.w.random.Shuffle(len(due), func(i, j int) { due[i], due[j] = due[j], due[i] })
	return due
}

// pass lets one controller look at one lease once. A crash ends it and the process.
func (p *process) pass(it item) {
	w := p.w
	defer func() {
		if ended := recover(); ended != nil {
			if _, ok := ended.(crashed); !ok {
				panic(ended)
			}
			w.note("%s crashed", p.name)
			p.restart()
		}
	}()
	delete(p.due, it)
	w.passes++
	lease := &boursev1.GPULease{}
	if err := p.client.Get(w.ctx, w.deals[it.deal].key, lease); err != nil {
		return // nothing to look at
	}
	w.note("%s %s %s", p.name, it.role, w.deals[it.deal].name)
	result, err := p.run[it.role](lease)
	if err != nil {
		w.note("%s %s failed: %v", p.name, it.role, err)
		p.wake(it, w.now.Add(p.backoff(it)))
		return
	}
	delete(p.failures, it)
	if result.RequeueAfter > 0 {
		p.wake(it, w.now.Add(max(time.Second, result.RequeueAfter)))
	}
}

// wake puts a lease into the queue, unless it is there for an earlier time.
func (p *process) wake(it item, at time.Time) {
	if before, ok := p.due[it]; !ok || at.Before(before) {
		p.due[it] = at
	}
}

// backoff is how long a queue waits after so many failures: as controller-runtime does, in whole seconds.
func (p *process) backoff(it item) time.Duration {
	const first, most = 5 * time.Millisecond, 1000 * time.Second
	p.failures[it]++
	wait := first << min(p.failures[it]-1, 20)
	return max(time.Second, min(wait, most).Truncate(time.Second))
}

// catchUp lets the caches see what happened, or only a part of it.
func (p *process) catchUp() {
	news := p.client.Behind()
	if news > 0 && p.w.strikes(staleCache) {
		news = p.w.random.IntN(news)
	}
	p.client.CatchUp(news, func(obj client.Object) {
		for _, it := range p.w.concerned(obj) {
			p.wake(it, p.w.now)
		}
	})
}

// concerned says which controllers watch an object, and for which lease.
func (w *world) concerned(obj client.Object) []item {
	var name string
	var watchers []role
	switch of := obj.(type) {
	case *boursev1.GPULease:
		name, watchers = of.Name, []role{buyer, supplier, market}
	case *boursev1.LeaseProgram:
		name, watchers = of.Name, []role{supplier}
	case *boursev1.Voucher:
		name, watchers = of.Spec.Lease.Name, []role{buyer, supplier}
	default:
		name, watchers = obj.GetLabels()[boursev1.LabelLease], []role{supplier}
	}
	var items []item
	for i, d := range w.deals {
		if d.key.Name == name {
			for _, r := range watchers {
				items = append(items, item{r, i})
			}
		}
	}
	return items
}

// around surrounds every write to the API server.
func (p *process) around(verb string, obj client.Object, write func() error) error {
	p.writes++
	what := verb + " " + reflect.TypeOf(obj).Elem().Name() + " " + obj.GetName()
	return p.w.effect(p, what, obj, write)
}

// effect is one durable or external step, with everything that may happen before, after and instead.
func (w *world) effect(p *process, what string, obj client.Object, do func() error) error {
	w.steps++
	w.interrupt(p)
	w.crash(p, crashBefore, what)
	if obj != nil && w.happens(lostWrite) {
		w.note("%s lost write: %s", p.name, what)
		return errLost
	}
	if obj != nil && w.strikes(conflict) {
		w.touch(obj)
	}
	err := do()
	w.note("%s %s: %s", p.name, what, text(err))
	w.crash(p, crashAfter, what)
	if err == nil && w.happens(lostAnswer) {
		w.note("%s lost answer: %s", p.name, what)
		return errLost
	}
	return err
}

// happens says whether a fault strikes at this step, by chance or because it is the one that this schedule is about.
func (w *world) happens(f fault) bool {
	if w.only == nil {
		return w.strikes(f)
	}
	if w.only.step != w.steps || w.only.fault != f {
		return false
	}
	w.count(f)
	return true
}

func (w *world) crash(p *process, when fault, what string) {
	if w.happens(when) {
		w.note("%s %s: %s", p.name, when, what)
		panic(crashed{})
	}
}

// interrupt lets the other leader make a pass in the middle of this one's.
func (w *world) interrupt(p *process) {
	if w.depth > 0 || len(w.procs) < 2 || !w.strikes(interleaved) {
		return
	}
	other := w.procs[0]
	if other == p {
		other = w.procs[1]
	}
	w.depth++
	other.catchUp()
	other.pass(item{role(w.random.IntN(int(roles))), w.random.IntN(len(w.deals))})
	w.depth--
}

// touch changes an object behind a writer's back.
func (w *world) touch(obj client.Object) {
	found, ok := reflect.TypeAssert[client.Object](reflect.New(reflect.TypeOf(obj).Elem()))
	if !ok || w.live.Get(w.ctx, client.ObjectKeyFromObject(obj), found) != nil {
		return
	}
	labels := map[string]string{}
	maps.Copy(labels, found.GetLabels())
	labels["touched"] = strconv.Itoa(w.steps)
	found.SetLabels(labels)
	if err := w.live.Update(w.ctx, found); !apierrors.IsNotFound(err) {
		w.must(err)
	}
}
