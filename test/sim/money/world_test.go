// SPDX-License-Identifier: Apache-2.0

package money

import (
	"context"
	"fmt"
	"hash"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakeprogram"
	"github.com/bourse-dev/bourse/test/sim/apiserver"
	"github.com/bourse-dev/bourse/test/sim/ledger"
)

// The fake chain: blocks are final after twenty more, and ten are made each second, so that a blockhash lives for a quarter of a minute.
const (
	confirmLag, finalLag = 5, 20
	blocksPerSecond      = 10
	lifetime             = 15 * time.Second
	lamports             = 1_000_000_000
	supply               = money.Amount(100_000_000_000)
)

// deal is one lease with what the simulation must know of it.
type deal struct {
	key            client.ObjectKey
	name           string
	terms          escrow.Terms
	address, vault chain.Address
	mostUsed       money.Amount // the most that any stored usage record ever cost
	wrong          bool         // nobody may pay for it
	part           bool         // of a job that was split: its deposit is made together with those of the others
	done           bool
}

// world is one schedule: everything in it follows from the seed.
type world struct {
	tb                        testing.TB
	ctx                       context.Context
	seed                      uint64
	random                    *rand.Rand
	now                       time.Time
	began                     time.Time
	profile                   profile
	rule                      rule
	calm                      bool
	server                    *apiserver.Server
	live                      *apiserver.Client
	fake                      *chaintest.Fake
	deals                     []*deal
	procs                     []*process
	backup                    map[apiserver.Key]client.Object
	sent                      [][]byte // everything that was ever sent
	watch                     *watch
	fired                     map[fault]int
	problem                   string
	hash                      hash.Hash64
	trace                     io.Writer
	depth                     int // of passes within passes
	steps                     int
	only                      *strike // the single fault of an enumerated schedule
	passes                    int
	funded                    int // leases that were used and paid
	together                  int // and those of them that were parts of a job
	agenda                    []event
	eye                       *apiserver.Client // what the cluster around the operator sees
	faulty                    [nodes]map[fault]bool
	next                      chaintest.Fault // of the call that is being made
	calmAt                    time.Time
	doneAt                    time.Time
	edges                     []edge
	lags                      [nodes]lag
	doomed                    map[chain.Signature]bool // all copies but the first are lost
	buyer, supplier, treasury chain.Address
	payer, seller             *signer.Keypair
	slowest                   time.Duration // from the end of the faults until everything was done
}

// strike is one fault at one step.
type strike struct {
	step  int
	fault fault
}

// newWorld makes the world of a seed under a rule. A single fault at a single step takes the place of all that would happen by chance.
func newWorld(tb testing.TB, seed uint64, with rule, single *strike, trace io.Writer) *world {
	tb.Helper()
	w := &world{
		tb: tb, ctx: tb.Context(), seed: seed, random: rand.New(rand.NewPCG(seed, 1)), now: builders.Start, began: builders.Start,
		rule: with, only: single, fired: map[fault]int{}, doomed: map[chain.Signature]bool{}, hash: fnv.New64a(), trace: trace,
	}
	w.payer, w.seller = builders.Wallet(builders.Buyer), builders.Wallet(builders.Supplier)
	w.buyer, w.supplier = w.payer.PublicKey(), w.seller.PublicKey()
	w.treasury = builders.Wallet("treasury").PublicKey()
	w.profile = newProfile(w.random, with.honest)
	if single != nil {
		w.profile = profile{leases: 1, leaders: 1, term: 90 * time.Second, until: 2 * time.Minute, rate: map[fault]int{}}
	}
	w.server = apiserver.New(func() time.Time { return w.now })
	w.server.Index("settlement.lease", leaseOfSettlement)
	w.live = w.server.Live()
	w.fake = chaintest.New(confirmLag, finalLag)
	w.fake.Clock(func() time.Time { return w.now })
	w.fake.Faults(func(method string) chaintest.Fault {
		if method == "FinalizedHeight" && w.one(2) {
			return chaintest.Fault{LoseReply: w.next.LoseReply} // asked of another node behind the same address
		}
		return w.next
	})
	w.watch = newWatch(w)
	for i := range w.faulty {
		w.faulty[i] = map[fault]bool{}
		for _, f := range nodeFaults() {
			w.faulty[i][f] = w.one(2)
		}
	}
	w.populate()
	w.eye = w.server.NewClient(nil)
	for i := range w.profile.leaders {
		w.procs = append(w.procs, w.newProcess(fmt.Sprintf("p%d", i)))
	}
	w.misfortunes()
	return w
}

func leaseOfSettlement(obj client.Object) []string {
	settlement, ok := obj.(*boursev1.Settlement)
	if !ok {
		return nil
	}
	return []string{settlement.Spec.Lease.Namespace + "/" + settlement.Spec.Lease.Name}
}

// must ends the simulation when its own machinery fails.
func (w *world) must(err error) {
	w.tb.Helper()
	if err != nil {
		w.tb.Fatalf("seed %d: %v", w.seed, err)
	}
}

// populate puts the market, the pool, the leases and the money in place.
func (w *world) populate() {
	market := builders.Market()
	genesis, err := w.fake.GenesisHash(w.ctx)
	w.must(err)
	market.Spec.GenesisHash = boursev1.SolanaAddress(genesis.String())
	program, mint := builders.Wallet("program").PublicKey(), builders.Wallet("mint of IO").PublicKey()
	ledger.Install(w.fake, program, w.rule.program)
	w.must(fakeprogram.Configure(w.fake, builders.Config()))
	w.must(ledger.Mint(w.fake, mint, 8, builders.Wallet(builders.Buyer).PublicKey(), supply))
	w.must(ledger.Mint(w.fake, builders.Wallet("wrong mint").PublicKey(), 8, builders.Wallet(builders.Buyer).PublicKey(), supply))
	for _, name := range []string{builders.Buyer, builders.Supplier} {
		w.fake.Fund(builders.Wallet(name).PublicKey(), lamports)
	}
	pool := &boursev1.GPUPool{
		ObjectMeta: metav1.ObjectMeta{Name: "pool"},
		Spec: boursev1.GPUPoolSpec{
			NodeSelector: map[string]string{"pool": "a"}, Mode: boursev1.PoolSell, PriceUSD: "1.85", Tokens: []boursev1.TokenSymbol{"IO"},
			Region: "eu-north", Terms: builders.Offer(builders.Supplier, "h100").Spec.Terms,
		},
	}
	node := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "n1", Labels: map[string]string{
			"pool": "a", "nvidia.com/gpu.product": "NVIDIA-H100", "nvidia.com/gpu.memory": "81559",
		}},
		Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}},
	}
	for _, obj := range []client.Object{market, pool, node} {
		w.must(w.live.Create(w.ctx, obj))
	}
	if w.split() {
		w.deals = w.parts("job-0", w.profile.leases)
	} else {
		for i := range w.profile.leases {
			w.deals = append(w.deals, w.deal(fmt.Sprintf("job-%d", i), false))
		}
	}
	if w.strikes(wrongMint) {
		w.deals = append(w.deals, w.deal("wrong", true))
	}
	w.fake.Tick(finalLag + 1)
}

// split says whether the schedule's leases are the parts of one job.
func (w *world) split() bool { return w.profile.leases > 1 && w.seed%2 == 0 }

// deal makes a job and its lease as the market does, or one whose mint is not the market's.
func (w *world) deal(name string, wrong bool) *deal {
	job, lease := builders.Leased(w.tb, name)
	w.size(job)
	if wrong {
		lease.Spec.Payment.Mint, lease.Spec.Payment.MarketGeneration = builders.Address("wrong mint"), 7
	}
	w.post(job)
	d := w.sign(job, lease)
	d.name, d.wrong = name, wrong
	return d
}

// parts makes a job that was split, and the leases of its parts, all with the one supplier.
func (w *world) parts(name string, n int) []*deal {
	job, leases := builders.LeasedInParts(w.tb, name, n)
	w.size(job)
	job.Spec.GPUs.Workers = int32(n)
	deals := make([]*deal, n)
	for i, lease := range leases {
		lease.Namespace, lease.Spec.Supplier = builders.Supplier, builders.Address(builders.Supplier)
		job.Status.Parts[i].Lease.Namespace, job.Status.Parts[i].Workers = builders.Supplier, 1
		deals[i] = w.sign(job, lease)
		deals[i].name, deals[i].part = fmt.Sprintf("%s-%d", name, i), true
	}
	w.post(job)
	return deals
}

// size gives the job its term, and workers that the seed chooses.
func (w *world) size(job *boursev1.ComputeJob) {
	job.Spec.DurationSeconds = int32(w.profile.term / time.Second)
	job.Spec.GPUs.Workers, job.Spec.GPUs.PerWorker = 1, 1+int32(w.random.IntN(8))
	job.Spec.Ray.WorkerCPU, job.Spec.Ray.WorkerMemory = resource.MustParse("4"), resource.MustParse("16Gi")
	job.Spec.Ray.HeadCPU, job.Spec.Ray.HeadMemory = resource.MustParse("1"), resource.MustParse("4Gi")
}

// post puts the job with what the market says of it into the hub.
func (w *world) post(job *boursev1.ComputeJob) {
	status := job.Status
	w.must(w.live.Create(w.ctx, job))
	job.Status = status
	w.must(w.live.Status().Update(w.ctx, job))
}

// sign puts the lease into the hub, for one worker and at what that costs.
func (w *world) sign(job *boursev1.ComputeJob, lease *boursev1.GPULease) *deal {
	lease.Status = boursev1.GPULeaseStatus{}
	lease.UID = ""
	spec := &lease.Spec
	spec.Workers, spec.PerWorker = 1, job.Spec.GPUs.PerWorker
	program := builders.Program(job, lease)
	spec.Terms.DurationSeconds = job.Spec.DurationSeconds
	spec.Terms.PeriodSeconds = 45
	spec.AcceptBy = metav1.NewTime(w.now.Add(3 * time.Minute))
	spec.Escrow.Deadline = metav1.NewTime(w.now.Add(25*time.Minute + w.profile.term))
	agreed, err := contract.Meter(lease)
	w.must(err)
	gross, err := money.Gross(agreed.Price, agreed.Whole())
	w.must(err)
	split, err := agreed.Fees.Split(gross)
	w.must(err)
	spec.Payment.Deposit = int64(split.Debit)
	d := &deal{key: client.ObjectKeyFromObject(lease)}
	d.terms, err = contract.Escrow(lease)
	w.must(err)
	d.address, err = d.terms.Address()
	w.must(err)
	d.vault, err = d.terms.Vault()
	w.must(err)
	spec.Escrow.Address = boursev1.SolanaAddress(d.address.String())
	w.must(w.live.Create(w.ctx, lease))
	w.must(w.live.Create(w.ctx, program))
	return d
}

// one says whether something that happens once in so many times happens now.
func (w *world) one(in int) bool { return in > 0 && w.random.IntN(in) == 0 }

// strikes says whether a fault strikes now, and counts it.
func (w *world) strikes(f fault) bool {
	if w.calm || w.only != nil || !w.one(w.profile.rate[f]) {
		return false
	}
	w.count(f)
	return true
}

func (w *world) count(f fault) { w.fired[f]++ }

// note adds a line to the trace. The hash of all lines names the schedule: the same seed always has the same one.
func (w *world) note(format string, values ...any) {
	line := fmt.Sprintf("%6.0f "+format+"\n", append([]any{w.now.Sub(w.began).Seconds()}, values...)...)
	_, _ = w.hash.Write([]byte(line)) // never fails
	if w.trace != nil {
		_, _ = io.WriteString(w.trace, line)
	}
}

// wrong writes down the first thing that must never be.
func (w *world) wrong(format string, values ...any) {
	if w.problem == "" {
		w.problem = fmt.Sprintf(format, values...)
		w.note("BROKEN: %s", w.problem)
	}
}

// elapse lets time go on, and the chain with it.
func (w *world) elapse(by time.Duration) {
	w.now = w.now.Add(by)
	blocks := min(int(by/time.Second)*blocksPerSecond, 40*blocksPerSecond)
	for range blocks {
		w.fake.Tick(1)
		w.fork()
		w.forks()
	}
}

// fork takes back what is not final, as another fork does.
func (w *world) fork() {
	again := w.strikes(forkedRelay)
	if !again && !w.strikes(forked) {
		return
	}
	depth := 1 + w.random.IntN(finalLag)
	w.fake.Rollback(depth, again)
	w.note("fork %d %t", depth, again)
}
