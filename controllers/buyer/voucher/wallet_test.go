// SPDX-License-Identifier: Apache-2.0

package voucher

import (
	"testing"
	"time"

	boursev1 "github.com/bourse-dev/bourse/api/v1alpha1"
	"github.com/bourse-dev/bourse/internal/signer"
	"github.com/bourse-dev/bourse/internal/signer/signertest"
)

// stop puts the buyer's wallet behind a switch.
func (b *bench) stop(reason signer.Reason) *signertest.Refusing {
	wallet := &signertest.Refusing{Signer: b.r.Signer, Reason: reason}
	b.r.Signer = wallet
	return wallet
}

// declined fails unless the voucher says why the wallet does not sign.
func (b *bench) declined(voucher *boursev1.Voucher, reason string) {
	b.t.Helper()
	if voucher.Spec.RefusalReason != reason || (voucher.Spec.Refusal == "") != (reason == "") {
		b.t.Errorf("refusal %q (%q), want the reason %q", voucher.Spec.Refusal, voucher.Spec.RefusalReason, reason)
	}
}

func TestAWalletThatDoesNotSignDepositsNothingAndSaysWhy(t *testing.T) {
	for _, reason := range []signer.Reason{signer.Paused, signer.SpendCapReached, signer.MessageRefused, signer.SignerRefused, signer.SignerUnavailable} {
		t.Run(string(reason), func(t *testing.T) {
			b := newBench(t, nil)
			wallet := b.stop(reason)
			voucher, result := b.pass()
			if voucher.Spec.Deposit != nil || result.RequeueAfter != retry {
				t.Errorf("deposit %+v, again after %s; want none, after %s", voucher.Spec.Deposit, result.RequeueAfter, retry)
			}
			b.declined(voucher, string(reason))
			b.quiet()
			wallet.Reason = ""
			b.declined(b.fund(), "")
		})
	}
}

// A pause between promises keeps what is promised, is looked at again soon, and ends without a trace.
func TestAWalletThatDoesNotSignPromisesNoMore(t *testing.T) {
	b := funded(t)
	b.hub.Step(time.Minute)
	record := b.use(nil)
	before, _ := b.pass()
	wallet := b.stop(signer.Paused)
	b.hub.Step(time.Minute)
	b.use(record)
	voucher, result := b.pass()
	if *voucher.Spec.Gross != *before.Spec.Gross || voucher.Spec.Sequence != before.Spec.Sequence || result.RequeueAfter != retry {
		t.Errorf("promise %d of %d, again after %s", *voucher.Spec.Gross, *before.Spec.Gross, result.RequeueAfter)
	}
	b.declined(voucher, boursev1.ReasonPaused)
	b.quiet()
	wallet.Reason = ""
	voucher, _ = b.pass()
	if voucher.Spec.Sequence <= before.Spec.Sequence {
		t.Error("the newest record is not answered after the pause")
	}
	b.declined(voucher, "")
}

// A wallet that was paused over the deadline takes its refund afterwards.
func TestAWalletThatDoesNotSignTakesItsRefundLater(t *testing.T) {
	b := funded(t)
	wallet := b.stop(signer.Paused)
	b.hub.Step(b.lease.Spec.Escrow.Deadline.Add(afterDeadline).Sub(b.hub.Now()))
	voucher, result := b.pass()
	if voucher.Spec.Refund != nil || result.RequeueAfter != retry {
		t.Errorf("refund %+v, again after %s", voucher.Spec.Refund, result.RequeueAfter)
	}
	b.declined(voucher, boursev1.ReasonPaused)
	b.quiet()
	wallet.Reason = ""
	if voucher, _ = b.pass(); voucher.Spec.Refund == nil {
		t.Error("no refund after the pause")
	}
	b.declined(voucher, "")
}
