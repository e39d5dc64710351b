// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"context"
	"testing"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/chain"
	"github.com/bourse-dev/bourse/internal/chain/chaintest"
	"github.com/bourse-dev/bourse/test/builders"
	"github.com/bourse-dev/bourse/test/sim/ledger"
)

// onLedger is a bench whose chain moves tokens and tells of it, as the history of the real one does.
func onLedger(t *testing.T) *bench {
	t.Helper()
	b := newBench(t, nil)
	const plenty = 100_000_000_000
	ledger.Install(b.chain, builders.Wallet("program").PublicKey(), ledger.Rules{})
	if err := ledger.Mint(b.chain, builders.Wallet("mint of IO").PublicKey(), 8, builders.Wallet(builders.Buyer).PublicKey(), plenty); err != nil {
		t.Fatal(err)
	}
	b.chain.Clock(b.hub.Now)
	b.chain.Tick(finalLag + 1)
	return b
}

// once fails unless the chain has exactly one deposit and nothing that failed.
func (b *bench) once() {
	b.t.Helper()
	if succeeded, failed := b.transactions(); succeeded != 1 || failed != 0 {
		b.t.Errorf("%d transactions succeeded and %d failed, want the one deposit", succeeded, failed)
	}
}

// A voucher that is gone takes nothing with it: the chain has the deposit, and usage from before the loss is paid for.
func TestADeletedVoucherIsFoundOnChain(t *testing.T) {
	for name, after := range map[string]time.Duration{"while a deposit would still be made": 0, "long after": fundWithin + time.Hour} {
		t.Run(name, func(t *testing.T) {
			b := onLedger(t)
			signed := b.fund().Spec.Deposit.Signature
			b.hub.Step(time.Minute + after)
			record := b.use(b.use(nil))
			if err := b.hub.Delete(t.Context(), b.voucher()); err != nil {
				t.Fatal(err)
			}
			voucher, _ := b.pass()
			if voucher == nil || !in(voucher.Spec.Deposit, boursev1.TransactionLanded) || voucher.Spec.Deposit.Signature != signed {
				t.Fatalf("the deposit was not found: %+v", voucher)
			}
			if voucher, _ = b.pass(); voucher.Spec.Sequence != record.Sequence || voucher.Spec.Refusal != "" {
				t.Errorf("record %d is not answered: %+v", record.Sequence, voucher.Spec)
			}
			b.quiet()
			b.once()
		})
	}
}

// A node denied a deposit that had landed, so the voucher says that it failed.
func TestADepositThatWasDeniedIsFoundOnChain(t *testing.T) {
	b := onLedger(t)
	voucher := b.fund()
	settle(voucher.Spec.Deposit, boursev1.TransactionFailed, "It expired before it landed")
	b.hub.Edit(voucher)
	if voucher, _ = b.pass(); !in(voucher.Spec.Deposit, boursev1.TransactionLanded) || voucher.Spec.Deposit.Error != "" {
		t.Fatalf("the deposit was not found: %+v", voucher.Spec)
	}
	b.quiet()
	b.once()
}

// The voucher is deleted, the node that is asked is behind, and nothing happens any more: the deposit is looked for once it can be taken
// back.
func TestALostDepositIsLookedForWhenItCanBeTakenBack(t *testing.T) {
	b := onLedger(t)
	if err := b.hub.Delete(t.Context(), b.fund()); err != nil {
		t.Fatal(err)
	}
	b.hub.Step(fundWithin + time.Minute)
	b.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{Behind: 1000} })
	voucher, result := b.pass()
	if want := b.lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(b.hub.Now()); voucher != nil || result.RequeueAfter != want {
		t.Fatalf("next pass in %s with %+v, want %s", result.RequeueAfter, voucher, want)
	}
	b.chain.Faults(func(string) chaintest.Fault { return chaintest.Fault{} })
	b.hub.Step(result.RequeueAfter + time.Second)
	b.chain.Tick(1)
	for range 10 {
		voucher, _ = b.pass()
		b.chain.Tick(1)
	}
	if voucher == nil || !in(voucher.Spec.Refund, boursev1.TransactionLanded) {
		t.Fatalf("the deposit was not taken back: %+v", voucher)
	}
	b.quiet()
}

// A lease without an escrow gets no voucher after its time, and one that was closed needs none.
func TestNoVoucherIsMadeForWhatIsNotOpen(t *testing.T) {
	cases := map[string]func(*bench){
		"never opened": func(*bench) {},
		"closed": func(b *bench) {
			if err := b.hub.Delete(b.t.Context(), b.fund()); err != nil {
				b.t.Fatal(err)
			}
			b.closeEscrow()
		},
	}
	for name, prepare := range cases {
		t.Run(name, func(t *testing.T) {
			b := onLedger(t)
			prepare(b)
			b.hub.Step(fundWithin + time.Minute)
			if voucher, _ := b.pass(); voucher != nil {
				t.Errorf("a voucher was made: %+v", voucher.Spec)
			}
			b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(b.hub.Now()))
			if voucher, result := b.pass(); voucher != nil || !result.IsZero() {
				t.Errorf("after the deadline: %+v, next pass %+v", voucher, result)
			}
		})
	}
}

// A node that shows the escrow and not its history is asked again: nothing is made up.
func TestADepositWithoutHistoryIsNotAdopted(t *testing.T) {
	b := onLedger(t)
	voucher := b.fund()
	settle(voucher.Spec.Deposit, boursev1.TransactionFailed, "It did not land in time")
	b.hub.Edit(voucher)
	b.r.Chain = forgetful{b.chain}
	if _, err := b.try(); err == nil {
		t.Error("the deposit was adopted from nothing")
	}
	if voucher = b.voucher(); !in(voucher.Spec.Deposit, boursev1.TransactionFailed) {
		t.Errorf("deposit %+v", voucher.Spec.Deposit)
	}
}

// forgetful is a node that pruned its history.
type forgetful struct{ *chaintest.Fake }

// Signatures implements escrow.History.
func (forgetful) Signatures(context.Context, chain.Address, chain.Signature) ([]chain.SignatureInfo, error) {
	return nil, nil
}
