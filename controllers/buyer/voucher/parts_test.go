// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
	"github.com/bourse-dev/bourse/test/sim/ledger"
)

// group is a buyer whose job was split: a bench for each part, on one hub, one chain and one controller.
type group struct {
	*bench

	parts []*bench
}

// plenty is more tokens than any test deposits.
const plenty = 100_000_000_000

// newGroup lets the test change the leases, the job and the market before anybody sees them. The wallet has so many tokens.
func newGroup(
	t *testing.T, parts int, tokens money.Amount, change func([]*boursev1.GPULease, *boursev1.ComputeJob, *boursev1.Market),
) *group {
	t.Helper()
	job, leases := builders.LeasedInParts(t, "train", parts)
	first := newBench(t, nil)
	market := builders.Market()
	first.hub.Read(market)
	ledger.Install(first.chain, builders.Wallet("program").PublicKey(), ledger.Rules{})
	mint := builders.Wallet("mint of IO").PublicKey()
	if err := ledger.Mint(first.chain, mint, 8, builders.Wallet(builders.Buyer).PublicKey(), plenty); err != nil {
		t.Fatal(err)
	}
	if err := ledger.Give(first.chain, mint, builders.Wallet(builders.Buyer).PublicKey(), tokens); err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(leases, job, market)
	}
	objects := make([]client.Object, 0, 2+len(leases))
	objects = append(objects, job, market)
	for _, lease := range leases {
		objects = append(objects, lease)
	}
	first.hub, first.lease = fakehub.New(t, nil, objects...), leases[0]
	first.chain.Clock(first.hub.Now)
	first.chain.Tick(finalLag + 1)
	g := &group{bench: first, parts: []*bench{first}}
	for _, lease := range leases[1:] {
		g.parts = append(g.parts, &bench{t: t, hub: first.hub, chain: first.chain, lease: lease})
	}
	g.restart()
	return g
}

// restart replaces the controller by one that remembers nothing.
func (g *group) restart() {
	g.bench.restart()
	for _, part := range g.parts {
		part.r = g.r
	}
}

// round runs a pass for each part, the last one first.
func (g *group) round() error {
	var errs []error
	for _, part := range slices.Backward(g.parts) {
		_, err := part.try()
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// fund runs rounds until every deposit has landed.
func (g *group) fund() {
	g.t.Helper()
	for range 40 {
		if err := g.round(); err != nil {
			g.t.Fatalf("round: %v", err)
		}
		g.chain.Tick(1)
		if g.count(func(v *boursev1.Voucher) bool { return in(v.Spec.Deposit, boursev1.TransactionLanded) }) == len(g.parts) {
			return
		}
	}
	g.t.Fatal("the deposits did not land")
}

// count counts the parts whose vouchers are so.
func (g *group) count(are func(*boursev1.Voucher) bool) int {
	g.t.Helper()
	n := 0
	for _, part := range g.parts {
		if voucher := part.voucher(); voucher != nil && are(voucher) {
			n++
		}
	}
	return n
}

// calm fails unless another round writes nothing.
func (g *group) calm() {
	g.t.Helper()
	wrote := g.hub.Writes(func() {
		if err := g.round(); err != nil {
			g.t.Fatal(err)
		}
	})
	if len(wrote) != 0 {
		g.t.Errorf("another round wrote %v", wrote)
	}
}

// once fails unless each escrow was opened once, all by one transaction, and nothing failed.
func (g *group) once() {
	g.t.Helper()
	opened := make([]string, 0, len(g.parts))
	for i, part := range g.parts {
		if succeeded, failed := part.transactions(); succeeded != 1 || failed != 0 {
			g.t.Errorf("part %d: %d transactions succeeded and %d failed, want the one deposit", i, succeeded, failed)
		}
		voucher := part.voucher()
		if voucher == nil || !in(voucher.Spec.Deposit, boursev1.TransactionLanded) {
			g.t.Fatalf("part %d has voucher %+v", i, voucher)
		}
		opened = append(opened, string(voucher.Spec.Deposit.Signature))
	}
	if slices.Sort(opened); len(slices.Compact(opened)) != 1 {
		g.t.Errorf("the escrows were opened by %v, want one transaction", opened)
	}
}

// none fails unless no escrow was opened and nothing is journalled.
func (g *group) none() {
	g.t.Helper()
	for i, part := range g.parts {
		if succeeded, failed := part.transactions(); succeeded != 0 || failed != 0 {
			g.t.Errorf("part %d: %d transactions succeeded and %d failed, want none", i, succeeded, failed)
		}
	}
	if n := g.count(func(v *boursev1.Voucher) bool { return v.Spec.Deposit != nil }); n != 0 {
		g.t.Errorf("%d deposits are journalled, want none", n)
	}
}

func TestThePartsOfAJobAreFundedByOneTransaction(t *testing.T) {
	for parts := 2; parts <= boursev1.MaxParts; parts++ {
		t.Run(strconv.Itoa(parts), func(t *testing.T) {
			g := newGroup(t, parts, plenty, nil)
			if err := g.round(); err != nil {
				t.Fatal(err)
			}
			if lead := g.voucher(); !in(lead.Spec.Deposit, boursev1.TransactionSigned) {
				t.Fatalf("the deposit is not journalled: %+v", lead.Spec)
			}
			if succeeded, failed := g.transactions(); succeeded+failed != 0 {
				t.Fatal("the deposits were sent in the pass that journals them")
			}
			g.fund()
			g.once()
			g.calm()
			if n := g.count(func(v *boursev1.Voucher) bool { return v.Spec.Deposit.Attempt == 1 && v.Spec.Refusal == "" }); n != parts {
				t.Errorf("%d of %d vouchers are as they should be", n, parts)
			}
		})
	}
}

// One supplier accepts, the other does not: nothing is deposited, whatever becomes of the first.
func TestNothingIsDepositedUntilAllPartsAreAccepted(t *testing.T) {
	cases := map[string]func([]*boursev1.GPULease, *boursev1.ComputeJob){
		"the other is not accepted yet": func(leases []*boursev1.GPULease, _ *boursev1.ComputeJob) { leases[1].Status.Conditions = nil },
		"the first is not accepted yet": func(leases []*boursev1.GPULease, _ *boursev1.ComputeJob) { leases[0].Status.Conditions = nil },
		"the other was refused": func(leases []*boursev1.GPULease, _ *boursev1.ComputeJob) {
			leases[1].Status.Conditions = []metav1.Condition{
				builders.Condition(boursev1.LeaseAccepted, metav1.ConditionFalse, boursev1.ReasonCapacityGone),
			}
			leases[1].Status.End = &boursev1.LeaseEnd{
				Reason: boursev1.EndNotAccepted, Party: boursev1.PartySupplier, At: metav1.NewTime(builders.Start),
			}
		},
		"the other was refused, and the first is released": func(leases []*boursev1.GPULease, job *boursev1.ComputeJob) {
			leases[0].Spec.State, leases[0].Spec.EndReason = boursev1.LeaseEnded, boursev1.EndPartEnded
			job.Status.Lease, job.Status.Parts = nil, nil
		},
		"the other has ended": func(leases []*boursev1.GPULease, _ *boursev1.ComputeJob) {
			leases[1].Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndFault, Party: boursev1.PartySupplier, At: metav1.NewTime(builders.Start)}
		},
		"the other is not here yet": func(_ []*boursev1.GPULease, job *boursev1.ComputeJob) {
			job.Status.Parts[1].Lease.Name = "not-here"
		},
		"the other was accepted long ago": func(leases []*boursev1.GPULease, _ *boursev1.ComputeJob) {
			leases[1].Spec.AcceptBy = metav1.NewTime(builders.Start.Add(-fundWithin - time.Minute))
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 2, plenty, func(leases []*boursev1.GPULease, job *boursev1.ComputeJob, _ *boursev1.Market) { change(leases, job) })
			for range 3 {
				if err := g.round(); err != nil {
					t.Fatal(err)
				}
			}
			g.none()
			g.calm()
			if n := g.count(func(v *boursev1.Voucher) bool { return v.Spec.Refusal != "" }); n != 0 {
				t.Errorf("%d parts are refused, and are only waited for", n)
			}
		})
	}
}

// Every way in which parts could cost more, or be something else, than the job asked for.
func TestTheBuyerRefusesPartsThatItsJobDidNotAskFor(t *testing.T) {
	type leases = []*boursev1.GPULease
	type job = *boursev1.ComputeJob
	cases := map[string]struct {
		change func(leases, job)
		want   string
	}{
		"a job that may not be split":  {func(_ leases, j job) { j.Spec.Placement.Split = boursev1.SplitOnePool }, "split: OnePool"},
		"too many workers":             {func(_ leases, j job) { j.Spec.GPUs.Workers = 3 }, "the parts have 4 workers, and the job asks for 3"},
		"too few workers":              {func(_ leases, j job) { j.Spec.GPUs.Workers = 5 }, "the parts have 4 workers, and the job asks for 5"},
		"another first part":           {func(_ leases, j job) { slices.Reverse(j.Status.Parts) }, "other parts"},
		"no parts":                     {func(_ leases, j job) { j.Status.Parts = nil }, "other parts"},
		"a part twice":                 {func(_ leases, j job) { j.Status.Parts[1].Lease = j.Status.Parts[0].Lease }, "part 2 of 2 is of another part"},
		"one escrow for both":          {func(l leases, _ job) { l[1].Spec.Escrow = l[0].Spec.Escrow }, "part 2 of 2 is there twice"},
		"a part of three":              {func(l leases, _ job) { l[1].Spec.Part.Of = 3 }, "of another part"},
		"a lease that is no part":      {func(l leases, _ job) { l[1].Spec.Part = nil }, "of another part"},
		"a part of another job":        {func(l leases, _ job) { l[1].Spec.Job.UID = "another" }, "of another job"},
		"another buyer's part":         {func(l leases, _ job) { l[1].Spec.Buyer = builders.Address("x") }, "another buyer's"},
		"another model":                {func(l leases, j job) { l[1].Spec.Model, j.Spec.GPUs.Models = "t4", []boursev1.GPUModel{"h100", "t4"} }, "different models"},
		"another market":               {func(l leases, _ job) { l[1].Spec.Payment.Market = "x" }, "different markets"},
		"deposits over the budget":     {func(_ leases, j job) { j.Spec.Bid.BudgetUSD = "29.67" }, "of all parts are 29.674 IO, and the budget is worth 29.67 IO"},
		"a price above the bid":        {func(_ leases, j job) { j.Spec.Bid.MaxPriceUSD = "1.84" }, "part 1 of 2: a GPU-hour costs"},
		"another program in the other": {func(l leases, _ job) { l[1].Spec.ProgramSHA256 = boursev1.SHA256(builders.Hash("x")) }, "part 2 of 2: the lease is for another Ray program"},
		"a deposit above the sum":      {func(l leases, _ job) { l[1].Spec.Payment.Deposit++ }, "part 2 of 2: the deposit is"},
		"a foreign escrow in the other": {
			func(l leases, _ job) { l[1].Spec.Escrow.ID = builders.Hash("x") }, "part 2 of 2: the escrow's address does not follow",
		},
		"other GPUs on each node": {func(l leases, _ job) { l[1].Spec.PerWorker = 8 }, "part 2 of 2: the job asks for"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 2, plenty, func(l []*boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) { tc.change(l, j) })
			voucher, result := g.pass()
			if voucher == nil || !strings.HasPrefix(voucher.Spec.Refusal, "Refused: ") || !strings.Contains(voucher.Spec.Refusal, tc.want) {
				t.Fatalf("voucher %+v, want a refusal that says %q", voucher, tc.want)
			}
			if result.RequeueAfter == 0 {
				t.Error("the refusal is never looked at again")
			}
			g.none()
			g.quiet()
		})
	}
}

// A lease that says nothing of parts is not paid for by a job that has parts.
func TestAPartIsNotPaidForAsAWhole(t *testing.T) {
	g := newGroup(t, 2, plenty, func(leases []*boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		leases[0].Spec.Part = nil
	})
	if voucher, _ := g.pass(); !strings.Contains(voucher.Spec.Refusal, "the job has another lease") {
		t.Errorf("refusal %q", voucher.Spec.Refusal)
	}
	g.none()
}

// The wallet pays for all parts or for none: what covers one of them is not spent.
func TestDepositsThatTheWalletDoesNotCoverAreNotSigned(t *testing.T) {
	g := newGroup(t, 2, 2*1_483_700_000-1, nil)
	if err := g.round(); err != nil {
		t.Fatal(err)
	}
	if voucher := g.voucher(); !strings.Contains(voucher.Spec.Refusal, "would fail on chain") {
		t.Errorf("refusal %q", voucher.Spec.Refusal)
	}
	g.none()
	g.calm()
}

// What could be opened when it was signed, and cannot when it lands, opens nothing.
func TestATransactionThatFailsOpensNone(t *testing.T) {
	g := newGroup(t, 3, plenty, nil)
	if err := g.round(); err != nil {
		t.Fatal(err)
	}
	mint, wallet := builders.Wallet("mint of IO").PublicKey(), builders.Wallet(builders.Buyer).PublicKey()
	if err := ledger.Give(g.chain, mint, wallet, 2*1_483_700_000); err != nil { // the third is not covered any more
		t.Fatal(err)
	}
	for range 3 * (finalLag + 1) {
		if err := g.round(); err != nil {
			t.Fatal(err)
		}
		g.chain.Tick(1)
	}
	for i, part := range g.parts {
		if succeeded, failed := part.transactions(); succeeded != 0 || failed == 0 {
			t.Errorf("part %d: %d transactions succeeded and %d failed, want only failures", i, succeeded, failed)
		}
	}
	held, _ := ledger.Count(g.chain)
	for _, one := range held {
		if one.Owner == wallet && one.Amount != 2*1_483_700_000 {
			t.Errorf("the wallet holds %d", one.Amount)
		}
	}
}

func TestAllPartsAreSignedAnewTogether(t *testing.T) {
	g := newGroup(t, 2, plenty, nil)
	if err := g.round(); err != nil {
		t.Fatal(err)
	}
	first := g.voucher().Spec.Deposit.Signature
	g.chain.Faults(failing("Send", chaintest.Fault{Drop: true}))
	for range 2 {
		if err := g.round(); err != nil {
			t.Fatal(err)
		}
	}
	g.chain.Faults(failing("none", chaintest.Fault{}))
	g.chain.Tick(blockhashLife)
	g.fund()
	g.once()
	for i, part := range g.parts {
		if deposit := part.voucher().Spec.Deposit; deposit.Attempt != 2 || deposit.Signature == first {
			t.Errorf("part %d has deposit %+v, want the second attempt", i, deposit)
		}
	}
	g.calm()
}

// The vouchers are deleted while the deposits are on their way, or after: they are found on chain, and nothing is paid twice.
func TestLostVouchersOfPartsAreFoundOnChain(t *testing.T) {
	for name, rounds := range map[string]int{"when they are signed": 1, "when they are sent": 2, "when they have landed": 12} {
		for lost, which := range map[string]func(int) bool{
			"the first": func(i int) bool { return i == 0 }, "the others": func(i int) bool { return i > 0 }, "all": func(int) bool { return true },
		} {
			t.Run(lost+", "+name, func(t *testing.T) {
				g := newGroup(t, 3, plenty, nil)
				for range rounds {
					if err := g.round(); err != nil {
						t.Fatal(err)
					}
					g.chain.Tick(1)
				}
				for i, part := range g.parts {
					if voucher := part.voucher(); which(i) && voucher != nil {
						if err := g.hub.Delete(t.Context(), voucher); err != nil {
							t.Fatal(err)
						}
					}
				}
				g.restart()
				g.fund()
				for i, part := range g.parts {
					if succeeded, _ := part.transactions(); succeeded != 1 {
						t.Errorf("part %d was funded %d times", i, succeeded)
					}
				}
				g.calm()
			})
		}
	}
}

// killed is what a process says when it dies.
type killed struct{}

// mortality kills a process at its n-th effect on the hub or the chain, before or after it.
type mortality struct {
	at, effects int
	after       bool
}

func (m *mortality) around(effect func() error) error {
	m.effects++
	if m.effects == m.at && !m.after {
		panic(killed{})
	}
	err := effect()
	if m.effects == m.at {
		panic(killed{})
	}
	return err
}

// mortalHub is a hub whose writes may kill.
type mortalHub struct {
	client.Client

	life *mortality
}

// Create implements client.Client.
func (h mortalHub) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	return h.life.around(func() error { return h.Client.Create(ctx, obj, opts...) })
}

// Patch implements client.Client.
func (h mortalHub) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	return h.life.around(func() error { return h.Client.Patch(ctx, obj, patch, opts...) })
}

// mortalChain is a chain of which sending and simulating may kill.
type mortalChain struct {
	*chaintest.Fake

	life *mortality
}

// Send implements outbox.Chain.
func (c mortalChain) Send(ctx context.Context, raw []byte) error {
	return c.life.around(func() error { return c.Fake.Send(ctx, raw) })
}

// Simulate implements outbox.Chain.
func (c mortalChain) Simulate(ctx context.Context, raw []byte) (result chain.Simulation, err error) {
	err = c.life.around(func() error { result, err = c.Fake.Simulate(ctx, raw); return err })
	return result, err
}

// live funds all parts with a process that may die, and says whether it did.
func (g *group) live(life *mortality) (died bool) {
	defer func() {
		if cause := recover(); cause != nil {
			if _, ok := cause.(killed); !ok {
				panic(cause)
			}
			died = true
		}
	}()
	for _, part := range g.parts {
		part.r = &Reconciler{
			Hub: mortalHub{g.hub, life}, Chain: mortalChain{g.chain, life}, Signer: builders.Wallet(builders.Buyer), Now: g.hub.Now,
		}
	}
	g.fund()
	return false
}

// A process that is killed at any step, before or after its effect, and one that takes over, fund every part once.
func TestPartsAreFundedOnceWhereverTheProcessDies(t *testing.T) {
	deaths := 0
	for _, after := range []bool{false, true} {
		for at := 1; ; at++ {
			g := newGroup(t, 3, plenty, nil)
			if !g.live(&mortality{at: at, after: after}) {
				break
			}
			deaths++
			g.restart()
			g.fund()
			g.once()
			g.calm()
		}
	}
	const least = 20 // three vouchers are made, journalled and settled, one transaction is tried and sent, before and after
	if deaths < least {
		t.Errorf("the process died %d times, want %d at least", deaths, least)
	}
}

func TestPartsLandOnceWhateverFails(t *testing.T) {
	cases := map[string]func(*group){
		"the chain is unreachable":        func(g *group) { g.chain.Faults(failing("", chaintest.Fault{Refuse: true})) },
		"the send is refused":             func(g *group) { _ = g.round(); g.chain.Faults(failing("Send", chaintest.Fault{Refuse: true})) },
		"the answer to the send is lost":  func(g *group) { _ = g.round(); g.chain.Faults(failing("Send", chaintest.Fault{LoseReply: true})) },
		"the transaction is dropped":      func(g *group) { _ = g.round(); g.chain.Faults(failing("Send", chaintest.Fault{Drop: true})) },
		"the first attempt rolled back":   func(g *group) { _, _ = g.round(), g.round(); g.chain.Tick(1); g.chain.Rollback(2, false) },
		"the first attempt landed anyway": func(g *group) { _, _ = g.round(), g.round(); g.chain.Tick(1); g.chain.Rollback(2, true) },
	}
	for name, fail := range cases {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 2, plenty, nil)
			fail(g)
			_ = g.round() // it may fail: that is the point
			g.chain.Faults(failing("none", chaintest.Fault{}))
			g.restart()
			g.fund()
			g.once()
			g.calm()
		})
	}
}

// Who is told of a lease also looks at the one that pays for it, and a deposit that is written down is told to all.
func TestPartsWakeEachOther(t *testing.T) {
	g := newGroup(t, 3, plenty, nil)
	for i, want := range []int{1, 2, 2} {
		if got := g.r.mine(t.Context(), g.parts[i].lease); len(got) != want || got[len(got)-1].Name != g.lease.Name {
			t.Errorf("part %d wakes %v, want itself and the first", i, got)
		}
	}
	g.fund()
	for i, want := range []int{3, 1, 1} {
		if got := g.r.leasesOfVoucher(t.Context(), g.parts[i].voucher()); len(got) != want {
			t.Errorf("the voucher of part %d wakes %v, want %d leases", i, got, want)
		}
	}
}
