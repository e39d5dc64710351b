// SPDX-License-Identifier: Apache-2.0

package stakeposition

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
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
	blockhashLife        = 160 // blocks: more than a blockhash lives
	tokens               = 5_000
	one                  = 100_000_000 // base units of a token
	window               = 2 * time.Hour
	hold                 = 24 * time.Hour
	cooldown             = 14 * 24 * time.Hour
)

// bench is a supplier that holds 5000 IO, and its own position, which wants 1600.
type bench struct {
	t        *testing.T
	hub      *fakehub.Hub
	chain    *chaintest.Fake
	market   *boursev1.Market
	position *boursev1.StakePosition
	place    contract.StakePlace
	r        *Reconciler
}

// newBench lets the test change the position, the member and the market before anybody sees them.
func newBench(t *testing.T, change func(*boursev1.StakePosition, *boursev1.Member, *boursev1.Market)) *bench {
	t.Helper()
	on, market, member := chaintest.New(confirmLag, finalLag), builders.Market(), builders.Member(builders.Supplier)
	genesis, err := on.GenesisHash(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	market.Spec.GenesisHash = boursev1.SolanaAddress(genesis.String())
	market.Spec.Authority = builders.Address("authority")
	position := builders.StakePosition(builders.Supplier)
	if change != nil {
		change(position, member, market)
	}
	b := &bench{t: t, hub: fakehub.New(t, nil, position, member, market), chain: on, market: market, position: position}
	fakeprogram.InstallStakes(on, builders.Wallet("program").PublicKey(), b.hub.Now)
	b.furnish()
	b.restart()
	return b
}

// furnish puts the market's configuration and everybody's tokens on the chain.
func (b *bench) furnish() {
	b.t.Helper()
	owner := b.position.Spec.DelegateTo
	if owner == "" {
		owner = builders.Address(builders.Supplier)
	}
	b.place = must(contract.Stake(b.market, "IO", owner))(b.t)
	if err := fakeprogram.Configure(b.chain, escrow.Config{
		Program: b.place.Pool.Program, Authority: b.place.Authority, Mint: b.place.Pool.Mint, Delay: time.Hour,
		Terms: escrow.ConfigTerms{
			Treasury: b.place.Authority, Arbiter: builders.Wallet("arbiter").PublicKey(), MaxSlashBps: 3_000, MaxDelegationBps: 10_000,
			SlashWindow: window, SlashHold: hold, Cooldown: cooldown,
		},
	}); err != nil {
		b.t.Fatal(err)
	}
	for _, name := range []string{builders.Supplier, builders.Buyer, "authority", "arbiter"} {
		wallet := builders.Wallet(name).PublicKey()
		b.chain.Fund(wallet, lamports)
		b.put(b.tokens(wallet), chain.TokenProgram, fakeprogram.Tokens(b.place.Pool.Mint, wallet, tokens*one))
	}
	b.chain.Tick(finalLag + 1)
}

func must[T any](value T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
}

func (b *bench) put(address, owner chain.Address, data []byte) {
	b.chain.Set(chain.Account{Address: address, Owner: owner, Lamports: lamports, Data: data})
}

func (b *bench) tokens(wallet chain.Address) chain.Address {
	b.t.Helper()
	return must(chain.TokenAddress(wallet, b.place.Pool.Mint))(b.t)
}

// restart replaces the controller by one that remembers nothing.
func (b *bench) restart() {
	b.r = &Reconciler{Hub: b.hub, Chain: b.chain, Wallets: []signer.Signer{builders.Wallet(builders.Supplier)}, Now: b.hub.Now}
}

// try runs one pass.
func (b *bench) try() (reconcile.Result, error) {
	b.hub.Read(b.position)
	return b.r.Reconcile(b.t.Context(), b.position)
}

// pass runs one pass and returns the journal, nil when there is none.
func (b *bench) pass() (*boursev1.StakeJournal, reconcile.Result) {
	b.t.Helper()
	result, err := b.try()
	if err != nil {
		b.t.Fatalf("pass: %v", err)
	}
	b.hub.Read(b.position)
	return b.position.Spec.Journal, result
}

// rest runs passes until nothing is left to do now.
func (b *bench) rest() *boursev1.StakeJournal {
	b.t.Helper()
	for range 400 {
		journal, _ := b.pass()
		idle := journal != nil && (journal.Transaction == nil || journal.Transaction.State != boursev1.TransactionSigned)
		if idle && len(b.hub.Writes(func() { b.pass() })) == 0 {
			return b.position.Spec.Journal
		}
		b.chain.Tick(1)
	}
	b.t.Fatalf("it never comes to rest: %+v", b.position.Spec.Journal)
	return nil
}

// want changes what the member wants.
func (b *bench) want(amount boursev1.TokenAmount) {
	b.t.Helper()
	b.hub.Read(b.position)
	b.position.Spec.Amount = amount
	b.hub.Edit(b.position)
}

// quiet fails unless a pass writes nothing.
func (b *bench) quiet() {
	b.t.Helper()
	if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) != 0 {
		b.t.Errorf("another pass wrote %v", wrote)
	}
}

// view is the chain's truth once everything sent has landed.
func (b *bench) view() stake.View {
	b.t.Helper()
	b.chain.Tick(finalLag + 1)
	return must(stake.Look(b.t.Context(), b.chain, b.place.Pool, b.place.Authority, builders.Wallet(builders.Supplier).PublicKey()))(b.t)
}

// lag makes the node that answers one that still sees so many whole tokens bonded.
func (b *bench) lag(bonded money.Amount) {
	b.t.Helper()
	for behind := range uint64(50) {
		b.chain.Faults(failing("Accounts", chaintest.Fault{Behind: behind}))
		view := must(stake.Look(b.t.Context(), b.chain, b.place.Pool, b.place.Authority, builders.Wallet(builders.Supplier).PublicKey()))(b.t)
		if must(view.Bonded())(b.t) == bonded*one {
			return
		}
	}
	b.t.Fatal("no view is old enough")
}

// holds checks what is bonded, on its way back and in the wallet, in whole tokens.
func (b *bench) holds(bonded, unbonding, wallet money.Amount) {
	b.t.Helper()
	view := b.view()
	gotBonded, gotUnbonding := must(view.Bonded())(b.t), must(view.Unbonding())(b.t)
	if gotBonded != bonded*one || gotUnbonding != unbonding*one || view.Wallet != wallet*one {
		b.t.Errorf("bonded %s, unbonding %s, in the wallet %s; want %d, %d and %d IO", gotBonded, gotUnbonding, view.Wallet, bonded, unbonding, wallet)
	}
}

// land has somebody's transaction land.
func (b *bench) land(by string, instructions []chain.Instruction, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	record := must(outbox.Prepare(b.t.Context(), b.chain, builders.Wallet(by), "test", instructions, 1))(b.t)
	for range 20 {
		outcome := must(outbox.Drive(b.t.Context(), b.chain, record))(b.t)
		switch outcome.State {
		case outbox.Landed:
			return
		case outbox.Pending:
			b.chain.Tick(1)
		default:
			b.t.Fatalf("transaction %s: %v", outcome.State, outcome.Failure)
		}
	}
	b.t.Fatal("the transaction did not land")
}

// propose has the market propose to slash the pool.
func (b *bench) propose(amount money.Amount, evidence stake.Evidence) {
	b.t.Helper()
	instructions, err := stake.ProposeSlash(b.place.Pool, b.place.Authority, amount*one, stake.RentedOffline, evidence)
	b.land("authority", instructions, err)
}

// transactions counts the ones of the pool that succeeded and failed.
func (b *bench) transactions() (succeeded, failed int) {
	b.t.Helper()
	b.chain.Tick(finalLag + 1)
	account := must(b.place.Pool.Account())(b.t)
	for _, info := range must(b.chain.Signatures(b.t.Context(), account, chain.Signature{}))(b.t) {
		if info.Failed {
			failed++
		} else {
			succeeded++
		}
	}
	return succeeded, failed
}

func (b *bench) remove() {
	b.t.Helper()
	if err := b.hub.Delete(b.t.Context(), &boursev1.StakePosition{ObjectMeta: metav1.ObjectMeta{
		Namespace: b.position.Namespace, Name: b.position.Name,
	}}); err != nil {
		b.t.Fatal(err)
	}
}
