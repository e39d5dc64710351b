// SPDX-License-Identifier: Apache-2.0

package slash

import (
	"errors"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/stake"
	"github.com/bourse-dev/bourse/test/builders"
)

type change = func(*boursev1.Slash, *boursev1.Market)

func TestASlashTakesItsCourse(t *testing.T) {
	b := newBench(t, nil)
	b.pass()
	if tx := b.slash.Status.Transaction; tx == nil || tx.State != boursev1.TransactionSigned || b.pool().Slash != nil {
		t.Fatalf("the proposal is not journalled before it is sent: %+v", tx)
	}
	b.rest()
	b.is(metav1.ConditionUnknown, boursev1.ReasonAppealWindow)
	if b.slash.Status.Text != "40.00 IO" || !b.slash.Status.ExecutableAt.Time.Equal(b.hub.Now().Add(window)) ||
		!meta.IsStatusConditionTrue(b.slash.Status.Conditions, boursev1.SlashOnChain) {
		t.Errorf("status %+v", b.slash.Status)
	}
	b.hub.Step(window)
	b.rest()
	b.is(metav1.ConditionUnknown, boursev1.ReasonAppealWindow) // the chain's clock may be behind
	b.hub.Step(late)
	b.rest()
	b.is(metav1.ConditionTrue, boursev1.ReasonExecuted)
	if pool := b.pool(); pool.Total != 960*one || pool.Slashed != 40*one || pool.SlashNumber != 1 {
		t.Errorf("pool %+v", pool)
	}
	b.rest()
}

func TestAnAppealedSlashIsTheArbitersOrFalls(t *testing.T) {
	for name, execute := range map[string]bool{"the arbiter executes it": true, "the arbiter lets it fall": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			b.rest()
			appeal, err := stake.Appeal(b.place.Pool, 1)
			b.send(builders.Supplier, appeal, err)
			b.chain.Tick(finalLag + 1)
			b.rest()
			b.is(metav1.ConditionUnknown, boursev1.ReasonSlashAppealed)
			b.hub.Step(window + time.Hour)
			b.rest()
			b.is(metav1.ConditionUnknown, boursev1.ReasonSlashAppealed)
			if execute {
				instructions, err := stake.ExecuteSlash(b.place.Pool, builders.Wallet("arbiter").PublicKey(), 1)
				b.send("arbiter", instructions, err)
				b.chain.Tick(finalLag + 1)
				b.rest()
				b.is(metav1.ConditionTrue, boursev1.ReasonExecuted)
				return
			}
			b.hub.Step(hold)
			b.rest()
			b.is(metav1.ConditionFalse, boursev1.ReasonDropped)
			if pool := b.pool(); pool.Total != 1_000*one || pool.Slash != nil {
				t.Errorf("pool %+v", pool)
			}
		})
	}
}

func TestASlashIsDroppedWhereverItStands(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.slash.Spec.State = boursev1.SlashDropped
	b.hub.Edit(b.slash)
	b.rest()
	b.is(metav1.ConditionFalse, boursev1.ReasonDropped)
	if pool := b.pool(); pool.Slash != nil || pool.Slashed != 0 {
		t.Errorf("pool %+v", pool)
	}
	early := newBench(t, func(s *boursev1.Slash, _ *boursev1.Market) { s.Spec.State = boursev1.SlashDropped })
	early.rest()
	early.is(metav1.ConditionFalse, boursev1.ReasonDropped)
	if pool := early.pool(); pool.SlashNumber != 0 {
		t.Error("it was proposed to be dropped")
	}
}

func TestADeletedSlashIsTakenBackFirst(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	if err := b.hub.Delete(t.Context(), b.slash); err != nil {
		t.Fatal(err)
	}
	for range blockhashLife {
		if err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(b.slash), b.slash); err != nil {
			break
		}
		if _, err := b.r.Reconcile(t.Context(), b.slash); err != nil {
			t.Fatal(err)
		}
		b.chain.Tick(1)
	}
	if err := b.hub.Get(t.Context(), client.ObjectKeyFromObject(b.slash), b.slash); err == nil {
		t.Fatal("the slash stays")
	}
	if pool := b.pool(); pool.Slash != nil || pool.Total != 1_000*one {
		t.Errorf("pool %+v", pool)
	}
}

func TestHowMuchIsProposed(t *testing.T) {
	cases := map[string]struct {
		change change
		want   string
		reason string
	}{
		"what the reason allows": {change: func(*boursev1.Slash, *boursev1.Market) {}, want: "40.00 IO"},
		"less":                   {change: func(s *boursev1.Slash, _ *boursev1.Market) { s.Spec.Amount = "12.5" }, want: "12.50 IO"},
		"no more than the cap": {
			change: func(s *boursev1.Slash, _ *boursev1.Market) {
				s.Spec.Reason, *s.Spec.LastedSeconds = boursev1.SlashUnreachable, 1_000_000
			}, want: "300.00 IO",
		},
		"more than the reason allows": {
			change: func(s *boursev1.Slash, _ *boursev1.Market) { s.Spec.Amount = "40.1" }, reason: boursev1.ReasonSlashRefused,
		},
		"nothing":           {change: func(s *boursev1.Slash, _ *boursev1.Market) { s.Spec.Amount = "0" }, reason: boursev1.ReasonSlashRefused},
		"another's stake":   {change: func(s *boursev1.Slash, _ *boursev1.Market) { s.Spec.Owner = builders.Address("x") }, reason: boursev1.ReasonSlashRefused},
		"in another market": {change: func(s *boursev1.Slash, _ *boursev1.Market) { s.Spec.Market = "x" }, reason: boursev1.ReasonSlashRefused},
		"in a market without stake": {
			change: func(_ *boursev1.Slash, m *boursev1.Market) { m.Spec.Stake = nil }, reason: boursev1.ReasonSlashRefused,
		},
		"on another chain": {
			change: func(_ *boursev1.Slash, m *boursev1.Market) { m.Spec.GenesisHash = builders.Address("x") }, reason: boursev1.ReasonSlashRefused,
		},
		"in private": {change: func(s *boursev1.Slash, _ *boursev1.Market) { s.Namespace = "dark" }, reason: boursev1.ReasonSlashRefused},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			b.rest()
			if tc.reason != "" {
				b.is(metav1.ConditionFalse, tc.reason)
				if b.slash.Status.Transaction != nil {
					t.Errorf("signed %+v", b.slash.Status.Transaction)
				}
				return
			}
			if b.slash.Status.Text != tc.want {
				t.Errorf("proposed %q, want %q", b.slash.Status.Text, tc.want)
			}
		})
	}
}

func TestWithoutTheAuthoritysKeyNothingIsSigned(t *testing.T) {
	b := newBench(t, nil)
	b.restart(nil)
	b.rest()
	b.is(metav1.ConditionFalse, boursev1.ReasonNoAuthority)
	b.restart(builders.Wallet("impostor"))
	b.rest()
	b.is(metav1.ConditionFalse, boursev1.ReasonNoAuthority)
	if b.slash.Status.Transaction != nil || b.pool().SlashNumber != 0 {
		t.Errorf("signed %+v", b.slash.Status.Transaction)
	}
}

func TestASlashWaitsForAnotherAndForTheCalmDay(t *testing.T) {
	b := newBench(t, nil)
	propose, err := stake.ProposeSlash(b.place.Pool, b.place.Authority, 1, stake.Counterfeit, stake.Evidence{9})
	b.send("authority", propose, err)
	b.chain.Tick(finalLag + 1)
	b.rest()
	b.is(metav1.ConditionUnknown, boursev1.ReasonAnotherPending)
	drop, err := stake.DropSlash(b.place.Pool, b.place.Authority, 1)
	b.send("authority", drop, err)
	b.chain.Tick(finalLag + 1)
	b.rest()
	b.is(metav1.ConditionUnknown, boursev1.ReasonCalmDay)
	b.hub.Step(25 * time.Hour)
	b.rest()
	b.is(metav1.ConditionUnknown, boursev1.ReasonAppealWindow)
}

// An etcd that was restored from before the proposal knows nothing of it; the chain does.
func TestASlashIsNeverProposedTwice(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.hub.Step(window + late)
	b.rest()
	b.is(metav1.ConditionTrue, boursev1.ReasonExecuted)
	b.hub.Step(26 * time.Hour)
	b.slash.Status = boursev1.SlashStatus{}
	b.hub.EditStatus(b.slash)
	b.rest()
	b.is(metav1.ConditionTrue, boursev1.ReasonExecuted)
	if pool := b.pool(); pool.SlashNumber != 1 || pool.Slashed != 40*one {
		t.Errorf("pool %+v", pool)
	}
}

// A crash or a fault between any two steps must neither lose the slash nor repeat it.
func TestASlashHappensOnceWhateverFails(t *testing.T) {
	crash := errors.New("crash")
	cases := map[string]func(*bench){
		"the write of the journal is lost": func(b *bench) { b.hub.Fail(func(string, client.Object) error { return crash }) },
		"the answer to the send is lost":   func(b *bench) { b.pass(); b.chain.Faults(failing("Send", chaintest.Fault{LoseReply: true})) },
		"the transaction is dropped":       func(b *bench) { b.pass(); b.chain.Faults(failing("Send", chaintest.Fault{Drop: true})) },
		"the chain is unreachable":         func(b *bench) { b.chain.Faults(failing("", chaintest.Fault{Refuse: true})) },
		"the first attempt rolled back":    func(b *bench) { b.pass(); b.pass(); b.chain.Tick(1); b.chain.Rollback(2, false) },
		"the history cannot be read":       func(b *bench) { b.chain.Faults(failing("Signatures", chaintest.Fault{Refuse: true})) },
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
			b.restart(builders.Wallet("authority"))
			b.rest()
			b.hub.Step(window + late)
			b.rest()
			b.is(metav1.ConditionTrue, boursev1.ReasonExecuted)
			if pool := b.pool(); pool.SlashNumber != 1 || pool.Slashed != 40*one {
				t.Errorf("pool %+v", pool)
			}
		})
	}
}

// A chain that cannot be read slashes nobody and changes nothing that is known.
func TestAnUnreadableChainSlashesNobody(t *testing.T) {
	b := newBench(t, nil)
	b.rest()
	b.hub.Step(window + late)
	b.chain.Faults(failing("Accounts", chaintest.Fault{Refuse: true}))
	if wrote := b.hub.Writes(func() { _, _ = b.try() }); len(wrote) != 0 {
		t.Errorf("wrote %v", wrote)
	}
	b.is(metav1.ConditionUnknown, boursev1.ReasonAppealWindow)
}

// failing makes one method fail, or all of them when it is empty.
func failing(method string, fault chaintest.Fault) func(string) chaintest.Fault {
	return func(called string) chaintest.Fault {
		if method == "" || called == method {
			return fault
		}
		return chaintest.Fault{}
	}
}
