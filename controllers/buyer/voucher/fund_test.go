// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"errors"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/internal/contract"
	"github.com/bourse-dev/bourse/test/builders"
)

type change = func(*boursev1.GPULease, *boursev1.ComputeJob, *boursev1.Market)

func TestADepositIsWrittenDownBeforeItIsSent(t *testing.T) {
	b := newBench(t, nil)
	voucher, result := b.pass()
	if voucher == nil || voucher.Spec.Deposit == nil || voucher.Spec.Deposit.State != boursev1.TransactionSigned || result.RequeueAfter == 0 {
		t.Fatalf("the deposit is not journalled: %+v", voucher)
	}
	if n, _ := b.transactions(); n != 0 {
		t.Fatal("the deposit was sent in the pass that journals it")
	}
	voucher = b.fund()
	if voucher.Spec.Deposit.Raw != "" || voucher.Spec.Deposit.Attempt != 1 || voucher.Spec.Refusal != "" {
		t.Errorf("deposit %+v", voucher.Spec.Deposit)
	}
	b.quiet()
	if succeeded, failed := b.transactions(); succeeded != 1 || failed != 0 {
		t.Errorf("%d deposits succeeded and %d failed, want 1 and none", succeeded, failed)
	}
}

func TestNothingIsDepositedForALeaseThatDoesNotWantIt(t *testing.T) {
	cases := map[string]struct {
		change change
		step   time.Duration
	}{
		"not accepted": {change: func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) { l.Status.Conditions = nil }},
		"another buyer's": {change: func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
			l.Spec.Buyer = builders.Address("x")
		}},
		"ended by its buyer": {change: func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
			l.Spec.State = boursev1.LeaseEnded
		}},
		"at its end": {change: func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
			l.Status.End = &boursev1.LeaseEnd{Reason: boursev1.EndFault, Party: boursev1.PartySupplier, At: metav1.NewTime(builders.Start)}
		}},
		"accepted long ago": {step: fundWithin + time.Minute},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			b.hub.Step(tc.step)
			if voucher, _ := b.pass(); voucher != nil {
				t.Errorf("a voucher was made: %+v", voucher.Spec)
			}
		})
	}
}

// Every field of a lease that costs money or changes what runs is checked against the job, the market or arithmetic.
var foreignLeases = map[string]struct {
	change change
	want   string
}{
	"a job that is gone": {func(_ *boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) { j.UID = "another" }, "the job is gone"},
	"another lease":      {func(_ *boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) { j.Status.Lease = nil }, "another lease"},
	"no such market":     {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) { l.Spec.Payment.Market = "x" }, "no market"},
	"another chain": {func(_ *boursev1.GPULease, _ *boursev1.ComputeJob, m *boursev1.Market) {
		m.Spec.GenesisHash = builders.Address("x")
	}, "another chain"},
	"another model": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) { l.Spec.Model = "t4" }, "the model t4"},
	"more workers":  {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) { l.Spec.Workers = 3 }, "2 workers of 4"},
	"a longer term": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Terms.DurationSeconds = 7200
	}, "3600 seconds"},
	"another tier": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Terms.Tier = boursev1.TierFirm
	}, "the tier"},
	"wider egress": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Terms.Egress = boursev1.EgressInternet
	}, "the egress"},
	"less isolation": {func(_ *boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) {
		j.Spec.Placement.Isolation = boursev1.IsolationVM
	}, "the isolation VM"},
	"another program": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.ProgramSHA256 = contract.ProgramDigest(builders.Salt, &boursev1.RayProgram{Image: "miner:1", Version: "2.52.0"})
	}, "another Ray program"},
	"another salt": {func(_ *boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) {
		j.Status.ProgramSalt = "2" + builders.Salt[1:]
	}, "another Ray program"},
	"another end": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Ends = boursev1.EndsWithProgram
	}, "does not end as"},
	"a foreign escrow": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Escrow.ProgramID = builders.Address("x")
	}, "names another program"},
	"a foreign treasury": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Payment.Treasury = builders.Address("x")
	}, "names another treasury"},
	"a foreign configuration": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Payment.Config = builders.Address("x")
	}, "names another configuration"},
	"a foreign arbiter": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Payment.Arbiter = builders.Address("x")
	}, "names another arbiter"},
	"an arbiter where there is none": {func(_ *boursev1.GPULease, _ *boursev1.ComputeJob, m *boursev1.Market) {
		m.Spec.Arbitration = nil
	}, "names another arbiter"},
	"an arbiter who may take more": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Payment.ArbiterCapBps++
	}, "other bounds"},
	"an arbiter who need not wait": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Payment.DisputeDelaySeconds--
	}, "other bounds"},
	"a market without a configuration": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, m *boursev1.Market) {
		m.Spec.Authority = builders.Address("nobody")
		l.Spec.Payment.Config = configOf(m)
	}, "configuration on chain: no configuration at"},
	"a market that asks for more than it is bound to": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, m *boursev1.Market) {
		m.Spec.Arbitration.CapBps, l.Spec.Payment.ArbiterCapBps = 2_001, 2_001
	}, "the arbiter's cap is at most 2000 bps"},
	"a market that pays another treasury than it is bound to": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, m *boursev1.Market) {
		m.Spec.Treasury, l.Spec.Payment.Treasury = builders.Address("x"), builders.Address("x")
	}, "the treasury is"},
	"a foreign mint": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Payment.Mint = builders.Address("x")
	}, "the mint"},
	"other decimals":   {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) { *l.Spec.Payment.Decimals = 9 }, "the mint"},
	"an unknown token": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) { l.Spec.Payment.Token = "USDT" }, "does not take USDT"},
	"a higher fee": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		*l.Spec.Payment.BuyerFeeBps = 26
	}, "fee is higher"},
	"another escrow address": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Escrow.ID = builders.Hash("x")
	}, "does not follow"},
	"a far deadline": {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) {
		l.Spec.Escrow.Deadline = metav1.NewTime(builders.Start.Add(100 * time.Hour))
	}, "open for longer"},
	"a price above the bid": {func(_ *boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) {
		j.Spec.Bid.MaxPriceUSD = "1.84"
	}, "the bid is 1.84 IO"},
	"a deposit above the sum":  {func(l *boursev1.GPULease, _ *boursev1.ComputeJob, _ *boursev1.Market) { l.Spec.Payment.Deposit++ }, "the term costs"},
	"a deposit over budget":    {func(_ *boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) { j.Spec.Bid.BudgetUSD = "14.83" }, "the budget is worth 14.83 IO"},
	"payment in another token": {func(_ *boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) { j.Spec.Bid.Token = "USDC" }, "the job pays in USDC"},
}

func TestTheBuyerRefusesALeaseThatItsJobDidNotAskFor(t *testing.T) {
	for name, tc := range foreignLeases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, tc.change)
			voucher, result := b.pass()
			if voucher == nil || voucher.Spec.Deposit != nil {
				t.Fatalf("the deposit was signed: %+v", voucher)
			}
			if !strings.HasPrefix(voucher.Spec.Refusal, "Refused: ") || !strings.Contains(voucher.Spec.Refusal, tc.want) {
				t.Errorf("refusal %q, want one that says %q", voucher.Spec.Refusal, tc.want)
			}
			if result.RequeueAfter == 0 {
				t.Error("the refusal is never looked at again")
			}
			b.quiet()
		})
	}
}

func TestARefusalIsTakenBackWhenTheReasonIsGone(t *testing.T) {
	b := newBench(t, func(_ *boursev1.GPULease, j *boursev1.ComputeJob, _ *boursev1.Market) { j.Status.Lease = nil })
	if voucher, _ := b.pass(); voucher.Spec.Refusal == "" {
		t.Fatal("not refused")
	}
	job := builders.Job("train")
	b.hub.Read(job)
	job.Status.Lease = &boursev1.ObjectReference{Namespace: b.lease.Namespace, Name: b.lease.Name}
	b.hub.EditStatus(job)
	if voucher := b.fund(); voucher.Spec.Refusal != "" {
		t.Errorf("refusal %q stays", voucher.Spec.Refusal)
	}
}

func TestADepositThatWouldFailIsNotSigned(t *testing.T) {
	b := newBench(t, nil)
	b.chain.Program(builders.Wallet("program").PublicKey(), refuseAll)
	voucher, result := b.pass()
	if voucher.Spec.Deposit != nil || !strings.Contains(voucher.Spec.Refusal, "would fail on chain") || result.RequeueAfter != retry {
		t.Errorf("voucher %+v, result %+v", voucher.Spec, result)
	}
}

// A crash between any two steps must neither lose the deposit nor pay it twice.
func TestADepositLandsOnceWhateverFails(t *testing.T) {
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
	}
	for name, fail := range cases {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, nil)
			fail(b)
			_, _ = b.try() // it may fail: that is the point
			b.hub.Fail(nil)
			b.chain.Faults(failing("none", chaintest.Fault{}))
			b.restart()
			b.fund()
			b.quiet()
			if succeeded, _ := b.transactions(); succeeded != 1 {
				t.Errorf("%d deposits succeeded, want 1", succeeded)
			}
		})
	}
}

func TestADepositThatExpiresIsSignedAnew(t *testing.T) {
	b := newBench(t, nil)
	first, _ := b.pass()
	b.chain.Faults(failing("Send", chaintest.Fault{Drop: true}))
	b.pass()
	b.chain.Faults(failing("none", chaintest.Fault{}))
	b.chain.Tick(blockhashLife)
	expired, _ := b.pass()
	if expired.Spec.Deposit.State != boursev1.TransactionFailed || expired.Spec.Deposit.Error == "" {
		t.Fatalf("deposit %+v, want one that expired", expired.Spec.Deposit)
	}
	second := b.fund()
	if second.Spec.Deposit.Attempt != 2 || second.Spec.Deposit.Signature == first.Spec.Deposit.Signature {
		t.Errorf("deposit %+v, want another one", second.Spec.Deposit)
	}
	if succeeded, _ := b.transactions(); succeeded != 1 {
		t.Errorf("%d deposits succeeded, want 1", succeeded)
	}
}

func TestADepositThatExpiresTooLateIsGivenUp(t *testing.T) {
	b := newBench(t, nil)
	b.pass()
	b.hub.Step(fundWithin + time.Minute)
	b.chain.Tick(blockhashLife)
	b.pass()
	b.quiet()
	voucher := b.voucher()
	if voucher.Spec.Deposit.State != boursev1.TransactionFailed || voucher.Spec.Deposit.Attempt != 1 {
		t.Errorf("deposit %+v, want the first one, given up", voucher.Spec.Deposit)
	}
}

func TestAForgottenDepositIsFoundByItsAccount(t *testing.T) {
	b := newBench(t, nil)
	b.pass()
	b.pass() // sent
	b.chain.Tick(blockhashLife)
	b.chain.Forget(20)
	voucher, _ := b.pass()
	if voucher.Spec.Deposit.State != boursev1.TransactionLanded {
		t.Errorf("deposit %+v, want one that landed", voucher.Spec.Deposit)
	}
}

func TestAConflictPaysNothing(t *testing.T) {
	b := newBench(t, nil)
	b.r.Hub = racing{b.hub.Client}
	result, err := b.try()
	if err != nil || result.RequeueAfter == 0 {
		t.Fatalf("result %+v, err %v; want another pass soon", result, err)
	}
	if voucher := b.voucher(); voucher.Spec.Deposit != nil {
		t.Error("a stale pass wrote its deposit")
	}
	if succeeded, failed := b.transactions(); succeeded+failed != 0 {
		t.Error("a deposit that was never written down was sent")
	}
}
