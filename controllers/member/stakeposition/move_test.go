// SPDX-License-Identifier: Apache-2.0

package stakeposition

import (
	"errors"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/internal/stake"
	"github.com/bourse-dev/bourse/test/builders"
)

type change = func(*boursev1.StakePosition, *boursev1.Member, *boursev1.Market)

func TestABondIsWrittenDownBeforeItIsSent(t *testing.T) {
	b := newBench(t, nil)
	journal, result := b.pass()
	if journal == nil || journal.Transaction == nil || journal.Transaction.State != boursev1.TransactionSigned || result.RequeueAfter == 0 {
		t.Fatalf("the bond is not journalled: %+v", journal)
	}
	if n, _ := b.transactions(); n != 0 {
		t.Fatal("the bond was sent in the pass that journals it")
	}
	journal = b.rest()
	if journal.Transaction.State != boursev1.TransactionLanded || journal.Transaction.Raw != "" || journal.Reached != "1600" || journal.Refusal != "" {
		t.Errorf("journal %+v", journal)
	}
	b.holds(1600, 0, 3400)
	b.quiet()
	if succeeded, failed := b.transactions(); succeeded != 1 || failed != 0 {
		t.Errorf("%d transactions succeeded and %d failed, want 1 and none", succeeded, failed)
	}
}

// The amount is the target: more is bonded, less is taken back, and what has waited is withdrawn without being asked for.
func TestTheStakeFollowsItsAmount(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.want("2000")
	b.rest()
	b.want("1999.5")
	b.rest()
	b.want("500")
	b.rest()
	b.holds(500, 1500, 3000)
	b.hub.Step(cooldown)
	b.rest()
	b.holds(500, 1500, 3000)
	b.hub.Step(3 * time.Minute)
	b.rest()
	b.holds(500, 0, 4500)
	b.want("0")
	b.rest()
	b.hub.Step(cooldown + 3*time.Minute)
	b.rest()
	b.holds(0, 0, 5000)
	b.quiet()
	if succeeded, failed := b.transactions(); succeeded != 7 || failed != 0 {
		t.Errorf("%d transactions succeeded and %d failed, want 7 and none", succeeded, failed)
	}
}

func TestADelegationJoinsAnotherPool(t *testing.T) {
	delegate := func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) {
		p.Spec.DelegateTo, p.Spec.Amount = builders.Address(builders.Buyer), "600"
		p.Name = strings.ToLower(string(p.Spec.DelegateTo))
	}
	b := newBench(t, delegate)
	journal, _ := b.pass()
	if journal.Transaction != nil || !strings.Contains(journal.Refusal, "has no pool in this market yet") {
		t.Fatalf("delegated to a pool that is not there: %+v", journal)
	}
	owner := builders.Wallet(builders.Buyer).PublicKey()
	create := must(stake.CreatePool(b.place.Pool))(t)
	bond, err := stake.Bond(b.place.Pool, owner, 500*one)
	b.land(builders.Buyer, append(create, bond...), err)
	b.chain.Tick(finalLag + 1)
	if journal, _ = b.pass(); journal.Transaction != nil || !strings.Contains(journal.Refusal, "more would be delegated than the market allows") {
		t.Fatalf("delegated too much: %+v", journal)
	}
	b.quiet()
	b.want("500")
	if journal = b.rest(); journal.Refusal != "" || journal.Reached != "500" {
		t.Errorf("journal %+v", journal)
	}
	b.holds(500, 0, 4500)
}

// A slash is not replaced from the wallet: a market could slash the same wish for ever.
func TestWhatIsSlashedIsNotReplacedUntilItIsAskedFor(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.propose(160, stake.Evidence{1})
	b.hub.Step(window)
	instructions, err := stake.ExecuteSlash(b.place.Pool, builders.Wallet(builders.Buyer).PublicKey(), 1)
	b.land(builders.Buyer, instructions, err)
	b.rest()
	b.holds(1440, 0, 3400)
	b.quiet()
	b.want("1500")
	b.rest()
	b.holds(1500, 0, 3340)
}

func TestAnAppealIsSentOnceForTheSlashThatItNames(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.position.Spec.Appeal = contract.EvidenceText(stake.Evidence{2})
	b.hub.Edit(b.position)
	b.rest()
	b.propose(16, stake.Evidence{1})
	b.chain.Tick(finalLag + 1)
	b.rest()
	if slash := b.view().Pool.Slash; slash == nil || slash.Appealed {
		t.Fatalf("another slash was appealed against: %+v", slash)
	}
	b.hub.Read(b.position)
	b.position.Spec.Appeal = contract.EvidenceText(stake.Evidence{1})
	b.hub.Edit(b.position)
	if journal := b.rest(); journal.Transaction.Purpose != boursev1.TransactionAppeal || journal.Reached != "1600" {
		t.Errorf("journal %+v", journal)
	}
	if slash := b.view().Pool.Slash; slash == nil || !slash.Appealed {
		t.Fatalf("not appealed: %+v", slash)
	}
	b.quiet()
}

func TestAnAppealThatComesTooLateIsRefused(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.propose(16, stake.Evidence{1})
	b.hub.Step(window)
	b.hub.Read(b.position)
	b.position.Spec.Appeal = contract.EvidenceText(stake.Evidence{1})
	b.hub.Edit(b.position)
	if journal := b.rest(); !strings.Contains(journal.Refusal, "The time for an appeal is over") {
		t.Errorf("journal %+v", journal)
	}
}

// A pending slash holds what is on its way back; nothing fails on the chain because of it.
func TestAWithdrawalWaitsForAPendingSlash(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.want("600")
	b.rest()
	b.hub.Step(cooldown + 3*time.Minute)
	b.propose(16, stake.Evidence{1})
	b.chain.Tick(finalLag + 1)
	b.rest()
	if view := b.view(); view.Position.Unbonding == 0 {
		t.Error("withdrawn under a pending slash")
	}
	drop, err := stake.DropSlash(b.place.Pool, b.place.Authority, 1)
	b.land("authority", drop, err)
	b.chain.Tick(finalLag + 1)
	b.rest()
	b.holds(600, 0, 4400)
	if _, failed := b.transactions(); failed != 0 {
		t.Errorf("%d transactions failed", failed)
	}
}

func TestNothingIsStakedForWhomItIsNot(t *testing.T) {
	cases := map[string]change{
		"another's member": func(_ *boursev1.StakePosition, m *boursev1.Member, _ *boursev1.Market) {
			m.Spec.Wallet = builders.Address("x")
		},
		"a member not admitted":   func(_ *boursev1.StakePosition, m *boursev1.Member, _ *boursev1.Market) { m.Status.Conditions = nil },
		"a namespace with nobody": func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Namespace = "empty" },
		"nothing is wanted either": func(p *boursev1.StakePosition, m *boursev1.Member, _ *boursev1.Market) {
			p.Spec.Amount, m.Status.Conditions = "0", nil
		},
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, change)
			if wrote := b.hub.Writes(func() { b.pass() }); len(wrote) != 0 {
				t.Errorf("wrote %v", wrote)
			}
		})
	}
}

func TestAWishThatCannotBeIsRefusedInWords(t *testing.T) {
	cases := map[string]struct {
		change change
		want   string
	}{
		"no such market": {func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Market = "x" }, "There is no market x"},
		"another chain": {func(_ *boursev1.StakePosition, _ *boursev1.Member, m *boursev1.Market) {
			m.Spec.GenesisHash = builders.Address("x")
		}, "another chain"},
		"an unknown token": {func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Token = "ABC" }, "has no token ABC"},
		"a token that is not staked": {
			func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Token = "USDC" }, "the mint of the configuration",
		},
		"too many decimals": {
			func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Amount = "0.123456789" }, "more than 8 decimals",
		},
		"more than the wallet holds": {
			func(p *boursev1.StakePosition, _ *boursev1.Member, _ *boursev1.Market) { p.Spec.Amount = "5001" }, "5001.00 IO are missing at stake, and the wallet holds 5000.00 IO",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			journal, result := b.pass()
			if journal == nil || journal.Transaction != nil || !strings.Contains(journal.Refusal, tc.want) || result.RequeueAfter == 0 {
				t.Errorf("journal %+v, want a refusal that says %q", journal, tc.want)
			}
			b.quiet()
		})
	}
}

func TestAMarketThatMovesIsNotFollowed(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.market.Spec.Authority = builders.Address("another authority")
	b.hub.Read(&boursev1.Market{ObjectMeta: b.market.ObjectMeta})
	b.hub.Edit(b.market)
	b.want("2000")
	if journal := b.rest(); !strings.Contains(journal.Refusal, "has changed") || journal.Transaction.Attempt != 1 {
		t.Errorf("journal %+v", journal)
	}
	b.holds(1600, 0, 3400)
}

// A crash, a fault or a fork between any two steps must neither lose a bond nor make it twice.
func TestABondLandsOnceWhateverFails(t *testing.T) {
	crash := errors.New("crash")
	cases := map[string]func(*bench){
		"the write of the journal is lost": func(b *bench) {
			b.hub.Fail(func(verb string, _ client.Object) error {
				if verb == "patch" {
					return crash
				}
				return nil
			})
		},
		"the send is refused": func(b *bench) { b.pass(); b.chain.Faults(failing("Send", chaintest.Fault{Refuse: true})) },
		"the answer to the send is lost": func(b *bench) {
			b.pass()
			b.chain.Faults(failing("Send", chaintest.Fault{LoseReply: true}))
		},
		"the transaction is dropped": func(b *bench) { b.pass(); b.chain.Faults(failing("Send", chaintest.Fault{Drop: true})) },
		"the write of the outcome is lost": func(b *bench) {
			b.pass()
			b.pass()
			b.chain.Tick(finalLag + 2)
			b.hub.Fail(func(string, client.Object) error { return crash })
		},
		"the chain is unreachable":        func(b *bench) { b.chain.Faults(failing("", chaintest.Fault{Refuse: true})) },
		"the first attempt rolled back":   func(b *bench) { b.pass(); b.pass(); b.chain.Tick(1); b.chain.Rollback(2, false) },
		"the first attempt landed anyway": func(b *bench) { b.pass(); b.pass(); b.chain.Tick(1); b.chain.Rollback(2, true) },
		"the chain forgets it":            func(b *bench) { b.pass(); b.pass(); b.chain.Tick(blockhashLife); b.chain.Forget(20) },
		"it expires unsent": func(b *bench) {
			b.pass()
			b.chain.Faults(failing("Send", chaintest.Fault{Drop: true}))
			b.pass()
			b.chain.Tick(blockhashLife)
		},
	}
	for name, fail := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			fail(b)
			_, _ = b.try() // it may fail: that is the point
			b.hub.Fail(nil)
			b.chain.Faults(failing("none", chaintest.Fault{}))
			b.restart()
			b.rest()
			b.holds(1600, 0, 3400)
			b.quiet()
			if succeeded, _ := b.transactions(); succeeded > 1 { // the forgetful chain knows of none
				t.Errorf("%d bonds succeeded, want 1", succeeded)
			}
		})
	}
}

// A node that lags shows the stake as it was before the last bond: what is missing there is not missing.
func TestAnOldViewMovesNothing(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.want("2000")
	b.rest()
	b.lag(1600)
	b.want("2400")
	before := b.position.Spec.Journal.Transaction.Signature
	for range 5 {
		if journal, result := b.pass(); journal.Transaction.Signature != before || result.RequeueAfter == 0 {
			t.Fatalf("acted on an old view: %+v", journal)
		}
	}
	b.chain.Faults(failing("none", chaintest.Fault{}))
	b.rest()
	b.holds(2400, 0, 2600)
	if succeeded, failed := b.transactions(); succeeded != 3 || failed != 0 {
		t.Errorf("%d transactions succeeded and %d failed, want 3 and none", succeeded, failed)
	}
}

// A chain that cannot be asked unbonds nothing and withdraws nothing.
func TestAnUnreadableChainMovesNothing(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.want("100")
	b.chain.Faults(failing("Accounts", chaintest.Fault{Refuse: true}))
	if _, err := b.try(); err == nil {
		t.Error("the pass did not say that it learned nothing")
	}
	if wrote := b.hub.Writes(func() { _, _ = b.try() }); len(wrote) != 0 {
		t.Errorf("wrote %v", wrote)
	}
	b.chain.Faults(failing("none", chaintest.Fault{}))
	b.holds(1600, 0, 3400)
}

func TestADeletedPositionWaitsForItsTransaction(t *testing.T) {
	b := newBench(t, nil)
	b.pass()
	b.remove()
	for range 2 * blockhashLife {
		if err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(b.position), b.position); err != nil {
			break
		}
		if _, err := b.r.Reconcile(t.Context(), b.position); err != nil {
			t.Fatal(err)
		}
		b.chain.Tick(1)
	}
	if err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(b.position), b.position); err == nil {
		t.Fatalf("the position stays: %+v", b.position.Spec.Journal)
	}
	b.holds(1600, 0, 3400) // what was on its way arrived, and stays at stake
}
