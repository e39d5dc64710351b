// SPDX-License-Identifier: Apache-2.0

package stakeposition

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/escrow"
	"github.com/bourse-dev/bourse/internal/money"
	"github.com/bourse-dev/bourse/internal/outbox"
	"github.com/bourse-dev/bourse/internal/stake"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/fakehub"
	"github.com/bourse-dev/bourse/test/fakeprogram"
)

const (
	finalLag = 3
	lamports = 1_000_000_000
	one      = 100_000_000 // base units of a token
	window   = 2 * time.Hour
	cooldown = 14 * 24 * time.Hour
)

// bench is a supplier's own position that wants 1600 IO, in a market that asks for 200 IO for each of the 16 GPUs that it offers.
type bench struct {
	t        *testing.T
	hub      *fakehub.Hub
	chain    *chaintest.Fake
	position *boursev1.StakePosition
	place    contract.StakePlace
	r        *Reconciler
}

func newBench(t *testing.T, change func(*boursev1.StakePosition, *boursev1.Member, *boursev1.Market)) *bench {
	t.Helper()
	on, market, member := chaintest.New(0, finalLag), builders.Market(), builders.Member(builders.Supplier)
	market.Spec.Authority = builders.Address("authority")
	market.Spec.Stake = &boursev1.MarketStake{Token: "IO", PerGPU: "200", Multipliers: []boursev1.StakeMultiplier{{Model: "h100", Multiplier: "0.5"}}}
	position := builders.StakePosition(builders.Supplier)
	if change != nil {
		change(position, member, market)
	}
	b := &bench{
		t: t, hub: fakehub.New(t, nil, position, member, market, builders.Offer(builders.Supplier, "h100")), chain: on, position: position,
	}
	b.r = &Reconciler{Teller: b.hub.Teller(), Hub: b.hub, Chain: on, Now: b.hub.Now}
	fakeprogram.InstallStakes(on, builders.Wallet("program").PublicKey(), b.hub.Now)
	owner := builders.Address(builders.Supplier)
	if position.Spec.DelegateTo != "" {
		owner = position.Spec.DelegateTo
	}
	var err error
	if b.place, err = contract.Stake(market, "IO", owner); err != nil {
		t.Fatal(err)
	}
	b.furnish()
	return b
}

func (b *bench) furnish() {
	b.t.Helper()
	pool := b.place.Pool
	if err := fakeprogram.Configure(b.chain, escrow.Config{
		Program: b.place.Pool.Program, Authority: b.place.Authority, Mint: b.place.Pool.Mint, Delay: time.Hour,
		Terms: escrow.ConfigTerms{
			Treasury: b.place.Authority, MaxSlashBps: 3_000, MaxDelegationBps: 5_000,
			SlashWindow: window, SlashHold: window, Cooldown: cooldown,
		},
	}); err != nil {
		b.t.Fatal(err)
	}
	for _, name := range []string{builders.Supplier, builders.Buyer, "authority"} {
		wallet := builders.Wallet(name).PublicKey()
		b.chain.Fund(wallet, lamports)
		tokens, err := chain.TokenAddress(wallet, pool.Mint)
		if err != nil {
			b.t.Fatal(err)
		}
		b.put(tokens, chain.TokenProgram, fakeprogram.Tokens(pool.Mint, wallet, 5_000*one))
	}
	b.chain.Tick(finalLag + 1)
}

func (b *bench) put(address, owner chain.Address, data []byte) {
	b.chain.Set(chain.Account{Address: address, Owner: owner, Lamports: lamports, Data: data})
}

// send has somebody's transaction land and become final.
func (b *bench) send(by string, instructions []chain.Instruction, err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
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
			b.chain.Tick(finalLag + 1)
			return
		}
		b.chain.Tick(1)
	}
	b.t.Fatal("the transaction did not land")
}

// bond makes the supplier's pool with so many whole tokens.
func (b *bench) bond(whole uint64) {
	b.t.Helper()
	create, err := stake.CreatePool(b.place.Pool)
	if err != nil {
		b.t.Fatal(err)
	}
	bond, err := stake.Bond(b.place.Pool, b.place.Pool.Owner, stakeAmount(whole))
	b.send(builders.Supplier, append(create, bond...), err)
}

func (b *bench) pass() *boursev1.StakePositionStatus {
	b.t.Helper()
	b.hub.Read(b.position)
	if _, err := b.r.Reconcile(b.t.Context(), b.position); err != nil {
		b.t.Fatal(err)
	}
	b.hub.Read(b.position)
	if wrote := b.hub.Writes(func() {
		if _, err := b.r.Reconcile(b.t.Context(), b.position); err != nil {
			b.t.Fatal(err)
		}
	}); len(wrote) != 0 {
		b.t.Errorf("the second pass wrote %v", wrote)
	}
	return &b.position.Status
}

// is checks a condition and what its message says.
func (b *bench) is(kind string, status metav1.ConditionStatus, reason, says string) {
	b.t.Helper()
	got := meta.FindStatusCondition(b.position.Status.Conditions, kind)
	if got == nil || got.Status != status || got.Reason != reason || !strings.Contains(got.Message, says) {
		b.t.Errorf("%s is %+v, want %s/%s that says %q", kind, got, status, reason, says)
	}
}

// journal has the member's operator write its journal.
func (b *bench) journal(journal boursev1.StakeJournal) {
	b.t.Helper()
	b.hub.Read(b.position)
	b.position.Spec.Journal = &journal
	b.hub.Edit(b.position)
}

func TestTheStatusIsWhatTheChainSays(t *testing.T) {
	b := newBench(t, nil)
	b.pass()
	b.is(boursev1.StakeBonded, metav1.ConditionUnknown, boursev1.ReasonAwaitingOperator, "0.00 IO are bonded, and the member's operator is to make it 1600.00 IO")
	b.is(boursev1.Ready, metav1.ConditionUnknown, boursev1.ReasonAwaitingOperator, "")

	b.bond(1600)
	delegate, err := stake.Bond(b.place.Pool, builders.Wallet(builders.Buyer).PublicKey(), stakeAmount(700))
	b.send(builders.Buyer, delegate, err)
	b.journal(boursev1.StakeJournal{Reached: "1600"})
	status := b.pass()
	b.is(boursev1.StakeBonded, metav1.ConditionTrue, boursev1.ReasonAmountBonded, "1600.00 IO are bonded")
	b.is(boursev1.StakeClear, metav1.ConditionTrue, boursev1.ReasonNothingPending, "")
	b.is(boursev1.StakeCovered, metav1.ConditionFalse, boursev1.ReasonStakeShort, "require 3200.00 IO, and 2300.00 IO count")
	account, err := b.place.Pool.Account()
	if err != nil {
		t.Fatal(err)
	}
	want := boursev1.StakePositionStatus{
		Conditions: status.Conditions, Pool: boursev1.SolanaAddress(account.String()), Amount: "1600.00 IO", Bonded: new(int64(1600 * one)),
		Delegated: new(int64(700 * one)), Effective: new(int64(2300 * one)), Required: new(int64(3200 * one)), Slashed: new(int64(0)),
	}
	if diff := cmp.Diff(want, *status); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}

	unbond, err := stake.Unbond(b.place.Pool, b.place.Pool.Owner, 600*one)
	b.send(builders.Supplier, unbond, err)
	status = b.pass()
	if *status.Bonded != 1000*one || *status.Unbonding != 600*one || !status.UnlockTime.Time.Equal(b.hub.Now().Add(cooldown)) || *status.Effective != 1500*one {
		t.Errorf("after unbonding: %+v", status)
	}
}

func TestASlashIsTold(t *testing.T) {
	b := newBench(t, nil)
	b.bond(1600)
	b.journal(boursev1.StakeJournal{Reached: "1600"})
	propose, err := stake.ProposeSlash(b.place.Pool, b.place.Authority, stakeAmount(160), stake.Unreachable, stake.Evidence{0xab})
	b.send("authority", propose, err)
	status := b.pass()
	evidence := contract.EvidenceText(stake.Evidence{0xab})
	want := &boursev1.PendingSlash{
		Reason: boursev1.SlashUnreachable, Amount: new(int64(160 * one)), Share: new(int64(160 * one)), Evidence: evidence,
		ExecutableAt: metav1.NewTime(b.hub.Now().Add(window)), State: boursev1.PendingSlashProposed,
	}
	if diff := cmp.Diff(want, status.Slash); diff != "" {
		t.Errorf("slash (-want +got):\n%s", diff)
	}
	b.is(boursev1.StakeClear, metav1.ConditionFalse, boursev1.ReasonSlashPending, "set spec.appeal to "+string(evidence))
	b.is(boursev1.Ready, metav1.ConditionFalse, boursev1.ReasonSlashPending, "")

	appeal, err := stake.Appeal(b.place.Pool, 1)
	b.send(builders.Supplier, appeal, err)
	if status = b.pass(); status.Slash.State != boursev1.PendingSlashAppealed || !status.Slash.ExecutableAt.Time.Equal(b.hub.Now().Add(2*window)) {
		t.Errorf("appealed: %+v", status.Slash)
	}
	b.is(boursev1.StakeClear, metav1.ConditionUnknown, boursev1.ReasonSlashAppealed, "")

	drop, err := stake.DropSlash(b.place.Pool, b.place.Authority, 1)
	b.send("authority", drop, err)
	b.hub.Step(25 * time.Hour)
	b.send("authority", propose, nil)
	b.hub.Step(window)
	execute, err := stake.ExecuteSlash(b.place.Pool, b.place.Authority, 2)
	b.send("authority", execute, err)
	if status = b.pass(); status.Slash != nil || *status.Slashed != 160*one || *status.Bonded != 1440*one {
		t.Errorf("executed: %+v", status)
	}
	b.is(boursev1.StakeBonded, metav1.ConditionFalse, boursev1.ReasonStakeReduced, "Slashes left 1440.00 IO of 1600.00 IO")
}

func TestADelegationTellsItsShare(t *testing.T) {
	b := newBench(t, func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) {
		p.Spec.DelegateTo, p.Spec.Amount = builders.Address(builders.Buyer), "500"
		p.Name = strings.ToLower(string(p.Spec.DelegateTo))
	})
	create, err := stake.CreatePool(b.place.Pool)
	if err != nil {
		t.Fatal(err)
	}
	bond, err := stake.Bond(b.place.Pool, b.place.Pool.Owner, stakeAmount(1500))
	b.send(builders.Buyer, append(create, bond...), err)
	join, err := stake.Bond(b.place.Pool, builders.Wallet(builders.Supplier).PublicKey(), stakeAmount(500))
	b.send(builders.Supplier, join, err)
	propose, err := stake.ProposeSlash(b.place.Pool, b.place.Authority, stakeAmount(200), stake.Unreachable, stake.Evidence{1})
	b.send("authority", propose, err)
	status := b.pass()
	if *status.Bonded != 500*one || *status.Slash.Share != 50*one || status.Required != nil || status.Delegated != nil {
		t.Errorf("status %+v", status)
	}
	b.is(boursev1.StakeClear, metav1.ConditionFalse, boursev1.ReasonSlashPending, "this position by 50.00 IO; the pool's owner can appeal")
	if meta.FindStatusCondition(status.Conditions, boursev1.StakeCovered) != nil {
		t.Error("a delegation covers nothing")
	}
}

func TestWhatKeepsAStakeFromBeingRead(t *testing.T) {
	cases := map[string]struct {
		change func(*boursev1.StakePosition, *boursev1.Member, *boursev1.Market)
		reason string
	}{
		"a member not admitted": {func(_ *boursev1.StakePosition, m *boursev1.Member, _ *boursev1.Market) { m.Status.Conditions = nil }, boursev1.ReasonNoMember},
		"no such market":        {func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Market = "x" }, boursev1.ReasonNoMarket},
		"no such token":         {func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Token = "ABC" }, boursev1.ReasonNoStake},
		"a token not staked":    {func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Token = "USDC" }, boursev1.ReasonPoolRefused},
		"too many decimals":     {func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Amount = "0.123456789" }, boursev1.ReasonMoveRefused},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			b.pass()
			b.is(boursev1.StakeBonded, metav1.ConditionFalse, tc.reason, "")
			b.is(boursev1.Ready, metav1.ConditionFalse, tc.reason, "")
		})
	}
}

func TestTheOperatorsWordIsPassedOn(t *testing.T) {
	b := newBench(t, nil)
	b.journal(boursev1.StakeJournal{Refusal: "The wallet is empty"})
	b.pass()
	b.is(boursev1.StakeBonded, metav1.ConditionFalse, boursev1.ReasonMoveRefused, "The wallet is empty")
	b.journal(boursev1.StakeJournal{Transaction: &boursev1.Transaction{
		Purpose: boursev1.TransactionBond, State: boursev1.TransactionSigned, LastValidBlockHeight: new(int64(1)), Slot: new(int64(1)), Attempt: 1,
	}})
	b.pass()
	b.is(boursev1.StakeBonded, metav1.ConditionUnknown, boursev1.ReasonMoving, "Bond")
}

// A chain that cannot be asked takes nothing from what is known.
func TestAnUnreadableChainChangesNothing(t *testing.T) {
	b := newBench(t, nil)
	b.bond(3200)
	b.journal(boursev1.StakeJournal{Reached: "1600"})
	b.pass()
	b.is(boursev1.Ready, metav1.ConditionTrue, boursev1.ReasonStaked, "")
	b.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
	if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) != 0 {
		t.Errorf("wrote %v", wrote)
	}
	fresh := newBench(t, nil)
	fresh.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{Refuse: true} })
	fresh.pass()
	fresh.is(boursev1.Ready, metav1.ConditionUnknown, boursev1.ReasonChainUnreachable, "")
}

func TestWhatGPUsRequire(t *testing.T) {
	b := newBench(t, nil)
	_, lease := builders.Leased(t, "train")
	ended := lease.DeepCopy()
	ended.Name, ended.UID = "ended", "other"
	ended.Spec.State = boursev1.LeaseEnded
	for _, l := range []*boursev1.GPULease{lease, ended} {
		if err := b.hub.Create(t.Context(), l); err != nil {
			t.Fatal(err)
		}
	}
	if status := b.pass(); *status.Required != 24*200*one {
		t.Errorf("16 free and 8 leased GPUs require %d, want 4800 IO", *status.Required)
	}
}

func stakeAmount(whole uint64) money.Amount { return money.Amount(whole * one) }

func TestADeletedPositionIsLetGoWithoutItsMember(t *testing.T) {
	b := newBench(t, func(position *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) {
		position.Finalizers = []string{boursev1.FinalizerStakeJournal}
		position.DeletionTimestamp = new(metav1.NewTime(builders.Start))
	})
	for _, step := range []time.Duration{0, journalled - time.Second} {
		b.hub.Step(step)
		b.hub.Read(b.position) // fails if it is gone
		result, err := b.r.Reconcile(t.Context(), b.position)
		if want := builders.Start.Add(journalled).Sub(b.hub.Now()); err != nil || result.RequeueAfter != want {
			t.Fatalf("it is looked at again in %s, %v, want %s", result.RequeueAfter, err, want)
		}
	}
	b.hub.Step(time.Second)
	if _, err := b.r.Reconcile(t.Context(), b.position); err != nil {
		t.Fatal(err)
	}
	err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(b.position), b.position)
	if client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("it is still there: %v", err)
	}
}
