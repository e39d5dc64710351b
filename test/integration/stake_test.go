// SPDX-License-Identifier: Apache-2.0

package integration

import (
	"encoding/binary"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/controllers/market/slash"
	marketstake "github.com/bourse-dev/bourse/controllers/market/stakeposition"
	memberstake "github.com/bourse-dev/bourse/controllers/member/stakeposition"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/kube"
	"github.com/bourse-dev/bourse/internal/metrics"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/chaintest"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

const (
	oneIO    = 100_000_000 // base units
	walletIO = 5_000
	sol      = 1_000_000_000
	window   = 2 * time.Hour
	cooldown = 14 * 24 * time.Hour
	manyRuns = 2_000
)

// elfEnv names another build of the program to test instead of the committed one.
const elfEnv = "BOURSE_PROGRAM_ELF"

// stakeLab is a hub with a real API server, a local chain with the real program, and the three controllers that stakes have. They are
// made anew for every pass, as if the operator were killed after each.
type stakeLab struct {
	t        *testing.T
	hub      client.Client
	sim      *chaintest.Process
	on       *chain.Client
	market   *boursev1.Market
	own      *boursev1.StakePosition
	delegate *boursev1.StakePosition
	slash    *boursev1.Slash
	place    contract.StakePlace
}

// A pool's whole life through the real API server and the real program: bond, delegate, slash pro rata, unbond, wait, withdraw. Every
// base unit is where it must be, each transaction was sent once, and at rest nothing is written.
func TestStakeOnTheRealProgram(t *testing.T) {
	l := newStakeLab(t)
	l.rest()
	l.holds(l.own, 1_600*oneIO, 0, (walletIO-1_600)*oneIO)
	l.holds(l.delegate, 800*oneIO, 0, (walletIO-800)*oneIO)
	if got := *l.own.Status.Effective; got != 2_400*oneIO {
		t.Errorf("effective %d", got)
	}

	l.must(l.hub.Create(t.Context(), l.slash))
	l.rest()
	l.condition(l.slash, boursev1.Succeeded, boursev1.ReasonAppealWindow)
	l.condition(l.own, boursev1.StakeClear, boursev1.ReasonSlashPending)
	l.warp(window + 3*time.Minute)
	l.rest()
	l.condition(l.slash, boursev1.Succeeded, boursev1.ReasonExecuted)
	l.condition(l.own, boursev1.StakeBonded, boursev1.ReasonStakeReduced)
	l.holds(l.own, 1_536*oneIO, 0, (walletIO-1_600)*oneIO) // 4 % of 2400 IO are 96, of which 64 are the owner's
	l.holds(l.delegate, 768*oneIO, 0, (walletIO-800)*oneIO)

	l.want(l.own, "0")
	l.want(l.delegate, "0")
	l.rest()
	l.holds(l.own, 0, 1_536*oneIO, (walletIO-1_600)*oneIO)
	l.warp(cooldown + 3*time.Minute)
	l.rest()
	l.holds(l.own, 0, 0, (walletIO-64)*oneIO)
	l.holds(l.delegate, 0, 0, (walletIO-32)*oneIO)
	l.sums()
}

func newStakeLab(t *testing.T) *stakeLab {
	t.Helper()
	kinds := scheme(t)
	if err := corev1.AddToScheme(kinds); err != nil {
		t.Fatal(err)
	}
	hub, err := client.New(apiServer, client.Options{Scheme: kinds})
	if err != nil {
		t.Fatal(err)
	}
	sim := chaintest.Run(t, chaintest.Config{Manual: true, ConfirmLag: new(0), FinalLag: new(2), Seed: t.Name()})
	l := &stakeLab{t: t, hub: hub, sim: sim, on: chain.NewClient(sim.RPC, chain.Options{})}
	l.market = builders.Market()
	genesis, err := l.on.GenesisHash(t.Context())
	l.must(err)
	l.market.Spec.GenesisHash = boursev1.SolanaAddress(genesis.String())
	l.market.Spec.Stake = &boursev1.MarketStake{Token: "IO", PerGPU: "200"}
	l.own, l.delegate, l.slash = builders.StakePosition(builders.Supplier), builders.StakePosition(builders.Buyer), builders.Slash()
	l.delegate.Spec.DelegateTo, l.delegate.Spec.Amount = builders.Address(builders.Supplier), "800"
	l.delegate.Name = strings.ToLower(string(l.delegate.Spec.DelegateTo))
	l.place, err = contract.Stake(l.market, "IO", builders.Address(builders.Supplier))
	l.must(err)
	l.furnishChain()
	l.furnishHub()
	return l
}

func (l *stakeLab) must(err error) {
	l.t.Helper()
	if err != nil {
		l.t.Fatal(err)
	}
}

// furnishChain puts the program, the mint, the wallets and the market's configuration on the chain.
func (l *stakeLab) furnishChain() {
	l.t.Helper()
	path := os.Getenv(elfEnv)
	if path == "" {
		path = "../../program/bourse.so"
	}
	elf, err := os.ReadFile(path)
	l.must(err)
	l.must(l.sim.AddProgram(l.t.Context(), l.place.Pool.Program.String(), elf))
	mint := make([]byte, 82)
	binary.LittleEndian.PutUint64(mint[36:], 2*walletIO*oneIO)
	mint[44], mint[45] = 8, 1
	l.set(l.place.Pool.Mint, chain.TokenProgram, mint)
	for _, name := range []string{builders.Supplier, builders.Buyer, "authority"} {
		l.set(builders.Wallet(name).PublicKey(), chain.SystemProgram, nil)
	}
	for _, name := range []string{builders.Supplier, builders.Buyer} {
		wallet := builders.Wallet(name).PublicKey()
		l.set(l.tokens(wallet), chain.TokenProgram, fakeprogram.Tokens(l.place.Pool.Mint, wallet, walletIO*oneIO))
	}
	instructions, err := escrow.CreateConfig(escrow.Config{
		Program: l.place.Pool.Program, Authority: l.place.Authority, Mint: l.place.Pool.Mint, Delay: time.Hour,
		Terms: escrow.ConfigTerms{
			Treasury: builders.Wallet("treasury").PublicKey(), MaxSlashBps: 3_000, MaxDelegationBps: 10_000,
			SlashWindow: window, SlashHold: 24 * time.Hour, Cooldown: cooldown,
		},
	})
	l.must(err)
	record, err := outbox.Prepare(l.t.Context(), l.on, builders.Wallet("authority"), "configure", instructions, 1)
	l.must(err)
	for range 10 {
		_, err := outbox.Drive(l.t.Context(), l.on, record)
		l.must(err)
		l.must(l.sim.Tick(l.t.Context(), 1))
	}
}

func (l *stakeLab) set(address, owner chain.Address, data []byte) {
	l.t.Helper()
	l.must(l.sim.SetAccount(l.t.Context(), address.String(), &chaintest.Account{Lamports: sol, Owner: owner.String(), Data: data}))
}

func (l *stakeLab) tokens(wallet chain.Address) chain.Address {
	l.t.Helper()
	address, err := chain.TokenAddress(wallet, l.place.Pool.Mint)
	l.must(err)
	return address
}

// furnishHub makes the market, its two members and what they want to have at stake.
func (l *stakeLab) furnishHub() {
	l.t.Helper()
	objects := append(make([]client.Object, 0, 3), l.market)
	for _, name := range []string{builders.Supplier, builders.Buyer, boursev1.PublicNamespace} {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
		l.must(client.IgnoreAlreadyExists(l.hub.Create(l.t.Context(), namespace)))
	}
	for _, name := range []string{builders.Supplier, builders.Buyer} {
		member := builders.Member(name)
		status := member.Status
		l.must(l.hub.Create(l.t.Context(), member))
		member.Status = status
		l.must(l.hub.Status().Update(l.t.Context(), member))
		objects = append(objects, member)
	}
	for _, object := range []client.Object{l.market, l.own, l.delegate} {
		l.must(l.hub.Create(l.t.Context(), object))
	}
	l.t.Cleanup(func() {
		for _, object := range append(objects, l.own, l.delegate, l.slash) {
			if err := l.hub.Patch(cleanupContext(), object, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))); client.IgnoreNotFound(err) != nil {
				l.t.Errorf("release %s: %v", object.GetName(), err)
			}
			if err := client.IgnoreNotFound(l.hub.Delete(cleanupContext(), object)); err != nil {
				l.t.Errorf("delete %s: %v", object.GetName(), err)
			}
		}
	})
}

func (l *stakeLab) now() time.Time {
	stats, err := l.sim.Stats(l.t.Context())
	l.must(err)
	return time.Unix(stats.Time, 0).UTC()
}

func (l *stakeLab) warp(by time.Duration) {
	l.t.Helper()
	l.must(l.sim.WarpTime(l.t.Context(), by))
	l.must(l.sim.Tick(l.t.Context(), 3))
}

// pass has every controller look at its objects once, each made for this pass alone.
func (l *stakeLab) pass() {
	l.t.Helper()
	ctx := l.t.Context()
	teller := &kube.Teller{Client: l.hub, Recorder: events.NewFakeRecorder(manyRuns), Metrics: metrics.New(prometheus.NewRegistry())}
	member := &memberstake.Reconciler{
		Hub: l.hub, Chain: l.on, Now: l.now, Wallets: []signer.Signer{builders.Wallet(builders.Supplier), builders.Wallet(builders.Buyer)},
	}
	market := &marketstake.Reconciler{Teller: teller, Hub: l.hub, Chain: l.on, Now: l.now}
	for _, position := range []*boursev1.StakePosition{l.own, l.delegate} {
		l.read(position)
		_, err := member.Reconcile(ctx, position)
		l.must(err)
		l.read(position)
		_, err = market.Reconcile(ctx, position)
		l.must(err)
	}
	if l.slash.UID == "" {
		return
	}
	l.read(l.slash)
	slashes := &slash.Reconciler{Teller: teller, Hub: l.hub, Chain: l.on, Outbox: l.on, Authority: builders.Wallet("authority"), Now: l.now}
	_, err := slashes.Reconcile(ctx, l.slash)
	l.must(err)
}

func (l *stakeLab) read(object client.Object) {
	l.t.Helper()
	l.must(l.hub.Get(l.t.Context(), client.ObjectKeyFromObject(object), object))
}

// rest runs passes until nothing is written any more, whatever the chain goes on to do.
func (l *stakeLab) rest() {
	l.t.Helper()
	still := 0
	for range 300 {
		before := l.versions()
		l.pass()
		if l.versions() == before {
			still++
		} else {
			still = 0
		}
		if still == 5 {
			return
		}
		l.must(l.sim.Tick(l.t.Context(), 1))
	}
	l.t.Fatalf("it never comes to rest: %+v, %+v, %+v", l.own.Spec.Journal, l.delegate.Spec.Journal, l.slash.Status)
}

func (l *stakeLab) versions() string {
	l.t.Helper()
	versions := make([]string, 0, 3)
	for _, object := range []client.Object{l.own, l.delegate, l.slash} {
		if object.GetUID() != "" {
			l.read(object)
		}
		versions = append(versions, object.GetResourceVersion())
	}
	return strings.Join(versions, " ")
}

func (l *stakeLab) want(position *boursev1.StakePosition, amount boursev1.TokenAmount) {
	l.t.Helper()
	l.read(position)
	position.Spec.Amount = amount
	l.must(l.hub.Update(l.t.Context(), position))
}

// holds checks what the status says is bonded and on its way back, and what the wallet has.
func (l *stakeLab) holds(position *boursev1.StakePosition, bonded, unbonding int64, wallet money.Amount) {
	l.t.Helper()
	l.read(position)
	status := &position.Status
	var waiting int64
	if status.Unbonding != nil {
		waiting = *status.Unbonding
	}
	account, err := l.on.Account(l.t.Context(), l.tokens(builders.Wallet(position.Namespace).PublicKey()), chain.Finalized)
	l.must(err)
	has, err := escrow.Balance(account)
	if err != nil || status.Bonded == nil || *status.Bonded != bonded || waiting != unbonding || has != wallet {
		l.t.Errorf("%s: status %+v, in the wallet %s (%v); want %d, %d and %s", position.Namespace, status, has, err, bonded, unbonding, wallet)
	}
}

func (l *stakeLab) condition(object kube.Conditioned, kind, reason string) {
	l.t.Helper()
	l.read(object)
	if got := meta.FindStatusCondition(*object.Conditions(), kind); got == nil || got.Reason != reason {
		l.t.Errorf("%s of %s is %+v, want %s", kind, object.GetName(), got, reason)
	}
}

// sums checks that the pool is empty, that what was slashed is burned, and that no transaction was sent twice or failed.
func (l *stakeLab) sums() {
	l.t.Helper()
	view, err := stake.Look(l.t.Context(), l.on, l.place.Pool, l.place.Authority, l.place.Pool.Owner)
	l.must(err)
	if pool := view.Pool; pool.Total != 0 || pool.Shares != 0 || pool.Balance != 0 || pool.Slashed != 96*oneIO {
		l.t.Errorf("pool %+v", pool)
	}
	mint, err := l.on.Account(l.t.Context(), l.place.Pool.Mint, chain.Finalized)
	l.must(err)
	if supply, err := escrow.Supply(mint); err != nil || supply != (2*walletIO-96)*oneIO {
		l.t.Errorf("supply %s (%v), want 96 IO less", supply, err)
	}
	infos, err := l.on.Signatures(l.t.Context(), view.Pool.Account, chain.Signature{})
	l.must(err)
	for _, info := range infos {
		if info.Failed {
			l.t.Errorf("transaction %s failed", info.Signature)
		}
	}
	if len(infos) != 8 { // two bonds, two unbonds, two withdrawals, a proposal and its execution
		l.t.Errorf("%d transactions, want 8", len(infos))
	}
}
