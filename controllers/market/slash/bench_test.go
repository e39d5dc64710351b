// SPDX-License-Identifier: Apache-2.0

package slash

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/stake"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

const (
	confirmLag, finalLag = 1, 3
	lamports             = 1_000_000_000
	blockhashLife        = 160
	one                  = 100_000_000 // base units of a token
	window               = 2 * time.Hour
	hold                 = 24 * time.Hour
)

// bench is a market whose authority proposes to slash a supplier that has 1000 IO at stake.
type bench struct {
	t     *testing.T
	hub   *fakehub.Hub
	chain *chaintest.Fake
	slash *boursev1.Slash
	place contract.StakePlace
	r     *Reconciler
}

// newBench lets the test change the slash and the market before anybody sees them.
func newBench(t *testing.T, change func(*boursev1.Slash, *boursev1.Market)) *bench {
	t.Helper()
	on, market, slash := chaintest.New(confirmLag, finalLag), builders.Market(), builders.Slash()
	genesis, err := on.GenesisHash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	market.Spec.GenesisHash = boursev1.SolanaAddress(genesis.String())
	market.Spec.Authority = builders.Address("authority")
	market.Spec.Stake = &boursev1.MarketStake{Token: "IO", PerGPU: "200"}
	slash.CreationTimestamp = metav1.NewTime(time.Unix(1_800_000_000, 0)) // as the fake chain counts
	if change != nil {
		change(slash, market)
	}
	b := &bench{t: t, hub: fakehub.New(t, nil, slash, market), chain: on, slash: slash}
	fakeprogram.InstallStakes(on, builders.Wallet("program").PublicKey(), b.hub.Now)
	if b.place, err = contract.Stake(market, "IO", builders.Address(builders.Supplier)); err != nil {
		t.Fatal(err)
	}
	b.furnish()
	b.restart(builders.Wallet("authority"))
	return b
}

// furnish puts the configuration, the tokens and the supplier's stake on the chain.
func (b *bench) furnish() {
	b.t.Helper()
	pool := b.place.Pool
	if err := fakeprogram.Configure(b.chain, escrow.Config{
		Program: b.place.Pool.Program, Authority: b.place.Authority, Mint: b.place.Pool.Mint, Delay: time.Hour,
		Terms: escrow.ConfigTerms{
			Treasury: b.place.Authority, Arbiter: builders.Wallet("arbiter").PublicKey(), MaxSlashBps: 3_000, MaxDelegationBps: 10_000,
			SlashWindow: window, SlashHold: hold, Cooldown: time.Hour,
		},
	}); err != nil {
		b.t.Fatal(err)
	}
	tokens, err := chain.TokenAddress(pool.Owner, pool.Mint)
	if err != nil {
		b.t.Fatal(err)
	}
	b.put(tokens, chain.TokenProgram, fakeprogram.Tokens(pool.Mint, pool.Owner, 5_000*one))
	for _, name := range []string{builders.Supplier, "authority", "arbiter"} {
		b.chain.Fund(builders.Wallet(name).PublicKey(), lamports)
	}
	create, err := stake.CreatePool(pool)
	if err != nil {
		b.t.Fatal(err)
	}
	bond, err := stake.Bond(pool, pool.Owner, 1_000*one)
	b.send(builders.Supplier, append(create, bond...), err)
}

func (b *bench) put(address, owner chain.Address, data []byte) {
	b.chain.Set(chain.Account{Address: address, Owner: owner, Lamports: lamports, Data: data})
}

// restart replaces the controller by one that remembers nothing and has the authority's wallet, or none.
func (b *bench) restart(authority signer.Signer) {
	b.r = &Reconciler{Teller: b.hub.Teller(), Hub: b.hub, Chain: b.chain, Outbox: b.chain, Authority: authority, Now: b.hub.Now}
}

// send has somebody's transaction land.
func (b *bench) send(by string, instructions []chain.Instruction, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	b.chain.Tick(finalLag + 1)
	record, err := outbox.Prepare(b.t.Context(), b.chain, builders.Wallet(by), "test", instructions, 1)
	if err != nil {
		b.t.Fatal(err)
	}
	for range 20 {
		outcome, err := outbox.Drive(b.t.Context(), b.chain, record)
		if err != nil || outcome.State != outbox.Landed && outcome.State != outbox.Pending {
			b.t.Fatalf("transaction %s: %v, %v", outcome.State, outcome.Failure, err)
		}
		if outcome.State == outbox.Landed {
			return
		}
		b.chain.Tick(1)
	}
	b.t.Fatal("the transaction did not land")
}

func (b *bench) try() (reconcile.Result, error) {
	b.hub.Read(b.slash)
	return b.r.Reconcile(b.t.Context(), b.slash)
}

func (b *bench) pass() reconcile.Result {
	b.t.Helper()
	result, err := b.try()
	if err != nil {
		b.t.Fatalf("pass: %v", err)
	}
	b.hub.Read(b.slash)
	return result
}

// rest runs passes until nothing is left to do now.
func (b *bench) rest() {
	b.t.Helper()
	for range 400 {
		signed := b.slash.Status.Transaction != nil && b.slash.Status.Transaction.State == boursev1.TransactionSigned
		if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) == 0 && !signed {
			return
		}
		b.chain.Tick(1)
	}
	b.t.Fatalf("it never comes to rest: %+v", b.slash.Status)
}

// is checks what the slash says of its end.
func (b *bench) is(status metav1.ConditionStatus, reason string) {
	b.t.Helper()
	b.hub.Read(b.slash)
	got := meta.FindStatusCondition(b.slash.Status.Conditions, boursev1.Succeeded)
	if got == nil || got.Status != status || got.Reason != reason {
		b.t.Errorf("Succeeded is %+v, want %s/%s", got, status, reason)
	}
}

func (b *bench) pool() *stake.PoolFacts {
	b.t.Helper()
	b.chain.Tick(finalLag + 1)
	view, err := stake.Look(b.t.Context(), b.chain, b.place.Pool, b.place.Authority, b.place.Pool.Owner)
	if err != nil {
		b.t.Fatal(err)
	}
	return view.Pool
}
